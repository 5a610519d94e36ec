//! IPv6, VLAN tags, and how the way to a peer is learnt.

use std::net::{IpAddr, SocketAddr};

use coney_base::Instant;

use super::app::{Recorder, pattern};
use crate::port::sim::{SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::tcp::seq::Seq;
use crate::transport::Transport;
use crate::transport::tcp::TcpTransport;
use crate::wire::tcp::{Flags, Header, Options};
use crate::wire::{self, Hop, Received};

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];

struct Wire {
    transport: TcpTransport<SimPort>,
    app: Recorder,
    now: Instant,
    peer: IpAddr,
    ours: IpAddr,
}

impl Wire {
    fn new(ours: &str, peer: &str) -> Self {
        let (ours, peer) = (ours.parse().unwrap(), peer.parse().unwrap());
        let config = Config { listen: vec![SocketAddr::new(ours, 6379)], ..Config::default() };
        Self {
            transport: TcpTransport::new(SimPort::new(&SimPortConfig::default()), config).unwrap(),
            app: Recorder::default(),
            now: Instant::from_millis(1000),
            peer,
            ours,
        }
    }

    /// Sends a segment from `mac` and returns what comes back.
    fn exchange(
        &mut self,
        mac: [u8; 6],
        vlan: Option<u16>,
        (seq, ack): (u32, Seq),
        flags: Flags,
        len: usize,
    ) -> Vec<Received> {
        let header = Header {
            src_port: 40_000,
            dst_port: 6379,
            seq: Seq(seq),
            ack,
            flags,
            window: 1000,
            options: Options { mss: flags.has(Flags::SYN).then_some(1440), ..Options::default() },
        };
        let mut frame = vec![0; 128];
        frame.extend((0..len as u64).map(pattern));
        let hop = Hop { local: mac, remote: OUR_MAC, vlan };
        let start = wire::write(
            &mut frame,
            128,
            len,
            &hop,
            (self.peer, self.ours),
            &header,
            wire::Ecn::NotEct,
        )
        .unwrap();
        self.transport.port_mut().inject(&frame[start..]);
        self.transport.poll(self.now, &mut self.app);
        if self.app.log.last().is_some_and(|event| event.starts_with("data")) {
            let conn = self.app.conns[0].0;
            self.transport.send(self.now, conn, b"reply");
        }
        self.transport.flush(self.now);
        let sent = self.transport.port_mut().take_transmitted();
        sent.iter().map(|frame| wire::parse(frame, false).unwrap()).collect()
    }

    /// Returns our initial sequence number.
    fn open(&mut self, vlan: Option<u16>) -> Seq {
        let syn_ack = self.exchange(PEER_MAC, vlan, (0, Seq(0)), Flags::SYN, 0).remove(0);
        assert_eq!(syn_ack.hop, Hop { local: OUR_MAC, remote: PEER_MAC, vlan }.swapped());
        assert_eq!((syn_ack.src, syn_ack.dst), (self.ours, self.peer));
        let iss = syn_ack.header.seq;
        assert!(self.exchange(PEER_MAC, vlan, (1, iss.plus(1)), Flags::ACK, 0).is_empty());
        assert_eq!(self.app.log, ["accept"]);
        iss
    }
}

impl Hop {
    /// As the other side sees it.
    fn swapped(self) -> Self {
        Self { local: self.remote, remote: self.local, vlan: self.vlan }
    }
}

#[test]
fn ipv6_and_ipv4_work_with_and_without_a_vlan_tag() {
    for (ours, peer, mss) in [("fd00::1", "fd00::2", 1440), ("10.0.0.1", "10.0.0.2", 1460)] {
        for vlan in [None, Some(7)] {
            let mut wire = Wire::new(ours, peer);
            let iss = wire.open(vlan);
            let acked = iss.plus(1);
            let reply = wire.exchange(PEER_MAC, vlan, (1, acked), Flags::ACK, 10).remove(0);
            assert_eq!(reply.hop, Hop { local: PEER_MAC, remote: OUR_MAC, vlan });
            assert_eq!((reply.header.seq, reply.payload.len()), (acked, 5));
            assert_eq!(wire.app.conns[0].1, SocketAddr::new(wire.peer, 40_000));
            let conn = wire.app.conns[0].0;
            assert!(wire.transport.tcb(conn).unwrap().mss() <= mss);
        }
    }
}

#[test]
fn the_way_to_a_peer_follows_its_acceptable_segments_only() {
    let mut wire = Wire::new("10.0.0.1", "10.0.0.2");
    let acked = wire.open(None).plus(1);
    // A stranger far outside the window: the answer, if any, goes the known way.
    let stray = wire.exchange(ROUTER_MAC, None, (1_000_000, acked), Flags::ACK, 10);
    assert_eq!(stray[0].hop.local, PEER_MAC);
    let reply = wire.exchange(ROUTER_MAC, None, (1, acked), Flags::ACK, 10);
    assert_eq!(reply[0].hop.local, ROUTER_MAC);
}

#[test]
fn segments_to_or_from_addresses_that_cannot_be_are_dropped() {
    for (ours, peer) in [("10.0.0.1", "224.0.0.1"), ("10.0.0.1", "255.255.255.255")] {
        let mut wire = Wire::new(ours, peer);
        assert!(wire.exchange(PEER_MAC, None, (0, Seq(0)), Flags::SYN, 0).is_empty());
        assert_eq!(wire.transport.tcp_counters().rx_not_ours, 1);
    }
    let mut wire = Wire::new("10.0.0.1", "10.0.0.2");
    wire.ours = "10.0.0.9".parse().unwrap();
    assert!(wire.exchange(PEER_MAC, None, (0, Seq(0)), Flags::SYN, 0).is_empty());
    assert_eq!(wire.transport.tcp_counters().rx_not_ours, 1);
}
