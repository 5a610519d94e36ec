//! SYN cookies (RFC 4987): what happens when the SYN cache is full.

use std::net::SocketAddr;
use std::time::Duration;

use coney_base::Instant;

use super::script::{Script, config};
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;
use crate::transport::Transport;
use crate::wire::tcp::{Flags, Header, Options, Timestamps};
use crate::wire::{self, Ecn, Hop};

/// One half-open connection fills the cache: that of port 1.
fn full() -> Script {
    let config = Config { syn_cache_max: 1, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(
        "0 <1 S 0:0(0) win 65535 <mss 1460>
         0 >1 S. 0:0(0) ack 1",
    );
    script
}

#[test]
fn a_cookie_opens_with_all_that_was_agreed() {
    // Time 0 is 10000 ms of the clock; 10000 is no multiple of 64, so that the bits that say "scale
    // 7, SACK" leave a timestamp a little in the past.
    let mut script = full();
    script.run(
        "1 < S 0:0(0) win 65535 <mss 1460,sackOK,ts 5 0,ws 7>
         1 > S. 0:0(0) ack 1",
    );
    let echo = script.last_timestamp();
    script.run(&format!(
        "2 < P. 1:101(100) ack 1 win 512 <ts 6 {echo}>
         2 = accept
         2 = data 100
         3 ! send 3000
         3 > . 1:1449(1448) ack 101
         3 > . 1449:2897(1448) ack 101
         3 > P. 2897:3001(104) ack 101
         4 < . 101:101(0) ack 1 win 512 <ts 7 3,sack 1449:3001>
         4 > . 1:1449(1448) ack 101
         14 < . 101:101(0) ack 3001 win 512 <ts 8 3>"
    ));
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.syn_cookies_sent, counters.syn_cookies_accepted), (1, 1));
    assert_eq!(script.transport.half_open_and_time_wait(), (1, 0), "port 1");
}

#[test]
fn without_timestamps_only_the_size_of_segments_survives() {
    let mut script = full();
    script.run(
        "1 < S 0:0(0) win 65535 <mss 1350,sackOK,ws 7>
         1 > S. 0:0(0) ack 1 win 65535 <mss 1460>
         2 < . 1:1(0) ack 1 win 60000
         2 = accept
         3 ! send 2000
         3 > . 1:1301(1300) ack 1 win 65535
         3 > P. 1301:2001(700) ack 1",
    );
}

#[test]
fn what_brings_back_no_cookie_gets_no_answer() {
    let mut script = full();
    script.run(
        "1 < S 0:0(0) win 65535 <mss 1460>
         1 > S. 0:0(0) ack 1
         2 < . 1:1(0) ack 2
         3 < P. 101:201(100) ack 1
         4 < P. 1:101(100) ack 1
         4 = accept
         4 = data 100",
    );
    assert_eq!(script.transport.tcp_counters().syn_cookies_failed, 2);
}

#[test]
fn a_cookie_is_good_for_two_minutes_at_most() {
    let mut script = full();
    script.run(
        "1 < S 0:0(0) win 65535 <mss 1460>
         1 > S. 0:0(0) ack 1",
    );
    script.run_ignoring_output("130000 < . 1:1(0) ack 1");
    assert_eq!(script.transport.tcp_counters().syn_cookies_accepted, 0);
    assert_eq!(script.transport.conn_count(), 0);
}

#[test]
fn without_cookies_a_syn_is_dropped() {
    let config = Config { syn_cache_max: 1, syn_cookies: false, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(
        "0 <1 S 0:0(0) win 65535 <mss 1460>
         0 >1 S. 0:0(0) ack 1
         1 < S 0:0(0) win 65535 <mss 1460>",
    );
    assert_eq!(script.transport.tcp_counters().syn_cache_full, 1);
}

/// 100,000 SYNs from addresses that do not answer: connections go on, a new one is opened, and
/// nothing is kept of the flood beyond the cache.
#[test]
fn a_flood_of_syns_stops_nobody() {
    const FLOOD: u32 = 100_000;
    let config = Config { syn_cache_max: 64, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(super::script::OPEN);
    let established = script.conn();
    let server: SocketAddr = "10.0.0.1:6379".parse().unwrap();
    let hop = Hop { local: [2, 0, 0, 0, 0, 9], remote: [2, 0, 0, 0, 0, 1], vlan: None };
    let mut frame = vec![0; 128];
    let mut answered = 0;
    for number in 0..FLOOD {
        let now = Instant::from_millis(10_001) + Duration::from_micros(u64::from(number));
        let [_, a, b, c] = number.to_be_bytes();
        let addresses = ([11, a, b, c].into(), server.ip());
        let header = Header {
            src_port: 1024,
            dst_port: 6379,
            seq: crate::tcp::seq::Seq(number),
            flags: Flags::SYN,
            window: 1000,
            options: Options {
                mss: Some(1460),
                timestamps: Some(Timestamps { value: 1, echo: 0 }),
                ..Options::default()
            },
            ..Header::default()
        };
        let start = wire::write(&mut frame, 128, 0, &hop, addresses, &header, Ecn::NotEct).unwrap();
        assert!(script.transport.port_mut().inject(&frame[start..]));
        script.transport.poll(now, &mut script.app);
        if number % 1000 == 0 {
            assert_eq!(script.transport.send(now, established, b"+PONG\r\n"), 7);
        }
        script.transport.flush(now);
        answered += script.transport.port_mut().take_transmitted().len();
        assert_eq!(script.transport.half_open_and_time_wait().0, 64.min(number as usize + 1));
    }
    assert_eq!(script.transport.answers.len(), 0);
    assert!(answered >= FLOOD as usize, "{answered}");
    script.run_ignoring_output("200 < . 1:1(0) ack 701 win 512 <ts 200 0>");
    script.run(
        "201 <2 S 0:0(0) win 65535 <mss 1460>
         201 >2 S. 0:0(0) ack 1
         202 <2 P. 1:11(10) ack 1
         202 = accept
         202 = data 10
         203 < P. 1:1(0) ack 701 win 512 <ts 201 0>",
    );
    let counters = script.transport.tcp_counters();
    assert_eq!(counters.syn_cookies_sent, u64::from(FLOOD) - 64 + 1);
    assert_eq!((counters.syn_cookies_accepted, counters.accepted), (1, 2));
}
