use super::script::{OPEN_PLAIN, Script};
use crate::transport::Transport;

#[test]
fn a_reset_counts_at_the_exact_position_only() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < R 100:100(0)
         10 > . 1:1(0) ack 1
         20 < R 100:100(0)
         30 < R 70000:70000(0)
         600 < R. 5:5(0) ack 1
         600 > . 1:1(0) ack 1
         700 < R 1:1(0)
         700 = closed Reset",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.challenge_acks, counters.challenge_acks_limited), (2, 1));
    assert_eq!(counters.rx_out_of_window, 1);
    script.finish();
}

#[test]
fn a_syn_in_an_open_connection_is_challenged() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < S 1:1(0) win 60000
         10 > . 1:1(0) ack 1
         20 < S 1:1(0) win 60000
         600 < S. 5:5(0) ack 1
         600 > . 1:1(0) ack 1",
    );
    assert_eq!(script.transport.conn_count(), 1);
}

#[test]
fn acknowledgements_of_what_was_never_sent_or_long_ago_are_challenged() {
    // 4294900000 is more than the largest window before our first position.
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < P. 1:5(4) ack 2
         10 > . 1:1(0) ack 1
         600 < P. 1:5(4) ack 4294900000
         600 > . 1:1(0) ack 1
         1200 < P. 1:5(4) ack 4294967290
         1200 = data 4",
    );
    assert_eq!(script.transport.tcp_counters().rx_bad_ack, 2);
}

#[test]
fn a_segment_without_ack_is_dropped() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run("10 < P 1:5(4)");
    assert_eq!(script.transport.tcp_counters().rx_bad_flags, 1);
}

#[test]
fn segments_of_no_connection_are_reset_but_resets_are_not() {
    let mut script = Script::new();
    script.run(
        "0 < . 7:7(0) ack 5
         0 > R 5:5(0)
         1 < FP 7:17(10)
         1 > R. 0:0(0) ack 18
         2 < R 7:7(0)
         3 < S. 7:7(0) ack 9
         3 > R 9:9(0)",
    );
    assert_eq!(script.transport.tcp_counters().rx_no_connection, 4);
    script.finish();
}

#[test]
fn outside_the_window_nothing_counts() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < P. 65536:65546(10) ack 1
         10 > . 1:1(0) ack 1
         20 < P. 65531:65541(10) ack 1
         20 > . 1:1(0) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().rx_out_of_window, 1);
    // The second began inside: five of its bytes are held.
    assert_eq!(script.transport.tcp_counters().rx_out_of_order, 1);
}
