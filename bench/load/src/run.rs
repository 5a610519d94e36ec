//! A whole run: connections, keys, warm-up, measurement, results.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use coney_base::{Clock, Instant};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::cli::BenchArgs;
use crate::driver::{Driver, DriverError, Shared, Task, Tick};
use crate::keys::{Chooser, KeySpace};
use crate::pace::Pace;
use crate::plan::{BadOption, LOAD_PIPELINE, Plan};
use crate::results::{Interval, Results, histogram};
use crate::wire::kernel::KernelWire;
use crate::wire::xdp::{XdpError, XdpWire};
use crate::wire::{AskError, Transport, Wire, ask};
use crate::workload::Writer;
use crate::{plot, report};

/// How long the server may take to accept a connection and to answer the first requests.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often progress is shown where nobody looks at a terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An option makes no sense.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// Nobody answers.
    #[error("no connection to {server}: {source}. Is the server running? `coney serve` starts one")]
    Connect {
        /// Where.
        server: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Nobody answers over AF_XDP, or it does not work here.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// The server refused what comes first: HELLO, AUTH or SELECT.
    #[error("the server refused {request}: {reply}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// What it said.
        reply: String,
    },
    /// The run ended early.
    #[error("the run ended early: {0}")]
    Ended(String),
    /// A file could not be written.
    #[error("{path} cannot be written: {problem}")]
    Write {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        problem: String,
    },
}

/// Runs what `args` ask for and returns the report; progress goes to standard error.
///
/// # Errors
/// [`BenchError`].
pub fn run(args: &BenchArgs) -> Result<String, BenchError> {
    let plan = Plan::new(args)?;
    let clock = Clock::new();
    let mut wires = open(&plan, clock)?;
    for wire in &mut wires {
        greet(wire.as_mut(), args, clock)?;
    }
    let server = match wires.first_mut() {
        Some(wire) => server_version(wire.as_mut(), clock),
        None => String::new(),
    };
    let shared = Shared {
        clock,
        space: KeySpace::new(args.keys),
        mix: plan.mix.clone(),
        stop: AtomicBool::new(false),
        to_load: AtomicU64::new(if args.load { args.keys } else { 0 }),
    };
    if args.load {
        let task = Task::Load(LOAD_PIPELINE);
        let left = || args.keys - shared.to_load.load(Ordering::Relaxed);
        let show = |_: &[Interval]| format!("writing keys: {} of {}", left(), args.keys);
        phase(&plan, &shared, task, &mut wires, &show)?;
    }
    let from = clock.now() + plan.warm_up;
    let until = from + plan.measured;
    let task = Task::Measure { from, until, pipeline: args.pipeline };
    let show = |intervals: &[Interval]| {
        let Some(last) = intervals.last() else { return String::new() };
        let ops = last.rate();
        let phase = if clock.now() < from { "warming up" } else { "measuring" };
        let p99 = last.latency.value_at_quantile(0.99);
        format!("{phase}: {ops:.0} operations a second, p99 {}", report::millis(p99))
    };
    let (results, intervals) = phase(&plan, &shared, task, &mut wires, &show)?;
    wires.iter_mut().for_each(|wire| wire.close());
    let warm_up = plan.warm_up;
    let measured: Vec<Interval> = intervals
        .into_iter()
        .filter(|it| it.until > warm_up)
        .map(|it| Interval { until: it.until.saturating_sub(warm_up), ..it })
        .collect();
    if let Some(path) = &args.json {
        let text = report::json(&plan, &server, &results, &measured);
        std::fs::write(path, text).map_err(|error| cannot_write(path, &error))?;
    }
    if let Some(path) = &args.plot {
        plot::draw(path, &plan, &results, &measured)
            .map_err(|problem| cannot_write(path, &problem))?;
    }
    Ok(report::table(&plan, &server, &results))
}

fn cannot_write(path: &std::path::Path, problem: &dyn std::fmt::Display) -> BenchError {
    BenchError::Write { path: path.to_owned(), problem: problem.to_string() }
}

/// One for each thread.
type Wires = Vec<Box<dyn Wire>>;

/// Runs one task on all threads.
fn phase(
    plan: &Plan,
    shared: &Shared,
    task: Task,
    wires: &mut Wires,
    show: &dyn Fn(&[Interval]) -> String,
) -> Result<(Results, Vec<Interval>), BenchError> {
    let start = shared.clock.now();
    let threads = wires.len();
    let (sender, ticks) = channel();
    std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(threads);
        for (at, wire) in wires.iter_mut().enumerate() {
            let sender = sender.clone();
            running.push(scope.spawn(move || {
                let done = drive(plan, shared, task, at, wire.as_mut(), &sender);
                if done.is_err() {
                    shared.stop.store(true, Ordering::Relaxed);
                }
                done
            }));
        }
        drop(sender);
        let intervals = watch(&ticks, shared, start, threads, show);
        let mut results = Results::new(shared.mix.kinds().len());
        for thread in running {
            let done = thread.join().expect("a thread of the load generator panicked");
            results.add(&done.map_err(|error| BenchError::Ended(error.to_string()))?);
        }
        match (&task, &results.error) {
            (Task::Load(_), Some(error)) => {
                Err(BenchError::Ended(format!("keys could not be written: {error}")))
            }
            _ => Ok((results, intervals)),
        }
    })
}

