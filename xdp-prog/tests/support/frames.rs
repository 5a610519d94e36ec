//! Golden frames: every situation the program tells apart, with the verdict it must reach.

use std::net::IpAddr;

use coney_xdp_prog::{Action, Verdict};

/// The served endpoints are port 6379 of these two addresses.
const V4: [u8; 4] = [192, 0, 2, 1];
const V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PORT: u16 = 6379;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// Longest frame that the tests let the program steer.
pub(crate) const FRAME_BYTES_MAX: u32 = 3840;

pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// What the program does with a frame of this verdict.
pub(crate) fn action(verdict: Verdict) -> Action {
    match verdict {
        Verdict::Steered | Verdict::SteeredTooBig => Action::Redirect,
        Verdict::DropOversize
        | Verdict::DropDenied
        | Verdict::DropSynSource
        | Verdict::DropSynGlobal => Action::Drop,
        _ => Action::Pass,
    }
}

fn ethernet(ethertypes: &[u16], datagram: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02];
    for (depth, ethertype) in ethertypes.iter().enumerate() {
        if depth > 0 {
            frame.extend_from_slice(&7u16.to_be_bytes()); // VLAN 7
        }
        frame.extend_from_slice(&ethertype.to_be_bytes());
    }
    frame.extend_from_slice(datagram);
    frame
}

fn tcp(port: u16, payload_len: usize) -> Vec<u8> {
    let mut segment = 40000u16.to_be_bytes().to_vec();
    segment.extend_from_slice(&port.to_be_bytes());
    segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    segment.resize(20 + payload_len, b'x');
    segment
}

struct Ipv4 {
    version: u8,
    options: usize,
    protocol: u8,
    fragment: u16,
    /// Added to the true total length.
    total_excess: i32,
    dst: [u8; 4],
}

const PLAIN: Ipv4 =
    Ipv4 { version: 4, options: 0, protocol: TCP, fragment: 0x4000, total_excess: 0, dst: V4 };

fn ipv4(header: &Ipv4, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + header.options;
    let total = i32::try_from(header_len + payload.len()).unwrap() + header.total_excess;
    let mut datagram = vec![header.version << 4 | u8::try_from(header_len / 4).unwrap(), 0];
    datagram.extend_from_slice(&u16::try_from(total).unwrap().to_be_bytes());
    datagram.extend_from_slice(&[0x12, 0x34]);
    datagram.extend_from_slice(&header.fragment.to_be_bytes());
    datagram.extend_from_slice(&[64, header.protocol, 0, 0, 192, 0, 2, 2]);
    datagram.extend_from_slice(&header.dst);
    datagram.resize(header_len, 1); // no-operation options
    datagram.extend_from_slice(payload);
    datagram
}

fn ipv6(next_header: u8, dst: [u8; 16], length_excess: i32, payload: &[u8]) -> Vec<u8> {
    let length = i32::try_from(payload.len()).unwrap() + length_excess;
    let mut datagram = vec![0x60, 0, 0, 0];
    datagram.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    datagram.extend_from_slice(&[next_header, 64]);
    datagram.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    datagram.extend_from_slice(&dst);
    datagram.extend_from_slice(payload);
    datagram
}

const IP4: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;

fn frame4(header: &Ipv4, payload: &[u8]) -> Vec<u8> {
    ethernet(&[IP4], &ipv4(header, payload))
}

fn frame6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(&[IP6], &ipv6(next_header, V6, 0, payload))
}

/// A SYN from this address to the served endpoint of its family.
pub(crate) fn syn_from(src: IpAddr) -> Vec<u8> {
    let mut syn = tcp(PORT, 0);
    syn[13] = 0x02;
    with_source(src, &syn)
}

/// Data from this address to the served endpoint of its family.
pub(crate) fn data_from(src: IpAddr) -> Vec<u8> {
    with_source(src, &tcp(PORT, 10))
}

fn with_source(src: IpAddr, segment: &[u8]) -> Vec<u8> {
    match src {
        IpAddr::V4(src) => {
            let mut frame = frame4(&PLAIN, segment);
            frame[26..30].copy_from_slice(&src.octets());
            frame
        }
        IpAddr::V6(src) => {
            let mut frame = frame6(TCP, segment);
            frame[22..38].copy_from_slice(&src.octets());
            frame
        }
    }
}

