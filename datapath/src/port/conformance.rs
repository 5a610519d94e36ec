//! What every [`Port`] must do: cases over a port and somebody at the other end of its wire.
//!
//! [`run_all`] takes one port through every case; each leaves the port as it found it. Frames to
//! the port are TCP segments for [`SERVED`], because a port may get only what is steered to it;
//! frames from the port have [`ETHERTYPE_OUT`], to which no kernel reacts.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Port, RxFrame, TxFrame, TxRingFull};

/// Where the frames to the port are addressed to.
pub(crate) const SERVED: ([u8; 4], u16) = ([192, 0, 2, 1], 6379);
/// IEEE 802's "local experimental" type.
pub(crate) const ETHERTYPE_OUT: u16 = 0x88b5;

/// Ethernet, IPv4 and TCP header.
const HEADERS_LEN: usize = 14 + 20 + 20;
/// More frames than this are never under way at once, so that no queue on the way overflows.
const WINDOW: usize = 64;
/// How often time may pass before something counts as lost.
const ROUNDS_MAX: usize = 5000;
/// How much time must pass before something counts as not going to happen.
const ROUNDS_QUIET: usize = 20;

/// The other end of the port's wire.
pub(crate) trait Peer {
    /// Sends one frame to the port.
    fn send(&mut self, frame: &[u8]);
    /// The next frame of [`ETHERTYPE_OUT`] that came from the port, if any is there.
    fn recv(&mut self) -> Option<Vec<u8>>;
    /// Lets a little time pass, in which frames move.
    fn pass_time(&mut self);
}

/// Every case. The port has at least 64 buffers of each kind and none is taken.
pub(crate) fn run_all<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let cases: [fn(&mut P, &mut Q); 15] = [
        caps_fit_together,
        frame_in_arrives_byte_for_byte,
        frame_out_arrives_byte_for_byte,
        part_of_a_buffer_is_sent,
        burst_beyond_the_kernels_budget_arrives,
        rx_burst_keeps_to_its_maximum,
        kept_frames_are_not_overwritten,
        keeping_every_frame_starves_until_release,
        frame_in_flight_is_the_devices,
        frame_is_sent_again_after_completion,
        frame_freed_in_flight_is_recycled_after_completion,
        empty_pool_pushes_back,
        full_ring_pushes_back,
        range_outside_the_buffer_is_a_bug,
        counters_have_distinct_names,
    ];
    for case in cases {
        let available = port.tx_available();
        case(port, peer);
        wait_until(port, peer, "the case's transmit frames are back", |port, _| {
            port.tx_available() == available
        });
        assert_eq!(receive_quietly(port, peer), Vec::<Vec<u8>>::new(), "nothing is left over");
    }
}

/// `count` frames from the peer come back to it, `window` at a time; returns how many came back.
pub(crate) fn echo<P: Port, Q: Peer>(
    port: &mut P,
    peer: &mut Q,
    len: usize,
    count: u32,
    window: u32,
) -> u32 {
    let mac = port.caps().mac;
    let mut frame = frame_in(mac, 0, len);
    let (mut sent, mut echoed, mut rounds) = (0, 0, 0);
    while echoed < count && rounds < ROUNDS_MAX {
        while sent < count && sent - echoed < window {
            set_number(&mut frame, sent);
            peer.send(&frame);
            sent += 1;
        }
        echo_burst(port, len);
        let before = echoed;
        while let Some(frame) = peer.recv() {
            assert_eq!(number_of(&frame), echoed, "frames keep their order");
            echoed += 1;
        }
        if echoed == before {
            peer.pass_time();
            rounds += 1;
        } else {
            rounds = 0;
        }
    }
    echoed
}

/// Submits one frame of this number and gives it up.
pub(crate) fn submit_one<P: Port>(port: &mut P, number: u32) {
    let frame = transmit(port, number, 100);
    port.tx_free(frame);
}

/// Answers a burst of frames with one frame of the same number each; returns how many.
pub(crate) fn echo_burst<P: Port>(port: &mut P, len: usize) -> usize {
    let mut received: Vec<RxFrame> = Vec::with_capacity(WINDOW);
    let count = port.rx_burst(&mut received, WINDOW);
    for rx in received {
        let mut tx = port.tx_alloc().expect("fewer frames are under way than buffers");
        let number = number_of(port.rx_bytes(&rx));
        write_frame_out(&mut port.tx_bytes_mut(&mut tx)[..len], number);
        port.rx_release(rx);
        port.tx_submit(&mut tx, 0, len).expect("the ring is larger than the window");
        port.tx_free(tx);
    }
    port.tx_flush();
    count
}

