//! What every transport must do, as tests over any of them: [`conformance`] instantiates them for a
//! [`Bench`], which supplies the transport and peers that talk to it from outside.

use std::net::SocketAddr;
use std::time::Duration;

use coney_base::Instant;

use super::{App, CloseReason, ConnId, HELD_BYTES_MAX, Transport};

/// What a peer finds when it reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerRead {
    Data(Vec<u8>),
    Nothing,
    Eof,
    Reset,
}

/// A transport and its peers.
pub(crate) trait Bench {
    type T: Transport;

    fn transport(&mut self) -> &mut Self::T;
    fn now(&self) -> Instant;
    /// Lets time pass and bytes travel; one iteration of the worker's loop.
    fn step(&mut self, app: &mut Notes);
    /// Lets much time pass at once.
    fn pass(&mut self, time: Duration);
    /// Begins to connect and names the peer; `None`: refused at once.
    fn dial(&mut self) -> Option<usize>;
    /// Sends without blocking; returns how many bytes were taken.
    fn peer_write(&mut self, peer: usize, bytes: &[u8]) -> usize;
    fn peer_read(&mut self, peer: usize) -> PeerRead;
    /// The peer sends FIN, and still reads.
    fn peer_shutdown(&mut self, peer: usize);
    fn peer_reset(&mut self, peer: usize);
}

/// An application that notes what it is told and answers as it is set.
#[derive(Default, Debug)]
pub(crate) struct Notes {
    pub(crate) accepted: Vec<ConnId>,
    pub(crate) received: Vec<u8>,
    pub(crate) eof: Vec<ConnId>,
    pub(crate) writable: Vec<ConnId>,
    pub(crate) closed: Vec<(ConnId, CloseReason)>,
    pub(crate) refuse: bool,
    pub(crate) held: usize,
}

impl App for Notes {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr, local: SocketAddr) -> bool {
        assert_ne!(peer, local);
        self.accepted.push(conn);
        !self.refuse
    }

    fn on_data(&mut self, _conn: ConnId, bytes: &[u8]) -> usize {
        assert!(!bytes.is_empty());
        self.received.extend_from_slice(bytes);
        self.held
    }

    fn on_eof(&mut self, conn: ConnId) {
        self.eof.push(conn);
    }

    fn on_writable(&mut self, conn: ConnId) {
        self.writable.push(conn);
    }

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) {
        self.closed.push((conn, reason));
    }
}

/// Steps until `done`; nothing but the peers' kernel may take time, and it does not take for ever.
fn until<B: Bench>(bench: &mut B, app: &mut Notes, done: impl Fn(&Notes) -> bool) {
    for _ in 0..10_000_000 {
        if done(app) {
            return;
        }
        bench.step(app);
    }
    panic!("never happened: {app:?}");
}

fn connect<B: Bench>(bench: &mut B, app: &mut Notes) -> (usize, ConnId) {
    let before = app.accepted.len();
    let peer = bench.dial().expect("somebody listens");
    until(bench, app, |app| app.accepted.len() > before);
    (peer, *app.accepted.last().unwrap())
}

/// Reads what is not [`PeerRead::Nothing`].
fn read<B: Bench>(bench: &mut B, app: &mut Notes, peer: usize) -> PeerRead {
    for _ in 0..10_000_000 {
        match bench.peer_read(peer) {
            PeerRead::Nothing => bench.step(app),
            other => return other,
        }
    }
    panic!("nothing to read: {app:?}");
}

/// Reads `len` bytes.
fn read_exact<B: Bench>(bench: &mut B, app: &mut Notes, peer: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        match read(bench, app, peer) {
            PeerRead::Data(more) => bytes.extend(more),
            other => panic!("{other:?} after {} bytes", bytes.len()),
        }
    }
    bytes
}

