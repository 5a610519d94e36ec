//! Our servers: the worker, and our TCP alone.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use coney_base::Instant;
use coney_datapath::port::sim::{SimPort, SimPortConfig};
use coney_datapath::tcp::config::Config;
use coney_datapath::transport::tcp::TcpTransport;
use coney_datapath::transport::{App, CloseReason, ConnId, Transport};
use coney_server::stepped::SteppedWorker;
use tempfile::TempDir;

use crate::clients::{Clients, SERVER, Server};
use crate::wire_format::{self, KEYS, VALUE_LEN};

fn transport(conns: usize) -> TcpTransport<SimPort> {
    let config =
        Config { listen: vec![SERVER], conns_max: conns, secret: [3; 16], ..Config::default() };
    let port = SimPort::new(&SimPortConfig { scrub: false, ..SimPortConfig::default() });
    TcpTransport::new(port, config).expect("the port is fit")
}

fn inject(transport: &mut TcpTransport<SimPort>, frame: &[u8]) {
    assert!(transport.port_mut().inject(frame), "a frame is free");
}

fn take_transmitted(transport: &mut TcpTransport<SimPort>, visit: &mut dyn FnMut(&[u8])) {
    let port = transport.port_mut();
    for frame in port.take_transmitted() {
        visit(&frame);
        port.recycle(frame);
    }
}

/// Our TCP, under somebody who answers with a constant.
pub(crate) struct Tcp {
    transport: TcpTransport<SimPort>,
    app: Constant,
    reply: Vec<u8>,
}

/// Notes who asked; what is no request is taken without an answer.
#[derive(Default)]
struct Constant {
    asked: Vec<ConnId>,
}

impl App for Constant {
    fn on_accept(&mut self, _conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        true
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        if black_box(bytes).first() == Some(&b'*') {
            self.asked.push(conn);
        }
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {}
}

impl Server for Tcp {
    fn inject(&mut self, _client: usize, frame: &[u8]) {
        inject(&mut self.transport, frame);
    }

    fn step(&mut self, now: Instant) {
        self.transport.poll(now, &mut self.app);
        for conn in self.app.asked.drain(..) {
            let taken = self.transport.send(now, conn, &self.reply);
            assert_eq!(taken, self.reply.len(), "there is room");
        }
        self.transport.flush(now);
    }

    fn take_transmitted(&mut self, visit: &mut dyn FnMut(&[u8])) {
        take_transmitted(&mut self.transport, visit);
    }
}

/// Clients of our TCP alone.
pub(crate) fn tcp(conns: usize) -> Clients<Tcp> {
    let app = Constant::default();
    let server = Tcp { transport: transport(conns), app, reply: wire_format::reply(VALUE_LEN) };
    Clients::new(server, conns, VALUE_LEN)
}

/// The worker that users run, on our TCP.
pub(crate) struct Coney {
    transport: Rc<RefCell<TcpTransport<SimPort>>>,
    worker: SteppedWorker,
    _dir: TempDir,
}

impl Server for Coney {
    fn inject(&mut self, _client: usize, frame: &[u8]) {
        inject(&mut self.transport.borrow_mut(), frame);
    }

    fn step(&mut self, now: Instant) {
        self.worker.step(now);
    }

    fn take_transmitted(&mut self, visit: &mut dyn FnMut(&[u8])) {
        take_transmitted(&mut self.transport.borrow_mut(), visit);
    }
}

/// Where the worker writes replies that depend on no write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    /// Into the connection's transmit frames, at once.
    InFrames,
    /// Into the session's outbox, as over kernel sockets, and from there into frames.
    ThroughOutbox,
}

/// Clients of the worker; all keys have values.
pub(crate) fn hot_get(conns: usize) -> Clients<Coney> {
    hot_get_of(conns, VALUE_LEN, Replies::InFrames)
}

/// Clients of the worker; all keys have values of `len` bytes.
pub(crate) fn hot_get_of(conns: usize, len: usize, replies: Replies) -> Clients<Coney> {
    let dir = tempfile::tempdir().expect("a directory");
    let transport = Rc::new(RefCell::new(transport(conns)));
    let settings = [("protected-mode", "no"), ("maxclients", &*(conns + 1).to_string())];
    let transports: Vec<Box<dyn Transport>> = vec![Box::new(Lent(Rc::clone(&transport), replies))];
    let worker = SteppedWorker::new(dir.path(), &settings, transports);
    let mut clients = Clients::new(Coney { transport, worker, _dir: dir }, conns, len);
    (0..KEYS).for_each(|key| clients.ask(0, &wire_format::set(key, len)));
    clients
}

/// The worker's hold on a transport whose port the clients reach.
struct Lent(Rc<RefCell<TcpTransport<SimPort>>>, Replies);

impl Transport for Lent {
    fn poll(&mut self, now: Instant, app: &mut dyn App) -> usize {
        let mut transport = self.0.borrow_mut();
        match self.1 {
            Replies::InFrames => transport.poll(now, app),
            Replies::ThroughOutbox => transport.poll(now, &mut WithoutFrames(app)),
        }
    }

    fn send(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        self.0.borrow_mut().send(now, conn, bytes)
    }

    fn flush(&mut self, now: Instant) {
        self.0.borrow_mut().flush(now);
    }

    fn set_held(&mut self, now: Instant, conn: ConnId, held_bytes: usize) {
        self.0.borrow_mut().set_held(now, conn, held_bytes);
    }

    fn close(&mut self, now: Instant, conn: ConnId) {
        self.0.borrow_mut().close(now, conn);
    }

    fn abort(&mut self, now: Instant, conn: ConnId) {
        self.0.borrow_mut().abort(now, conn);
    }

    fn stop_accepting(&mut self) {
        self.0.borrow_mut().stop_accepting();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow().next_deadline()
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn conn_count(&self) -> usize {
        self.0.borrow().conn_count()
    }

    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.0.borrow().counters(visit);
    }
}

/// An application that does not hear of frames.
struct WithoutFrames<'a>(&'a mut dyn App);

impl App for WithoutFrames<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr, local: SocketAddr) -> bool {
        self.0.on_accept(conn, peer, local)
    }

    fn expect_data(&mut self, conn: ConnId) {
        self.0.expect_data(conn);
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        self.0.on_data(conn, bytes)
    }

    fn on_eof(&mut self, conn: ConnId) {
        self.0.on_eof(conn);
    }

    fn on_writable(&mut self, conn: ConnId) {
        self.0.on_writable(conn);
    }

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) {
        self.0.on_close(conn, reason);
    }
}
