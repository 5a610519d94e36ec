//! Golden frames, made outside of this program.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const ARP_REQUEST_FRAME: &str = "ffffffffffff02000000000208060001080006040001020000000002c000020200000000\
     0000c0000201";
const ARP_REPLY_FRAME: &str = "02000000000202000000000108060001080006040002020000000001c000020102000000\
     0002c0000202";
const ARP_QUESTION_FRAME: &str = "ffffffffffff02000000000108060001080006040001020000000001c000020100000000\
     0000c0000202";
const ECHO_REQUEST_FRAME: &str = "020000000001020000000002080045000021000040004001b6d8c0000202c00002010800\
     9af512340001636f6e6579";
const ECHO_REPLY_FRAME: &str = "020000000002020000000001080045000021000040004001b6d8c0000201c00002020000\
     a2f512340001636f6e6579";
const SOLICITATION_FRAME: &str = "3333ff00000102000000000286dd6000000000203aff20010db800000000000000000000\
     0002ff0200000000000000000001ff00000187001c270000000020010db8000000000000\
     0000000000010101020000000002";
const ADVERTISEMENT_FRAME: &str = "02000000000202000000000186dd6000000000203aff20010db800000000000000000000\
     000120010db800000000000000000000000288008a736000000020010db8000000000000\
     0000000000010201020000000001";
const DETECTION_FRAME: &str = "3333ff00000102000000000286dd6000000000183aff0000000000000000000000000000\
     0000ff0200000000000000000001ff00000187004ced0000000020010db8000000000000\
     000000000001";
const DEFENCE_FRAME: &str = "33330000000102000000000186dd6000000000203aff20010db800000000000000000000\
     0001ff0200000000000000000000000000018800f92a2000000020010db8000000000000\
     0000000000010201020000000001";
const SOLICITATION_OF_OURS_FRAME: &str = "3333ff00000202000000000186dd6000000000203aff20010db800000000000000000000\
     0001ff0200000000000000000001ff00000287001c270000000020010db8000000000000\
     0000000000020101020000000001";
const ADVERTISEMENT_TO_US_FRAME: &str = "02000000000102000000000986dd6000000000203aff20010db800000000000000000000\
     000220010db800000000000000000000000188008a6a6000000020010db8000000000000\
     0000000000020201020000000009";
const ECHO_REQUEST_V6_FRAME: &str = "02000000000102000000000286dd60000000000d3a4020010db800000000000000000000\
     000220010db80000000000000000000000018000c73812340001636f6e6579";
const ECHO_REPLY_V6_FRAME: &str = "02000000000202000000000186dd60000000000d3a4020010db800000000000000000000\
     000120010db80000000000000000000000028100c63812340001636f6e6579";

const OUR_MAC: Mac = [2, 0, 0, 0, 0, 1];
const PEER_MAC: Mac = [2, 0, 0, 0, 0, 2];
const NEW_MAC: Mac = [2, 0, 0, 0, 0, 9];
const HOP: Hop = Hop { local: OUR_MAC, remote: PEER_MAC, vlan: None };

fn ours() -> [IpAddr; 2] {
    ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap())
}

fn peers() -> [IpAddr; 2] {
    ["192.0.2.2", "2001:db8::2"].map(|text| text.parse().unwrap())
}

fn responder() -> Responder {
    Responder::new(OUR_MAC, &ours())
}

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn output(responder: &mut Responder) -> Option<String> {
    responder.take_output().map(hex)
}

/// What is answered to a frame; the outer `None`: it was not taken.
fn answer(responder: &mut Responder, frame: &[u8]) -> Option<Option<String>> {
    responder.on_frame(at(10), frame).then(|| output(responder))
}

#[test]
fn requests_to_us_are_answered() {
    for (request, reply) in [
        (ARP_REQUEST_FRAME, ARP_REPLY_FRAME),
        (ECHO_REQUEST_FRAME, ECHO_REPLY_FRAME),
        (SOLICITATION_FRAME, ADVERTISEMENT_FRAME),
        (DETECTION_FRAME, DEFENCE_FRAME),
        (ECHO_REQUEST_V6_FRAME, ECHO_REPLY_V6_FRAME),
    ] {
        let mut responder = responder();
        assert_eq!(answer(&mut responder, &bytes(request)), Some(Some(reply.to_owned())));
        // Padding to Ethernet's minimum is no part of the message.
        let mut padded = bytes(request);
        padded.resize(padded.len().max(60), 0);
        assert_eq!(answer(&mut responder, &padded), Some(Some(reply.to_owned())));
        // A tagged request is answered with the same tag.
        let mut tagged = bytes(request);
        tagged.splice(12..12, [0x81, 0, 0, 42]);
        let mut tagged_reply = bytes(reply);
        tagged_reply.splice(12..12, [0x81, 0, 0, 42]);
        assert_eq!(answer(&mut responder, &tagged), Some(Some(hex(&tagged_reply))));
    }
}

