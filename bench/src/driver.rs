//! A worker's way to the engine without a server: commands in, replies and a committed batch out.

use std::hint::black_box;
use std::sync::Arc;

use coney_base::UnixMillis;
use coney_engine::{Client, CommitOutcome, Engine, Executor, JobDone, Outcome, Park};
use coney_resp::{Args, OwnedArgs, Protocol, Reply};

/// What the clock always shows: 2024-01-01.
const NOW: UnixMillis = UnixMillis(1_704_067_200_000);

/// One worker and one client.
#[derive(Debug)]
pub struct Driver {
    engine: Arc<Engine>,
    executor: Executor,
    client: Client,
    out: Vec<u8>,
    /// Commands that found a latch of another worker.
    pub latched: u64,
}

impl Driver {
    /// Worker `worker` of `engine`.
    pub fn new(engine: &Arc<Engine>, worker: usize) -> Self {
        Self {
            executor: Executor::new(Arc::clone(engine), worker),
            engine: Arc::clone(engine),
            client: Client::new(1),
            out: Vec::new(),
            latched: 0,
        }
    }

    /// Executes commands as one iteration of a worker does, and commits.
    pub fn iteration(&mut self, commands: &[OwnedArgs]) {
        self.out.clear();
        for args in commands {
            let mut reply = Reply::new(&mut self.out, Protocol::Resp2);
            let args = args.as_args();
            let outcome = self.executor.execute(NOW, &mut self.client, args, &mut reply, 0);
            if !matches!(outcome, Outcome::Done) {
                self.end(args, outcome);
            }
        }
        black_box(&self.out);
        self.commit();
    }

    /// The replies of the last iteration.
    pub fn replies(&self) -> &[u8] {
        &self.out
    }

    /// Ends a command that has to wait: does what the pool would do, and tries again.
    #[cold]
    fn end(&mut self, args: Args<'_>, mut outcome: Outcome) {
        for attempt in 1.. {
            match outcome {
                Outcome::Done | Outcome::Close => return,
                Outcome::Park(Park::Latch) => {
                    self.latched += 1;
                    self.commit();
                    // The other worker may have no core of its own.
                    std::thread::yield_now();
                }
                Outcome::Park(Park::Stall) => self.commit(),
                Outcome::Park(Park::Job(job)) => match self.engine.run(*job) {
                    JobDone::Fetched => {}
                    JobDone::Built(built) => self.executor.deliver(*built),
                    JobDone::Replied(reply) => return self.out.extend_from_slice(&reply),
                },
                Outcome::Park(other) => unreachable!("{args:?} waits for {other:?}"),
            }
            let mut reply = Reply::new(&mut self.out, Protocol::Resp2);
            outcome = self.executor.execute(NOW, &mut self.client, args, &mut reply, attempt);
        }
    }

    /// Commits what is open.
    pub fn commit(&mut self) {
        loop {
            match self.executor.commit() {
                CommitOutcome::Nothing | CommitOutcome::Committed { .. } => return,
                CommitOutcome::Stalled => std::thread::yield_now(),
                CommitOutcome::Failed(error) => unreachable!("{error}"),
            }
        }
    }
}

/// Numbers that look random, the same in each run.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // PCG's multiplier; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// CPU time of this thread in nanoseconds: what other programs do meanwhile is not in it.
///
/// # Panics
/// Without proc(5).
pub fn thread_cpu_ns() -> u64 {
    cpu_ns_of(std::path::Path::new("/proc/thread-self"))
}

/// CPU time of all threads of this process that are alive, in nanoseconds: RocksDB's are, once started.
///
/// # Panics
/// Without proc(5).
pub fn process_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    tasks.map(|task| cpu_ns_of(&task.expect("a thread has a name").path())).sum()
}

/// The first figure of `proc_pid_schedstat(5)`.
fn cpu_ns_of(thread: &std::path::Path) -> u64 {
    // A thread that ended meanwhile has none.
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
