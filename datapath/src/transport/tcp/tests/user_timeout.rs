//! RFC 9293 §3.8.3 and §3.9.1.1: how long the peer may make no progress.

use std::time::Duration;

use super::script::{OPEN_PLAIN, Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;

fn script() -> Script {
    let config = Config { user_timeout: Some(Duration::from_secs(1)), ..config() };
    Script::with(config, &SimPortConfig::default())
}

#[test]
fn data_that_nobody_acknowledges_ends_the_connection_when_the_user_says() {
    let mut script = script();
    script.run(OPEN_PLAIN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         210 > P. 1:11(10) ack 1
         610 > P. 1:11(10) ack 1
         1010 = closed TimedOut
         1010 > R. 11:11(0) ack 1",
    );
    script.finish();
    assert_eq!(script.transport.tcp_counters().timeouts, 1);
}

#[test]
fn progress_starts_the_user_timeout_again() {
    let mut script = script();
    script.run(OPEN_PLAIN).run(
        "10 ! send 1500
         10 > . 1:1001(1000) ack 1
         10 > P. 1001:1501(500) ack 1
         110 < . 1:1(0) ack 1001
         310 > P. 1001:1501(500) ack 1
         710 > P. 1001:1501(500) ack 1
         1110 = closed TimedOut
         1110 > R. 1501:1501(0) ack 1",
    );
    script.finish();
}

#[test]
fn a_window_that_stays_closed_counts_although_probes_are_answered() {
    let mut script = script();
    script.run(OPEN_PLAIN).run(
        "10 < . 1:1(0) ack 1 win 0
         20 ! send 100
         220 > . 0:0(0) ack 1
         221 < . 1:1(0) ack 1 win 0
         620 > . 0:0(0) ack 1
         621 < . 1:1(0) ack 1 win 0
         1020 = closed TimedOut
         1020 > R. 1:1(0) ack 1",
    );
    script.finish();
}

#[test]
fn a_connection_that_has_nothing_to_send_may_be_silent() {
    let mut script = script();
    script.run(OPEN_PLAIN).run(
        "10 ! send 10
         10 > P. 1:11(10) ack 1
         210 > P. 1:11(10) ack 1
         610 > P. 1:11(10) ack 1
         900 < . 1:1(0) ack 11
         250000 < P. 1:6(5) ack 11
         250000 = data 5
         250040 > . 11:11(0) ack 6",
    );
}
