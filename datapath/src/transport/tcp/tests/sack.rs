//! Selective acknowledgements both ways, loss detection by time, probes for a lost tail.

use super::script::{OPEN, OPEN_SLOW, Script};

/// Five segments at 200 ms.
const SEND_FIVE: &str = "
    200 ! send 7240
    200 > . 1:1449(1448) ack 1
    200 > . 1449:2897(1448) ack 1
    200 > . 2897:4345(1448) ack 1
    200 > . 4345:5793(1448) ack 1
    200 > P. 5793:7241(1448) ack 1
";

#[test]
fn three_reported_segments_prove_a_loss() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:2897>
         310 < . 1:1(0) ack 1 win 512 <ts 310 200,sack 1449:4345>
         320 < . 1:1(0) ack 1 win 512 <ts 320 200,sack 1449:5793>
         320 > . 1:1449(1448) ack 1
         330 < . 1:1(0) ack 1 win 512 <ts 330 200,sack 1449:7241>
         420 < . 1:1(0) ack 7241 win 512 <ts 420 320>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.fast_retransmits, counters.retransmits, counters.rtos), (1, 1, 0));
    assert_eq!((counters.tail_probes, counters.reorderings), (0, 0));
}

#[test]
fn fewer_prove_it_when_the_reordering_window_has_passed() {
    // A quarter of the shortest round-trip time: 200 + 100 + 25.
    Script::new().run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:2897>
         325 > . 1:1449(1448) ack 1",
    );
}

#[test]
fn a_segment_that_was_overtaken_is_not_sent_again_and_patience_grows() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:5793>
         300 > . 1:1449(1448) ack 1
         301 < . 1:1(0) ack 5793 win 512 <ts 301 200>
         302 < . 1:1(0) ack 7241 win 512 <ts 301 200>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.reorderings, counters.spurious_retransmits), (1, 1));
    // From now on three are no proof; the window that was not really lost is there again.
    script.run(
        "400 ! send 5792
         400 > . 7241:8689(1448) ack 1
         400 > . 8689:10137(1448) ack 1
         400 > . 10137:11585(1448) ack 1
         400 > P. 11585:13033(1448) ack 1
         500 < . 1:1(0) ack 7241 win 512 <ts 500 400,sack 8689:13033>
         520 < . 1:1(0) ack 13033 win 512 <ts 520 400>",
    );
    assert_eq!(script.transport.tcp_counters().retransmits, 1);
}

#[test]
fn all_holes_are_sent_in_one_round_trip_and_nothing_else() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:2897>
         301 < . 1:1(0) ack 1 win 512 <ts 301 200,sack 4345:7241,sack 1449:2897>
         301 > . 1:1449(1448) ack 1
         301 > . 2897:4345(1448) ack 1
         401 < . 1:1(0) ack 2897 win 512 <ts 401 301,sack 4345:7241>
         402 < . 1:1(0) ack 7241 win 512 <ts 402 301>",
    );
    assert_eq!(script.transport.tcp_counters().retransmits, 2);
}

#[test]
fn a_lost_retransmission_is_found_without_a_timeout() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 2897:7241>
         300 > . 1:1449(1448) ack 1
         300 > . 1449:2897(1448) ack 1
         400 < . 1:1(0) ack 1 win 512 <ts 400 300,sack 1449:7241>
         400 > . 1:1449(1448) ack 1
         500 < . 1:1(0) ack 7241 win 512 <ts 500 400>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.fast_retransmits, counters.rtos), (1, 0), "one reduction");
}

#[test]
fn a_probe_of_the_tail_reveals_what_was_lost_before_it() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 4344
         200 > . 1:1449(1448) ack 1
         200 > . 1449:2897(1448) ack 1
         200 > P. 2897:4345(1448) ack 1
         400 > P. 2897:4345(1448) ack 1
         500 < . 1:1(0) ack 1 win 512 <ts 500 400,sack 2897:4345>
         500 > . 1:1449(1448) ack 1
         500 > . 1449:2897(1448) ack 1
         600 < . 1:1(0) ack 4345 win 512 <ts 600 500>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.tail_probes, counters.fast_retransmits, counters.rtos), (1, 1, 0));
}

