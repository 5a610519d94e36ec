//! What gives way when memory runs out, and limits on what the application has closed.

use std::time::Duration;

use super::script::{OPEN_PLAIN, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;
use crate::transport::Transport;

#[test]
fn a_closed_connection_does_not_wait_for_a_closed_window_for_ever() {
    // The peer answers every probe, but never opens its window.
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < . 1:1(0) ack 1 win 0
         20 ! send 100
         30 ! close",
    );
    for at in 0..130_u64 {
        let at = 1000 * (at + 1);
        script.run_ignoring_output(&format!("{at} < . 1:1(0) ack 1 win 0"));
    }
    assert_eq!(script.transport.conn_count(), 0);
    let counters = script.transport.tcp_counters();
    assert!(counters.zero_window_probes > 3, "{counters:?}");
    assert_eq!(
        (counters.tx_resets, script.transport.orphans),
        (11, 0),
        "one, and those for strays"
    );
    script.finish();
}

#[test]
fn closed_connections_that_make_progress_get_all_the_time_they_need() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run_ignoring_output("20 ! send 200000\n30 ! close");
    for at in 0..5_u32 {
        let (ack, ms) = (1001 + at * 1000, 1000 + at * 100_000);
        script.run_ignoring_output(&format!("{ms} < . 1:1(0) ack {ack} win 1000"));
        assert_eq!(script.transport.conn_count(), 1, "{ms}");
    }
    assert_eq!(script.transport.orphans, 1);
}

#[test]
fn beyond_their_limit_closed_connections_are_reset() {
    let config = Config { orphans_max: 1, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_PLAIN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         11 <1 S 0:0(0) win 60000 <mss 1000>
         11 >1 S. 0:0(0) ack 1
         11 <1 . 1:1(0) ack 1
         11 = accept
         12 ! close
         12 = closed Aborted
         12 >1 R. 1:1(0) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().orphans_reset, 1);
}

#[test]
fn when_frames_run_out_who_takes_nothing_is_reset_and_newcomers_wait() {
    let port = SimPortConfig { tx_frames: 8, ..SimPortConfig::default() };
    let config = Config { reserved_frames: 4, pressure_after: Duration::from_secs(2), ..config() };
    let mut script = Script::with(config, &port);
    // The first connection's peer takes nothing and holds all frames but the reserve.
    script.run(OPEN_PLAIN).run(
        "1 < . 1:1(0) ack 1 win 0
         1 ! send 4000
         2 <1 S 0:0(0) win 60000 <mss 1000>
         2 >1 S. 0:0(0) ack 1
         2 <1 . 1:1(0) ack 1
         2 = accept
         3 ! send 10
         3 = taken 0",
    );
    script.run_ignoring_output("1900 <2 S 0:0(0) win 60000 <mss 1000>");
    assert_eq!(script.transport.tcp_counters().syns_under_pressure, 0);
    assert_eq!(script.transport.conn_count(), 2);
    script.run_ignoring_output("2100 <3 S 0:0(0) win 60000 <mss 1000>");
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.shed, script.transport.conn_count()), (1, 1));
    // Room again.
    script.run(
        "2200 ! send 10
         2200 >1 P. 1:11(10) ack 1",
    );
}

#[test]
fn the_first_full_segments_are_acknowledged_without_delay() {
    let config = Config { quick_acks: 1, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_PLAIN).run(
        "10 < P. 1:1001(1000) ack 1
         10 = data 1000
         10 > . 1:1(0) ack 1001
         20 < P. 1001:1011(10) ack 1
         20 = data 10
         60 > . 1:1(0) ack 1011
         70 < P. 1011:2011(1000) ack 1
         70 = data 1000
         110 > . 1:1(0) ack 2011",
    );
}
