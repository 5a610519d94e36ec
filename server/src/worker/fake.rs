//! A transport for tests that does what the test says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use coney_base::Instant;
use coney_datapath::transport::{App, ConnId, ReplyFrames, Transport};

/// What the transport was told, and how it answers.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) sent: BTreeMap<u32, Vec<u8>>,
    pub(crate) held: BTreeMap<u32, usize>,
    pub(crate) closed: Vec<u32>,
    pub(crate) aborted: Vec<u32>,
    /// Bytes that `send` takes before it is full; `None`: everything.
    pub(crate) room: Option<usize>,
    /// How often it was asked for news.
    pub(crate) polls: usize,
    /// How much it has each time.
    pub(crate) news: usize,
}

#[derive(Clone, Default)]
pub(crate) struct FakeTransport(pub(crate) Rc<RefCell<Wire>>);

impl Transport for FakeTransport {
    fn poll(&mut self, _now: Instant, _app: &mut dyn App) -> usize {
        let mut wire = self.0.borrow_mut();
        wire.polls += 1;
        wire.news
    }

    fn send(&mut self, _now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let mut wire = self.0.borrow_mut();
        let taken = wire.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if let Some(room) = &mut wire.room {
            *room -= taken;
        }
        wire.sent.entry(conn.index).or_default().extend_from_slice(&bytes[..taken]);
        taken
    }

    fn flush(&mut self, _now: Instant) {}

    fn set_held(&mut self, _now: Instant, conn: ConnId, held_bytes: usize) {
        self.0.borrow_mut().held.insert(conn.index, held_bytes);
    }

    fn close(&mut self, _now: Instant, conn: ConnId) {
        self.0.borrow_mut().closed.push(conn.index);
    }

    fn abort(&mut self, _now: Instant, conn: ConnId) {
        self.0.borrow_mut().aborted.push(conn.index);
    }

    fn stop_accepting(&mut self) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn conn_count(&self) -> usize {
        0
    }

    fn counters(&self, _visit: &mut dyn FnMut(&'static str, u64)) {}
}

/// The transmit frames of one connection of a [`FakeTransport`], during one call.
pub(crate) struct FakeFrames {
    pub(crate) wire: Rc<RefCell<Wire>>,
    pub(crate) index: u32,
    /// Bytes for which there is room.
    pub(crate) room: usize,
    /// Bytes that were written and not taken back.
    pub(crate) written: usize,
}

impl ReplyFrames for FakeFrames {
    fn write(&mut self, parts: &[&[u8]]) -> usize {
        let bytes = parts.concat();
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.written += taken;
        let mut wire = self.wire.borrow_mut();
        wire.sent.entry(self.index).or_default().extend_from_slice(&bytes[..taken]);
        taken
    }

    fn take_back(&mut self, len: usize) {
        self.written = self.written.checked_sub(len).expect("it was written");
        self.room += len;
        let mut wire = self.wire.borrow_mut();
        let sent = wire.sent.get_mut(&self.index).expect("it was written");
        sent.truncate(sent.len() - len);
    }

    fn read_back(&mut self, len: usize, out: &mut Vec<u8>) {
        assert!(len <= self.written, "it was written");
        let wire = self.wire.borrow();
        let sent = wire.sent.get(&self.index).expect("it was written");
        out.extend_from_slice(&sent[sent.len() - len..]);
    }
}