fn write_all<B: Bench>(bench: &mut B, app: &mut Notes, peer: usize, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let taken = bench.peer_write(peer, bytes);
        bytes = &bytes[taken..];
        bench.step(app);
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

pub(crate) fn bytes_travel_both_ways_and_the_peers_fin_ends_the_connection<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    write_all(&mut b, app, peer, b"ping");
    until(&mut b, app, |app| app.received == b"ping");
    let now = b.now();
    assert_eq!(b.transport().send(now, conn, b"pong"), 4);
    b.transport().flush(now);
    assert_eq!(read_exact(&mut b, app, peer, 4), b"pong");
    b.peer_shutdown(peer);
    until(&mut b, app, |app| app.eof == [conn]);
    let now = b.now();
    b.transport().close(now, conn);
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::Finished)]);
    assert_eq!(read(&mut b, app, peer), PeerRead::Eof);
    assert_eq!(b.transport().conn_count(), 0);
}

pub(crate) fn a_reply_survives_closing_while_the_peer_still_sends<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    write_all(&mut b, app, peer, &[b'x'; 1000]);
    until(&mut b, app, |app| !app.received.is_empty());
    b.peer_write(peer, &[b'y'; 1000]);
    let now = b.now();
    assert_eq!(b.transport().send(now, conn, b"-ERR bye\r\n"), 10);
    b.transport().close(now, conn);
    assert_eq!(read_exact(&mut b, app, peer, 10), b"-ERR bye\r\n");
    assert_eq!(read(&mut b, app, peer), PeerRead::Eof);
    b.peer_shutdown(peer);
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::Finished)]);
}

pub(crate) fn a_peer_that_closed_its_side_still_gets_everything<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    b.peer_shutdown(peer);
    until(&mut b, app, |app| app.eof == [conn]);
    let bytes = text(100_000);
    let (mut sent, mut got) = (0, Vec::new());
    while sent < bytes.len() {
        let now = b.now();
        sent += b.transport().send(now, conn, &bytes[sent..]);
        b.step(app);
        if let PeerRead::Data(more) = b.peer_read(peer) {
            got.extend(more);
        }
    }
    let now = b.now();
    b.transport().close(now, conn);
    let rest = bytes.len() - got.len();
    got.extend(read_exact(&mut b, app, peer, rest));
    assert_eq!(got, bytes);
    assert_eq!(read(&mut b, app, peer), PeerRead::Eof);
    until(&mut b, app, |app| app.closed == [(conn, CloseReason::Finished)]);
}

pub(crate) fn a_peer_that_never_closes_its_side_is_dropped_in_the_end<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    let now = b.now();
    b.transport().close(now, conn);
    assert_eq!(read(&mut b, app, peer), PeerRead::Eof);
    (0..100).for_each(|_| b.step(app));
    assert_eq!(app.closed, []);
    b.pass(Duration::from_secs(100));
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::TimedOut)]);
}

pub(crate) fn a_full_transport_takes_less_and_tells_when_it_has_room<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    let chunk = text(1 << 20);
    let mut sent = 0;
    loop {
        let now = b.now();
        let taken = b.transport().send(now, conn, &chunk);
        sent += taken;
        if taken < chunk.len() {
            break;
        }
    }
    let received = read_exact(&mut b, app, peer, sent);
    assert!(received.iter().enumerate().all(|(at, byte)| *byte == chunk[at % chunk.len()]));
    until(&mut b, app, |app| !app.writable.is_empty());
    assert_eq!(app.writable, [conn], "once");
}

pub(crate) fn a_peer_is_stopped_while_the_app_holds_too_much<B: Bench>(mut b: B) {
    let app = &mut Notes { held: HELD_BYTES_MAX + 1, ..Notes::default() };
    let (peer, conn) = connect(&mut b, app);
    let chunk = text(64 * 1024);
    let (mut sent, mut refusals) = (0, 0);
    while refusals < 2000 {
        let taken = b.peer_write(peer, &chunk);
        sent += taken;
        refusals += usize::from(taken == 0);
        b.step(app);
    }
    assert!(app.received.len() <= HELD_BYTES_MAX, "{} bytes", app.received.len());
    assert!(app.received.len() < sent, "the rest waits at the peer");
    app.held = 0;
    let now = b.now();
    b.transport().set_held(now, conn, 0);
    until(&mut b, app, |app| app.received.len() == sent);
}

