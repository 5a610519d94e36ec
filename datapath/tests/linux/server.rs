//! Our TCP serving [`Service`] on an in-memory port.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use coney_base::Instant;
use coney_datapath::port::sim::{SimPort, SimPortConfig};
use coney_datapath::tcp::config::Config;
use coney_datapath::transport::tcp::TcpTransport;
use coney_datapath::transport::{App, CloseReason, ConnId, Transport};

use crate::lab::{OUR_MAC, OURS};
use crate::service::Service;

#[derive(Debug, Default)]
struct Session {
    service: Service,
    is_blocked: bool,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Sessions(BTreeMap<ConnId, Session>);

impl Sessions {
    fn of(&mut self, conn: ConnId) -> &mut Session {
        self.0.get_mut(&conn).expect("a known connection")
    }
}

impl App for Sessions {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.0.insert(conn, Session::default()).is_none()
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let session = self.of(conn);
        session.service.take(bytes);
        session.service.output().len()
    }

    fn on_eof(&mut self, conn: ConnId) {
        self.of(conn).has_ended = true;
    }

    fn on_writable(&mut self, conn: ConnId) {
        self.of(conn).is_blocked = false;
    }

    fn on_close(&mut self, conn: ConnId, _reason: CloseReason) {
        self.0.remove(&conn);
    }
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) transport: TcpTransport<SimPort>,
    sessions: Sessions,
}

impl Server {
    pub(crate) fn new() -> Self {
        let port = SimPortConfig {
            mac: OUR_MAC,
            tx_frames: 4096,
            rx_frames: 4096,
            tx_ring: 1024,
            ..SimPortConfig::default()
        };
        // As many bytes on their way as a kernel socket may have after it grew.
        let config = Config {
            listen: vec![OURS],
            secret: [5; 16],
            send_frames_max: 1024,
            ..Config::default()
        };
        let transport = TcpTransport::new(SimPort::new(&port), config).expect("the port is fit");
        Self { transport, sessions: Sessions::default() }
    }

    /// One iteration of a worker's loop. Returns how much was done.
    pub(crate) fn step(&mut self, now: Instant) -> usize {
        let mut work = self.transport.poll(now, &mut self.sessions);
        for (conn, session) in &mut self.sessions.0 {
            let offered = session.service.output().len();
            if offered > 0 && !session.is_blocked {
                let taken = self.transport.send(now, *conn, session.service.output());
                session.service.consume(taken);
                session.is_blocked = taken < offered;
                self.transport.set_held(now, *conn, offered - taken);
                work += 1;
            }
            if session.has_ended && session.service.output().is_empty() {
                self.transport.close(now, *conn);
            }
        }
        self.transport.flush(now);
        work
    }
}
