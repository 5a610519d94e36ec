use super::script::{OPEN, OPEN_PLAIN, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;

/// A probe for the tail comes first, 60 ms after the segment.
#[test]
fn the_timeout_doubles_from_200_ms_until_the_connection_is_given_up() {
    let config = Config { retransmits_max: 4, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN).run(
        "10 ! send 100
         10 > P. 1:101(100) ack 1
         70 > P. 1:101(100) ack 1
         270 > P. 1:101(100) ack 1
         670 > P. 1:101(100) ack 1
         1470 > P. 1:101(100) ack 1
         3070 > P. 1:101(100) ack 1
         6270 = closed TimedOut
         6270 > R. 101:101(0) ack 1",
    );
    script.finish();
    assert_eq!(script.transport.tcp_counters().rtos, 4);
}

#[test]
fn the_timeout_follows_the_measured_round_trip_time() {
    // SRTT 300 ms, RTTVAR 150 ms from the handshake: 900 ms.
    Script::new().run(
        "0 < S 0:0(0) win 60000 <mss 1000>
         0 > S. 0:0(0) ack 1
         300 < . 1:1(0) ack 1
         300 = accept
         400 ! send 10
         400 > P. 1:11(10) ack 1
         1300 > P. 1:11(10) ack 1",
    );
}

#[test]
fn no_sample_is_taken_from_what_was_sent_twice() {
    // Karn: the acknowledgement at 230 is 20 ms after the second transmission, 220 ms after the
    // first. Without a sample the timeout stays at its floor.
    Script::new().run(OPEN_PLAIN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         210 > P. 1:11(10) ack 1
         230 < . 1:1(0) ack 11
         240 ! send 10
         240 > P. 11:21(10) ack 1
         440 > P. 11:21(10) ack 1",
    );
}

#[test]
fn timestamps_tell_which_transmission_was_acknowledged() {
    // The echo 271 names the third transmission: a sample of 400 ms, although it was sent four times.
    // SRTT = 7/8 * 0 + 400/8 = 50, RTTVAR = 400/4 = 100 (from a first sample of 0): 450 ms.
    Script::new().run(OPEN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         70 > P. 1:11(10) ack 1
         270 > P. 1:11(10) ack 1
         670 > P. 1:11(10) ack 1
         671 < . 1:1(0) ack 11 win 512 <ts 9 271>
         700 ! send 10
         700 > P. 11:21(10) ack 1 win 32768 <ts 700 9>
         851 > P. 11:21(10) ack 1
         1301 > P. 11:21(10) ack 1",
    );
}

#[test]
fn three_duplicate_acknowledgements_send_the_hole_at_once() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! send 6000
         10 > . 1:1001(1000) ack 1
         10 > . 1001:2001(1000) ack 1
         10 > . 2001:3001(1000) ack 1
         10 > . 3001:4001(1000) ack 1
         10 > . 4001:5001(1000) ack 1
         10 > P. 5001:6001(1000) ack 1
         20 < . 1:1(0) ack 1001
         21 < . 1:1(0) ack 1001
         22 < . 1:1(0) ack 1001
         23 < . 1:1(0) ack 1001
         23 > . 1001:2001(1000) ack 1
         24 < . 1:1(0) ack 1001
         30 < . 1:1(0) ack 6001",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.fast_retransmits, counters.retransmits, counters.rtos), (1, 1, 0));
    assert_eq!(counters.rx_dup_acks, 4);
}

#[test]
fn a_partial_acknowledgement_sends_the_next_hole_without_a_timeout() {
    // RFC 6582: segments 2 and 4 are lost.
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! send 6000
         10 > . 1:1001(1000) ack 1
         10 > . 1001:2001(1000) ack 1
         10 > . 2001:3001(1000) ack 1
         10 > . 3001:4001(1000) ack 1
         10 > . 4001:5001(1000) ack 1
         10 > P. 5001:6001(1000) ack 1
         20 < . 1:1(0) ack 1001
         21 < . 1:1(0) ack 1001
         22 < . 1:1(0) ack 1001
         23 < . 1:1(0) ack 1001
         23 > . 1001:2001(1000) ack 1
         30 < . 1:1(0) ack 3001
         30 > . 3001:4001(1000) ack 1
         40 < . 1:1(0) ack 6001",
    );
    assert_eq!(script.transport.tcp_counters().rtos, 0);
}

#[test]
fn the_first_two_duplicate_acknowledgements_let_new_segments_out() {
    // RFC 3042, with an initial window of ten segments that is used up.
    Script::new().run(OPEN_PLAIN).run(
        "10 ! send 13000
         10 > . 1:1001(1000) ack 1
         10 > . 1001:2001(1000) ack 1
         10 > . 2001:3001(1000) ack 1
         10 > . 3001:4001(1000) ack 1
         10 > . 4001:5001(1000) ack 1
         10 > . 5001:6001(1000) ack 1
         10 > . 6001:7001(1000) ack 1
         10 > . 7001:8001(1000) ack 1
         10 > . 8001:9001(1000) ack 1
         10 > . 9001:10001(1000) ack 1
         20 < . 1:1(0) ack 1
         20 > . 10001:11001(1000) ack 1
         21 < . 1:1(0) ack 1
         21 > . 11001:12001(1000) ack 1
         22 < . 1:1(0) ack 1
         22 > . 1:1001(1000) ack 1",
    );
}

#[test]
fn after_a_timeout_everything_is_sent_again_in_slow_start() {
    Script::new().run(OPEN_PLAIN).run(
        "10 ! send 4000
         10 > . 1:1001(1000) ack 1
         10 > . 1001:2001(1000) ack 1
         10 > . 2001:3001(1000) ack 1
         10 > P. 3001:4001(1000) ack 1
         210 > . 1:1001(1000) ack 1
         220 < . 1:1(0) ack 1001
         220 > . 1001:2001(1000) ack 1
         220 > . 2001:3001(1000) ack 1
         230 < . 1:1(0) ack 3001
         230 > P. 3001:4001(1000) ack 1
         240 < . 1:1(0) ack 4001",
    );
}

#[test]
fn an_acknowledgement_inside_a_segment_trims_what_is_sent_again() {
    Script::new().run(OPEN).run(
        "10 ! send 100
         10 > P. 1:101(100) ack 1
         20 < . 1:1(0) ack 41 win 512 <ts 20 10>
         80 > P. 41:101(60) ack 1",
    );
}

#[test]
fn a_frame_that_the_device_still_has_is_not_touched() {
    // Completions come fifty flushes late: the retransmission has to wait for them, and the port
    // panics on anything else.
    let port = SimPortConfig { completion_flushes: 50, ..SimPortConfig::default() };
    let mut script = Script::with(config(), &port);
    script.run(OPEN).run(
        "10 ! send 100
         10 > P. 1:101(100) ack 1
         80 > P. 1:101(100) ack 1
         279 > P. 1:101(100) ack 1
         300 < . 1:1(0) ack 101 win 512 <ts 20 10>
         310 < R 1:1(0)
         310 = closed Reset",
    );
    assert!(script.transport.tcp_counters().tx_in_flight > 0);
}

#[test]
fn replies_of_one_iteration_fill_frames() {
    let mut script = Script::new();
    script.run(OPEN);
    let conn = script.conn();
    let now = coney_base::Instant::from_millis(10_000);
    for _ in 0..300 {
        use crate::transport::Transport;
        assert_eq!(script.transport.send(now, conn, b"+PONG\r\n"), 7);
    }
    script.run(
        "0 > . 1:1449(1448) ack 1
         0 > P. 1449:2101(652) ack 1",
    );
}