/// What a router quotes of a segment that the server sent from `port`.
fn quoted4(src: [u8; 4], port: u16, fragment: u16) -> Vec<u8> {
    let mut segment = tcp(40000, 0);
    segment[..2].copy_from_slice(&port.to_be_bytes());
    // As long as the packet was that did not fit.
    let header = Ipv4 { total_excess: 1460, fragment, ..PLAIN };
    let mut quoted = ipv4(&header, &segment[..8]);
    quoted[12..16].copy_from_slice(&src);
    quoted
}

fn quoted6(src: [u8; 16], port: u16) -> Vec<u8> {
    let mut segment = tcp(40000, 0);
    segment[..2].copy_from_slice(&port.to_be_bytes());
    let mut quoted = ipv6(TCP, V6, 1440, &segment[..8]);
    quoted[8..24].copy_from_slice(&src);
    quoted
}

/// An ICMP message of this type and code, with an MTU of 1400.
fn icmp(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0, 0, 0, 5, 0x78][..], quoted].concat()
}

fn icmp4(header: &Ipv4, message: &[u8]) -> Vec<u8> {
    frame4(&Ipv4 { protocol: ICMP, ..*header }, message)
}

/// ICMP about packets that were too big, with the verdict it must reach.
pub(crate) fn too_big() -> Vec<Golden> {
    use Verdict::{PassFragment, PassMalformed, PassNotTcp, SteeredTooBig};
    let quoted = quoted4(V4, PORT, 0x4000);
    let too_big = icmp(3, 4, &quoted);
    let too_big_v6 = icmp(2, 0, &quoted6(V6, PORT));
    let mut other_protocol = quoted.clone();
    other_protocol[9] = UDP;
    let mut with_options = quoted.clone();
    with_options[0] = 0x46;
    with_options.extend_from_slice(&[0; 4]);
    let mut other_v6 = V6;
    other_v6[15] = 9;
    let mut broadcast = icmp4(&PLAIN, &too_big);
    broadcast[..6].fill(0xff);
    let options = Ipv4 { options: 8, ..PLAIN };
    let cases = [
        ("IPv4 fragmentation needed", icmp4(&PLAIN, &too_big), SteeredTooBig),
        ("IPv4 fragmentation needed, options", icmp4(&options, &too_big), SteeredTooBig),
        (
            "IPv4 fragmentation needed in a VLAN",
            ethernet(&[VLAN, IP4], &ipv4(&Ipv4 { protocol: ICMP, ..PLAIN }, &too_big)),
            SteeredTooBig,
        ),
        (
            "IPv4 fragmentation needed that quotes more",
            icmp4(&PLAIN, &icmp(3, 4, &[&quoted[..], &[0; 500]].concat())),
            SteeredTooBig,
        ),
        ("IPv6 packet too big", frame6(ICMP_V6, &too_big_v6), SteeredTooBig),
        (
            "IPv6 packet too big in a VLAN",
            ethernet(&[VLAN, IP6], &ipv6(ICMP_V6, V6, 0, &too_big_v6)),
            SteeredTooBig,
        ),
        ("IPv4 port unreachable", icmp4(&PLAIN, &icmp(3, 3, &quoted)), PassNotTcp),
        ("IPv4 echo request", icmp4(&PLAIN, &icmp(8, 4, &quoted)), PassNotTcp),
        ("IPv6 time exceeded", frame6(ICMP_V6, &icmp(3, 0, &quoted6(V6, PORT))), PassNotTcp),
        ("ICMPv6 in IPv4", frame4(&Ipv4 { protocol: ICMP_V6, ..PLAIN }, &too_big_v6), PassNotTcp),
        ("ICMP in IPv6", frame6(ICMP, &too_big), PassNotTcp),
        (
            "IPv4 too big, other port",
            icmp4(&PLAIN, &icmp(3, 4, &quoted4(V4, 22, 0x4000))),
            PassNotTcp,
        ),
        (
            "IPv4 too big, quotes another sender",
            icmp4(&PLAIN, &icmp(3, 4, &quoted4([192, 0, 2, 3], PORT, 0x4000))),
            PassNotTcp,
        ),
        (
            "IPv4 too big, comes to another address than it quotes",
            icmp4(&Ipv4 { dst: [192, 0, 2, 3], ..PLAIN }, &too_big),
            PassNotTcp,
        ),
        ("IPv4 too big, quotes UDP", icmp4(&PLAIN, &icmp(3, 4, &other_protocol)), PassNotTcp),
        ("IPv4 too big, quotes options", icmp4(&PLAIN, &icmp(3, 4, &with_options)), PassNotTcp),
        (
            "IPv4 too big, quotes a later fragment",
            icmp4(&PLAIN, &icmp(3, 4, &quoted4(V4, PORT, 0x0010))),
            PassNotTcp,
        ),
        ("IPv4 too big, broadcast", broadcast, PassNotTcp),
        (
            "IPv4 too big, itself a fragment",
            icmp4(&Ipv4 { fragment: 0x2000, ..PLAIN }, &too_big),
            PassFragment,
        ),
        (
            "IPv4 too big, longer than its frame",
            icmp4(&Ipv4 { total_excess: 1, ..PLAIN }, &too_big),
            PassMalformed,
        ),
        ("IPv6 too big, other port", frame6(ICMP_V6, &icmp(2, 0, &quoted6(V6, 22))), PassNotTcp),
        (
            "IPv6 too big, quotes another sender",
            frame6(ICMP_V6, &icmp(2, 0, &quoted6(other_v6, PORT))),
            PassNotTcp,
        ),
        (
            "IPv6 too big, comes to another address than it quotes",
            ethernet(&[IP6], &ipv6(ICMP_V6, other_v6, 0, &too_big_v6)),
            PassNotTcp,
        ),
    ];
    let golden = |(name, frame, verdict)| Golden { name, frame, verdict };
    cases.into_iter().map(golden).collect()
}

