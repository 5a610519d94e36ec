//! What is written and read: the same commands for every alternative.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coney_base::Clock;
use coney_bench::driver::{Driver, Random, process_cpu_ns};
use coney_engine::{Engine, EngineConfig, Tuning};
use coney_resp::OwnedArgs;

use crate::Error;

/// Commands of one iteration, with what they write.
const BATCH_BYTES: usize = 64 << 10;
const COLD_READS: u64 = 3000;
/// Of keys and values. Keys lie apart, each in a block of its own: with 16 KiB they still fit the cache.
const HOT_BYTES: u64 = 256 << 10;
const HOT_ROUNDS: u32 = 16;
/// Fields of a hash; above `hash-max-listpack-entries`, so that they lie element by element.
const FIELDS: u64 = 640;
const FIELDS_A_COMMAND: u64 = 20;
const FIELD_VALUE_LEN: usize = 64;

/// Which data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Strings of 400 bytes.
    Small,
    /// Strings of 1 to 60 KiB, each length as often as its half and its double.
    Large,
    /// Hashes of 640 fields of 64 bytes, written a few fields at a time, read as a whole.
    Ranges,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Ranges => "ranges",
        }
    }

    fn tuning(self) -> Tuning {
        match self {
            Self::Small | Self::Ranges => Tuning::small(),
            Self::Large => Tuning::large(),
        }
    }

    fn value_len(self, random: &mut Random) -> usize {
        match self {
            Self::Small => 400,
            Self::Large => {
                let doublings = random.below(6);
                let len = (1 << 10 << doublings) + random.below(1 << 10 << doublings);
                usize::try_from(len.min(60 << 10)).expect("at most 60 KiB")
            }
            Self::Ranges => FIELD_VALUE_LEN,
        }
    }
}

/// See the module page.
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) entries: u64,
    /// Real sizes are larger by this: so the data need not be as large.
    scale: u64,
    fill: Vec<Vec<OwnedArgs>>,
    fill_count: u32,
    cold: Vec<[OwnedArgs; 1]>,
    hot: Vec<[OwnedArgs; 1]>,
}

/// What one alternative cost.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cost {
    /// Microseconds of a writing command, waits for compactions included.
    pub(crate) write_usec: f64,
    /// Of the slowest of a thousand iterations, in milliseconds.
    pub(crate) write_worst_msec: f64,
    /// CPU time of all threads until compactions were done, for each writing command.
    pub(crate) write_cpu_usec: f64,
    /// Tables and blob files.
    pub(crate) disk_mb: f64,
    /// Bytes written to tables and blob files for each byte of keys and values.
    pub(crate) amplification: f64,
    /// Microseconds of a read from the device.
    pub(crate) cold_usec: f64,
    /// Of a read from the block cache.
    pub(crate) hot_usec: f64,
}

impl Workload {
    /// About `bytes` of keys, every second of them overwritten.
    pub(crate) fn new(kind: Kind, bytes: u64, scale: u64) -> Self {
        let mut random = Random(7);
        // The mean of the lengths above.
        let each = match kind {
            Kind::Small => 420,
            Kind::Large => 15 << 10,
            Kind::Ranges => 90 * FIELDS,
        };
        let entries = (bytes / each).max(10);
        let mut order: Vec<u64> = match kind {
            Kind::Ranges => (0..FIELDS / FIELDS_A_COMMAND).flat_map(|_| 0..entries).collect(),
            Kind::Small | Kind::Large => {
                let again = (0..entries / 2).map(|_| random.below(entries));
                (0..entries).chain(again.collect::<Vec<_>>()).collect()
            }
        };
        shuffle(&mut order, &mut random);
        let (mut fill, mut batch, mut batch_bytes) = (Vec::new(), Vec::new(), 0);
        for number in &order {
            let mut words = match kind {
                Kind::Small | Kind::Large => vec![b"SET".to_vec(), key(*number)],
                Kind::Ranges => vec![b"HSET".to_vec(), key(*number)],
            };
            let values = if kind == Kind::Ranges { FIELDS_A_COMMAND } else { 1 };
            for _ in 0..values {
                if kind == Kind::Ranges {
                    words.push(format!("field:{:06}", random.below(1_000_000)).into_bytes());
                }
                let len = kind.value_len(&mut random);
                words.push(value(len, &mut random));
                batch_bytes += len;
            }
            batch.push(OwnedArgs::from_parts(&words));
            if batch_bytes >= BATCH_BYTES {
                fill.push(std::mem::take(&mut batch));
                batch_bytes = 0;
            }
        }
        fill.push(batch);
        let (name, reads) = match kind {
            Kind::Small | Kind::Large => ("GET", COLD_READS),
            Kind::Ranges => ("HGETALL", COLD_READS / 10),
        };
        let read = |number: u64| [OwnedArgs::from_parts(&[name.as_bytes(), &key(number)])];
        Self {
            kind,
            entries,
            scale,
            fill,
            fill_count: u32::try_from(order.len()).expect("a benchmark is small"),
            cold: (0..reads.min(entries * 4)).map(|_| read(random.below(entries))).collect(),
            hot: (0..(HOT_BYTES / each).clamp(1, entries)).map(read).collect(),
        }
    }

