use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::transport::tcp::simulation::{Outcome, run};

/// Seeds of a normal run.
const SEEDS: u64 = 240;
/// What all seeds together transmit at least.
const SEGMENTS_MIN: u64 = 10_000_000;
const THREADS: usize = 2;

/// Runs seeds until there are none, beside others that do.
fn run_seeds(next: &AtomicU64) -> Vec<Outcome> {
    let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
    seeds
        .take_while(|seed| *seed < SEEDS)
        .map(|seed| {
            catch_unwind(|| run(seed)).unwrap_or_else(|_| {
                panic!(
                    "seed {seed}: --example simulate -- --seed {seed} --segments 1 runs it alone"
                )
            })
        })
        .collect()
}

#[test]
fn ten_million_segments_over_faulty_links_deliver_what_was_sent() {
    let next = AtomicU64::new(0);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| run_seeds(&next))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut total = BTreeMap::new();
    for counters in outcomes.iter().flat_map(|outcome| &outcome.counters) {
        counters.visit(&mut |name, value| *total.entry(name).or_insert(0) += value);
    }
    let segments: u64 = outcomes.iter().map(|outcome| outcome.segments).sum();
    assert!(segments >= SEGMENTS_MIN, "only {segments} segments");
    // The rare paths were walked.
    total.retain(|name, count| *count == 0 && !UNSEEN.contains(name));
    assert!(total.is_empty(), "never happened: {:?}", total.keys());
}

/// What two honest stacks on a patient device do not do to each other; scripts do.
const UNSEEN: &[&str] = &[
    "tcp_rx_not_ours",
    "tcp_rx_no_connection",
    "tcp_rx_fragment",
    "tcp_rx_bad_ip_checksum",
    "tcp_rx_bad_flags",
    "tcp_rx_bad_ack",
    "tcp_refused",
    "tcp_zero_window_probes",
    "tcp_tx_ring_full",
    "tcp_tx_in_flight",
    "tcp_conns_full",
    "tcp_syn_cache_full",
    "tcp_syn_timeouts",
    "tcp_time_wait_full",
    "tcp_time_wait_reused",
    "tcp_resets_limited",
    "tcp_keepalive_probes",
    "tcp_timeouts",
    "tcp_answers_dropped",
    "tcp_next_hops_changed",
    "tcp_orphans_reset",
    "tcp_path_mtu_ignored",
    "tcp_path_mtu_lowered",
    "tcp_shed",
    "tcp_syns_under_pressure",
];

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(3), run(3));
}
