//! Applications for tests.

use std::net::SocketAddr;

use crate::transport::{App, CloseReason, ConnId};

/// The byte that a peer sends at `position` of its stream.
pub(super) fn pattern(position: u64) -> u8 {
    u8::try_from((position.wrapping_mul(0x9e37_79b9) >> 7) & 0xff).unwrap()
}

/// Notes what it is told, checks that received bytes are those of [`pattern`].
#[derive(Default, Debug)]
pub(super) struct Recorder {
    pub(super) log: Vec<String>,
    pub(super) conns: Vec<(ConnId, SocketAddr)>,
    pub(super) received: u64,
    pub(super) refuse: bool,
    pub(super) held: usize,
}

impl App for Recorder {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr, _local: SocketAddr) -> bool {
        self.log.push("accept".to_owned());
        self.conns.push((conn, peer));
        !self.refuse
    }

    fn on_data(&mut self, _conn: ConnId, bytes: &[u8]) -> usize {
        for byte in bytes {
            assert_eq!(*byte, pattern(self.received), "byte {}", self.received);
            self.received += 1;
        }
        self.log.push(format!("data {}", bytes.len()));
        self.held
    }

    fn on_eof(&mut self, _conn: ConnId) {
        self.log.push("eof".to_owned());
    }

    fn on_writable(&mut self, _conn: ConnId) {
        self.log.push("writable".to_owned());
    }

    fn on_close(&mut self, _conn: ConnId, reason: CloseReason) {
        self.log.push(format!("closed {reason:?}"));
    }
}
