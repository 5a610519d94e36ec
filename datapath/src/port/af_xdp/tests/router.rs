//! Our TCP over AF_XDP with a client behind a router, and the kernel's tables of next hops.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::neighbour::kernel::Kernel;
use crate::neighbour::{NextHop, Quality, Resolver, Tables as _, next_hop_mac};
use crate::tcp::config::Config;
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, Transport};

const CLIENT_IP: [u8; 4] = [198, 51, 100, 2];
const NEW_MAC: [u8; 6] = [2, 0, 0, 0, 0xc0, 0xde];

/// Sends back what it receives.
#[derive(Default)]
struct Echo {
    conn: Option<ConnId>,
    received: Vec<u8>,
    has_ended: bool,
}

impl App for Echo {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.conn = Some(conn);
        true
    }

    fn on_data(&mut self, _conn: ConnId, bytes: &[u8]) -> usize {
        self.received.extend_from_slice(bytes);
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {
        self.has_ended = true;
    }

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {
        self.has_ended = true;
    }
}

/// Serves one connection: echoes, and says "news" by itself when `push` is set. Returns the
/// counters.
fn serve_one(
    mut transport: TcpTransport<AfXdpPort>,
    push: &AtomicBool,
    clock: Clock,
) -> BTreeMap<&'static str, u64> {
    let mut app = Echo::default();
    let start = clock.now();
    while !app.has_ended && clock.now().since(start) < Duration::from_secs(30) {
        let now = clock.now();
        let work = transport.poll(now, &mut app);
        if let Some(conn) = app.conn {
            let echo = std::mem::take(&mut app.received);
            transport.send(now, conn, &echo);
            if push.swap(false, Ordering::Relaxed) {
                transport.send(now, conn, b"news");
            }
        }
        transport.flush(now);
        if work == 0 {
            netns::pause();
        }
    }
    let mut counters = BTreeMap::new();
    transport.counters(&mut |name, count| {
        counters.insert(name, count);
    });
    counters
}

/// What could break: a peer that waits in silence is never heard of again once the router's
/// hardware address changes, because nothing teaches us the new one.
#[test]
fn client_behind_a_router_is_served_also_after_the_router_changed_its_hardware_address() {
    let test =
        "client_behind_a_router_is_served_also_after_the_router_changed_its_hardware_address";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let lab = lab.with_router();
    let Some((_program, mut ports)) = lab.at_port(|| serve(test, Mode::Native, &SMALL)) else {
        return;
    };
    let config = Config { listen: vec![served()], ..Config::default() };
    let mut transport = TcpTransport::new(ports.pop().unwrap(), config).unwrap();
    let (kernel, interface) =
        lab.at_port(|| (Kernel::open().unwrap(), Interface::query(PORT).unwrap().index));
    let (resolver, mut clients) = Resolver::new(kernel, interface, 1);
    transport.set_neighbours(clients.pop().unwrap());
    let clock = Clock::new();
    let push = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || resolver.run(clock));
        let server = scope.spawn(|| serve_one(transport, &push, clock));
        let mut stream = lab.at_client(|| {
            let timeout = Some(Duration::from_secs(10));
            let stream = TcpStream::connect_timeout(&served(), Duration::from_secs(10)).unwrap();
            stream.set_read_timeout(timeout).unwrap();
            stream
        });
        let mut buffer = [0; 4];
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"ping");

        let [a, b, c, d, e, f] = NEW_MAC;
        lab.at_peer(|| {
            let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            ip(&format!("link set {PEER} address {mac}")).unwrap();
        });
        let start = clock.now();
        push.store(true, Ordering::Relaxed);
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"news");
        let elapsed = clock.now().since(start);
        // What the client says next comes from the new address, too.
        stream.write_all(b"pong").unwrap();
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"pong");
        drop(stream);
        let counters = server.join().unwrap();
        assert_eq!(counters["tcp_next_hops_changed"], 1, "{counters:?}");
        assert!(counters["neighbour_asked"] >= 1);
        say(&format!("{test}: a waiting client hears from us again after {elapsed:?}"));
    });
}

/// A router in the middle has a smaller link: it tells the server, and our TCP must hear it.
#[test]
fn router_that_needs_smaller_packets_is_heard() {
    let test = "router_that_needs_smaller_packets_is_heard";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let lab = lab.with_router();
    lab.at_peer(|| {
        ip("route change 198.51.100.0/24 dev inner0 src 198.51.100.1 mtu lock 1280").unwrap();
    });
    let Some((program, mut ports)) = lab.at_port(|| serve(test, Mode::Native, &SMALL)) else {
        return;
    };
    let config = Config { listen: vec![served()], ..Config::default() };
    let transport = TcpTransport::new(ports.pop().unwrap(), config).unwrap();
    let clock = Clock::new();
    let push = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve_one(transport, &push, clock));
        let mut stream = lab
            .at_client(|| TcpStream::connect_timeout(&served(), Duration::from_secs(10)).unwrap());
        stream.write_all(&[7; 1400]).unwrap();
        let mut attempts = 0;
        while program.counters().unwrap().get(Verdict::SteeredTooBig) == 0 {
            attempts += 1;
            assert!(attempts < 10_000, "{:?}", program.counters().unwrap());
            netns::pause();
        }
        drop(stream);
        let counters = server.join().unwrap();
        assert!(counters["tcp_path_mtu_lowered"] >= 1, "{counters:?}");
        assert_eq!(counters["tcp_rx_not_tcp"], 0, "{counters:?}");
    });
}

