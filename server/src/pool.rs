//! Threads that may block: cold reads and long commands run here, never on a worker.

use std::sync::Arc;
use std::thread::JoinHandle;

use coney_engine::{Engine, Job};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::worker::inbox::{Message, WorkerHandle};
use crate::worker::session::SessionKey;

/// Jobs that may wait for a thread. A worker that finds the queue full keeps the command parked
/// and tries again in its next iteration.
pub(crate) const JOBS_MAX: usize = 4096;

/// One job and who waits for it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) worker: Arc<WorkerHandle>,
    pub(crate) session: SessionKey,
    pub(crate) job: Job,
}

/// The workers' side of the pool.
#[derive(Debug, Clone)]
pub(crate) struct PoolClient {
    requests: Sender<Request>,
    threads: usize,
}

impl PoolClient {
    /// The workers' side of the queue and that of `threads` threads.
    pub(crate) fn new(threads: usize) -> (Self, Receiver<Request>) {
        let (requests, receiver) = bounded(JOBS_MAX);
        (Self { requests, threads }, receiver)
    }

    /// Jobs that are done at the same time.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// Hands a job over, or hands it back if the queue is full.
    ///
    /// # Panics
    /// If the pool has stopped: it outlives the workers.
    pub(crate) fn submit(&self, request: Request) -> Result<(), Request> {
        match self.requests.try_send(request) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(request)) => Err(request),
            Err(TrySendError::Disconnected(_)) => {
                unreachable!("the I/O pool outlives the workers")
            }
        }
    }
}

/// The threads. They end when every [`PoolClient`] is gone.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The operating system has no threads left.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        threads: usize,
    ) -> Result<(Self, PoolClient), std::io::Error> {
        let (client, receiver) = PoolClient::new(threads);
        let threads = (0..threads)
            .map(|at| {
                let (engine, receiver) = (Arc::clone(engine), receiver.clone());
                std::thread::Builder::new()
                    .name(format!("coney-io-{at}"))
                    .spawn(move || run(&engine, &receiver))
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { threads }, client))
    }

    /// Waits for the threads to end.
    pub(crate) fn join(self) {
        for thread in self.threads {
            thread.join().expect("an I/O thread panicked, and the panic hook ends the process");
        }
    }
}

fn run(engine: &Arc<Engine>, requests: &Receiver<Request>) {
    while let Ok(Request { worker, session, job }) = requests.recv() {
        let done = engine.run(job);
        worker.send(Message::JobDone { session, done: Box::new(done) });
    }
}