/// Every golden frame.
pub(crate) fn all() -> Vec<Golden> {
    [steered(), not_steered(), too_big()].into_iter().flatten().collect()
}

/// The frames that must be steered, headers of every length among them.
pub(crate) fn steered() -> Vec<Golden> {
    let syn = tcp(PORT, 0);
    let data = tcp(PORT, 100);
    let mut padded = frame4(&PLAIN, &syn);
    padded.resize(60, 0);
    let full = usize::try_from(FRAME_BYTES_MAX).unwrap() - 14 - 20 - 20;
    let cases = [
        ("IPv4", frame4(&PLAIN, &data)),
        ("IPv4 without payload, padded to Ethernet's minimum", padded),
        ("IPv4 with 4 bytes of options", frame4(&Ipv4 { options: 4, ..PLAIN }, &data)),
        ("IPv4 with 40 bytes of options", frame4(&Ipv4 { options: 40, ..PLAIN }, &data)),
        ("IPv4, may be fragmented but is not", frame4(&Ipv4 { fragment: 0, ..PLAIN }, &data)),
        ("IPv4, reserved flag set", frame4(&Ipv4 { fragment: 0x8000, ..PLAIN }, &data)),
        ("IPv4 in a VLAN", ethernet(&[VLAN, IP4], &ipv4(&PLAIN, &data))),
        ("IPv4 in a provider's VLAN", ethernet(&[PROVIDER_VLAN, IP4], &ipv4(&PLAIN, &data))),
        ("IPv4 options in a VLAN", {
            ethernet(&[VLAN, IP4], &ipv4(&Ipv4 { options: 12, ..PLAIN }, &data))
        }),
        ("IPv6", frame6(TCP, &data)),
        ("IPv6 in a VLAN", ethernet(&[VLAN, IP6], &ipv6(TCP, V6, 0, &data))),
        ("longest frame that fits a buffer", frame4(&PLAIN, &tcp(PORT, full))),
    ];
    let golden = |(name, frame)| Golden { name, frame, verdict: Verdict::Steered };
    cases.into_iter().map(golden).collect()
}