fn resolve(kernel: &mut Kernel, local: IpAddr, remote: IpAddr, interface: u32) -> [u8; 6] {
    let mut attempts = 0;
    loop {
        if let Some(mac) = next_hop_mac(kernel, local, remote, interface).unwrap() {
            return mac;
        }
        attempts += 1;
        assert!(attempts < 5000, "the kernel resolves it");
        netns::pause();
    }
}

#[test]
fn kernel_resolves_ipv6_neighbours_and_routers() {
    let test = "kernel_resolves_ipv6_neighbours_and_routers";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let peer_mac = lab.at_peer(|| {
        ip(&format!("addr add 2001:db8:1::2/64 dev {PEER} nodad")).unwrap();
        Interface::query(PEER).unwrap().mac
    });
    lab.at_port(|| {
        ip(&format!("addr add 2001:db8:1::1/64 dev {PORT} nodad")).unwrap();
        // Where neighbours are asked from, as every host has it.
        ip(&format!("addr add fe80::1/64 dev {PORT} nodad")).unwrap();
        ip("-6 route add 2001:db8:2::/64 via 2001:db8:1::2").unwrap();
        // RFC 8950: an IPv4 network behind an IPv6 router.
        ip(&format!("route add 198.51.100.0/24 via inet6 2001:db8:1::2 dev {PORT}")).unwrap();
        let mut kernel = Kernel::open().unwrap();
        let interface = Interface::query(PORT).unwrap().index;
        let [local, peer, far]: [IpAddr; 3] =
            ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::9"].map(|text| text.parse().unwrap());
        let router = NextHop { interface, address: peer };
        for remote in [peer, far] {
            assert_eq!(kernel.next_hop(local, remote, Some(interface)), Ok(Some(router)));
        }
        let via = kernel.next_hop(PORT_IP.into(), CLIENT_IP.into(), Some(interface));
        assert_eq!(via, Ok(Some(router)));
        assert_eq!(resolve(&mut kernel, local, far, interface), peer_mac);
        kernel.forget(&router).unwrap();
        assert_eq!(kernel.neighbour(&router), Ok(None));
    });
}

#[test]
fn kernel_tells_routes_and_resolves_neighbours() {
    let test = "kernel_tells_routes_and_resolves_neighbours";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let lab = lab.with_router();
    let peer_mac = lab.at_peer(|| Interface::query(PEER).unwrap().mac);
    lab.at_port(|| {
        let mut kernel = Kernel::open().unwrap();
        let interface = Interface::query(PORT).unwrap().index;
        let (local, peer) = (IpAddr::from(PORT_IP), IpAddr::from(PEER_IP));
        let router = NextHop { interface, address: peer };
        for remote in [peer, IpAddr::from(CLIENT_IP)] {
            for by in [None, Some(interface)] {
                assert_eq!(kernel.next_hop(local, remote, by), Ok(Some(router)));
            }
        }
        let elsewhere = IpAddr::from([203, 0, 113, 1]);
        assert_eq!(kernel.next_hop(local, elsewhere, None), Ok(None), "no route");
        assert_eq!(kernel.next_hop(local, local, None), Ok(None), "this host");

        // Not known yet: asking for it has it resolved.
        assert_eq!(kernel.neighbour(&router), Ok(None));
        let client = IpAddr::from(CLIENT_IP);
        assert_eq!(resolve(&mut kernel, local, client, interface), peer_mac);
        let known = kernel.neighbour(&router).unwrap().unwrap();
        assert_eq!(known.quality, Quality::Confirmed);

        // A stale entry is confirmed when it is used; the kernel takes five seconds for that.
        ip(&format!("neigh change 192.0.2.2 dev {PORT} nud stale")).unwrap();
        assert_eq!(kernel.neighbour(&router).unwrap().unwrap().quality, Quality::Stale);
        kernel.use_neighbour(&router).unwrap();
        assert_eq!(kernel.neighbour(&router).unwrap().unwrap().quality, Quality::Probing);

        kernel.forget(&router).unwrap();
        assert_eq!(kernel.neighbour(&router), Ok(None));
        ip(&format!("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:09 dev {PORT}")).unwrap();
        let fixed = kernel.neighbour(&router).unwrap().unwrap();
        assert_eq!((fixed.mac, fixed.quality), ([2, 0, 0, 0, 0, 9], Quality::Fixed));
    });
}
