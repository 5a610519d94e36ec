//! The kernel's routes and neighbours over rtnetlink.
//!
//! Source: rtnetlink(7), uapi/linux/rtnetlink.h, uapi/linux/neighbour.h.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use super::{Neighbour, NextHop, Quality, Tables};
use crate::netlink::{Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, attribute, find, request};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const ROUTE_LEN: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NEIGHBOUR_LEN: usize = 12;
const NTF_USE: u8 = 1;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;

/// An answer about one route or neighbour is some hundred bytes.
const ANSWER_BYTES_MAX: usize = 8192;
/// Answers to earlier requests that may be in front of the one that is looked for.
const LATE_ANSWERS_MAX: usize = 64;

/// A netlink socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Kernel {
    socket: OwnedFd,
    sequence: u32,
}

impl Kernel {
    /// Opens the socket. Reading needs no privilege; [`Tables::use_neighbour`] and
    /// [`Tables::forget`] need CAP_NET_ADMIN.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open() -> Result<Self, Errno> {
        // Without a protocol: NETLINK_ROUTE is 0.
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// One request; returns type and body of the answer.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(u16, Vec<u8>), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, NLM_F_REQUEST | flags, self.sequence, body);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        for _ in 0..LATE_ANSWERS_MAX {
            // The kernel answers inside the call that sends.
            let (len, _) = recv(&self.socket, &mut answer[..], RecvFlags::DONTWAIT)?;
            let message = Message::parse(answer.get(..len).unwrap_or_default())?;
            if message.sequence == self.sequence {
                return Ok((message.kind, message.body.to_vec()));
            }
        }
        Err(Errno::BADMSG)
    }

    /// A request about one neighbour that the kernel only acknowledges.
    fn tell(&mut self, kind: u16, flags: u16, hop: &NextHop, ndm_flags: u8) -> Result<(), Errno> {
        let body = neighbour_body(hop, ndm_flags);
        self.ask(kind, NLM_F_ACK | flags, &body).map(|_acknowledged| ())
    }
}

impl Tables for Kernel {
    fn next_hop(
        &mut self,
        local: IpAddr,
        remote: IpAddr,
        interface: Option<u32>,
    ) -> Result<Option<NextHop>, Errno> {
        let mut body = vec![family(remote), prefix_len(remote), prefix_len(local), 0];
        body.resize(ROUTE_LEN, 0);
        body.extend(attribute(RTA_DST, &octets(remote)));
        body.extend(attribute(RTA_SRC, &octets(local)));
        if let Some(interface) = interface {
            body.extend(attribute(RTA_OIF, &interface.to_ne_bytes()));
        }
        match self.ask(RTM_GETROUTE, 0, &body) {
            Ok((RTM_NEWROUTE, body)) => Ok(parse_route(&body, remote)),
            Ok(_) => Err(Errno::BADMSG),
            Err(Errno::NETUNREACH | Errno::HOSTUNREACH) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn neighbour(&mut self, hop: &NextHop) -> Result<Option<Neighbour>, Errno> {
        match self.ask(RTM_GETNEIGH, 0, &neighbour_body(hop, 0)) {
            Ok((RTM_NEWNEIGH, body)) => Ok(parse_neighbour(&body)),
            Ok(_) => Err(Errno::BADMSG),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn use_neighbour(&mut self, hop: &NextHop) -> Result<(), Errno> {
        self.tell(RTM_NEWNEIGH, NLM_F_CREATE, hop, NTF_USE)
    }

    fn forget(&mut self, hop: &NextHop) -> Result<(), Errno> {
        self.tell(RTM_DELNEIGH, 0, hop, 0)
    }
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    u8::try_from(family.as_raw()).expect("families are small numbers")
}

fn prefix_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `struct rtmsg` and its attributes. `None`: the destination is this host itself, or it is
/// rejected.
fn parse_route(body: &[u8], remote: IpAddr) -> Option<NextHop> {
    let (route, attributes) = body.split_first_chunk::<ROUTE_LEN>()?;
    let [_family, _dst, _src, _tos, _table, _protocol, _scope, kind, ..] = *route;
    if kind != RTN_UNICAST {
        return None;
    }
    let interface = find(attributes, RTA_OIF)?;
    let interface = u32::from_ne_bytes(interface.try_into().ok()?);
    let gateway = match (find(attributes, RTA_GATEWAY), find(attributes, RTA_VIA)) {
        (Some(gateway), _) => Some(address(gateway)?),
        // An IPv4 destination behind an IPv6 router: family and address.
        (None, Some(via)) => Some(address(via.get(2..)?)?),
        (None, None) => None,
    };
    Some(NextHop { interface, address: gateway.unwrap_or(remote) })
}

/// `struct ndmsg` with the neighbour's address.
fn neighbour_body(hop: &NextHop, flags: u8) -> Vec<u8> {
    let mut body = vec![family(hop.address), 0, 0, 0];
    body.extend_from_slice(&hop.interface.to_ne_bytes());
    body.extend_from_slice(&[0, 0, flags, 0]);
    body.extend(attribute(NDA_DST, &octets(hop.address)));
    body
}

/// `None`: the kernel has no hardware address for it, now.
fn parse_neighbour(body: &[u8]) -> Option<Neighbour> {
    let (header, attributes) = body.split_first_chunk::<NEIGHBOUR_LEN>()?;
    let [.., state_0, state_1, _flags, _kind] = *header;
    let state = u16::from_ne_bytes([state_0, state_1]);
    let quality = match state {
        NUD_REACHABLE => Quality::Confirmed,
        NUD_STALE => Quality::Stale,
        NUD_DELAY | NUD_PROBE => Quality::Probing,
        NUD_NOARP | NUD_PERMANENT => Quality::Fixed,
        _ => return None,
    };
    let mac = find(attributes, NDA_LLADDR)?.try_into().ok()?;
    Some(Neighbour { mac, quality })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_answer_makes_the_parsers_panic(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            parse_route(&body, IpAddr::from([0; 4]));
            parse_neighbour(&body);
        }
    }

    #[test]
    fn route_of_loopback_has_no_next_hop() {
        let mut kernel = Kernel::open().unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(kernel.next_hop(here, here, None), Ok(None), "a local route");
    }
}
