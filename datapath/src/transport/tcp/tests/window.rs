use super::script::{OPEN, OPEN_PLAIN, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;

#[test]
fn data_is_acknowledged_late_every_second_segment_at_once_and_with_replies() {
    let mut script = Script::new();
    script.run(OPEN).run(
        "10 < P. 1:101(100) ack 1 win 512 <ts 10 0>
         10 = data 100
         50 > . 1:1(0) ack 101 win 32768 <ts 50 10>
         60 < . 101:1501(1400) ack 1 win 512 <ts 60 0>
         60 = data 1400
         61 < . 1501:2901(1400) ack 1 win 512 <ts 61 0>
         61 = data 1400
         61 > . 1:1(0) ack 2901 win 32768 <ts 61 60>
         70 < P. 2901:2911(10) ack 1 win 512 <ts 70 0>
         70 = data 10
         71 ! send 5
         71 > P. 1:6(5) ack 2911 win 32767 <ts 71 70>
         75 < . 2911:2911(0) ack 6 win 512 <ts 75 71>
         1000 ! held 0",
    );
    assert_eq!(script.transport.tcp_counters().delayed_acks, 1);
}

#[test]
fn what_arrives_ahead_of_a_gap_is_held_and_told_by_sack() {
    let mut script = Script::new();
    script.run(OPEN).run(
        "10 < . 101:201(100) ack 1 win 512 <ts 10 0>
         10 > . 1:1(0) ack 1 win 32768 <ts 10 0,sack 101:201>
         11 < . 301:401(100) ack 1 win 512 <ts 11 0>
         11 > . 1:1(0) ack 1 win 32768 <ts 11 0,sack 301:401,sack 101:201>
         12 < . 201:251(50) ack 1 win 512 <ts 12 0>
         12 > . 1:1(0) ack 1 win 32768 <ts 12 0,sack 101:251,sack 301:401>
         13 < . 101:201(100) ack 1 win 512 <ts 13 0>
         13 > . 1:1(0) ack 1 win 32768 <ts 13 0,sack 101:201,sack 101:251,sack 301:401>
         20 < . 1:101(100) ack 1 win 512 <ts 20 0>
         20 = data 100
         20 = data 100
         20 = data 50
         20 > . 1:1(0) ack 251 win 32737 <ts 20 20,sack 301:401>
         30 < FP. 251:351(100) ack 1 win 512 <ts 30 0>
         30 = data 100
         30 = eof
         30 > . 1:1(0) ack 352",
    );
    assert_eq!(script.transport.tcp_counters().rx_out_of_order, 4);
    script.run(
        "40 ! close
         40 > F. 1:1(0) ack 352
         41 < . 352:352(0) ack 2 win 512 <ts 41 0>
         41 = closed Finished",
    );
    script.finish();
}

#[test]
fn a_fin_ahead_of_a_gap_waits_for_the_gap() {
    Script::new().run(OPEN_PLAIN).run(
        "10 < F. 11:21(10) ack 1
         10 > . 1:1(0) ack 1
         20 < . 1:11(10) ack 1
         20 = data 10
         20 = data 10
         20 = eof
         20 > . 1:1(0) ack 22",
    );
}

#[test]
fn old_duplicates_are_acknowledged_and_only_new_bytes_delivered() {
    Script::new().run(OPEN_PLAIN).run(
        "10 < P. 1:101(100) ack 1
         10 = data 100
         11 < P. 1:101(100) ack 1
         11 > . 1:1(0) ack 101
         12 < P. 51:151(100) ack 1
         12 = data 50
         12 > . 1:1(0) ack 151",
    );
}

#[test]
fn a_closed_window_stops_data_and_is_probed_until_it_opens() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         11 < . 1:1(0) ack 11 win 0
         20 ! send 100
         220 > . 10:10(0) ack 1
         221 < . 1:1(0) ack 11 win 0
         620 > . 10:10(0) ack 1
         621 < . 1:1(0) ack 11 win 0
         1420 > . 10:10(0) ack 1
         1421 < . 1:1(0) ack 11 win 0
         1500 < . 1:1(0) ack 11 win 1000
         1500 > P. 11:111(100) ack 1
         1510 < . 1:1(0) ack 111 win 1000",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.zero_window_probes, counters.retransmits), (3, 0));
}

#[test]
fn a_closed_window_is_probed_for_ever_if_answered_and_not_long_if_not() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < . 1:1(0) ack 1 win 0
         20 ! send 100",
    );
    let mut at = 20;
    for backoff in 0..14 {
        at += (200 << backoff).min(120_000);
        script.run(&format!("{at} > . 0:0(0) ack 1\n{at} < . 1:1(0) ack 1 win 0"));
    }
    // The backoff has long reached 120 s; silence from here on.
    for _ in 0..10 {
        at += 120_000;
        script.run(&format!("{at} > . 0:0(0) ack 1"));
    }
    at += 120_000;
    script.run(&format!("{at} = closed TimedOut\n{at} > R. 1:1(0) ack 1"));
    script.finish();
}