#[test]
fn new_data_is_a_probe_too() {
    // The congestion window is full; the probe may exceed it by one segment.
    let mut script = Script::new();
    script.run(OPEN_SLOW).run_partly("200 ! send 20000");
    for at in 0..10 {
        let (start, end) = (1 + at * 1448, 1449 + at * 1448);
        script.run_partly(&format!("200 > . {start}:{end}(1448) ack 1"));
    }
    script.run("400 > . 14481:15929(1448) ack 1");
    assert_eq!(script.transport.tcp_counters().retransmits, 0);
}

#[test]
fn a_loss_that_a_probe_repaired_shrinks_the_window_once() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 100
         200 > P. 1:101(100) ack 1
         450 > P. 1:101(100) ack 1
         550 < . 1:1(0) ack 101 win 512 <ts 550 450>
         600 ! send 100
         600 > P. 101:201(100) ack 1
         700 < . 1:1(0) ack 201 win 512 <ts 700 600>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.tail_probes, counters.tail_losses), (1, 1));
}

#[test]
fn a_probe_that_the_peer_reports_as_a_duplicate_shrinks_nothing() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 100
         200 > P. 1:101(100) ack 1
         450 > P. 1:101(100) ack 1
         460 < . 1:1(0) ack 101 win 512 <ts 460 200>
         550 < . 1:1(0) ack 101 win 512 <ts 550 450,sack 1:101>
         600 ! send 100
         600 > P. 101:201(100) ack 1
         700 < . 1:1(0) ack 201 win 512 <ts 700 600>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.tail_probes, counters.rx_dsacks, counters.tail_losses), (1, 1, 0));
}

#[test]
fn a_timeout_that_was_not_needed_is_undone() {
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(
        "200 ! send 100
         200 > P. 1:101(100) ack 1
         450 > P. 1:101(100) ack 1
         750 > P. 1:101(100) ack 1
         760 < . 1:1(0) ack 101 win 512 <ts 760 200>
         770 ! send 4344
         770 > . 101:1549(1448) ack 1
         770 > . 1549:2997(1448) ack 1
         770 > P. 2997:4445(1448) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().spurious_retransmits, 1);
}

#[test]
fn a_timeout_sends_only_what_did_not_arrive() {
    // The retransmission at 300 is lost too; nothing that was sent later can show it.
    let mut script = Script::new();
    script.run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:7241>
         300 > . 1:1449(1448) ack 1
         600 > . 1:1449(1448) ack 1
         700 < . 1:1(0) ack 7241 win 512 <ts 700 600>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.rtos, counters.retransmits), (1, 2));
}

#[test]
fn a_peer_that_drops_what_it_reported_gets_it_again() {
    // RFC 2018 §8. The report at 300 was a promise that 425 does not keep.
    Script::new().run(OPEN_SLOW).run(
        "200 ! send 2896
         200 > . 1:1449(1448) ack 1
         200 > P. 1449:2897(1448) ack 1
         300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:2897>
         325 > . 1:1449(1448) ack 1
         425 < . 1:1(0) ack 1449 win 512 <ts 425 325>
         675 > P. 1449:2897(1448) ack 1
         800 < . 1:1(0) ack 2897 win 512 <ts 800 675>",
    );
}

#[test]
fn reports_of_what_was_never_sent_are_not_believed() {
    Script::new().run(OPEN_SLOW).run(SEND_FIVE).run(
        "300 < . 1:1(0) ack 1 win 512 <ts 300 200,sack 1449:99999>
         301 < . 1:1(0) ack 1 win 512 <ts 301 200,sack 9000:9100,sack 2897:1449>
         399 < . 1:1(0) ack 7241 win 512 <ts 399 200>",
    );
}

#[test]
fn what_arrives_twice_is_reported_once() {
    let mut script = Script::new();
    script.run(OPEN).run(
        "10 < P. 1:101(100) ack 1 win 512 <ts 10 0>
         10 = data 100
         11 < P. 1:101(100) ack 1 win 512 <ts 11 0>
         11 > . 1:1(0) ack 101 win 32768 <ts 11 10,sack 1:101>
         12 < P. 51:151(100) ack 1 win 512 <ts 12 0>
         12 = data 50
         12 > . 1:1(0) ack 151 win 32762 <ts 12 12,sack 51:101>
         13 < P. 151:161(10) ack 1 win 512 <ts 13 0>
         13 = data 10
         53 > . 1:1(0) ack 161",
    );
    assert_eq!(script.transport.tcp_counters().tx_dsacks, 2);
}