fn caps_fit_together<P: Port, Q: Peer>(port: &mut P, _: &mut Q) {
    let caps = port.caps().clone();
    assert!(caps.frame_bytes_max >= caps.mtu_bytes + 14, "{caps:?}");
    assert!(caps.rx_frames_max >= WINDOW && caps.tx_frames_max >= WINDOW, "{caps:?}");
    assert_eq!(port.tx_available(), caps.tx_frames_max);
    let mut frame = port.tx_alloc().unwrap();
    assert_eq!(port.tx_bytes_mut(&mut frame).len(), caps.frame_bytes_max);
    port.tx_free(frame);
}

fn frame_in_arrives_byte_for_byte<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let caps = port.caps().clone();
    let lens = [HEADERS_LEN, HEADERS_LEN + 1, 60, 64, 200, 1000, caps.mtu_bytes + 14];
    for (number, len) in (0..).zip(lens) {
        let frame = frame_in(caps.mac, number, len);
        peer.send(&frame);
        assert_eq!(receive(port, peer, 1), [frame]);
    }
}

fn frame_out_arrives_byte_for_byte<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let longest = port.caps().mtu_bytes + 14;
    for (number, len) in (0..).zip([60, 61, 64, 200, 1000, longest]) {
        let frame = transmit(port, number, len);
        port.tx_flush();
        port.tx_free(frame);
        assert_eq!(expect_out(port, peer, 1), [frame_out(number, len)]);
    }
}

fn part_of_a_buffer_is_sent<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let end = port.caps().frame_bytes_max;
    for (number, start) in (0..).zip([0, 1, 2, 54, 66, 333, end - 100]) {
        let mut frame = port.tx_alloc().unwrap();
        let bytes = port.tx_bytes_mut(&mut frame);
        bytes.fill(0xee);
        write_frame_out(&mut bytes[start..start + 100], number);
        port.tx_submit(&mut frame, start, 100).unwrap();
        port.tx_flush();
        assert_eq!(expect_out(port, peer, 1), [frame_out(number, 100)], "from {start}");
        port.tx_free(frame);
    }
}

/// A copy-mode AF_XDP socket sends at most 32 frames per call unless told otherwise.
fn burst_beyond_the_kernels_budget_arrives<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let frames: Vec<TxFrame> = (0..WINDOW).map(|n| transmit(port, number(n), 100)).collect();
    port.tx_flush();
    let expected: Vec<_> = (0..WINDOW).map(|n| frame_out(number(n), 100)).collect();
    assert_eq!(expect_out(port, peer, WINDOW), expected);
    for frame in frames {
        port.tx_free(frame);
    }
}

fn rx_burst_keeps_to_its_maximum<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let mac = port.caps().mac;
    for n in 0..20 {
        peer.send(&frame_in(mac, n, 100));
    }
    let mut kept = Vec::new();
    wait_until(port, peer, "20 frames arrive", |port, _| {
        assert_eq!(port.rx_burst(&mut Vec::new(), 0), 0);
        let before = kept.len();
        let count = port.rx_burst(&mut kept, 3);
        assert_eq!(kept.len() - before, count, "appends as many as it says");
        assert!(count <= 3);
        kept.len() == 20
    });
    for (n, frame) in (0..).zip(kept) {
        assert_eq!(number_of(port.rx_bytes(&frame)), n);
        port.rx_release(frame);
    }
}

fn kept_frames_are_not_overwritten<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let caps = port.caps().clone();
    for n in 0..10 {
        peer.send(&frame_in(caps.mac, n, 500));
    }
    let kept = receive_and_keep(port, peer, 10);
    // Every other buffer is used more than twice meanwhile.
    for start in (1000..1000 + 2 * caps.rx_frames_max).step_by(WINDOW) {
        for n in start..start + WINDOW {
            peer.send(&frame_in(caps.mac, number(n), 500));
        }
        let expected: Vec<_> =
            (start..start + WINDOW).map(|n| frame_in(caps.mac, number(n), 500)).collect();
        assert_eq!(receive(port, peer, WINDOW), expected);
    }
    for (n, frame) in (0..).zip(kept) {
        assert_eq!(port.rx_bytes(&frame), frame_in(caps.mac, n, 500));
        port.rx_release(frame);
    }
}

fn keeping_every_frame_starves_until_release<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let caps = port.caps().clone();
    let mut kept = Vec::new();
    while kept.len() < caps.rx_frames_max {
        let count = WINDOW.min(caps.rx_frames_max - kept.len());
        for n in kept.len()..kept.len() + count {
            peer.send(&frame_in(caps.mac, number(n), 100));
        }
        kept.append(&mut receive_and_keep(port, peer, count));
    }
    for n in 0..10 {
        peer.send(&frame_in(caps.mac, n, 100));
    }
    for _ in 0..ROUNDS_QUIET {
        peer.pass_time();
        assert_eq!(port.rx_burst(&mut kept, WINDOW), 0, "there is no buffer left to receive into");
    }
    for (n, frame) in (0..).zip(kept) {
        assert_eq!(number_of(port.rx_bytes(&frame)), n);
        port.rx_release(frame);
    }
    // What came while there was no buffer may be lost or late, but what comes now must arrive.
    receive_quietly(port, peer);
    let frame = frame_in(caps.mac, 77, 300);
    peer.send(&frame);
    assert_eq!(receive(port, peer, 1), [frame]);
}

