//! The thread that looks for keys whose deadline has passed and lets workers remove them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coney_base::Clock;
use coney_engine::{DueKey, Engine};
use tracing::error;

use crate::runtime::Runtime;
use crate::worker::inbox::{Message, WorkerHandle};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// How soon it looks again while there is more than one message's worth.
const INTERVAL_BUSY: Duration = Duration::from_millis(5);
/// Keys and fields of hashes of one message: removing them takes a worker well below a millisecond.
const KEYS_MAX: usize = 256;

/// The running thread.
#[derive(Debug)]
pub(crate) struct Expiry {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Expiry {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no threads left.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        runtime: &Arc<Runtime>,
        workers: &[Arc<WorkerHandle>],
        clock: Clock,
    ) -> Result<Self, std::io::Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        let parts = Parts {
            engine: Arc::clone(engine),
            runtime: Arc::clone(runtime),
            workers: workers.to_vec(),
            stopping: Arc::clone(&stopping),
            clock,
        };
        let thread = std::thread::Builder::new().name("coney-expiry".to_owned());
        Ok(Self { stopping, thread: thread.spawn(move || parts.run())? })
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().expect("the panic hook ends the process");
    }
}

struct Parts {
    engine: Arc<Engine>,
    runtime: Arc<Runtime>,
    workers: Vec<Arc<WorkerHandle>>,
    stopping: Arc<AtomicBool>,
    clock: Clock,
}

impl Parts {
    fn run(self) {
        let mut turns = self.workers.iter().cycle();
        let mut is_failing = false;
        while !self.stopping.load(Ordering::Acquire) {
            let mut interval = INTERVAL;
            let now = self.clock.unix_now();
            // In a pause nothing changes by itself.
            if self.runtime.active_expire.load(Ordering::Relaxed) && !self.engine.is_paused(now) {
                match self.engine.due(now, KEYS_MAX) {
                    Ok(due) if due.is_empty() => is_failing = false,
                    Ok(due) => {
                        is_failing = false;
                        if due.len() == KEYS_MAX || due.iter().any(DueKey::has_more) {
                            interval = INTERVAL_BUSY;
                        }
                        if let Some(worker) = turns.next() {
                            worker.send(Message::Expire(due));
                        }
                    }
                    Err(problem) => {
                        if !is_failing {
                            error!("expired keys cannot be found, and stay on disk: {problem}");
                        }
                        is_failing = true;
                    }
                }
            }
            std::thread::park_timeout(interval);
        }
    }
}