#[test]
fn requests_to_others_are_not_answered() {
    let others: [IpAddr; 2] = ["192.0.2.7", "2001:db8::7"].map(|text| text.parse().unwrap());
    for request in [
        ARP_REQUEST_FRAME,
        ECHO_REQUEST_FRAME,
        SOLICITATION_FRAME,
        DETECTION_FRAME,
        ECHO_REQUEST_V6_FRAME,
    ] {
        let mut responder = Responder::new(OUR_MAC, &others);
        assert_eq!(answer(&mut responder, &bytes(request)).flatten(), None);
        assert!(responder.neighbours.is_empty(), "what others say to others fills no table");
    }
    // An echo request that a switch flooded to us.
    let mut flooded = bytes(ECHO_REQUEST_FRAME);
    flooded[5] = 7;
    assert_eq!(answer(&mut responder(), &flooded), None);
}

#[test]
fn damaged_or_forged_requests_are_refused() {
    for request in [ECHO_REQUEST_FRAME, SOLICITATION_FRAME, DETECTION_FRAME, ECHO_REQUEST_V6_FRAME]
    {
        let mut damaged = bytes(request);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(answer(&mut responder(), &damaged), None);
    }
    // A solicitation through a router: the hop limit is no part of the checksum.
    let mut routed = bytes(SOLICITATION_FRAME);
    routed[14 + HOP_LIMIT_AT] = 254;
    assert_eq!(answer(&mut responder(), &routed), None);
    for len in 0..42 {
        assert_eq!(answer(&mut responder(), &bytes(ARP_REQUEST_FRAME)[..len]), None);
    }
    // A sender with a group address, or with ours, is not answered.
    for (at_byte, byte) in [(22, 3), (27, 1)] {
        let mut forged = bytes(ARP_REQUEST_FRAME);
        forged[at_byte] = byte;
        assert_eq!(answer(&mut responder(), &forged), Some(None));
    }
}

#[test]
fn another_host_with_our_address_is_counted_and_not_learnt() {
    let mut responder = responder();
    let mut frame = bytes(ARP_REQUEST_FRAME);
    frame[31] = 1;
    responder.on_frame(at(1), &frame);
    assert_eq!(responder.counters.conflicts, 1);
    assert!(responder.neighbours.is_empty());
}

/// The peer's answer to [`ARP_QUESTION_FRAME`]: it has another hardware address now.
fn arp_answer() -> Vec<u8> {
    let mut arp_answer = bytes(ARP_REPLY_FRAME);
    arp_answer[..6].copy_from_slice(&OUR_MAC);
    arp_answer[21] = 2;
    arp_answer[22..28].copy_from_slice(&NEW_MAC);
    arp_answer[28..32].copy_from_slice(&[192, 0, 2, 2]);
    arp_answer[38..42].copy_from_slice(&[192, 0, 2, 1]);
    arp_answer
}

#[test]
fn silent_peer_is_asked_for_and_its_answer_is_the_next_hop() {
    for (family, question, reply) in [
        (0, ARP_QUESTION_FRAME, arp_answer()),
        (1, SOLICITATION_OF_OURS_FRAME, bytes(ADVERTISEMENT_TO_US_FRAME)),
    ] {
        let (local, remote) = (ours()[family], peers()[family]);
        let mut responder = responder();
        assert_eq!(answer(&mut responder, &reply), Some(None));
        assert!(responder.neighbours.is_empty() || family == 0, "nobody asked");
        responder.neighbours.clear();
        assert_eq!(responder.next_hop(at(10), &HOP, local, remote), None);
        assert_eq!(output(&mut responder).as_deref(), Some(question));
        assert_eq!(responder.next_hop(at(10), &HOP, local, remote), None);
        assert_eq!(output(&mut responder), None, "once a second is enough");
        assert_eq!(answer(&mut responder, &reply), Some(None));
        assert_eq!(responder.next_hop(at(10), &HOP, local, remote), Some(NEW_MAC));
    }
}

#[test]
fn router_is_found_again_by_the_hardware_address_that_failed() {
    let mut responder = responder();
    let far: IpAddr = "198.51.100.9".parse().unwrap();
    responder.on_frame(at(10), &bytes(ARP_REQUEST_FRAME));
    assert_eq!(responder.next_hop(at(10), &HOP, ours()[0], far), None);
    assert_eq!(output(&mut responder).as_deref(), Some(ARP_QUESTION_FRAME), "the router is asked");
    let mut moved = bytes(ARP_REQUEST_FRAME);
    moved[22..28].copy_from_slice(&NEW_MAC);
    responder.on_frame(at(11), &moved);
    assert_eq!(responder.next_hop(at(11), &HOP, ours()[0], far), Some(NEW_MAC));
}

