//! RocksDB on an ordinary file system against RocksDB on ours over io_uring, in a file of the same
//! disk: the same operations in turns, medians over the rounds. All have the same memory in total, several
//! times smaller than the data. The ordinary file system is there twice: as RocksDB uses it, with most of
//! that memory as page cache behind a small block cache, and with direct I/O for tables, which has it as
//! block cache, like ours. With the feature `spdk`, ours over SPDK's aio bdev too.
//!
//! `cargo bench --workspace --bench storage -- [--quick] [--ext4-cache MIB] [--prepopulate] [directory] [entries] [rounds]`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coney_bench::driver::median;

mod memory;
mod place;
mod steps;

use memory::{Limited, Usage};
use place::{PLACES, Place, make_device};
use steps::{Cost, OPERATIONS, Step, VALUE_LEN};

/// All memory of a place, the page cache with it. The process takes up to 50 MiB beside its
/// block cache.
const MEMORY_LEN: u64 = 224 << 20;
/// Of it, the block cache where there is no page cache behind it.
const BLOCK_CACHE_MIB: u64 = 152;
/// Of it, the block cache where the page cache has the rest.
const EXT4_BLOCK_CACHE_MIB: u64 = 8;
/// For jemalloc: what was freed goes back soon, because what it keeps is somebody's cache.
const MALLOC_CONF: &str = "narenas:2,dirty_decay_ms:1000";

type Error = Box<dyn std::error::Error>;

struct Plan {
    directory: PathBuf,
    entries: u64,
    rounds: usize,
    ext4_mib: u64,
    prepopulates: bool,
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "--alone" => run_alone(rest),
        _ => compare(&plan(&arguments)?),
    }
}

fn plan(arguments: &[String]) -> Result<Plan, Error> {
    let (directory, mut entries, mut rounds) = (std::env::temp_dir(), 1_200_000, 5);
    let (mut arguments, mut words, mut ext4_mib) =
        (arguments.iter(), Vec::new(), EXT4_BLOCK_CACHE_MIB);
    let mut prepopulates = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => (entries, rounds) = (2000, 1),
            "--prepopulate" => prepopulates = true,
            "--ext4-cache" => ext4_mib = arguments.next().ok_or("a value is missing")?.parse()?,
            _ => words.push(argument),
        }
    }
    let mut words = words.into_iter();
    Ok(Plan {
        directory: words.next().map_or(directory, PathBuf::from),
        entries: words.next().map_or(Ok(entries), |text| text.parse())?,
        rounds: words.next().map_or(Ok(rounds), |text| text.parse())?,
        ext4_mib,
        prepopulates,
    })
}

fn compare(plan: &Plan) -> Result<(), Error> {
    let Plan { directory, entries, rounds, .. } = plan;
    println!(
        "{entries} entries of {VALUE_LEN} bytes, {} MiB; {rounds} rounds, in {}",
        (entries * u64::try_from(VALUE_LEN)?) >> 20,
        directory.display()
    );
    println!("block cache: {BLOCK_CACHE_MIB} MiB, of ext4 {} MiB", plan.ext4_mib);
    match Limited::new(MEMORY_LEN) {
        Ok(_) => println!("memory of each in all, with the page cache: {} MiB", MEMORY_LEN >> 20),
        Err(error) => {
            println!("no cgroup with a limit ({error}): ext4 has all free memory as a second cache")
        }
    }
    let scratch = tempfile::tempdir_in(directory)?;
    let device = scratch.path().join("device");
    make_device(&device, *entries)?;
    let mut found = vec![Vec::new(); PLACES.len()];
    for round in 0..*rounds {
        // Whoever is second finds the disk as the first left it: they take turns.
        for turn in 0..PLACES.len() {
            let which = (round + turn) % PLACES.len();
            let scratch = tempfile::tempdir_in(directory)?;
            found[which].push(in_limit(plan, PLACES[which], scratch.path(), &device)?);
        }
    }
    show(&found);
    Ok(())
}

/// Measures a place in a process of its own: what an allocator keeps of one place would be the next one's
/// loss.
fn in_limit(plan: &Plan, name: &str, scratch: &Path, device: &Path) -> Result<Vec<Step>, Error> {
    let limited = Limited::new(MEMORY_LEN).ok();
    let cache_mib = if name == "ext4" { plan.ext4_mib } else { BLOCK_CACHE_MIB };
    let prepopulates = plan.prepopulates && name != "ext4";
    let output = Command::new(std::env::current_exe()?)
        .env("MALLOC_CONF", MALLOC_CONF)
        .args(["--alone", name, &plan.entries.to_string(), &(cache_mib << 20).to_string()])
        .arg(prepopulates.to_string())
        .args([scratch, device])
        .args(limited.as_ref().map(Limited::directory))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let steps: Vec<Step> = text.lines().map(parsed).collect::<Result<_, _>>()?;
    if steps.len() == OPERATIONS.len() { Ok(steps) } else { Err("a step is missing".into()) }
}

/// What [`in_limit`] starts.
fn run_alone(arguments: &[String]) -> Result<(), Error> {
    let [name, entries, block_cache_len, prepopulates, scratch, device, cgroup @ ..] = arguments
    else {
        return Err("arguments are missing".into());
    };
    let cgroup = cgroup.first().map(Path::new);
    cgroup.map_or(Ok(()), memory::enter)?;
    let (block_cache_len, prepopulates) = (block_cache_len.parse()?, prepopulates.parse()?);
    let (scratch, device) = (Path::new(scratch), Path::new(device));
    let place = Place::new(name, scratch, device, block_cache_len, prepopulates)?;
    for (cost, memory) in steps::run(&place, entries.parse()?, cgroup)? {
        println!("{} {} {} {}", cost.usec, cost.cpu_usec, memory.process, memory.page_cache);
    }
    Ok(())
}

/// A step from its line.
fn parsed(line: &str) -> Result<Step, Error> {
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [usec, cpu_usec, process, page_cache] = numbers.as_slice() else {
        return Err("not the line of a step".into());
    };
    let (cost, memory) = (
        Cost { usec: *usec, cpu_usec: *cpu_usec },
        Usage { process: *process, page_cache: *page_cache },
    );
    Ok((cost, memory))
}

/// Prints medians, and ratios to the first place.
fn show(found: &[Vec<Vec<Step>>]) {
    let heads: Vec<String> = PLACES.iter().map(|place| format!("{place:>10} {:>7}", "")).collect();
    println!(
        "\n{:22} {}   CPU: {}   MiB, process + page cache",
        "us per operation",
        heads.join(" "),
        PLACES.join(", ")
    );
    for (at, name) in OPERATIONS.iter().enumerate() {
        let of = |which: usize, part: fn(&Step) -> f64| {
            median(found[which].iter().filter_map(|steps| steps.get(at)).map(part).collect())
        };
        let ext4 = of(0, |step| step.0.usec);
        let each = |show: &dyn Fn(usize) -> String| -> Vec<String> {
            (0..PLACES.len()).map(show).collect()
        };
        let costs = each(&|which| {
            let usec = of(which, |step| step.0.usec);
            format!("{usec:10.2} {:6.2}x", ext4 / usec)
        });
        let cpu = each(&|which| format!("{:.2}", of(which, |step| step.0.cpu_usec)));
        let memory = each(&|which| {
            let (process, cache) =
                (of(which, |step| step.1.process), of(which, |step| step.1.page_cache));
            format!("{process:.0} + {cache:.0}")
        });
        println!("{name:22} {}   {}   {}", costs.join(" "), cpu.join(", "), memory.join(", "));
    }
}
