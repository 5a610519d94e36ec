//! RocksDB on an ordinary file system against RocksDB on ours over io_uring, in a file of the same
//! disk: the same operations in turns, medians over the rounds. The ordinary file system twice: as
//! RocksDB uses it, with all free memory as a second cache behind the block cache, and with direct I/O
//! for tables, which has the memory that ours has. With the feature `spdk`, ours over SPDK's aio bdev
//! too.
//!
//! `cargo bench --workspace --bench storage -- [directory] [entries] [rounds]`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coney_base::Clock;
use coney_spdk_env::device::uring::UringDevice;
use coney_spdk_env::fs::{FileSystem, FormatOptions, format};
use coney_spdk_env::seed::Seeded;
use coney_spdk_env_shim::{Mounted, env};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Env, Options, WriteOptions};

const VALUE_LEN: usize = 400;
/// Of the device's file, for each entry: room for compactions.
const DEVICE_LEN_PER_ENTRY: u64 = 4096;
/// RocksDB reserves whole tables and logs.
const DEVICE_LEN_MIN: u64 = 512 << 20;
const BLOCK_CACHE_LEN: usize = 32 << 20;
const COLD_READS: u64 = 10_000;
const MIXED_READS: u64 = 20_000;
const SYNCED_WRITES: u64 = 1000;

const OPERATIONS: [&str; 6] = [
    "fill in order",
    "fill at random",
    "read at random, cold",
    "read while writing",
    "write with sync",
    "  its p99",
];

type Error = Box<dyn std::error::Error>;

/// Where a database is, and what has to live as long.
struct Place {
    path: PathBuf,
    env: Env,
    direct: bool,
}

/// What is compared.
const PLACES: &[&str] = if cfg!(feature = "spdk") {
    &["ext4", "direct", "uring", "spdk aio"]
} else {
    &["ext4", "direct", "uring"]
};

/// Microseconds of an operation, of real time and of the process' CPU.
#[derive(Clone, Copy, Default)]
struct Cost {
    usec: f64,
    cpu_usec: f64,
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let entries: u64 = arguments.next().map_or(Ok(300_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    println!("{entries} entries of {VALUE_LEN} bytes, {rounds} rounds, in {}", directory.display());
    let mut costs = vec![Vec::new(); PLACES.len()];
    #[cfg(feature = "spdk")]
    let spdk = spdk::Aio::start(&directory, entries)?;
    for round in 0..rounds {
        let scratch = tempfile::tempdir_in(&directory)?;
        // Whoever is second finds the disk as the first left it: they take turns.
        for turn in 0..PLACES.len() {
            let which = (round + turn) % PLACES.len();
            let cost = match which {
                0 => run(&posix(&scratch.path().join("posix"), false)?, entries)?,
                1 => run(&posix(&scratch.path().join("posix-direct"), true)?, entries)?,
                2 => run(&uring(&scratch.path().join("device"), entries)?, entries)?,
                #[cfg(feature = "spdk")]
                3 => run(&spdk.place(round)?, entries)?,
                _ => unreachable!("there are {} places", PLACES.len()),
            };
            costs[which].push(cost);
        }
    }
    let heads: Vec<String> = PLACES.iter().map(|place| format!("{place:>10} {:>7}", "")).collect();
    println!("\n{:22} {}   CPU: {}", "us per operation", heads.join(" "), PLACES.join(", "));
    for (at, name) in OPERATIONS.iter().enumerate() {
        let of = |which: usize, part: fn(&Cost) -> f64| {
            median(costs[which].iter().map(|cost: &[Cost; 6]| part(&cost[at])).collect())
        };
        let ext4 = of(0, |cost| cost.usec);
        let shown = (0..PLACES.len()).map(|which| {
            let usec = of(which, |cost| cost.usec);
            format!("{usec:10.2} {:6.2}x", ext4 / usec)
        });
        let cpu = (0..PLACES.len()).map(|which| format!("{:.2}", of(which, |cost| cost.cpu_usec)));
        println!(
            "{name:22} {}   {}",
            shown.collect::<Vec<_>>().join(" "),
            cpu.collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn posix(path: &Path, direct: bool) -> Result<Place, Error> {
    Ok(Place { path: path.to_owned(), env: Env::new()?, direct })
}

fn make_device(path: &Path, entries: u64) -> Result<(), Error> {
    let file = std::fs::File::create_new(path)?;
    // Written, not only reserved: ext4 has to note the first write to each reserved block.
    let chunk = vec![0; 1 << 20];
    for _ in 0..(entries * DEVICE_LEN_PER_ENTRY).max(DEVICE_LEN_MIN).div_ceil(1 << 20) {
        std::io::Write::write_all(&mut &file, &chunk)?;
    }
    Ok(file.sync_all()?)
}

fn uring(path: &Path, entries: u64) -> Result<Place, Error> {
    make_device(path, entries)?;
    let options = FormatOptions { uuid: [1; 16], journal_blocks: None, force: false };
    let device = format(UringDevice::open(path)?, &options)?;
    let mounted = Arc::new(Mounted::new(FileSystem::mount(device)?));
    Ok(Place { path: PathBuf::from("/db"), env: env(&mounted)?, direct: false })
}

#[cfg(feature = "spdk")]
mod spdk {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use coney_spdk_env::device::spdk::{Spdk, SpdkOptions};
    use coney_spdk_env::fs::{FileSystem, FormatOptions, format};
    use coney_spdk_env_shim::{Mounted, env};

    use super::{Error, Place, make_device};

    /// SPDK, which starts once in a process, with an aio bdev.
    pub(super) struct Aio {
        spdk: Arc<Spdk>,
        _scratch: tempfile::TempDir,
    }

    impl Aio {
        pub(super) fn start(directory: &Path, entries: u64) -> Result<Self, Error> {
            let scratch = tempfile::tempdir_in(directory)?;
            let file = scratch.path().join("spdk");
            make_device(&file, entries)?;
            let config = format!(
                r#"{{"subsystems":[{{"subsystem":"bdev","config":[
                    {{"method":"bdev_aio_create","params":{{"name":"A","filename":"{}","block_size":4096}}}}]}}]}}"#,
                file.display()
            );
            let options = SpdkOptions {
                config: config.into_bytes(),
                no_huge: true,
                ..SpdkOptions::default()
            };
            Ok(Self { spdk: Spdk::start(&options)?, _scratch: scratch })
        }

