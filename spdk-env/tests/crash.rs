//! The power is cut at every write of random runs; `cargo run --release -p coney-spdk-env --example
//! crash` does more of them.

#![expect(clippy::panic, reason = "a failed case ends the run with its seed")]
#![expect(clippy::print_stdout, reason = "the number of crash points is a result")]

#[path = "crash/harness.rs"]
mod harness;

#[test]
fn what_is_committed_survives_a_power_cut_at_any_write() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tally = harness::Tally::default();
    std::thread::scope(|scope| {
        let run = |first| {
            let mut tally = harness::Tally::default();
            for seed in (0..SEEDS).skip(first).step_by(threads) {
                harness::run(seed, OPERATIONS, &mut tally);
            }
            tally
        };
        let threads: Vec<_> = (0..threads).map(|first| scope.spawn(move || run(first))).collect();
        for thread in threads {
            tally += thread.join().expect("a case failed, see above");
        }
    });
    println!("{tally:?}");
    // A harness that does next to nothing would pass as well.
    assert!(tally.points >= 100_000, "{tally:?}");
    assert!(tally.mounts > 300_000, "{tally:?}");
    assert!(tally.compactions > 200, "{tally:?}");
}

/// Together about ten seconds of CPU time.
const SEEDS: u64 = 280;
const OPERATIONS: usize = 120;
