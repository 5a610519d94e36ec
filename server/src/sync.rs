//! The thread that brings the log to the disk: each second, or whenever a reply waits for it.
//!
//! With `sync = always` one sync serves every write before it, of all workers: a group commit of
//! fsyncs. Workers ask with [`SyncHandle::request`] and learn of the new durable ticket by being
//! woken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use coney_control::config::Sync;
use coney_engine::Engine;
use tracing::{error, info};

use crate::runtime::Runtime;
use crate::worker::inbox::{Message, WorkerHandle};

/// How often the log is synced with `sync = everysec`.
const INTERVAL: Duration = Duration::from_secs(1);

/// What others know of the thread.
#[derive(Debug, Default)]
pub(crate) struct SyncHandle {
    requested: AtomicBool,
    stopping: AtomicBool,
    failed: AtomicBool,
    syncs: AtomicU64,
    thread: OnceLock<Thread>,
}

impl SyncHandle {
    /// Asks for a sync at once.
    pub(crate) fn request(&self) {
        if !self.requested.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether the last sync failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Syncs that succeeded.
    pub(crate) fn count(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Lets the thread end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.request();
    }
}

/// Starts the thread.
///
/// # Errors
/// The operating system has no threads left.
pub(crate) fn start(
    handle: &Arc<SyncHandle>,
    engine: &Arc<Engine>,
    runtime: &Arc<Runtime>,
    workers: &[Arc<WorkerHandle>],
) -> Result<JoinHandle<()>, std::io::Error> {
    let parts = Parts {
        handle: Arc::clone(handle),
        engine: Arc::clone(engine),
        runtime: Arc::clone(runtime),
        workers: workers.to_vec(),
    };
    let thread = std::thread::Builder::new().name("coney-sync".to_owned());
    let thread = thread.spawn(move || parts.run())?;
    handle.thread.get_or_init(|| thread.thread().clone());
    Ok(thread)
}

struct Parts {
    handle: Arc<SyncHandle>,
    engine: Arc<Engine>,
    runtime: Arc<Runtime>,
    workers: Vec<Arc<WorkerHandle>>,
}

impl Parts {
    fn run(self) {
        while !self.handle.stopping.load(Ordering::Acquire) {
            let requested = self.handle.requested.swap(false, Ordering::AcqRel);
            if let Some(failure) = self.engine.failure() {
                // RocksDB recovers from a failed write, a full disk above all, by itself; but not
                // if the log is touched meanwhile: a sync that fails then is an error for good.
                self.on_failure(&failure);
            } else if requested || self.runtime.sync() != Sync::Off {
                self.sync();
            } else {
                self.on_success();
            }
            if !self.handle.requested.load(Ordering::Acquire) {
                std::thread::park_timeout(INTERVAL);
            }
        }
    }

    fn sync(&self) {
        if self.engine.written_ticket() > self.engine.durable_ticket() {
            if let Err(problem) = self.engine.sync_wal() {
                self.on_failure(&problem.to_string());
                return;
            }
            self.handle.syncs.fetch_add(1, Ordering::Relaxed);
            for worker in &self.workers {
                worker.wake();
            }
        }
        self.on_success();
    }

    fn on_success(&self) {
        if self.handle.failed.swap(false, Ordering::Relaxed) {
            info!("writes reach the disk again");
        }
    }

    fn on_failure(&self, problem: &str) {
        if !self.handle.failed.swap(true, Ordering::Relaxed) {
            error!(
                "writes do not reach the disk: {problem}. Clients that write get an error; what was \
                 written since the last sync may not survive a crash of the host. Check the disk \
                 and the space on it. Writes go on a few seconds after there is space again; if they do not, restart \
                 the server: nothing that was acknowledged is lost by that"
            );
        }
        for worker in &self.workers {
            worker.send(Message::SyncFailed);
        }
    }
}