fn drive(
    plan: &Plan,
    shared: &Shared,
    task: Task,
    thread: usize,
    wire: &mut dyn Wire,
    ticks: &std::sync::mpsc::Sender<Tick>,
) -> Result<Results, DriverError> {
    let args = &plan.args;
    let mut rng = SmallRng::seed_from_u64(args.seed.wrapping_add(thread as u64));
    let chooser = Chooser::new(plan.distribution, args.keys, args.theta)
        .expect("the plan has checked keys and theta");
    let writer = Writer::new(chooser, plan.value_bytes, &mut rng);
    #[expect(clippy::cast_precision_loss, reason = "threads are few")]
    let rate = match task {
        Task::Load(_) => None,
        Task::Measure { .. } => args.rate.map(|rate| rate / args.threads as f64),
    };
    let start = match task {
        Task::Load(_) => shared.clock.now(),
        Task::Measure { from, .. } => from - plan.warm_up,
    };
    let pace = Pace::new(rate, args.arrivals, start);
    Driver::new(shared, task, pace, (writer, rng), wire.connections()).run(wire, ticks)
}

/// Collects what the threads tell, and shows it.
fn watch(
    ticks: &Receiver<Tick>,
    shared: &Shared,
    start: Instant,
    threads: usize,
    show: &dyn Fn(&[Interval]) -> String,
) -> Vec<Interval> {
    let is_terminal = std::io::stderr().is_terminal();
    let mut intervals = Vec::new();
    let mut last_log = start;
    let mut pending = histogram();
    let mut told = 0;
    for tick in ticks {
        pending += &tick;
        told += 1;
        // Threads tell at about the same time.
        if told % threads != 0 {
            continue;
        }
        let now = shared.clock.now();
        let latency = std::mem::replace(&mut pending, histogram());
        let until = now.since(start);
        let before = intervals.last().map_or(Duration::ZERO, |it: &Interval| it.until);
        intervals.push(Interval { until, length: until.saturating_sub(before), latency });
        let mut stderr = std::io::stderr().lock();
        // Progress is no result: whoever closed standard error does not want it.
        if is_terminal {
            write!(stderr, "\r\x1b[K{}", show(&intervals)).ok();
        } else if now.since(last_log) >= LOG_INTERVAL {
            last_log = now;
            writeln!(stderr, "{}", show(&intervals)).ok();
        }
    }
    if is_terminal {
        write!(std::io::stderr(), "\r\x1b[K").ok();
    }
    intervals
}

/// Opens all connections.
fn open(plan: &Plan, clock: Clock) -> Result<Wires, BenchError> {
    let args = &plan.args;
    let server = args.server;
    let mut wires = Wires::new();
    for thread in 0..args.threads {
        let connections = (thread..args.connections).step_by(args.threads).count();
        wires.push(match (args.transport, &args.interface) {
            (Transport::Xdp, Some(interface)) => {
                Box::new(XdpWire::open(interface, server, connections, clock, CONNECT_TIMEOUT)?)
            }
            (Transport::Xdp | Transport::Kernel, _) => Box::new(
                KernelWire::open(server, connections, CONNECT_TIMEOUT)
                    .map_err(|source| BenchError::Connect { server, source })?,
            ),
        });
    }
    Ok(wires)
}

/// Authenticates all connections, and chooses their protocol and their database.
fn greet(wire: &mut dyn Wire, args: &BenchArgs, clock: Clock) -> Result<(), BenchError> {
    let database = args.database.to_string();
    let mut requests = Vec::new();
    if let Some(password) = &args.password {
        let mut auth = vec!["AUTH"];
        auth.extend(args.user.as_deref());
        auth.push(password);
        requests.push(("AUTH", auth));
    }
    if args.resp == 3 {
        requests.push(("HELLO 3", vec!["HELLO", "3"]));
    }
    if args.database > 0 {
        requests.push(("SELECT", vec!["SELECT", &database]));
    }
    for at in 0..wire.connections() {
        for (request, parts) in &requests {
            match ask(wire, clock, at, parts, CONNECT_TIMEOUT) {
                Ok(Ok(_reply)) => {}
                Ok(Err(reply)) => return Err(BenchError::Refused { request, reply }),
                Err(problem) => return Err(no_answer(args, problem)),
            }
        }
    }
    Ok(())
}

fn no_answer(args: &BenchArgs, problem: AskError) -> BenchError {
    BenchError::Connect { server: args.server, source: std::io::Error::other(problem) }
}

/// Who the server says it is; nothing if it does not say.
fn server_version(wire: &mut dyn Wire, clock: Clock) -> String {
    let Ok(Ok(info)) = ask(wire, clock, 0, &["INFO", "server"], CONNECT_TIMEOUT) else {
        return String::new();
    };
    let info = String::from_utf8_lossy(&info);
    let line = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name))?;
        Some(found.trim().to_owned())
    };
    match (line("coney_version:"), line("valkey_version:"), line("redis_version:")) {
        (Some(version), ..) => format!("coney {version}"),
        (_, Some(version), _) => format!("valkey {version}"),
        (_, _, Some(version)) => format!("redis {version}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
