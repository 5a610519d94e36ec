//! The thread that removes what deleted collections and long strings left behind, and gives back
//! their space on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coney_engine::Engine;
use tracing::error;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Dead versions whose elements are removed at a time, each with up to two range tombstones.
const RECLAIMED_MAX: usize = 32;

/// The running thread.
#[derive(Debug)]
pub(crate) struct Reclaimer {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reclaimer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no threads left.
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<Self, std::io::Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (engine, is_stopping) = (Arc::clone(engine), Arc::clone(&stopping));
        let thread = std::thread::Builder::new().name("coney-reclaim".to_owned());
        let thread = thread.spawn(move || run(&engine, &is_stopping))?;
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

fn run(engine: &Engine, stopping: &AtomicBool) {
    let mut is_failing = false;
    while !stopping.load(Ordering::Acquire) {
        match engine.reclaim(RECLAIMED_MAX) {
            Ok(_) => is_failing = false,
            Err(problem) => {
                if !is_failing {
                    error!("elements of deleted keys stay on disk: {problem}");
                }
                is_failing = true;
            }
        }
        if !engine.compact_reclaimed() {
            std::thread::park_timeout(INTERVAL);
        }
    }
}
