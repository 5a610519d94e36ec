//! Runs simulations of two TCP stacks over a faulty link until enough segments were sent:
//! `cargo run --release -p coney-datapath --example simulate -- --segments 10000000 --seed 1`.

use std::io::Write as _;
use std::process::ExitCode;

use coney_datapath::transport::tcp::simulation;

fn main() -> ExitCode {
    let Some((segments_wanted, first)) = parse(std::env::args().skip(1)) else {
        let usage = b"usage: simulate [--segments N] [--seed N]\n";
        return exit_with(std::io::stderr().write_all(usage).is_ok(), ExitCode::from(2));
    };
    let mut segments = 0;
    let mut is_told = true;
    for seed in first.. {
        is_told &= writeln!(std::io::stdout(), "seed {seed} ...").is_ok();
        let outcome = simulation::run(seed);
        segments += outcome.segments;
        let (sent, digest) = (outcome.segments, outcome.digest);
        is_told &= writeln!(std::io::stdout(), "  {sent} segments, digest {digest:016x}").is_ok();
        if segments >= segments_wanted {
            break;
        }
    }
    is_told &= writeln!(std::io::stdout(), "{segments} segments").is_ok();
    exit_with(is_told, ExitCode::SUCCESS)
}

fn exit_with(is_told: bool, code: ExitCode) -> ExitCode {
    if is_told { code } else { ExitCode::FAILURE }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<(u64, u64)> {
    let (mut segments, mut seed) = (10_000_000, 0);
    while let Some(arg) = args.next() {
        let value = args.next()?.parse().ok()?;
        match arg.as_str() {
            "--segments" => segments = value,
            "--seed" => seed = value,
            _ => return None,
        }
    }
    Some((segments, seed))
}
