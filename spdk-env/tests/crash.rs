//! The power is cut at every write of random runs; `cargo run --release -p coney-spdk-env --example
//! crash` does more of them.

#![expect(clippy::panic, reason = "a failed case ends the run with its seed")]

#[path = "crash/harness.rs"]
mod harness;

#[test]
fn what_is_committed_survives_a_power_cut_at_any_write() {
    let mut tally = harness::Tally::default();
    for seed in 0..SEEDS {
        harness::run(seed, OPERATIONS, &mut tally);
    }
    // A harness that does next to nothing would pass as well.
    assert!(tally.mounts > 100_000, "{tally:?}");
    assert!(tally.compactions > 10, "{tally:?}");
}

/// Together about fifteen seconds.
const SEEDS: u64 = 24;
const OPERATIONS: usize = 120;
