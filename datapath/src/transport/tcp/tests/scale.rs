//! Many connections: memory of each, and that work does not grow with their number.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;

use super::app::Recorder;
use crate::port::sim::{Faults, Link, SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::tcp::tcb::Tcb;
use crate::transport::Transport;
use crate::transport::tcp::TcpTransport;
use crate::wire::Hop;

/// The goal is 1 KiB for an idle connection with the application's part, and 512 bytes as a
/// stretch: the block with its only segment fits seven cache lines beside what its slot needs (32);
/// a place in the table takes 32 bytes more and two timers 48. What is queued beyond one segment is
/// in memory of its own.
const TCB_BYTES_MAX: usize = 7 * 64 - 32;

#[test]
fn a_connection_is_small() {
    let size = size_of::<Tcb>();
    assert!(size <= TCB_BYTES_MAX, "{size} bytes");
}

/// Opens many connections, lets them idle, and counts what one more request costs: the transport
/// may look at nothing but the connection concerned.
#[test]
fn idle_connections_cost_nothing_until_their_keepalive() {
    const CONNS: u16 = 20_000;
    let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
    let client_ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    let config = |listen| Config { listen, syn_cache_max: 256, ..Config::default() };
    let port = SimPort::new(&SimPortConfig::default());
    let mut ours = TcpTransport::new(port, config(vec![server])).unwrap();
    let port = SimPort::new(&SimPortConfig::default());
    let mut peers = TcpTransport::new(port, config(Vec::new())).unwrap();
    let (mut app, mut peer_app) = (Recorder::default(), Recorder::default());
    let mut link = Link::new(Faults::NONE, 0);
    let mut now = Instant::from_millis(1000);
    let mut opened = 0;
    while ours.conn_count() < usize::from(CONNS) {
        for _ in 0..100.min(CONNS - opened) {
            let hop = Hop { local: [2; 6], remote: [4; 6], vlan: None };
            let local = SocketAddr::new(client_ip, 10_000 + opened);
            peers.connect(now, local, server, hop).unwrap();
            opened += 1;
        }
        for _ in 0..8 {
            now = now + Duration::from_micros(10);
            peers.poll(now, &mut peer_app);
            peers.flush(now);
            ours.poll(now, &mut app);
            ours.flush(now);
            link.transfer(now, peers.port_mut(), ours.port_mut());
        }
    }
    now = now + Duration::from_secs(1);
    while ours.poll(now, &mut app) > 0 {}
    ours.flush(now);
    assert_eq!(ours.dirty.len(), 0, "nobody has output");
    let idle = now + Duration::from_secs(60);
    let mut polls = 0;
    while let Some(deadline) = ours.next_deadline().filter(|at| *at <= idle) {
        now = now.max(deadline);
        ours.poll(now, &mut app);
        ours.flush(now);
        polls += 1;
    }
    assert!(polls < 200, "{polls} wake-ups for connections that wait");
    assert_eq!(ours.tcp_counters().keepalive_probes, 0);
}
