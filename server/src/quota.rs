//! The thread that measures how many bytes named tables take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coney_base::{Clock, Instant};
use coney_engine::{Due, Engine};
use tracing::error;

/// How often it measures.
const INTERVAL: Duration = Duration::from_secs(1);

/// It rests so many times as long as settling tables has taken, so that a table which stays near its limit
/// costs the others at most so small a part of the device. The same goes for the figures of tables without
/// a limit.
const REST_FACTOR: u32 = 10;

/// So long it rests at least where no table refuses anything.
const INTERVAL_OF_SETTLING: Duration = Duration::from_secs(10);

/// The running thread.
#[derive(Debug)]
pub(crate) struct QuotaKeeper {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl QuotaKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no threads left.
    pub(crate) fn start(engine: &Arc<Engine>, clock: Clock) -> Result<Self, std::io::Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (engine, is_stopping) = (Arc::clone(engine), Arc::clone(&stopping));
        let thread = std::thread::Builder::new().name("coney-quota".to_owned());
        let thread = thread.spawn(move || run(&engine, &is_stopping, clock))?;
        Ok(Self { stopping, thread })
    }

    /// Tells the thread to end. A compaction that it waits for ends when the engine's background work
    /// is stopped.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(self) {
        self.thread.join().expect("the panic hook ends the process");
    }
}

fn run(engine: &Engine, stopping: &AtomicBool, clock: Clock) {
    let mut is_failing = false;
    let mut rests_until = Instant::ZERO;
    let mut rests_longer_until = Instant::ZERO;
    let mut figures_stand_until = Instant::ZERO;
    while !stopping.load(Ordering::Acquire) {
        let begin = clock.now();
        let done = engine.measure_tables().and_then(|due| {
            let is_due = match due {
                Due::Never => false,
                Due::Soon => begin >= rests_until.max(rests_longer_until),
                Due::Now => begin >= rests_until,
            };
            if is_due {
                engine.settle_tables()?;
                let end = clock.now();
                rests_until = end + end.since(begin) * REST_FACTOR;
                rests_longer_until = end + INTERVAL_OF_SETTLING;
            }
            Ok(())
        });
        match done {
            Ok(()) => is_failing = false,
            Err(problem) => {
                if !is_failing && !stopping.load(Ordering::Acquire) {
                    error!("the sizes of named tables cannot be measured: {problem}");
                }
                is_failing = true;
            }
        }
        let begin = clock.now();
        if begin >= figures_stand_until {
            engine.measure_unlimited_tables();
            let end = clock.now();
            figures_stand_until = end + end.since(begin) * REST_FACTOR;
        }
        std::thread::park_timeout(INTERVAL);
    }
}
