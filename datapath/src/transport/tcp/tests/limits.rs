use super::script::{OPEN_PLAIN, Script, config};
use crate::port::Port;
use crate::port::sim::SimPortConfig;
use crate::tcp::config::Config;

#[test]
fn a_full_send_queue_pushes_back_and_tells_when_half_is_free() {
    let config = Config { send_frames_max: 4, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_PLAIN).run(
        "10 ! send 5000
         10 = taken 4000
         10 > . 1:1001(1000) ack 1
         10 > . 1001:2001(1000) ack 1
         10 > . 2001:3001(1000) ack 1
         10 > P. 3001:4001(1000) ack 1
         20 < . 1:1(0) ack 1001
         21 < . 1:1(0) ack 2001
         21 = writable
         22 ! send 1000
         22 > P. 4001:5001(1000) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().send_queue_full, 1);
}

#[test]
fn an_empty_pool_pushes_back_and_acknowledgements_still_go_out() {
    let port = SimPortConfig { tx_frames: 4, ..SimPortConfig::default() };
    let config = Config { reserved_frames: 2, ..config() };
    let mut script = Script::with(config, &port);
    script.run(OPEN_PLAIN).run(
        "10 ! send 5000
         10 = taken 2000
         10 > . 1:1001(1000) ack 1
         10 > P. 1001:2001(1000) ack 1
         20 < P. 1:11(10) ack 1
         20 = data 10
         60 > . 2001:2001(0) ack 11
         70 < . 11:11(0) ack 2001
         70 = writable",
    );
    assert!(script.transport.tcp_counters().no_tx_frame > 0);
}

#[test]
fn a_full_ring_delays_and_loses_nothing() {
    // The ring takes two frames; a kick empties it, so that everything leaves in one flush.
    let port = SimPortConfig { tx_ring: 2, ..SimPortConfig::default() };
    let mut script = Script::with(config(), &port);
    script.run(OPEN_PLAIN).run(
        "10 ! send 5000
         10 > . 1:1001(1000) ack 1
         10 > . 1001:2001(1000) ack 1
         10 > . 2001:3001(1000) ack 1
         10 > . 3001:4001(1000) ack 1
         10 > P. 4001:5001(1000) ack 1",
    );
}

#[test]
fn frames_held_for_reassembly_are_bounded() {
    let config = Config { held_frames_max: 3, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    script.run(OPEN_PLAIN);
    for at in 0..5 {
        let (start, end) = (101 + at * 10, 111 + at * 10);
        script.run(&format!("10 < . {start}:{end}(10) ack 1\n10 > . 1:1(0) ack 1"));
    }
    assert_eq!(script.transport.tcp_counters().rx_reassembly_full, 2);
    script.run(
        "20 < R 1:1(0)
         20 = closed Reset",
    );
    script.finish();
}

#[test]
fn frames_that_are_no_segment_are_counted_by_what_is_wrong_and_released() {
    let mut script = Script::new();
    script.run(OPEN_PLAIN);
    let port = script.transport.port_mut();
    port.inject(&[0; 10]);
    let mut arp = vec![0; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    port.inject(&arp);
    script.run("10 ! held 0");
    let counters = script.transport.tcp_counters();
    assert_eq!((counters.rx_malformed, counters.rx_not_tcp), (1, 1));
    script.run("20 < R 1:1(0)\n20 = closed Reset");
    script.finish();
    assert_eq!(script.transport.port().tx_available(), 1024);
}

#[test]
fn resets_of_strays_are_limited() {
    let config = Config { resets_per_second_max: 10, ..config() };
    let mut script = Script::with(config, &SimPortConfig::default());
    let mut text = String::new();
    for at in 0..40 {
        text += &format!("{at} < . {at}:{at}(0) ack 5\n");
    }
    script.run_ignoring_output(&text);
    let counters = script.transport.tcp_counters();
    assert!((5..15).contains(&counters.tx_resets), "{counters:?}");
    assert_eq!(counters.tx_resets + counters.resets_limited, 40);
}
