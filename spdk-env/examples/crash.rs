//! Power cuts at every write of random runs: `crash [first seed] [seeds] [operations]`. One seed
//! replays what it found.

#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(clippy::panic, reason = "a failed case ends the run with its seed")]

#[path = "../tests/crash/harness.rs"]
mod harness;

fn main() {
    let mut numbers = std::env::args().skip(1).map_while(|argument| argument.parse::<u64>().ok());
    let first = numbers.next().unwrap_or(0);
    let seeds = numbers.next().unwrap_or(1000);
    let operations = numbers.next().and_then(|number| usize::try_from(number).ok()).unwrap_or(120);
    let mut tally = harness::Tally::default();
    for seed in first..first.saturating_add(seeds) {
        harness::run(seed, operations, &mut tally);
        if seed % 50 == 49 {
            println!("seed {seed}: {tally:?}");
        }
    }
    println!(
        "seeds {first} and {} more, {operations} operations each: {tally:?}",
        seeds.saturating_sub(1)
    );
}
