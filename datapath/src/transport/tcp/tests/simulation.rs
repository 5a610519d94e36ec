use std::panic::catch_unwind;

use crate::transport::tcp::simulation::run;

/// Seeds of a normal run.
const SEEDS: std::ops::Range<u64> = 0..48;
/// What all seeds together transmit at least.
const SEGMENTS_MIN: u64 = 2_000_000;

#[test]
fn millions_of_segments_over_faulty_links_deliver_what_was_sent() {
    let mut segments = 0;
    let mut total = std::collections::BTreeMap::new();
    for seed in SEEDS {
        let outcome = catch_unwind(|| run(seed)).unwrap_or_else(|_| {
            panic!("seed {seed}: --example simulate -- --seed {seed} --segments 1 runs it alone")
        });
        segments += outcome.segments;
        for counters in &outcome.counters {
            counters.visit(&mut |name, value| *total.entry(name).or_insert(0) += value);
        }
    }
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