    /// The chosen options with sizes that suit this little data.
    fn config(&self, dir: &Path) -> EngineConfig {
        let mut tuning = self.kind.tuning();
        tuning.level_base_bytes /= self.scale;
        tuning.table_bytes /= self.scale;
        tuning.blobs.file_bytes /= self.scale;
        let size =
            |bytes: u64| usize::try_from(bytes / self.scale).expect("less than the defaults");
        EngineConfig {
            block_cache_bytes: size(256 << 20),
            write_buffer_bytes: size(64 << 20),
            // Every read is RocksDB's.
            hot_cache_bytes: 0,
            statistics: true,
            tuning,
            ..EngineConfig::new(dir)
        }
    }

    /// Writes and reads with one alternative.
    pub(crate) fn run(&self, dir: &Path, change: fn(&mut EngineConfig)) -> Result<Cost, Error> {
        let clock = Clock::new();
        let mut config = self.config(dir);
        change(&mut config);
        let engine = Arc::new(Engine::open(config.clone())?);
        let mut driver = Driver::new(&engine, 0);
        let (start, cpu) = (clock.now(), process_cpu_ns());
        let mut worst = Vec::with_capacity(self.fill.len());
        for batch in &self.fill {
            let start = clock.now();
            driver.iteration(batch);
            worst.push(clock.now().since(start).as_secs_f64() * 1e3);
        }
        let count = f64::from(self.fill_count);
        let write_usec = clock.now().since(start).as_secs_f64() * 1e6 / count;
        engine.flush()?;
        settle(&engine, &clock);
        let write_cpu_usec = nanoseconds(process_cpu_ns().saturating_sub(cpu)) / 1e3 / count;
        worst.sort_by(f64::total_cmp);
        let written = engine.written_bytes().ok_or("RocksDB does not count")?;
        drop(driver);
        drop(engine);
        let disk_mb = files_mb(dir)?;
        forget_pages(dir)?;
        let engine = Arc::new(Engine::open(config)?);
        let mut driver = Driver::new(&engine, 0);
        let cold_usec = read(&mut driver, &clock, &self.cold);
        // What is hot is in the cache after the first round.
        read(&mut driver, &clock, &self.hot);
        let rounds = (0..HOT_ROUNDS).map(|_| read(&mut driver, &clock, &self.hot));
        let hot_usec = rounds.fold(f64::INFINITY, f64::min);
        Ok(Cost {
            write_usec,
            write_worst_msec: worst[worst.len() * 999 / 1000],
            write_cpu_usec,
            disk_mb,
            amplification: float(written.flushed + written.compacted) / float(written.given),
            cold_usec,
            hot_usec,
        })
    }
}

fn float(bytes: u64) -> f64 {
    // In KiB, which are few enough to be exact.
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX))
}

fn nanoseconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() * 1e9
}

/// Microseconds of each command.
fn read(driver: &mut Driver, clock: &Clock, commands: &[[OwnedArgs; 1]]) -> f64 {
    let start = clock.now();
    for command in commands {
        driver.iteration(command);
        assert!(driver.replies().len() > 100, "the key is there");
    }
    let count = u32::try_from(commands.len()).expect("a benchmark is small");
    clock.now().since(start).as_secs_f64() * 1e6 / f64::from(count)
}

/// Waits until RocksDB has nothing to do in the background for a while.
fn settle(engine: &Engine, clock: &Clock) {
    const QUIET: Duration = Duration::from_millis(30);
    const PATIENCE: Duration = Duration::from_secs(20);
    let begin = clock.now();
    let mut busy = begin;
    loop {
        let now = clock.now();
        let figures = engine.figures();
        let is_busy =
            figures.iter().any(|(name, count)| name.starts_with("running_") && *count > 0);
        if is_busy {
            busy = now;
        }
        if now.since(busy) > QUIET || now.since(begin) > PATIENCE {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn files_mb(dir: &Path) -> Result<f64, Error> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|ext| ext == "sst" || ext == "blob") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(float(bytes) / 1024.0)
}

/// Takes the files out of the page cache.
fn forget_pages(dir: &Path) -> Result<(), Error> {
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg("find \"$0\" -type f -exec dd of={} oflag=nocache conv=notrunc,fdatasync count=0 status=none \\;")
        .arg(dir)
        .status()?;
    if status.success() { Ok(()) } else { Err("dd cannot drop pages".into()) }
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// Half of it can be compressed away.
fn value(len: usize, random: &mut Random) -> Vec<u8> {
    let mut value = Vec::with_capacity(len + 8);
    while value.len() < len / 2 {
        // What a user stores is text more often than not.
        write!(value, "{:08x}", random.below(1 << 31)).expect("a vector takes everything");
    }
    value.resize(len, b'.');
    value
}

fn shuffle(numbers: &mut [u64], random: &mut Random) {
    for at in (1..numbers.len()).rev() {
        let other = random.below(at as u64 + 1);
        numbers.swap(at, usize::try_from(other).expect("an index"));
    }
}
