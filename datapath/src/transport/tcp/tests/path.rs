//! What the path says: too big (ICMP), nothing (black holes), congestion (ECN).

use super::script::{OPEN, OPEN_SLOW, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;

#[test]
fn a_router_that_says_what_fits_is_believed_and_nothing_else_changes() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 3000
         200 > . 1:1449(1448) ack 1
         200 > . 1449:2897(1448) ack 1
         200 > P. 2897:3001(104) ack 1
         210 ! too_big 1 1000
         210 > . 1:949(948) ack 1
         210 > . 949:1449(500) ack 1
         210 > . 1449:2397(948) ack 1
         210 > . 2397:2897(500) ack 1
         300 < . 1:1(0) ack 3001 win 512 <ts 300 210>
         301 ! send 1000
         301 > . 3001:3949(948) ack 1
         301 > P. 3949:4001(52) ack 1",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.path_mtu_lowered, counters.fast_retransmits, counters.rtos), (1, 0, 0));
}

#[test]
fn a_router_that_does_not_say_what_fits_costs_one_plateau() {
    // The packet has 1500 bytes; the next plateau is 1492.
    Script::new().run(OPEN_SLOW).run(
        "200 ! send 1448
         200 > P. 1:1449(1448) ack 1
         210 ! too_big 1 0
         210 > . 1:1441(1440) ack 1
         210 > P. 1441:1449(8) ack 1",
    );
}

#[test]
fn what_a_router_said_is_forgotten_after_ten_minutes_and_may_be_said_again() {
    let config = Config { keepalive_idle: None, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_SLOW).run(
        "200 ! send 1448
         200 > P. 1:1449(1448) ack 1
         210 ! too_big 1 1000
         210 > . 1:949(948) ack 1
         210 > P. 949:1449(500) ack 1
         300 < . 1:1(0) ack 1449 win 512 <ts 300 210>
         600209 ! send 1448
         600209 > . 1449:2397(948) ack 1
         600209 > P. 2397:2897(500) ack 1
         600209 < . 1:1(0) ack 2897 win 512 <ts 600209 600209>
         600210 ! send 1448
         600210 > P. 2897:4345(1448) ack 1
         600211 ! too_big 2897 1000
         600211 > . 2897:3845(948) ack 1
         600211 > P. 3845:4345(500) ack 1
         600212 < . 1:1(0) ack 4345 win 512 <ts 600212 600211>
         600213 ! send 1448
         600213 > . 4345:5293(948) ack 1
         600213 > P. 5293:5793(500) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().path_mtu_lowered, 2);
}

#[test]
fn a_black_hole_is_not_forgotten_with_what_a_router_said() {
    let config = Config { keepalive_idle: None, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_SLOW).run(
        "200 ! send 1448
         200 > P. 1:1449(1448) ack 1
         210 ! too_big 1 1492
         210 > . 1:1441(1440) ack 1
         210 > P. 1441:1449(8) ack 1
         310 < . 1:1(0) ack 1449 win 512 <ts 310 210>",
    );
    // A probe for the tail and two timeouts later segments have half the size.
    script.run_ignoring_output(
        "400 ! send 1440
         2000 < . 1:1(0) ack 2889 win 512 <ts 2000 1400>",
    );
    assert_eq!(script.transport.tcp_counters().black_holes, 1);
    script.run(
        "601000 ! send 1440
         601000 > . 2889:3609(720) ack 1
         601000 > P. 3609:4329(720) ack 1",
    );
}

#[test]
fn who_does_not_know_what_is_on_its_way_is_not_believed() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 100
         200 > P. 1:101(100) ack 1
         201 ! too_big 0 600
         201 ! too_big 101 600
         201 ! too_big 1 1500
         210 < . 1:1(0) ack 101 win 512 <ts 300 210>
         211 ! too_big 1 600
         212 ! send 1448
         212 > P. 101:1549(1448) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().path_mtu_ignored, 4);
}

#[test]
fn nobody_is_believed_below_the_least_that_any_path_takes() {
    // 552 less 52 of headers.
    Script::new().run(OPEN_SLOW).run(
        "200 ! send 600
         200 > P. 1:601(600) ack 1
         210 ! too_big 1 68
         210 > . 1:501(500) ack 1
         210 > P. 501:601(100) ack 1",
    );
}

#[test]
fn full_segments_that_get_no_answer_become_smaller() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 1448
         200 > P. 1:1449(1448) ack 1
         450 > P. 1:1449(1448) ack 1
         750 > P. 1:1449(1448) ack 1
         1350 > . 1:725(724) ack 1
         1350 > P. 725:1449(724) ack 1
         1450 < . 1:1(0) ack 1449 win 512 <ts 1450 1350>",
    );
    assert_eq!(script.transport.tcp_counters().black_holes, 1);
}

/// With ECN agreed on.
const OPEN_ECN: &str = "
    0 < SEW 0:0(0) win 65535 <mss 1460,sackOK,ts 0 0,ws 7>
    0 > SE. 0:0(0) ack 1
    0 < . 1:1(0) ack 1 win 512 <ts 0 0>
    0 = accept
";

#[test]
fn data_may_be_marked_and_a_mark_that_comes_back_shrinks_the_window_once() {
    let mut script = Script::new();
    script.run(OPEN_ECN).run(
        "10 ! send 4344
         10 > . 1:1449(1448) ack 1 ip Ect0
         10 > . 1449:2897(1448) ack 1 ip Ect0
         10 > P. 2897:4345(1448) ack 1 ip Ect0
         11 < E. 1:1(0) ack 1449 win 512 <ts 11 10>
         12 < E. 1:1(0) ack 2897 win 512 <ts 12 10>
         13 < . 1:1(0) ack 4345 win 512 <ts 13 10>
         14 ! send 100
         14 > PW. 4345:4445(100) ack 1 ip Ect0
         15 < E. 1:1(0) ack 4445 win 512 <ts 15 14>
         16 ! send 100
         16 > PW. 4445:4545(100) ack 1 ip Ect0",
    );
    assert_eq!(script.transport.tcp_counters().ecn_reductions, 2);
}

#[test]
fn what_is_sent_again_and_what_is_no_data_is_never_marked() {
    Script::new().run(OPEN_ECN).run(
        "10 ! send 100
         10 > P. 1:101(100) ack 1 ip Ect0
         70 > P. 1:101(100) ack 1
         80 < P. 1:11(10) ack 101 win 512 <ts 80 70>
         80 = data 10
         120 > . 101:101(0) ack 11",
    );
}

#[test]
fn a_mark_is_echoed_until_the_peer_has_reacted() {
    Script::new().run(OPEN_ECN).run(
        "10 < P. 1:11(10) ack 1 win 512 ip ce <ts 10 0>
         10 = data 10
         50 > E. 1:1(0) ack 11
         60 ! send 10
         60 > PE. 1:11(10) ack 11 ip Ect0
         70 < PW. 11:21(10) ack 11 win 512 <ts 70 60>
         70 = data 10
         110 > . 11:11(0) ack 21",
    );
}

#[test]
fn without_agreement_bits_are_ignored() {
    let config = Config { ecn: false, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(
        "0 < SEW 0:0(0) win 65535 <mss 1460,sackOK,ts 0 0,ws 7>
         0 > S. 0:0(0) ack 1
         0 < . 1:1(0) ack 1 win 512 <ts 0 0>
         0 = accept
         10 < PE. 1:11(10) ack 1 win 512 ip ce <ts 10 0>
         10 = data 10
         50 > . 1:1(0) ack 11",
    );
    Script::new().run(OPEN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1",
    );
}
