use super::script::{OPEN_PLAIN, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;
use crate::transport::Transport;

#[test]
fn the_peer_closes_first_and_we_go_on_sending() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 < F. 1:1(0) ack 1
         10 = eof
         10 > . 1:1(0) ack 2
         20 ! send 50
         20 > P. 1:51(50) ack 2
         30 < . 2:2(0) ack 51
         40 ! send 5
         40 > P. 51:56(5) ack 2
         40 ! close
         40 > F. 56:56(0) ack 2
         50 < . 2:2(0) ack 57
         50 = closed Finished",
    );
    script.finish();
}

#[test]
fn we_close_first_and_the_peer_goes_on_sending() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         20 < . 1:1(0) ack 2
         30 < P. 1:101(100) ack 2
         70 > . 2:2(0) ack 101
         80 < F. 101:101(0) ack 2
         80 = closed Finished
         80 > . 2:2(0) ack 102",
    );
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 1));
    assert_eq!(script.transport.tcp_counters().rx_after_close_bytes, 100);
    script.finish();
}

#[test]
fn bytes_behind_the_last_fin_that_filled_a_gap_are_not_taken() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         20 < . 1:1(0) ack 2
         30 < P. 102:112(10) ack 2
         30 > . 2:2(0) ack 1
         40 < F. 51:101(50) ack 2
         40 > . 2:2(0) ack 1
         50 < P. 1:51(50) ack 2
         50 = closed Finished
         50 > . 2:2(0) ack 102",
    );
    assert_eq!(script.transport.tcp_counters().rx_after_close_bytes, 100);
    script.finish();
}

#[test]
fn a_reply_and_the_fin_behind_it_travel_in_one_segment() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN);
    let (now, conn) = (coney_base::Instant::from_millis(10_000), script.conn());
    script.transport.send(now, conn, b"-ERR\r\n");
    script.transport.close(now, conn);
    assert_eq!(script.transport.send(now, conn, b"late"), 4, "taken, into nothing");
    script.run(
        "0 > FP. 1:7(6) ack 1
         200 > FP. 1:7(6) ack 1
         210 < F. 1:1(0) ack 8
         210 = closed Finished
         210 > . 8:8(0) ack 2",
    );
    script.finish();
}

#[test]
fn data_may_be_acknowledged_without_the_fin_behind_it() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN);
    let (now, conn) = (coney_base::Instant::from_millis(10_000), script.conn());
    script.transport.send(now, conn, b"bye");
    script.transport.close(now, conn);
    script.run(
        "0 > FP. 1:4(3) ack 1
         10 < . 1:1(0) ack 4
         210 > F. 4:4(0) ack 1
         220 < F. 1:1(0) ack 5
         220 = closed Finished
         220 > . 5:5(0) ack 2",
    );
    script.finish();
}

#[test]
fn both_close_at_once() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         11 < F. 1:1(0) ack 1
         11 > . 2:2(0) ack 2
         12 < . 2:2(0) ack 2
         12 = closed Finished",
    );
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 1));
    script.finish();
}

#[test]
fn a_lost_fin_is_sent_again() {
    Script::new().run(OPEN_PLAIN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         210 > F. 1:1(0) ack 1
         610 > F. 1:1(0) ack 1
         620 < F. 1:1(0) ack 2
         620 = closed Finished
         620 > . 2:2(0) ack 2",
    );
}

#[test]
fn a_peer_that_never_closes_its_side_is_forgotten_without_a_reset() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         20 < . 1:1(0) ack 2
         60020 = closed TimedOut
         60030 < P. 1:5(4) ack 2
         60030 > R 2:2(0)",
    );
    script.finish();
}

const TIME_WAIT: &str = "
    10 ! close
    10 > F. 1:1(0) ack 1
    20 < F. 1:1(0) ack 2
    20 = closed Finished
    20 > . 2:2(0) ack 2
";

#[test]
fn time_wait_answers_the_fin_again_and_ignores_resets() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(TIME_WAIT).run(
        "30 < F. 1:1(0) ack 2
         30 > . 2:2(0) ack 2
         40 < R 2:2(0)
         50 < P. 1:9(8) ack 2
         50 > . 2:2(0) ack 2
         60 < . 2:2(0) ack 2",
    );
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 1));
    script.run("60025 ! held 0");
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 1), "the FIN restarted the time");
    script.run("60031 ! held 0");
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 0));
    script.finish();
}

#[test]
fn a_newer_syn_replaces_a_connection_in_time_wait_and_an_older_one_does_not() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(TIME_WAIT).run(
        "30 < S 0:0(0) win 60000 <mss 1000>
         30 > . 2:2(0) ack 2
         40 < S 5:5(0) win 60000 <mss 1000>
         40 > S. 0:0(0) ack 6
         41 < . 6:6(0) ack 1
         41 = accept",
    );
    assert_eq!(script.transport.tcp_counters().time_wait_reused, 1);
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 0));
}

#[test]
fn when_too_many_are_in_time_wait_the_connection_is_forgotten_at_once() {
    let config = Config { time_wait_max: 0, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_PLAIN).run(TIME_WAIT);
    assert_eq!(script.transport.tcp_counters().time_wait_full, 1);
    script.finish();
}

#[test]
fn an_abort_resets_and_an_unfinished_active_open_just_ends() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         20 ! abort
         20 = closed Aborted
         20 > R. 11:11(0) ack 1",
    );
    script.finish();
    for call in ["abort", "close"] {
        let mut script = Script::new();
        script.run(&format!(
            "0 ! connect
             0 > SEW 0:0(0)
             1 ! {call}
             1 = closed Aborted"
        ));
        script.finish();
    }
}

#[test]
fn both_close_at_once_with_data_before_the_fin() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         11 ! close
         11 > F. 11:11(0) ack 1
         12 < FP. 1:6(5) ack 1
         12 > . 12:12(0) ack 7
         13 < . 7:7(0) ack 12
         13 = closed Finished",
    );
    assert_eq!(script.transport.half_open_and_time_wait(), (0, 1));
}

#[test]
fn a_newer_timestamp_replaces_a_connection_in_time_wait_whatever_the_position() {
    // RFC 6191: the position alone would be older.
    let mut script = Script::new();
    script.run(super::script::OPEN).run(
        "10 ! close
         10 > F. 1:1(0) ack 1
         11 < F. 1:1(0) ack 2 win 512 <ts 11 10>
         11 = closed Finished
         11 > . 2:2(0) ack 2
         20 < S 0:0(0) win 65535 <mss 1460,sackOK,ts 10 0,ws 7>
         20 > . 2:2(0) ack 2
         30 < S 0:0(0) win 65535 <mss 1460,sackOK,ts 30 0,ws 7>
         30 > S. 0:0(0) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().time_wait_reused, 1);
}
