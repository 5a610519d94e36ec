use super::script::{OPEN, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;

#[test]
fn options_are_answered_only_if_offered() {
    Script::new().run(OPEN);
    Script::new().run(
        "0 < S 0:0(0) win 60000
         0 > S. 0:0(0) ack 1 win 65535 <mss 1460>
         5 < . 1:1(0) ack 1 win 60000
         5 = accept",
    );
    Script::new().run(
        "0 < S 0:0(0) win 60000 <mss 1460,ws 7>
         0 > S. 0:0(0) ack 1 win 65535 <mss 1460,ws 3>
         5 < . 1:1(0) ack 1 win 60000
         5 = accept",
    );
}

#[test]
fn the_acknowledgement_that_opens_may_carry_data_and_fin() {
    Script::new().run(
        "0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         5 < FP. 1:11(10) ack 1
         5 = accept
         5 = data 10
         5 = eof
         5 > . 1:1(0) ack 12 win 65535
         6 ! send 3
         6 > P. 1:4(3) ack 12
         7 ! close
         7 > F. 4:4(0) ack 12
         8 < . 12:12(0) ack 5
         8 = closed Finished",
    );
}

#[test]
fn a_lost_syn_ack_is_sent_again_with_doubling_timeouts_and_given_up() {
    let mut script = Script::new();
    script.run(
        "0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         1000 > S. 0:0(0) ack 1
         3000 > S. 0:0(0) ack 1
         7000 > S. 0:0(0) ack 1
         15000 > S. 0:0(0) ack 1
         31000 > S. 0:0(0) ack 1",
    );
    script.finish();
    assert_eq!(script.transport.tcp_counters().syn_timeouts, 1);
}

#[test]
fn a_duplicate_syn_is_answered_again_and_another_one_challenged() {
    let mut script = Script::new();
    script.run(
        "0 < S 0:0(0) win 60000 <mss 1460,ws 7>
         0 > S. 0:0(0) ack 1 win 65535
         100 < S 0:0(0) win 60000 <mss 1460,ws 7>
         100 > S. 0:0(0) ack 1
         200 < S 5:5(0) win 60000 <mss 1460>
         200 > . 1:1(0) ack 1 win 8191
         300 < . 1:1(0) ack 1
         300 = accept",
    );
    assert_eq!(script.transport.half_open_and_time_wait().0, 0);
}

#[test]
fn a_wrong_acknowledgement_of_a_syn_ack_is_reset_and_the_right_one_still_opens() {
    Script::new().run(
        "0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         1 < . 1:1(0) ack 2
         1 > R 2:2(0)
         2 < . 1:1(0) ack 1
         2 = accept",
    );
}

#[test]
fn a_reset_of_a_half_open_connection_counts_only_at_the_exact_position() {
    let mut script = Script::new();
    script.run(
        "0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         1 < R 100:100(0)
         1 > . 1:1(0) ack 1
         2 < R 70000:70000(0)
         3 < R 1:1(0)",
    );
    assert_eq!(script.transport.half_open_and_time_wait().0, 0);
    script.finish();
}

#[test]
fn a_full_syn_cache_drops_further_syns_until_a_handshake_is_finished() {
    let config = Config { syn_cache_max: 2, syn_cookies: false, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(
        "0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         0 <1 S 0:0(0) win 60000 <mss 1460>
         0 >1 S. 0:0(0) ack 1
         0 <2 S 0:0(0) win 60000 <mss 1460>
         1 < . 1:1(0) ack 1
         1 = accept
         1 <2 S 0:0(0) win 60000 <mss 1460>
         1 >2 S. 0:0(0) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().syn_cache_full, 1);
}

#[test]
fn a_refused_connection_is_reset_and_forgotten() {
    let mut script = Script::new();
    script.run(
        "0 ! refuse
         0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         1 < . 1:1(0) ack 1
         1 = accept
         1 > R. 1:1(0) ack 1",
    );
    script.finish();
}

#[test]
fn no_connection_beyond_the_limit_opens_until_one_ends() {
    let config = Config { conns_max: 1, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(
        "0 <1 S 0:0(0) win 60000 <mss 1460>
         0 >1 S. 0:0(0) ack 1
         0 < S 0:0(0) win 60000 <mss 1460>
         0 > S. 0:0(0) ack 1
         1 < . 1:1(0) ack 1
         1 = accept
         2 <1 . 1:1(0) ack 1
         3 < R 1:1(0)
         3 = closed Reset
         1000 >1 S. 0:0(0) ack 1
         1001 <1 . 1:1(0) ack 1
         1001 = accept",
    );
    assert_eq!(script.transport.tcp_counters().conns_full, 1);
}

#[test]
fn after_stop_accepting_established_connections_go_on_and_others_are_reset() {
    Script::new().run(OPEN).run(
        "1 <1 S 0:0(0) win 60000 <mss 1460>
         1 >1 S. 0:0(0) ack 1
         2 ! stop
         3 <1 . 1:1(0) ack 1
         3 >1 R 1:1(0)
         4 <2 S 0:0(0) win 60000
         4 >2 R. 0:0(0) ack 1
         5 < P. 1:5(4) ack 1 <ts 5 0>
         5 = data 4
         5 ! send 4
         5 > P. 1:5(4) ack 5",
    );
}

#[test]
fn an_active_open_finishes_with_an_acknowledgement_and_sends() {
    let mut script = Script::new();
    script.run(
        "0 ! connect
         0 > SEW 0:0(0) win 65535 <mss 1460,ws 3,sackOK,ts 0 0>
         1 < S. 0:0(0) ack 1 win 60000 <mss 1400,ts 9 0>
         1 = accept
         1 > . 1:1(0) ack 1 win 65535 <ts 1 9>
         2 ! send 1400
         2 > . 1:1389(1388) ack 1
         2 > P. 1389:1401(12) ack 1",
    );
}

#[test]
fn an_active_open_is_tried_again_given_up_or_refused() {
    let config = Config { retransmits_max: 2, ..config() };
    let mut script = Script::with(config.clone(), &SimPortConfig::default());
    script.run(
        "0 ! connect
         0 > SEW 0:0(0)
         1000 > S 0:0(0)
         3000 > S 0:0(0)
         7000 = closed TimedOut",
    );
    script.finish();
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(
        "0 ! connect
         0 > SEW 0:0(0)
         1 < R. 0:0(0) ack 2
         2 < R 0:0(0)
         3 < . 0:0(0) ack 3
         3 > R 3:3(0)
         4 < R. 0:0(0) ack 1
         4 = closed Reset",
    );
    script.finish();
}

#[test]
fn without_the_option_segments_are_of_the_default_size() {
    Script::new().run(
        "0 < S 0:0(0) win 60000
         0 > S. 0:0(0) ack 1
         1 < . 1:1(0) ack 1
         1 = accept
         2 ! send 1000
         2 > . 1:537(536) ack 1
         2 > P. 537:1001(464) ack 1",
    );
}

#[test]
fn a_tiny_segment_size_is_not_believed_and_a_huge_one_not_used() {
    Script::new().run(
        "0 < S 0:0(0) win 60000 <mss 40>
         0 > S. 0:0(0) ack 1
         1 < . 1:1(0) ack 1
         1 = accept
         2 ! send 200
         2 > . 1:89(88) ack 1
         2 > . 89:177(88) ack 1
         2 > P. 177:201(24) ack 1",
    );
    Script::new().run(
        "0 < S 0:0(0) win 60000 <mss 9000>
         0 > S. 0:0(0) ack 1
         1 < . 1:1(0) ack 1
         1 = accept
         2 ! send 2000
         2 > . 1:1461(1460) ack 1
         2 > P. 1461:2001(540) ack 1",
    );
}