pub(crate) fn a_refused_connection_is_gone_without_on_close<B: Bench>(mut b: B) {
    let app = &mut Notes { refuse: true, ..Notes::default() };
    let (peer, conn) = connect(&mut b, app);
    assert!(matches!(read(&mut b, app, peer), PeerRead::Eof | PeerRead::Reset));
    let now = b.now();
    assert_eq!(b.transport().send(now, conn, b"late"), 4, "a stale id takes everything");
    (0..100).for_each(|_| b.step(app));
    assert_eq!((&app.closed[..], &app.eof[..]), (&[][..], &[][..]));
    assert_eq!(b.transport().conn_count(), 0);
}

pub(crate) fn an_aborted_connection_is_reset_and_its_id_is_stale<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    let now = b.now();
    b.transport().abort(now, conn);
    b.transport().abort(now, conn);
    b.transport().close(now, conn);
    b.transport().set_held(now, conn, 1 << 20);
    assert_eq!(b.transport().send(now, conn, b"late"), 4, "a stale id takes everything");
    assert_eq!(read(&mut b, app, peer), PeerRead::Reset);
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::Aborted)]);
    let (_peer, next) = connect(&mut b, app);
    assert_ne!(next, conn, "ids are not reused");
}

pub(crate) fn a_reset_by_the_peer_closes<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    b.peer_reset(peer);
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::Reset)]);
    assert_eq!(b.transport().conn_count(), 0);
}

pub(crate) fn a_reset_after_the_peers_fin_closes<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    b.peer_shutdown(peer);
    until(&mut b, app, |app| app.eof == [conn]);
    b.peer_reset(peer);
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::Reset)]);
}

pub(crate) fn a_reset_closes_while_the_app_holds_too_much<B: Bench>(mut b: B) {
    let app = &mut Notes { held: HELD_BYTES_MAX + 1, ..Notes::default() };
    let (peer, conn) = connect(&mut b, app);
    write_all(&mut b, app, peer, b"x");
    until(&mut b, app, |app| app.received == b"x");
    (0..10).for_each(|_| b.step(app));
    b.peer_reset(peer);
    until(&mut b, app, |app| !app.closed.is_empty());
    assert_eq!(app.closed, [(conn, CloseReason::Reset)]);
}

pub(crate) fn after_stop_accepting_established_connections_go_on<B: Bench>(mut b: B) {
    let app = &mut Notes::default();
    let (peer, conn) = connect(&mut b, app);
    b.transport().stop_accepting();
    if let Some(late) = b.dial() {
        assert_eq!(read(&mut b, app, late), PeerRead::Reset);
    }
    write_all(&mut b, app, peer, b"ping");
    until(&mut b, app, |app| app.received == b"ping");
    let now = b.now();
    b.transport().send(now, conn, b"pong");
    assert_eq!(read_exact(&mut b, app, peer, 4), b"pong");
    assert_eq!(app.accepted, [conn]);
}

/// Makes a test of each case; `$bench` is an expression that makes a [`Bench`].
macro_rules! conformance {
    ($bench:expr) => {
        $crate::transport::conformance::conformance!($bench;
            bytes_travel_both_ways_and_the_peers_fin_ends_the_connection
            a_reply_survives_closing_while_the_peer_still_sends
            a_peer_that_closed_its_side_still_gets_everything
            a_peer_that_never_closes_its_side_is_dropped_in_the_end
            a_full_transport_takes_less_and_tells_when_it_has_room
            a_peer_is_stopped_while_the_app_holds_too_much
            a_refused_connection_is_gone_without_on_close
            an_aborted_connection_is_reset_and_its_id_is_stale
            a_reset_by_the_peer_closes
            a_reset_after_the_peers_fin_closes
            a_reset_closes_while_the_app_holds_too_much
            after_stop_accepting_established_connections_go_on
        );
    };
    ($bench:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::transport::conformance::$case($bench);
            }
        )*
    };
}
pub(crate) use conformance;