fn frame_in_flight_is_the_devices<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let mut frame = transmit(port, 5, 100);
    assert!(port.tx_in_flight(&frame), "not completed before a flush");
    must_panic(|| port.tx_bytes_mut(&mut frame).fill(0));
    must_panic(|| port.tx_submit(&mut frame, 0, 100));
    port.tx_flush();
    assert_eq!(expect_out(port, peer, 1), [frame_out(5, 100)]);
    wait_until(port, peer, "the frame is completed", |port, _| !port.tx_in_flight(&frame));
    port.tx_bytes_mut(&mut frame).fill(0);
    port.tx_free(frame);
}

fn frame_is_sent_again_after_completion<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let mut frame = port.tx_alloc().unwrap();
    for n in 0..5 {
        write_frame_out(&mut port.tx_bytes_mut(&mut frame)[..200], n);
        port.tx_submit(&mut frame, 0, 200).unwrap();
        port.tx_flush();
        assert_eq!(expect_out(port, peer, 1), [frame_out(n, 200)]);
        wait_until(port, peer, "the frame is completed", |port, _| !port.tx_in_flight(&frame));
        // The bytes are still there: a retransmission need not write them anew.
        port.tx_submit(&mut frame, 0, 200).unwrap();
        port.tx_flush();
        assert_eq!(expect_out(port, peer, 1), [frame_out(n, 200)]);
        wait_until(port, peer, "the frame is completed", |port, _| !port.tx_in_flight(&frame));
    }
    port.tx_free(frame);
}

fn frame_freed_in_flight_is_recycled_after_completion<P: Port, Q: Peer>(
    port: &mut P,
    peer: &mut Q,
) {
    let available = port.tx_available();
    let frame = transmit(port, 9, 100);
    port.tx_free(frame);
    assert_eq!(port.tx_available(), available - 1, "the device still has it");
    port.tx_flush();
    assert_eq!(expect_out(port, peer, 1), [frame_out(9, 100)]);
    wait_until(port, peer, "the frame is recycled", |port, _| port.tx_available() == available);
}

fn empty_pool_pushes_back<P: Port, Q: Peer>(port: &mut P, _: &mut Q) {
    let frames: Vec<TxFrame> = std::iter::from_fn(|| port.tx_alloc()).collect();
    assert_eq!(frames.len(), port.caps().tx_frames_max);
    assert_eq!(port.tx_available(), 0);
    assert_eq!(port.tx_alloc(), None);
    for frame in frames {
        assert!(!port.tx_in_flight(&frame));
        port.tx_free(frame);
    }
    let frame = port.tx_alloc().expect("freed frames can be had again");
    port.tx_free(frame);
}

fn full_ring_pushes_back<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) {
    let mut submitted = 0;
    let refused = loop {
        // A ring with a slot for every frame never fills.
        let Some(mut frame) = port.tx_alloc() else { break None };
        write_frame_out(&mut port.tx_bytes_mut(&mut frame)[..100], number(submitted));
        match port.tx_submit(&mut frame, 0, 100) {
            Ok(()) => port.tx_free(frame),
            Err(TxRingFull) => break Some(frame),
        }
        submitted += 1;
    };
    port.tx_flush();
    let expected: Vec<_> = (0..submitted).map(|n| frame_out(number(n), 100)).collect();
    assert_eq!(expect_out(port, peer, submitted), expected);
    if let Some(mut frame) = refused {
        assert!(!port.tx_in_flight(&frame), "it was not queued");
        port.tx_submit(&mut frame, 0, 100).expect("there is room after a flush");
        port.tx_flush();
        assert_eq!(expect_out(port, peer, 1), [frame_out(number(submitted), 100)]);
        port.tx_free(frame);
    }
}

fn range_outside_the_buffer_is_a_bug<P: Port, Q: Peer>(port: &mut P, _: &mut Q) {
    let end = port.caps().frame_bytes_max;
    let mut frame = port.tx_alloc().unwrap();
    for (start, len) in [(0, end + 1), (end, 60), (end - 59, 60), (usize::MAX, 60)] {
        must_panic(|| port.tx_submit(&mut frame, start, len));
        assert!(!port.tx_in_flight(&frame));
    }
    port.tx_free(frame);
}

