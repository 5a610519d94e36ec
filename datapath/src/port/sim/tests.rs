use std::time::Duration;

use coney_base::Instant;

use super::*;

fn port(completion_flushes: u64) -> SimPort {
    let config = SimPortConfig {
        frame_bytes: 64,
        tx_frames: 3,
        rx_frames: 2,
        tx_ring: 2,
        completion_flushes,
        ..SimPortConfig::default()
    };
    SimPort::new(&config)
}

fn transmit(port: &mut SimPort, text: &[u8]) -> TxFrame {
    let mut frame = port.tx_alloc().unwrap();
    port.tx_bytes_mut(&mut frame)[8..8 + text.len()].copy_from_slice(text);
    port.tx_submit(&mut frame, 8, text.len()).unwrap();
    frame
}

#[test]
fn a_frame_given_up_in_flight_is_recycled_on_completion_and_not_before() {
    let mut port = port(1);
    let frame = transmit(&mut port, b"one");
    port.tx_free(frame);
    assert_eq!(port.tx_available(), 2);
    port.tx_flush();
    assert_eq!(port.take_transmitted(), [b"one"]);
    assert_eq!(port.tx_available(), 2, "completes one flush later");
    port.tx_flush();
    assert_eq!(port.tx_available(), 3);
    assert!(port.is_quiescent());
}

#[test]
fn a_frame_can_be_sent_again_once_completed() {
    let mut port = port(0);
    let mut frame = transmit(&mut port, b"one");
    assert!(port.tx_in_flight(&frame));
    port.tx_flush();
    assert!(!port.tx_in_flight(&frame));
    port.tx_bytes_mut(&mut frame)[8] = b'O';
    port.tx_submit(&mut frame, 8, 3).unwrap();
    port.tx_flush();
    assert_eq!(port.take_transmitted(), [b"one", b"One"]);
}

#[test]
#[should_panic(expected = "is used by its owner but it is Some(InFlight)")]
fn touching_a_frame_in_flight_panics() {
    let mut port = port(0);
    let mut frame = transmit(&mut port, b"one");
    port.tx_bytes_mut(&mut frame);
}

#[test]
fn full_rings_and_empty_pools_push_back() {
    let mut port = port(0);
    let frames = [transmit(&mut port, b"1"), transmit(&mut port, b"2")];
    let mut third = port.tx_alloc().unwrap();
    assert_eq!(port.tx_submit(&mut third, 0, 1), Err(TxRingFull));
    assert!(port.tx_alloc().is_none());
    port.tx_flush();
    assert_eq!(port.tx_submit(&mut third, 0, 1), Ok(()));
    frames.into_iter().for_each(|frame| port.tx_free(frame));
    assert!(port.inject(b"a") && port.inject(b"b"));
    assert!(!port.inject(b"c"), "no receive frame is free");
    let mut received = Vec::new();
    assert_eq!(port.rx_burst(&mut received, 1), 1);
    assert_eq!(port.rx_bytes(&received[0]), b"a");
    port.rx_release(received.remove(0));
    assert!(port.inject(b"c"));
}

#[test]
fn a_link_delays_and_the_same_seed_gives_the_same_faults() {
    let faults = Faults {
        delay: Duration::from_millis(5),
        loss_ppm: 200_000,
        mark_ppm: 0,
        duplicate_ppm: 200_000,
        corrupt_ppm: 200_000,
        reorder_ppm: 200_000,
        reorder_delay: Duration::from_millis(3),
        ..Faults::NONE
    };
    let run = |seed| {
        let config = SimPortConfig::default();
        let (mut a, mut b) = (SimPort::new(&config), SimPort::new(&config));
        let mut link = Link::new(faults, seed);
        for number in 0..100_u8 {
            let mut frame = a.tx_alloc().unwrap();
            a.tx_bytes_mut(&mut frame)[0] = number;
            a.tx_submit(&mut frame, 0, 60).unwrap();
            a.tx_free(frame);
            a.tx_flush();
            link.transfer(Instant::from_millis(u64::from(number)), &mut a, &mut b);
        }
        link.transfer(Instant::from_millis(1000), &mut a, &mut b);
        let mut frames = Vec::new();
        b.rx_burst(&mut frames, usize::MAX);
        let bytes: Vec<u8> = frames.iter().map(|frame| b.rx_bytes(frame)[0]).collect();
        (bytes, link.stats())
    };
    let (bytes, stats) = run(1);
    assert_eq!(run(1), (bytes.clone(), stats));
    assert_ne!(run(2).0, bytes);
    assert!(!bytes.is_sorted(), "reordered");
    assert_eq!(bytes.len() as u64, stats.frames - stats.lost + stats.duplicated);
    assert!(stats.corrupted > 0);
}