/// The frames that must stay with the kernel, or be dropped as too long.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn not_steered() -> Vec<Golden> {
    use Verdict::{
        DropOversize, PassFragment, PassGroupMac, PassMalformed, PassNotIp, PassNotServed,
        PassNotTcp,
    };
    let data = tcp(PORT, 100);
    let full = usize::try_from(FRAME_BYTES_MAX).unwrap() - 14 - 20 - 20;
    let mut other_v6 = V6;
    other_v6[15] = 9;
    let mapped_v4 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    let mut broadcast = frame4(&PLAIN, &data);
    broadcast[..6].fill(0xff);
    let mut multicast = frame6(TCP, &data);
    multicast[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    let mut short_ihl = frame4(&PLAIN, &data);
    short_ihl[14] = 0x44;
    let mut wrong_v6 = frame6(TCP, &data);
    wrong_v6[14] = 0x40;
    let to = |dst| Ipv4 { dst, ..PLAIN };
    let cases = [
        ("ARP", ethernet(&[0x0806], &[0; 28]), PassNotIp),
        ("LLDP", ethernet(&[0x88cc], &[0; 46]), PassNotIp),
        ("two VLAN tags", ethernet(&[PROVIDER_VLAN, VLAN, IP4], &ipv4(&PLAIN, &data)), PassNotIp),
        ("ARP in a VLAN", ethernet(&[VLAN, 0x0806], &[0; 28]), PassNotIp),
        ("IPv4 UDP", frame4(&Ipv4 { protocol: UDP, ..PLAIN }, &data), PassNotTcp),
        ("IPv4 ICMP", frame4(&Ipv4 { protocol: 1, ..PLAIN }, &data), PassNotTcp),
        ("IPv6 UDP", frame6(UDP, &data), PassNotTcp),
        ("IPv6 ICMP", frame6(58, &data), PassNotTcp),
        (
            "IPv6 hop-by-hop options before TCP",
            { frame6(0, &[&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &data].concat()) },
            PassNotTcp,
        ),
        ("IPv4 other port", frame4(&PLAIN, &tcp(22, 100)), PassNotServed),
        (
            "IPv4 served port as source only",
            {
                let mut reply = tcp(40000, 100);
                reply[..2].copy_from_slice(&PORT.to_be_bytes());
                frame4(&PLAIN, &reply)
            },
            PassNotServed,
        ),
        ("IPv4 port with bytes swapped", frame4(&PLAIN, &tcp(PORT.swap_bytes(), 9)), PassNotServed),
        ("IPv4 other address", frame4(&to([192, 0, 2, 3]), &data), PassNotServed),
        ("IPv4 unspecified address", frame4(&to([0; 4]), &data), PassNotServed),
        ("IPv6 other port", frame6(TCP, &tcp(22, 0)), PassNotServed),
        ("IPv6 other address", ethernet(&[IP6], &ipv6(TCP, other_v6, 0, &data)), PassNotServed),
        (
            "IPv6 address that maps the served IPv4 one",
            { ethernet(&[IP6], &ipv6(TCP, mapped_v4, 0, &data)) },
            PassNotServed,
        ),
        ("IPv4 first fragment", frame4(&Ipv4 { fragment: 0x2000, ..PLAIN }, &data), PassFragment),
        ("IPv4 middle fragment", frame4(&Ipv4 { fragment: 0x2010, ..PLAIN }, &data), PassFragment),
        ("IPv4 last fragment", frame4(&Ipv4 { fragment: 0x0001, ..PLAIN }, &data), PassFragment),
        (
            "IPv4 fragment at a high offset",
            { frame4(&Ipv4 { fragment: 0x1f00, ..PLAIN }, &data) },
            PassFragment,
        ),
        (
            "IPv6 first fragment",
            { frame6(44, &[&[TCP, 0, 0, 1, 0, 0, 0, 9][..], &data].concat()) },
            PassFragment,
        ),
        (
            "IPv6 later fragment",
            { frame6(44, &[&[TCP, 0, 0, 0x58, 0, 0, 0, 9][..], &data].concat()) },
            PassFragment,
        ),
        ("IPv4 in a broadcast frame", broadcast, PassGroupMac),
        ("IPv6 in a multicast frame", multicast, PassGroupMac),
        ("IPv4 header length below 20", short_ihl, PassMalformed),
        ("IPv4 header says version 5", frame4(&Ipv4 { version: 5, ..PLAIN }, &data), PassMalformed),
        ("IPv6 header says version 4", wrong_v6, PassMalformed),
        (
            "IPv4 total length beyond the frame",
            { frame4(&Ipv4 { total_excess: 1, ..PLAIN }, &data) },
            PassMalformed,
        ),
        (
            "IPv4 total length too short for TCP",
            { frame4(&Ipv4 { total_excess: -101, ..PLAIN }, &data) },
            PassMalformed,
        ),
        (
            "IPv6 payload length beyond the frame",
            { ethernet(&[IP6], &ipv6(TCP, V6, 1, &data)) },
            PassMalformed,
        ),
        (
            "IPv6 payload length too short for TCP",
            { ethernet(&[IP6], &ipv6(TCP, V6, -101, &data)) },
            PassMalformed,
        ),
        ("one byte too long for a buffer", frame4(&PLAIN, &tcp(PORT, full + 1)), DropOversize),
        ("jumbo frame in several buffers", frame4(&PLAIN, &tcp(PORT, 8960)), DropOversize),
        ("64 KiB super-frame", frame4(&PLAIN, &tcp(PORT, 40_000)), DropOversize),
        ("jumbo frame to another port", frame4(&PLAIN, &tcp(22, 8960)), PassNotServed),
    ];
    let golden = |(name, frame, verdict)| Golden { name, frame, verdict };
    cases.into_iter().map(golden).collect()
}