#[test]
fn a_window_smaller_than_a_segment_gets_a_part_after_a_timeout() {
    // Half of the largest window ever seen (60000) or a timeout: 100 bytes need the latter.
    Script::new().run(OPEN_PLAIN).run(
        "10 < . 1:1(0) ack 1 win 100
         20 ! send 250
         220 > . 1:101(100) ack 1
         230 < . 1:1(0) ack 101 win 30000
         230 > P. 101:251(150) ack 1",
    );
}

#[test]
fn our_window_closes_with_what_the_application_holds_and_never_shrinks() {
    let mut script = Script::new();
    // Nothing is taken back: the right edge stays at 65535 while the application holds too much.
    script.run(OPEN).run(
        "1 ! held 300000
         10 < . 1:1449(1448) ack 1 win 512 <ts 10 0>
         10 = data 1448
         11 < . 1449:2897(1448) ack 1 win 512 <ts 11 0>
         11 = data 1448
         11 > . 1:1(0) ack 2897 win 7830",
    );
    for round in 0..21 {
        let (first, middle) = (2897 + round * 2896, 2897 + 1448 + round * 2896);
        let (last, time) = (middle + 1448, 20 + round);
        let window = (65537_u32 - last).div_ceil(8);
        script.run(&format!(
            "{time} < . {first}:{middle}(1448) ack 1 win 512 <ts 20 0>
             {time} = data 1448
             {time} < . {middle}:{last}(1448) ack 1 win 512 <ts 20 0>
             {time} = data 1448
             {time} > . 1:1(0) ack {last} win {window}"
        ));
    }
    // 1824 bytes are left. A probe of the peer finds the window closed, then it opens.
    script.run(
        "60 < . 63713:65161(1448) ack 1 win 512 <ts 60 0>
         60 = data 1448
         61 < . 65161:66609(1448) ack 1 win 512 <ts 61 0>
         61 = data 376
         61 > . 1:1(0) ack 65537 win 0
         70 < . 65536:65536(0) ack 1 win 512 <ts 70 0>
         70 > . 1:1(0) ack 65537 win 0
         80 < . 65537:66985(1448) ack 1 win 512 <ts 80 0>
         80 > . 1:1(0) ack 65537 win 0
         90 ! set_held 262000
         95 ! set_held 1000
         95 > . 1:1(0) ack 65537 win 32643
         99 ! held 0
         99 < P. 65537:65539(2) ack 1 win 512 <ts 99 0>
         99 = data 2",
    );
}

#[test]
fn the_peer_learns_the_window_scale_from_the_syn_ack_only() {
    // Without the option our window is at most 65535, however much we would take.
    Script::new().run(OPEN_PLAIN).run(
        "10 < P. 1:1001(1000) ack 1
         10 = data 1000
         11 < P. 1001:2001(1000) ack 1
         11 = data 1000
         11 > . 1:1(0) ack 2001 win 65535",
    );
}

#[test]
fn keepalive_probes_an_idle_peer_three_times() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "300000 > . 0:0(0) ack 1
         300001 < . 1:1(0) ack 1
         600001 > . 0:0(0) ack 1
         700001 > . 0:0(0) ack 1
         800001 > . 0:0(0) ack 1
         900001 = closed TimedOut
         900001 > R. 1:1(0) ack 1",
    );
    script.finish();
}

#[test]
fn an_old_timestamp_is_refused() {
    let mut script = Script::new();
    script.run(OPEN).run(
        "10 < P. 1:11(10) ack 1 win 512 <ts 10 0>
         10 = data 10
         11 < P. 11:21(10) ack 1 win 512 <ts 9 0>
         11 > . 1:1(0) ack 11
         12 < P. 11:21(10) ack 1 win 512 <ts 11 0>
         12 = data 10",
    );
    assert_eq!(script.transport.tcp_counters().rx_paws, 1);
}

#[test]
fn without_keepalive_an_idle_connection_is_left_alone() {
    let config = Config { keepalive_idle: None, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_PLAIN).run(
        "86400000 < P. 1:2(1) ack 1
         86400000 = data 1
         86400040 > . 1:1(0) ack 2",
    );
}

#[test]
fn a_timestamp_from_before_a_very_long_pause_is_not_old() {
    // RFC 7323 §5.5: after 24 days the clock may have wrapped.
    let config = Config { keepalive_idle: None, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN).run(
        "10 < P. 1:11(10) ack 1 win 512 <ts 1000 0>
         10 = data 10
         50 > . 1:1(0) ack 11
         2160000000 < P. 11:21(10) ack 1 win 512 <ts 900 0>
         2160000000 = data 10
         2160000040 > . 1:1(0) ack 21",
    );
    assert_eq!(script.transport.tcp_counters().rx_paws, 0);
}

#[test]
fn a_peer_that_opens_its_window_by_crumbs_gets_no_crumbs() {
    // RFC 9293 §3.8.6.2.1: nothing until half of its largest window is open.
    Script::new().run(OPEN_PLAIN).run(
        "10 < . 1:1(0) ack 1 win 0
         20 ! send 900
         30 < . 1:1(0) ack 1 win 10
         40 < . 1:1(0) ack 1 win 100
         50 < . 1:1(0) ack 1 win 899
         60 < . 1:1(0) ack 1 win 900
         60 > P. 1:901(900) ack 1",
    );
}
