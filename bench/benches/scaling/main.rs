//! The engine with one and with two workers: commands a second, and CPU time for each, over keys of
//! their own, over the same keys, and over one key.
//!
//! `cargo bench --workspace --bench scaling -- [--quick] [--rounds N] [--iterations N] [--row TEXT]
//! [--setup TEXT] [--turns]`
//!
//! A worker is a thread on a core of its own, if there are as many cores, with the executor that the
//! server gives it. "1 of 2" is one worker that is alone, in an engine made for two: latches and versions
//! count, but nobody contends. "2 x 1" are two engines with one worker each, which share nothing but the
//! machine: what two workers of one engine do less than that, they wait for each
//! other's cache lines, locks or latches. All data fits the hot-key caches and one memtable, so that
//! RocksDB does nothing in the background. Under callgrind, `measured_iteration` has the instructions
//! (`bench/scaling --instructions`). With `--turns`, nothing is measured: see [`turns`].

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::sync::{Arc, Barrier};

use coney_base::Clock;
use coney_bench::driver::{Driver, Random, median, thread_cpu_ns};
use coney_engine::{Engine, EngineConfig};
use coney_resp::OwnedArgs;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

mod turns;

/// Commands of one iteration: a pipeline of 16 over four connections.
const BATCH: usize = 64;
/// Iterations with commands of their own, which then come again.
const BATCHES: usize = 256;
const KEYS: u64 = 20_000;
/// More than a run writes: the thread that writes a memtable to disk would take a core from a worker.
const WRITE_BUFFER_BYTES: usize = 512 << 20;

const COMMANDS: [(&str, &str); 4] = [
    ("GET", "GET string:KEY"),
    ("SET", "SET string:KEY VALUE"),
    ("INCR", "INCR counter:KEY"),
    ("HSET", "HSET hash:KEY field VALUE"),
];
const VALUE: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
const SETUPS: [Setup; 4] = [
    Setup { name: "1 of 1", engines: 1, workers: 1, active: 1 },
    Setup { name: "1 of 2", engines: 1, workers: 2, active: 1 },
    Setup { name: "2 x 1", engines: 2, workers: 1, active: 1 },
    Setup { name: "2 of 2", engines: 1, workers: 2, active: 2 },
];

type Error = Box<dyn std::error::Error>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Own,
    Common,
    One,
}

/// Who works.
#[derive(Clone, Copy)]
struct Setup {
    name: &'static str,
    engines: usize,
    /// For which each engine is made.
    workers: usize,
    /// Workers of each engine that work.
    active: usize,
}

/// What one run cost.
#[derive(Clone, Copy)]
struct Cost {
    commands_per_sec: f64,
    cpu_ns: f64,
    /// Of a hundred commands, how many found the latch of the other worker.
    latched: f64,
}

fn main() -> Result<(), Error> {
    let (mut rounds, mut iterations, mut row, mut setup) = (7, 4000, None, None);
    let mut in_turns = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--bench" => {}
            "--quick" => (rounds, iterations) = (1, 20),
            "--rounds" => rounds = next()?.parse()?,
            "--iterations" => iterations = next()?.parse()?,
            "--row" => row = Some(next()?),
            "--setup" => setup = Some(next()?),
            "--turns" => in_turns = true,
            other => return Err(format!("{other}: no such option").into()),
        }
    }
    if in_turns {
        for (title, template, keys) in rows(row.as_deref()) {
            println!("{title}");
            turns::run(template, keys, iterations)?;
        }
        return Ok(());
    }
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    println!("{} core(s), {rounds} rounds of {iterations} iterations of {BATCH}", cores.len());
    println!(
        "{:14}{:>18}{:>18}{:>18}{:>27}{:>17}{:>17}",
        "",
        "1 of 1, 1/s, ns",
        "1 of 2, 1/s, ns",
        "2 x 1, 1/s, ns",
        "2 of 2, 1/s, ns, latched",
        "2 x 1 / 1 of 1",
        "2 of 2 / 2 x 1"
    );
    for (title, template, keys) in rows(row.as_deref()) {
        let mut costs = vec![Vec::new(); SETUPS.len()];
        for _ in 0..rounds {
            for (costs, who) in costs.iter_mut().zip(SETUPS) {
                if setup.as_ref().is_some_and(|setup| setup != who.name) {
                    continue;
                }
                costs.push(run(template, keys, who, &cores, iterations)?);
            }
        }
        report(&title, &costs);
    }
    Ok(())
}

/// Rows whose title begins like this: title, command, and whose keys.
fn rows(wanted: Option<&str>) -> Vec<(String, &'static str, Keys)> {
    let whose = [(Keys::Own, "own"), (Keys::Common, "common"), (Keys::One, "one")];
    let all = COMMANDS.iter().flat_map(|(name, template)| {
        whose.map(|(keys, whose)| (format!("{name}, {whose}"), *template, keys))
    });
    all.filter(|(title, ..)| wanted.is_none_or(|wanted| title.starts_with(wanted))).collect()
}

