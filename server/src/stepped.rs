//! A worker without a thread of its own: whoever holds it runs its iterations and says what time it
//! is. Packet-level benchmarks measure with it what users run, from the transport to the engine.

use std::path::Path;
use std::sync::Arc;

use coney_base::{Clock, Instant};
use coney_control::config::Config;
use coney_datapath::transport::Transport;
use coney_engine::{Engine, EngineConfig, Executor};
use crossbeam_channel::Receiver;

use crate::access;
use crate::admin::{AdminClient, AdminMessage};
use crate::pool::{PoolClient, Request};
use crate::runtime::Runtime;
use crate::worker::core::CoreParts;
use crate::worker::inbox::WorkerHandle;
use crate::worker::{Worker, WorkerParts};

/// See the module page. Nobody reads cold keys for it, and nobody answers INFO.
#[derive(Debug)]
pub struct SteppedWorker {
    worker: Worker,
    _jobs: Receiver<Request>,
    _admin: Receiver<AdminMessage>,
}

impl SteppedWorker {
    /// A worker with a new database in `dir` and the default settings, but for `settings`.
    ///
    /// # Panics
    /// If there is no such setting, or the database cannot be opened.
    pub fn new(dir: &Path, settings: &[(&str, &str)], transports: Vec<Box<dyn Transport>>) -> Self {
        let mut config = Config::default();
        for (name, value) in settings {
            config.set(name, value).expect("a setting with a value that it takes");
        }
        let engine = Engine::open(EngineConfig::new(dir)).expect("a directory of our own");
        let engine = Arc::new(engine);
        let (handle, messages) = WorkerHandle::new(0).expect("a descriptor is free");
        let (admin, admin_messages) = AdminClient::new();
        let (pool, jobs) = PoolClient::new(1);
        let rules = access::rules(&config).expect("the lists are empty");
        let clock = Clock::new();
        let worker = Worker::new(WorkerParts {
            core: CoreParts {
                executor: Executor::new(Arc::clone(&engine), 0),
                runtime: Arc::new(Runtime::new(&config)),
                handle: Arc::new(handle),
                peers: Vec::new(),
                pool,
                admin,
                sync: Arc::default(),
                rules: Arc::new(rules),
                transports: transports.len(),
                clock,
            },
            engine,
            transports,
            messages,
            busy_poll: true,
            clock,
        });
        Self { worker, _jobs: jobs, _admin: admin_messages }
    }

    /// One iteration at `now`; returns how much there was to do.
    pub fn step(&mut self, now: Instant) -> usize {
        self.worker.step(now)
    }
}