fn counters_have_distinct_names<P: Port, Q: Peer>(port: &mut P, _: &mut Q) {
    let mut names = BTreeSet::new();
    port.counters(&mut |name, _| {
        assert!(names.insert(name), "{name} is told twice");
        let is_snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(is_snake), "{name}");
    });
    assert!(!names.is_empty());
}

/// Allocates, writes and submits a frame.
fn transmit<P: Port>(port: &mut P, number: u32, len: usize) -> TxFrame {
    let mut frame = port.tx_alloc().unwrap();
    write_frame_out(&mut port.tx_bytes_mut(&mut frame)[..len], number);
    port.tx_submit(&mut frame, 0, len).unwrap();
    frame
}

/// Waits for exactly `count` frames to arrive at the port, and keeps them.
fn receive_and_keep<P: Port, Q: Peer>(port: &mut P, peer: &mut Q, count: usize) -> Vec<RxFrame> {
    let mut frames = Vec::new();
    wait_until(port, peer, "frames arrive at the port", |port, _| {
        let missing = count - frames.len();
        port.rx_burst(&mut frames, missing);
        frames.len() == count
    });
    frames
}

/// As [`receive_and_keep`], but releases the frames and returns their bytes.
fn receive<P: Port, Q: Peer>(port: &mut P, peer: &mut Q, count: usize) -> Vec<Vec<u8>> {
    let frames = receive_and_keep(port, peer, count);
    frames.into_iter().map(|frame| take_bytes(port, frame)).collect()
}

/// Whatever arrives in a while.
fn receive_quietly<P: Port, Q: Peer>(port: &mut P, peer: &mut Q) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for _ in 0..ROUNDS_QUIET {
        peer.pass_time();
        port.rx_burst(&mut frames, WINDOW);
    }
    frames.into_iter().map(|frame| take_bytes(port, frame)).collect()
}

fn take_bytes<P: Port>(port: &mut P, frame: RxFrame) -> Vec<u8> {
    let bytes = port.rx_bytes(&frame).to_vec();
    port.rx_release(frame);
    bytes
}

/// Waits for exactly `count` frames to arrive at the peer.
fn expect_out<P: Port, Q: Peer>(port: &mut P, peer: &mut Q, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    wait_until(port, peer, "frames arrive at the peer", |_, peer| {
        while let Some(frame) = peer.recv() {
            frames.push(frame);
        }
        frames.len() >= count
    });
    frames
}

/// Flushes the port and lets time pass until `condition` holds.
pub(crate) fn wait_until<P: Port, Q: Peer>(
    port: &mut P,
    peer: &mut Q,
    what: &str,
    mut condition: impl FnMut(&mut P, &mut Q) -> bool,
) {
    for _ in 0..ROUNDS_MAX {
        if condition(port, peer) {
            return;
        }
        port.tx_flush();
        peer.pass_time();
    }
    let mut counters = Vec::new();
    port.counters(&mut |name, count| counters.push((name, count)));
    panic!("waited too long until {what}; {counters:?}");
}

fn must_panic<T>(call: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "this must panic");
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// A TCP segment for [`SERVED`], `len` bytes long, that can be told from those of other numbers.
/// It comes from port 40000 plus the number's last byte.
pub(crate) fn frame_in(dst_mac: [u8; 6], number: u32, len: usize) -> Vec<u8> {
    let mut frame = dst_mac.to_vec();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 2, 0x08, 0x00]);
    let total_len = u16::try_from(len - 14).unwrap();
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&total_len.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 2]);
    frame.extend_from_slice(&SERVED.0);
    let checksum = !fold(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    let src_port = 40_000 + u16::from(number.to_be_bytes()[3]);
    frame.extend_from_slice(&src_port.to_be_bytes());
    frame.extend_from_slice(&SERVED.1.to_be_bytes());
    frame.extend_from_slice(&number.to_be_bytes()); // sequence number
    frame.extend_from_slice(&[0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend((frame.len()..len).map(|at| pattern(number, at)));
    frame
}

/// A frame from the port with the same number at the same place.
fn frame_out(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    write_frame_out(&mut frame, number);
    frame
}

fn write_frame_out(frame: &mut [u8], number: u32) {
    for (at, byte) in frame.iter_mut().enumerate() {
        *byte = pattern(number, at);
    }
    frame[..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&ETHERTYPE_OUT.to_be_bytes());
    set_number(frame, number);
}

fn set_number(frame: &mut [u8], number: u32) {
    frame[38..42].copy_from_slice(&number.to_be_bytes());
}

pub(crate) fn number_of(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[38..42].try_into().unwrap())
}

fn pattern(number: u32, at: usize) -> u8 {
    let [.., high, low] = number.to_be_bytes();
    low.wrapping_mul(31).wrapping_add(high).wrapping_add(at.to_le_bytes()[0])
}

/// One's complement sum of 16-bit words (RFC 1071), not inverted.
pub(crate) fn fold(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
