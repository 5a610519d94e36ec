use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::fuzz;
use crate::tcp::seq::Seq;

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v4 = any::<(u32, u32)>()
        .prop_map(|(a, b)| (IpAddr::V4(Ipv4Addr::from(a)), IpAddr::V4(Ipv4Addr::from(b))));
    let v6 = any::<(u128, u128)>()
        .prop_map(|(a, b)| (IpAddr::V6(Ipv6Addr::from(a)), IpAddr::V6(Ipv6Addr::from(b))));
    prop_oneof![v4, v6]
}

fn frame(
    (src, dst): (IpAddr, IpAddr),
    vlan: Option<u16>,
    header: &tcp::Header,
    payload: &[u8],
) -> Vec<u8> {
    let hop = Hop { local: [2; 6], remote: [4; 6], vlan };
    let mut frame = vec![0xa5; HEADERS_LEN_MAX];
    frame.extend(payload);
    let start =
        write(&mut frame, HEADERS_LEN_MAX, payload.len(), &hop, (src, dst), header, Ecn::Ect0)
            .unwrap();
    frame.split_off(start)
}

proptest! {
    #[test]
    fn a_written_frame_is_read_back_and_any_flipped_bit_is_noticed(
        pair in addresses(),
        vlan: Option<u16>,
        header in tcp::tests::header(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        bit: usize,
    ) {
        let mut frame = frame(pair, vlan, &header, &payload);
        frame.extend([0; 7]);
        let received = parse(&frame, false).unwrap();
        let swapped = Hop { local: [4; 6], remote: [2; 6], vlan };
        prop_assert_eq!(received.hop, swapped);
        prop_assert_eq!((received.src, received.dst), pair);
        prop_assert_eq!(received.header, header);
        prop_assert_eq!(&frame[received.payload], &payload[..]);
        // A single flipped bit of the segment never passes, whatever it hits.
        let link_len = 14 + if vlan.is_some() { 4 } else { 0 };
        let ip_len = if pair.0.is_ipv4() { 20 } else { 40 };
        let segment_bits = (header.len() + payload.len()) * 8;
        let bit = bit % segment_bits;
        frame[link_len + ip_len + bit / 8] ^= 1 << (bit % 8);
        prop_assert!(parse(&frame, false).is_err());
    }

    #[test]
    fn no_bytes_make_a_parser_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::frames(&data);
    }

    #[test]
    fn no_damage_to_a_good_frame_makes_a_parser_panic(
        pair in addresses(),
        header in tcp::tests::header(),
        mode: u8,
        edits in proptest::collection::vec(any::<(usize, u8)>(), 0..5),
        len: usize,
    ) {
        let mut frame = frame(pair, None, &header, b"payload");
        for (at, byte) in edits {
            let at = at % frame.len();
            frame[at] = byte;
        }
        frame.truncate(len % (frame.len() + 1));
        frame.insert(0, mode);
        fuzz::frames(&frame);
    }
}

#[test]
fn a_partial_checksum_counts_only_where_the_port_says_so() {
    let pair = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let header = tcp::Header { seq: Seq(7), flags: tcp::Flags::ACK, ..tcp::Header::default() };
    let mut frame = frame(pair, None, &header, b"payload");
    let partial = pseudo_header(pair.0, pair.1, PROTOCOL_TCP, 27).fold();
    frame[50..52].copy_from_slice(&partial.to_be_bytes());
    assert_eq!(parse(&frame, false), Err(ParseError::BadTcpChecksum));
    assert!(parse(&frame, true).is_ok());
    frame[51] ^= 1;
    assert_eq!(parse(&frame, true), Err(ParseError::BadTcpChecksum));
}

#[test]
fn too_little_room_for_headers_writes_nothing_and_says_so() {
    let hop = Hop { local: [2; 6], remote: [4; 6], vlan: None };
    let pair = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut frame = [0; 100];
    assert_eq!(write(&mut frame, 53, 10, &hop, pair, &tcp::Header::default(), Ecn::NotEct), None);
    assert_eq!(
        write(&mut frame, 54, 10, &hop, pair, &tcp::Header::default(), Ecn::NotEct),
        Some(0)
    );
    assert_eq!(write(&mut frame, 54, 47, &hop, pair, &tcp::Header::default(), Ecn::NotEct), None);
    let mixed = (pair.0, IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert_eq!(write(&mut frame, 90, 0, &hop, mixed, &tcp::Header::default(), Ecn::NotEct), None);
}
