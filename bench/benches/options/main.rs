//! RocksDB's options, each against what could have been chosen instead: see `docs/rocksdb.md`.
//!
//! `cargo bench --workspace --bench options -- [--quick] [--rounds N] [--mb N] [--scale N] [--dir D] [WORDS...]`
//!
//! The engine with one worker, no hot-key cache, and sizes of memtables, tables, levels, blob files
//! and the block cache a `--scale`th (16) of the defaults, over `--mb` megabytes (96) of data: six times
//! the block cache. Every alternative changes one option. They take turns; the chosen set has its turn every
//! few of them, so that its spread shows what is noise. WORDS choose rows, such as `large` or `filter`.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;

use coney_bench::driver::median;

mod alternatives;
mod workload;

use alternatives::Alternative;
use workload::{Cost, Kind, Workload};

type Error = Box<dyn std::error::Error>;

/// Alternatives between two turns of the chosen set.
const CHOSEN_EVERY: usize = 5;

/// A name, and the figure under it.
type Column = (&'static str, fn(&Cost) -> f64);

const COLUMNS: [Column; 7] = [
    ("write us", |cost| cost.write_usec),
    ("worst ms", |cost| cost.write_worst_msec),
    ("CPU us", |cost| cost.write_cpu_usec),
    ("disk MB", |cost| cost.disk_mb),
    ("w-amp", |cost| cost.amplification),
    ("cold us", |cost| cost.cold_usec),
    ("hot us", |cost| cost.hot_usec),
];

struct Plan {
    rounds: usize,
    megabytes: u64,
    scale: u64,
    dir: PathBuf,
    words: Vec<String>,
}

fn main() -> Result<(), Error> {
    let mut plan =
        Plan { rounds: 2, megabytes: 96, scale: 16, dir: std::env::temp_dir(), words: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--bench" => {}
            "--quick" => (plan.rounds, plan.megabytes) = (1, 2),
            "--rounds" => plan.rounds = next()?.parse()?,
            "--mb" => plan.megabytes = next()?.parse()?,
            "--scale" => plan.scale = next()?.parse()?,
            "--dir" => plan.dir = next()?.into(),
            _ => plan.words.push(argument.to_lowercase()),
        }
    }
    for kind in [Kind::Small, Kind::Large, Kind::Ranges] {
        let is_wanted = |(of, option, value, _): &&Alternative| {
            let text = format!("{} {option} {value}", of.name()).to_lowercase();
            *of == kind && plan.words.iter().all(|word| text.contains(word))
        };
        let rows: Vec<&Alternative> = alternatives::ALL.iter().filter(is_wanted).collect();
        if !rows.is_empty() {
            compare(&plan, kind, &rows)?;
        }
    }
    Ok(())
}

fn compare(plan: &Plan, kind: Kind, rows: &[&Alternative]) -> Result<(), Error> {
    let workload = Workload::new(kind, plan.megabytes << 20, plan.scale);
    let mut chosen = Vec::new();
    let mut costs = vec![Vec::new(); rows.len()];
    for round in 0..plan.rounds {
        for turn in 0..rows.len() {
            let run = |change| {
                let scratch = tempfile::tempdir_in(&plan.dir)?;
                workload.run(scratch.path(), change)
            };
            if turn % CHOSEN_EVERY == 0 {
                chosen.push(run(|_| {})?);
            }
            // Whoever is second finds the disk as the first left it: the order turns.
            let which = (turn + round * rows.len() / plan.rounds) % rows.len();
            costs[which].push(run(rows[which].3)?);
        }
    }
    let heads: Vec<String> = COLUMNS.iter().map(|(name, _)| format!("{name:>15}")).collect();
    println!("\n{}: {} keys, {} rounds", kind.name(), workload.entries, plan.rounds);
    println!("{:40}{}", "", heads.concat());
    let middle: Vec<f64> = COLUMNS.iter().map(|(_, part)| middle(&chosen, *part)).collect();
    let cells = middle.iter().map(|value| format!("{value:15.2}"));
    println!("{:40}{}", format!("chosen, {} runs", chosen.len()), cells.collect::<String>());
    let spread = COLUMNS.iter().map(|(_, part)| {
        let least = chosen.iter().map(part).fold(f64::INFINITY, f64::min);
        let most = chosen.iter().map(part).fold(0.0, f64::max);
        format!("{:>15}", format!("{least:.2}-{most:.2}"))
    });
    println!("{:40}{}", "  from - to", spread.collect::<String>());
    for ((_, option, value, _), costs) in rows.iter().zip(&costs) {
        let cells = COLUMNS.iter().zip(&middle).map(|((_, part), base)| {
            let value = self::middle(costs, *part);
            format!("{value:9.2}{:>6}", format!("{:.2}x", value / base))
        });
        println!("{:40}{}", format!("{option}: {value}"), cells.collect::<String>());
    }
    Ok(())
}

fn middle(costs: &[Cost], part: fn(&Cost) -> f64) -> f64 {
    median(costs.iter().map(part).collect())
}