#[test]
fn an_answer_that_comes_to_another_queue_is_the_next_hop() {
    for (family, question, reply) in [
        (0, ARP_QUESTION_FRAME, arp_answer()),
        (1, SOLICITATION_OF_OURS_FRAME, bytes(ADVERTISEMENT_TO_US_FRAME)),
    ] {
        let (local, remote) = (ours()[family], peers()[family]);
        let mut queues = Responder::for_queues(OUR_MAC, &ours(), 3);
        assert_eq!(queues[1].next_hop(at(10), &HOP, local, remote), None);
        assert_eq!(output(&mut queues[1]).as_deref(), Some(question));
        assert_eq!(queues[2].next_hop(at(10), &HOP, local, remote), None);
        assert_eq!(output(&mut queues[2]), None, "one question is enough for all");
        assert_eq!(answer(&mut queues[0], &reply), Some(None));
        for queue in &mut queues {
            assert_eq!(queue.next_hop(at(10), &HOP, local, remote), Some(NEW_MAC));
        }
    }
}

#[test]
fn a_queue_knows_the_router_that_only_another_one_heard_of() {
    let mut queues = Responder::for_queues(OUR_MAC, &ours(), 2);
    let far: IpAddr = "198.51.100.9".parse().unwrap();
    queues[0].on_frame(at(10), &bytes(ARP_REQUEST_FRAME));
    assert_eq!(queues[1].next_hop(at(10), &HOP, ours()[0], far), None);
    assert_eq!(output(&mut queues[1]).as_deref(), Some(ARP_QUESTION_FRAME), "the router is asked");
    let mut moved = bytes(ARP_REQUEST_FRAME);
    moved[22..28].copy_from_slice(&NEW_MAC);
    queues[0].on_frame(at(11), &moved);
    assert_eq!(queues[1].next_hop(at(11), &HOP, ours()[0], far), Some(NEW_MAC));
}

#[test]
fn news_for_a_queue_that_takes_none_are_bounded_and_it_asks_by_itself() {
    let mut queues = Responder::for_queues(OUR_MAC, &ours(), 2);
    for secs in 0..NEWS_MAX as u64 + 100 {
        queues[0].on_frame(at(secs), &bytes(ARP_REQUEST_FRAME));
        queues[0].on_frame(at(secs), &bytes(ARP_REQUEST_FRAME));
    }
    assert_eq!(queues[0].counters.news_dropped, 100, "what did not change is told once a second");
    let now = at(5000);
    assert_eq!(queues[1].next_hop(now, &HOP, ours()[0], peers()[0]), None);
    assert_eq!(output(&mut queues[1]).as_deref(), Some(ARP_QUESTION_FRAME));
    queues[0].on_frame(now, &arp_answer());
    assert_eq!(queues[1].next_hop(now, &HOP, ours()[0], peers()[0]), Some(NEW_MAC));
}

#[test]
fn answers_and_neighbours_are_bounded() {
    let mut responder = responder();
    let mut answered = 0;
    for number in 0..ANSWERS_PER_SECOND_MAX + 100 {
        let mut frame = bytes(ARP_REQUEST_FRAME);
        let [_, _, high, low] = number.to_be_bytes();
        frame[28..32].copy_from_slice(&[10, 0, high, low]);
        answered += u32::from(answer(&mut responder, &frame).flatten().is_some());
    }
    assert_eq!(answered, ANSWERS_PER_SECOND_MAX);
    assert_eq!(responder.counters.limited, 100);
    assert_eq!(responder.neighbours.len(), NEIGHBOURS_MAX);
    responder.on_frame(at(12), &bytes(ARP_REQUEST_FRAME));
    assert!(output(&mut responder).is_some(), "the next second");
}

proptest! {
    #[test]
    fn no_frame_makes_the_responder_panic(
        which in 0_usize..6, cut in 0_usize..120, edits: [(u8, u8); 3], any: Vec<u8>,
    ) {
        let known = [ARP_REQUEST_FRAME, ECHO_REQUEST_FRAME, SOLICITATION_FRAME, DETECTION_FRAME,
            ADVERTISEMENT_TO_US_FRAME, ECHO_REQUEST_V6_FRAME];
        let mut frame = bytes(known[which]);
        for (at, byte) in edits {
            if let Some(edited) = frame.get_mut(usize::from(at)) {
                *edited = byte;
            }
        }
        frame.truncate(cut.max(20));
        let mut responder = responder();
        responder.on_frame(at(1), &frame);
        responder.on_frame(at(1), &any);
    }
}
