//! What is done at each place, and what it costs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coney_base::Clock;
use coney_spdk_env::seed::Seeded;
use rocksdb::{DB, WaitForCompactOptions, WriteOptions};

use super::Error;
use super::memory::{Usage, usage};
use super::place::Place;

pub(super) const VALUE_LEN: usize = 400;
const COLD_READS: u64 = 10_000;
/// As many as the memory has blocks of 4 KiB.
const WARMING_READS: u64 = super::MEMORY_LEN / 4096;
/// Of reads beside writes: long enough for compactions, which count whoever writes.
const MIXED_TIME: Duration = Duration::from_secs(3);
/// A second, beside the reads: what each place can take, so that none is charged for writing more.
const MIXED_WRITES_PER_SEC: u64 = 20_000;
const WRITES_AT_ONCE: u64 = 20;
const SYNCED_WRITES: u64 = 3000;

/// In the order in which they are done.
pub(super) const OPERATIONS: [&str; 8] = [
    "fill in order",
    "fill at random",
    "read at random, cold",
    "read while writing",
    "read, writer unlimited",
    "  its writes",
    "write with sync",
    "  its p99",
];

/// Microseconds of an operation, of real time and of the process' CPU.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) usec: f64,
    pub(super) cpu_usec: f64,
}

/// What an operation costs, and the memory after the last of them.
pub(super) type Step = (Cost, Usage);

/// Does all [`OPERATIONS`]; the memory is that of the cgroup at `cgroup`.
pub(super) fn run(place: &Place, entries: u64, cgroup: Option<&Path>) -> Result<Vec<Step>, Error> {
    let memory = || cgroup.map_or_else(|| Ok(Usage::default()), usage);
    let mut random = Seeded::new(3);
    let mut steps = Vec::new();
    let db = place.open("sequential")?;
    let in_order = timed(entries, || {
        (0..entries).try_for_each(|number| db.put(key(number), value(number)))?;
        Ok(db.flush()?)
    })?;
    steps.push((in_order, memory()?));
    rest(&db)?;
    drop(db);
    let db = place.open("random")?;
    let at_random = timed(entries, || {
        for _ in 0..entries {
            let number = random.below(entries);
            db.put(key(number), value(number))?;
        }
        Ok(db.flush()?)
    })?;
    steps.push((at_random, memory()?));
    rest(&db)?;
    drop(db);
    place.forget_pages("sequential")?;
    let db = place.open("sequential")?;
    let cold = timed(COLD_READS, || {
        (0..COLD_READS).try_for_each(|_| {
            db.get_pinned(key(random.below(entries))).map(|found| assert!(found.is_some()))
        })?;
        Ok(())
    })?;
    steps.push((cold, memory()?));
    drop(db);
    place.forget_pages("sequential")?;
    place.forget_pages("random")?;
    let db = place.open("random")?;
    // Until whatever caches there are have what they can hold.
    (0..WARMING_READS).try_for_each(|_| db.get_pinned(key(random.below(entries))).map(drop))?;
    let (limited, _) = read_while_writing(&db, entries, Some(MIXED_WRITES_PER_SEC))?;
    steps.push((limited, memory()?));
    rest(&db)?;
    let (unlimited, writes) = read_while_writing(&db, entries, None)?;
    steps.extend([(unlimited, memory()?), (writes, memory()?)]);
    rest(&db)?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    let clock = Clock::new();
    let mut each = Vec::new();
    let with_sync = timed(SYNCED_WRITES, || {
        for number in 0..SYNCED_WRITES {
            let start = clock.now();
            db.put_opt(key(number), value(number), &synced)?;
            each.push(clock.now().since(start).as_secs_f64() * 1e6);
        }
        Ok(())
    })?;
    each.sort_by(f64::total_cmp);
    let p99 = each.get(each.len() * 99 / 100).copied().unwrap_or_default();
    steps.extend([(with_sync, memory()?), (Cost { usec: p99, cpu_usec: 0.0 }, memory()?)]);
    Ok(steps)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

fn value(number: u64) -> Vec<u8> {
    let mut seed = Seeded::new(number);
    std::iter::repeat_with(|| seed.next_u64().to_le_bytes()).take(VALUE_LEN / 8).flatten().collect()
}

/// For [`MIXED_TIME`], a thread reads at random and another writes: as much as it can, or so many a second.
/// The cost of a read and of a write; of the CPU time, the whole for each.
#[expect(clippy::disallowed_methods, reason = "a writer with a rate has nothing else to do")]
fn read_while_writing(
    db: &DB,
    entries: u64,
    writes_per_sec: Option<u64>,
) -> Result<(Cost, Cost), Error> {
    let mut random = Seeded::new(3);
    let (clock, stop, cpu) = (Clock::new(), AtomicBool::new(false), cpu_usec()?);
    let start = clock.now();
    let (read, written) = std::thread::scope(|scope| -> Result<_, Error> {
        let writer = scope.spawn(|| -> Result<u64, rocksdb::Error> {
            let (mut random, mut written) = (Seeded::new(4), 0_u64);
            while !stop.load(Ordering::Relaxed) {
                if let Some(rate) = writes_per_sec {
                    let due = Duration::from_micros(written * 1_000_000 / rate);
                    std::thread::sleep(due.saturating_sub(clock.now().since(start)));
                }
                // In small groups, because a sleep takes longer than a write.
                for _ in 0..WRITES_AT_ONCE {
                    let number = random.below(entries);
                    db.put(key(number), value(number))?;
                    written += 1;
                }
            }
            Ok(written)
        });
        let mut count = 0_u64;
        let read = loop {
            if let Err(error) = db.get_pinned(key(random.below(entries))) {
                break Err(error);
            }
            count += 1;
            if clock.now().since(start) >= MIXED_TIME {
                break Ok(count);
            }
        };
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().map_err(|_panic| "the writer panicked")??;
        Ok((read?, written))
    })?;
    let (usec, cpu_usec) = (clock.now().since(start).as_secs_f64() * 1e6, cpu_usec()? - cpu);
    let each = |count: u64| -> Result<Cost, Error> {
        let count = f64::from(u32::try_from(count)?);
        Ok(Cost { usec: usec / count, cpu_usec: cpu_usec / count })
    };
    Ok((each(read)?, each(written)?))
}

/// Waits until RocksDB has nothing more to flush or compact, which would be the next step's burden.
fn rest(db: &DB) -> Result<(), Error> {
    let mut options = WaitForCompactOptions::default();
    options.set_flush(true);
    Ok(db.wait_for_compact(&options)?)
}

/// The cost of each of `count` operations.
fn timed(count: u64, act: impl FnOnce() -> Result<(), Error>) -> Result<Cost, Error> {
    let (clock, cpu) = (Clock::new(), cpu_usec()?);
    let start = clock.now();
    act()?;
    let usec = clock.now().since(start).as_secs_f64() * 1e6;
    let count = f64::from(u32::try_from(count)?);
    Ok(Cost { usec: usec / count, cpu_usec: (cpu_usec()? - cpu) / count })
}

/// CPU time of this process so far.
fn cpu_usec() -> Result<f64, Error> {
    // Fields 14 and 15 of proc(5), counted behind the name in parentheses, in hundredths of a second.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(f64::from(ticks) * 10_000.0)
}