        /// A new file system on the bdev, in place of that of the round before.
        pub(super) fn place(&self, round: usize) -> Result<Place, Error> {
            // What is left of the old one is told from the new one by this.
            let uuid = u128::try_from(round)?.to_be_bytes();
            let options = FormatOptions { uuid, journal_blocks: None, force: true };
            let device = format(self.spdk.open("A")?, &options)?;
            let mounted = Arc::new(Mounted::new(FileSystem::mount(device)?));
            Ok(Place { path: PathBuf::from("/db"), env: env(&mounted)?, direct: false })
        }
    }
}

fn open(place: &Place, name: &str) -> Result<DB, Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_env(&place.env);
    options.increase_parallelism(2);
    options.set_compression_type(DBCompressionType::None);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_use_direct_reads(place.direct);
    options.set_use_direct_io_for_flush_and_compaction(place.direct);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_LEN));
    table.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&table);
    Ok(DB::open(
        &options,
        place.path.with_file_name(format!(
            "{}-{name}",
            place.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default()
        )),
    )?)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

fn run(place: &Place, entries: u64) -> Result<[Cost; 6], Error> {
    let mut random = Seeded::new(3);
    let value = |number: u64| {
        let mut seed = Seeded::new(number);
        std::iter::repeat_with(|| seed.next_u64().to_le_bytes())
            .take(VALUE_LEN / 8)
            .flatten()
            .collect::<Vec<u8>>()
    };
    let db = open(place, "sequential")?;
    let in_order = timed(entries, || {
        (0..entries).try_for_each(|number| db.put(key(number), value(number)))?;
        Ok(db.flush()?)
    })?;
    drop(db);
    let db = open(place, "random")?;
    let at_random = timed(entries, || {
        for _ in 0..entries {
            let number = random.below(entries);
            db.put(key(number), value(number))?;
        }
        Ok(db.flush()?)
    })?;
    drop(db);
    forget_pages(place)?;
    let db = open(place, "sequential")?;
    let cold = timed(COLD_READS, || {
        (0..COLD_READS).try_for_each(|_| {
            db.get_pinned(key(random.below(entries))).map(|found| assert!(found.is_some()))
        })?;
        Ok(())
    })?;
    drop(db);
    let db = open(place, "random")?;
    let stop = AtomicBool::new(false);
    let mixed = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<(), rocksdb::Error> {
            let mut random = Seeded::new(4);
            while !stop.load(Ordering::Relaxed) {
                let number = random.below(entries);
                db.put(key(number), value(number))?;
            }
            Ok(())
        });
        let cost = timed(MIXED_READS, || {
            (0..MIXED_READS)
                .try_for_each(|_| db.get_pinned(key(random.below(entries))).map(drop))?;
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_panic| "the writer panicked")??;
        cost
    })?;
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
    Ok([in_order, at_random, cold, mixed, with_sync, Cost { usec: p99, cpu_usec: 0.0 }])
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

/// Takes the files of an ordinary file system out of the page cache; ours are not in it.
fn forget_pages(place: &Place) -> Result<(), Error> {
    let Some(directory) = place.path.parent().filter(|_| !place.path.starts_with("/db")) else {
        return Ok(());
    };
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg("find \"$0\" -type f -path '*posix*' -exec dd of={} oflag=nocache conv=notrunc,fdatasync count=0 status=none \\;")
        .arg(directory)
        .status()?;
    if status.success() { Ok(()) } else { Err("dd cannot drop pages".into()) }
}
