//! Memory that connections take, counted by an allocator.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;
use coney_datapath::port::sim::{SimPort, SimPortConfig};
use coney_datapath::tcp::config::Config;
use coney_datapath::tcp::seq::Seq;
use coney_datapath::transport::tcp::TcpTransport;
use coney_datapath::transport::{App, CloseReason, ConnId, Transport};
use coney_datapath::wire::tcp::{Flags, Header, Options, Timestamps};
use coney_datapath::wire::{self, Ecn, Hop};

thread_local! {
    /// Bytes allocated by this thread and not freed.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

mod sys;

fn live() -> i64 {
    LIVE.with(Cell::get)
}

/// What one idle connection may take (the goal, without the application's part).
const BYTES_PER_CONNECTION_MAX: i64 = 1024;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const HOP: Hop = Hop { local: [2; 6], remote: [4; 6], vlan: None };

#[derive(Default)]
struct Quiet {
    last: Option<ConnId>,
    closed: usize,
}

impl App for Quiet {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.last = Some(conn);
        true
    }

    fn on_data(&mut self, _conn: ConnId, _bytes: &[u8]) -> usize {
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {
        self.closed += 1;
    }
}

struct Net {
    transport: TcpTransport<SimPort>,
    app: Quiet,
    now: Instant,
}

impl Net {
    fn new(port: SimPort, config: Config) -> Self {
        let transport = TcpTransport::new(port, config).expect("a sane test");
        Self { transport, app: Quiet::default(), now: Instant::from_millis(1000) }
    }

    /// A client's segment; returns the headers of what is answered.
    fn segment(
        &mut self,
        client: SocketAddr,
        (seq, ack): (Seq, Seq),
        flags: Flags,
        payload: &[u8],
    ) -> Vec<Header> {
        let syn = flags.has(Flags::SYN);
        let header = Header {
            src_port: client.port(),
            dst_port: SERVER.port(),
            seq,
            ack,
            flags,
            window: 60_000,
            options: Options {
                mss: syn.then_some(1460),
                window_scale: syn.then_some(7),
                sack_permitted: syn,
                timestamps: Some(Timestamps { value: 1, echo: 0 }),
                ..Options::default()
            },
        };
        let mut frame = vec![0; 128];
        frame.extend_from_slice(payload);
        let addresses = (client.ip(), SERVER.ip());
        let len = payload.len();
        let start = wire::write(&mut frame, 128, len, &HOP, addresses, &header, Ecn::NotEct)
            .expect("a sane test");
        assert!(self.transport.port_mut().inject(&frame[start..]));
        self.now = self.now + Duration::from_micros(1);
        self.transport.poll(self.now, &mut self.app);
        self.flush()
    }

    fn flush(&mut self) -> Vec<Header> {
        self.transport.flush(self.now);
        let frames = self.transport.port_mut().take_transmitted();
        frames.iter().map(|frame| wire::parse(frame, false).expect("a sane test").header).collect()
    }
}

fn client(at: u32) -> SocketAddr {
    let [_, a, b, c] = (at / 40_000).to_be_bytes();
    SocketAddr::from(([11, a, b, c], u16::try_from(1024 + at % 40_000).expect("a sane test")))
}

/// Every connection handles a request of two segments that arrive out of order, answers it, and then
/// does nothing.
#[test]
fn an_idle_connection_takes_at_most_a_kibibyte() {
    const CONNS: u32 = 20_000;
    let port = SimPort::new(&SimPortConfig::default());
    let before = live();
    let config = Config {
        listen: vec![SERVER],
        conns_max: CONNS as usize,
        syn_cache_max: 64,
        time_wait_max: 64,
        ..Config::default()
    };
    let mut net = Net::new(port, config);
    for at in 0..CONNS {
        let (client, irs) = (client(at), Seq(at));
        let syn_ack = net.segment(client, (irs, Seq::default()), Flags::SYN, &[]);
        let una = syn_ack[0].seq.plus(1);
        net.segment(client, (irs.plus(1), una), Flags::ACK, &[]);
        net.segment(client, (irs.plus(11), una), Flags::ACK, b"0123456789");
        net.segment(client, (irs.plus(1), una), Flags::ACK, b"0123456789");
        let conn = net.app.last.unwrap();
        assert_eq!(net.transport.send(net.now, conn, &[7; 10_000]), 10_000);
        assert_eq!(net.flush().len(), 7);
        net.segment(client, (irs.plus(21), una.plus(10_000)), Flags::ACK, &[]);
    }
    assert_eq!(net.transport.conn_count(), CONNS as usize);
    // Until the last timer of the time of activity has fired.
    let idle = net.now + Duration::from_secs(10);
    while let Some(deadline) = net.transport.next_deadline().filter(|at| *at <= idle) {
        net.now = net.now.max(deadline);
        net.transport.poll(net.now, &mut net.app);
        assert!(net.flush().is_empty(), "an idle connection sends");
    }
    let each = (live() - before) / i64::from(CONNS);
    assert!(each <= BYTES_PER_CONNECTION_MAX, "{each} bytes");
    // The counter counts.
    assert!(each >= 256, "{each} bytes");
}

#[test]
fn a_flood_of_syns_takes_no_memory() {
    const FLOOD: u32 = 100_000;
    let port = SimPort::new(&SimPortConfig::default());
    let config = Config { listen: vec![SERVER], syn_cache_max: 256, ..Config::default() };
    let mut net = Net::new(port, config);
    let mut before = 0;
    for at in 0..FLOOD {
        if at == 1000 {
            before = live();
        }
        assert_eq!(net.segment(client(at), (Seq(at), Seq::default()), Flags::SYN, &[]).len(), 1);
    }
    let grown = live() - before;
    assert!(grown.abs() < 4096, "{grown} bytes");
    assert_eq!(net.transport.half_open_and_time_wait(), (256, 0));
    assert_eq!(net.transport.tcp_counters().syn_cookies_sent, u64::from(FLOOD) - 256);
}
