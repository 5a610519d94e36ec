//! A whole run: connections, keys, warm-up, measurement, results.

use std::io::{IsTerminal, Read, Write};
use std::net::TcpStream;
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
use crate::reply::Scanner;
use crate::results::{Interval, Results, histogram};
use crate::workload::Writer;
use crate::{plot, report, request};

/// How long the server may take to accept a connection and to answer the first requests.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often progress is shown where nobody looks at a terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of INFO that are read.
const INFO_BYTES_MAX: usize = 1 << 20;

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
    let mut streams = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        streams.push(connect(args)?);
    }
    let server = match streams.first_mut() {
        Some(stream) => server_version(stream),
        None => String::new(),
    };
    let shared = Shared {
        clock,
        space: KeySpace::new(args.keys),
        mix: plan.mix.clone(),
        stop: AtomicBool::new(false),
        to_load: AtomicU64::new(if args.load { args.keys } else { 0 }),
    };
    let mut streams = split(streams, args.threads);
    if args.load {
        let task = Task::Load(LOAD_PIPELINE);
        let left = || args.keys - shared.to_load.load(Ordering::Relaxed);
        let show = |_: &[Interval]| format!("writing keys: {} of {}", left(), args.keys);
        (_, _, streams) = phase(&plan, &shared, task, streams, &show)?;
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
    let (results, intervals, _) = phase(&plan, &shared, task, streams, &show)?;
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

type Streams = Vec<Vec<TcpStream>>;

/// Runs one task on all threads.
fn phase(
    plan: &Plan,
    shared: &Shared,
    task: Task,
    streams: Streams,
    show: &dyn Fn(&[Interval]) -> String,
) -> Result<(Results, Vec<Interval>, Streams), BenchError> {
    let start = shared.clock.now();
    let threads = streams.len();
    let (sender, ticks) = channel();
    std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(threads);
        for (at, streams) in streams.into_iter().enumerate() {
            let sender = sender.clone();
            running.push(scope.spawn(move || {
                let done = drive(plan, shared, task, at, streams, &sender);
                if done.is_err() {
                    shared.stop.store(true, Ordering::Relaxed);
                }
                done
            }));
        }
        drop(sender);
        let intervals = watch(&ticks, shared, start, threads, show);
        let mut results = Results::new(shared.mix.kinds().len());
        let mut streams = Vec::with_capacity(threads);
        for thread in running {
            let done = thread.join().expect("a thread of the load generator panicked");
            let (theirs, back) = done.map_err(|error| BenchError::Ended(error.to_string()))?;
            results.add(&theirs);
            streams.push(back);
        }
        match (&task, &results.error) {
            (Task::Load(_), Some(error)) => {
                Err(BenchError::Ended(format!("keys could not be written: {error}")))
            }
            _ => Ok((results, intervals, streams)),
        }
    })
}

fn drive(
    plan: &Plan,
    shared: &Shared,
    task: Task,
    thread: usize,
    streams: Vec<TcpStream>,
    ticks: &std::sync::mpsc::Sender<Tick>,
) -> Result<(Results, Vec<TcpStream>), DriverError> {
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
    Driver::new(shared, task, pace, (writer, rng), streams)?.run(ticks)
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

/// Deals the connections out to the threads.
fn split(streams: Vec<TcpStream>, threads: usize) -> Streams {
    let mut split: Streams = (0..threads).map(|_| Vec::new()).collect();
    for (at, stream) in streams.into_iter().enumerate() {
        if let Some(part) = split.get_mut(at % threads) {
            part.push(stream);
        }
    }
    split
}

/// A connection that is authenticated, in its database, and speaks the right protocol.
fn connect(args: &BenchArgs) -> Result<TcpStream, BenchError> {
    let server = args.server;
    let failed = |source| BenchError::Connect { server, source };
    let mut stream = TcpStream::connect_timeout(&server, CONNECT_TIMEOUT).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(failed)?;
    let password = args.password.as_deref().unwrap_or_default();
    let mut auth = vec!["AUTH"];
    auth.extend(args.user.as_deref());
    auth.push(password);
    if args.password.is_some() {
        ask(&mut stream, &auth).map_err(failed)?.map_err(|reply| refused("AUTH", reply))?;
    }
    if args.resp == 3 {
        let hello = ["HELLO", "3"];
        ask(&mut stream, &hello).map_err(failed)?.map_err(|reply| refused("HELLO 3", reply))?;
    }
    if args.database > 0 {
        let select = ["SELECT", &args.database.to_string()];
        ask(&mut stream, &select).map_err(failed)?.map_err(|reply| refused("SELECT", reply))?;
    }
    Ok(stream)
}

fn refused(request: &'static str, reply: String) -> BenchError {
    BenchError::Refused { request, reply }
}

/// One request and its reply, raw; or the text of the error that it is.
fn ask(stream: &mut TcpStream, parts: &[&str]) -> std::io::Result<Result<Vec<u8>, String>> {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let mut out = Vec::new();
    request::write(&mut out, &parts);
    stream.write_all(&out)?;
    let (mut scanner, mut all) = (Scanner::default(), Vec::new());
    let mut buf = [0; 4096];
    loop {
        let count = stream.read(&mut buf)?;
        let bytes = buf.get(..count).unwrap_or_default();
        if count == 0 || all.len() > INFO_BYTES_MAX {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(bytes);
        let (_, ended) = scanner.feed(bytes).map_err(std::io::Error::other)?;
        if let Some(ended) = ended {
            return Ok(if ended.is_error { Err(scanner.error_text()) } else { Ok(all) });
        }
    }
}

/// Who the server says it is; nothing if it does not say.
fn server_version(stream: &mut TcpStream) -> String {
    let Ok(Ok(info)) = ask(stream, &["INFO", "server"]) else { return String::new() };
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