fn report(title: &str, costs: &[Vec<Cost>]) {
    let of = |which: usize, part: fn(&Cost) -> f64| median(costs[which].iter().map(part).collect());
    let cell = |which| {
        format!(
            "{:.0} {:6.0}",
            of(which, |cost| cost.commands_per_sec),
            of(which, |cost| cost.cpu_ns)
        )
    };
    let latched = of(3, |cost| cost.latched);
    // Of each round, because the machine is not the same in the next one.
    let speed = |which: usize, base: usize| {
        let pairs = costs[which].iter().zip(&costs[base]);
        median(pairs.map(|(cost, base)| cost.commands_per_sec / base.commands_per_sec).collect())
    };
    let cpu = of(3, |cost| cost.cpu_ns) / of(2, |cost| cost.cpu_ns);
    println!(
        "{title:14}{:>18}{:>18}{:>18}{:>27}{:>17}{:>17}",
        cell(0),
        cell(1),
        cell(2),
        format!("{} {latched:6.2}%", cell(3)),
        format!("{:.2}x", speed(2, 0)),
        format!("{:.2}x {cpu:.2}x", speed(3, 2))
    );
}

fn run(
    template: &str,
    keys: Keys,
    setup: Setup,
    cores: &[usize],
    iterations: usize,
) -> Result<Cost, Error> {
    let dirs: Vec<_> =
        (0..setup.engines).map(|_| tempfile::TempDir::new()).collect::<Result<_, _>>()?;
    let open = |dir: &tempfile::TempDir| {
        Engine::open(EngineConfig {
            workers: setup.workers,
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            ..EngineConfig::new(dir.path())
        })
    };
    let engines: Vec<_> =
        dirs.iter().map(|dir| open(dir).map(Arc::new)).collect::<Result<_, _>>()?;
    let active = setup.engines * setup.active;
    let start = Barrier::new(active);
    let clock = Clock::new();
    let parts: Vec<Result<(f64, f64, u64), rustix::io::Errno>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..active)
            .map(|worker| {
                let (engine, start, clock) = (&engines[worker / setup.active], &start, &clock);
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(cores[worker % cores.len()]);
                    let pinned = sched_setaffinity(None, &set);
                    let mut driver = Driver::new(engine, worker % setup.active);
                    fill(&mut driver, worker, keys, KEYS);
                    let batches = commands(template, keys, worker, (KEYS, BATCHES));
                    // What each worker caches.
                    batches.iter().for_each(|batch| driver.iteration(batch));
                    driver.latched = 0;
                    start.wait();
                    let (begin, cpu) = (clock.now(), thread_cpu_ns());
                    for iteration in 0..iterations {
                        measured_iteration(&mut driver, &batches[iteration % batches.len()]);
                    }
                    let cpu = std::time::Duration::from_nanos(thread_cpu_ns() - cpu);
                    let wall = clock.now().since(begin).as_secs_f64();
                    pinned.map(|()| (wall, cpu.as_secs_f64(), driver.latched))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker ends")).collect()
    });
    let parts: Vec<(f64, f64, u64)> = parts.into_iter().collect::<Result<_, _>>()?;
    let each = f64::from(u32::try_from(iterations * BATCH)?);
    let all = each * f64::from(u32::try_from(active)?);
    let latched: u64 = parts.iter().map(|part| part.2).sum();
    Ok(Cost {
        commands_per_sec: parts.iter().map(|part| each / part.0).sum(),
        cpu_ns: parts.iter().map(|part| part.1).sum::<f64>() * 1e9 / all,
        latched: f64::from(u32::try_from(latched)?) * 100.0 / all,
    })
}

#[inline(never)]
fn measured_iteration(driver: &mut Driver, batch: &[OwnedArgs]) {
    driver.iteration(batch);
}

/// Strings, counters and hashes under every key of this worker.
fn fill(driver: &mut Driver, worker: usize, keys: Keys, count: u64) {
    for number in 0..if keys == Keys::One { 1 } else { count } {
        let key = key(number, keys, worker);
        let one = |words: &[&str]| OwnedArgs::from_parts(words);
        driver.iteration(&[
            one(&["SET", &format!("string:{key}"), VALUE]),
            one(&["SET", &format!("counter:{key}"), "1000000"]),
            one(&["HSET", &format!("hash:{key}"), "field", VALUE, "other", "1"]),
        ]);
    }
}

fn key(number: u64, keys: Keys, worker: usize) -> String {
    match keys {
        Keys::Own => format!("{worker}:{number:08}"),
        Keys::Common | Keys::One => format!("c:{number:08}"),
    }
}

/// So many batches of commands on so many keys.
fn commands(
    template: &str,
    keys: Keys,
    worker: usize,
    (count, batches): (u64, usize),
) -> Vec<Vec<OwnedArgs>> {
    let mut random = Random(worker as u64 + 1);
    let mut one = || {
        let number = if keys == Keys::One { 0 } else { random.below(count) };
        let key = key(number, keys, worker);
        let words =
            template.split(' ').map(|word| word.replace("KEY", &key).replace("VALUE", VALUE));
        OwnedArgs::from_parts(&words.collect::<Vec<String>>())
    };
    (0..batches).map(|_| (0..BATCH).map(|_| one()).collect()).collect()
}
