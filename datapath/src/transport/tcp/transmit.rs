//! From decisions of the state machine to frames on the port.

use coney_base::Instant;

use super::receive::LEAD;
use super::writer::{Short, queue_parts};
use super::{ANSWERS_MAX, HEADROOM_BYTES, PUSH_BACK_RETRY, STARVED_RETRY, TcpTransport};
use crate::port::{Port, TxFrame, TxRingFull};
use crate::responder::Responder;
use crate::tcp::Shared;
use crate::tcp::flow::FlowKey;
use crate::tcp::output::Output;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::transport::ConnId;
use crate::wire::tcp::Header;
use crate::wire::{self, Checksum, Ecn, Hop};

/// A segment without payload that no connection stands behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) hop: Hop,
    pub(super) key: FlowKey,
    pub(super) header: Header,
}

/// Nothing was transmitted; the next flush tries again. Each case has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushedBack {
    /// The transmit ring is full, also after a kick.
    RingFull,
    /// No transmit frame is free.
    NoFrame,
    /// The device still has the frame that is to be sent again.
    InFlight,
}

/// The port, and what transmitting needs besides.
pub(super) struct Tx<P> {
    pub(super) port: P,
    /// Bytes on their way from one frame to another.
    scratch: Vec<u8>,
    /// The ring was full after a kick: no further one until the flush.
    is_ring_full: bool,
}

impl<P: Port> TcpTransport<P> {
    /// Copies bytes into the connection's frames and returns how many it took.
    pub(super) fn queue_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let Some(tcb) = self.conns.get_mut(conn) else { return bytes.len() };
        if !tcb.state().may_send() {
            // Closed by the application; during an active open it has to wait.
            return if tcb.state() == State::SynSent { 0 } else { bytes.len() };
        }
        tcb.before_send(now);
        let mut frames = self.tx.port.tx();
        let (taken, short) = queue_parts(tcb, &mut frames, &self.shared.config, &[bytes]);
        tcb.want_writable |= short.is_some();
        match short {
            None => {}
            Some(Short::QueueFull) => self.shared.counters.send_queue_full += 1,
            Some(Short::NoFrame) => {
                self.shared.counters.no_tx_frame += 1;
                if !tcb.is_starved {
                    tcb.is_starved = true;
                    self.starved.push_back(conn);
                }
                self.retry_at.get_or_insert(now + STARVED_RETRY);
            }
        }
        taken
    }

    /// Transmits what the connections on the dirty list have, and kicks the port once.
    pub(super) fn flush_dirty(&mut self, now: Instant) {
        while let Some(answer) = self.answers.pop_front() {
            if self.tx.transmit_answer(&mut self.shared, &answer).is_err() {
                self.answers.push_front(answer);
                break;
            }
        }
        // The list is walked in place; whoever is pushed back stays on it, in order.
        let mut kept = 0;
        for at in 0..self.dirty.len() {
            let Some(&conn) = self.dirty.get(at) else { break };
            if let Some(&next) = self.dirty.get(at + LEAD) {
                self.conns.prefetch_timer(next);
            }
            if self.tx.is_ring_full || self.flush_conn(now, conn).is_err() {
                self.dirty.swap(kept, at);
                kept += 1;
            }
        }
        self.dirty.truncate(kept);
        self.give_back();
        self.tx.kick();
        self.retry_at = if !self.dirty.is_empty() || !self.answers.is_empty() {
            Some(now + PUSH_BACK_RETRY)
        } else {
            (!self.starved.is_empty()).then(|| now + STARVED_RETRY)
        };
    }

    fn flush_conn(&mut self, now: Instant, conn: ConnId) -> Result<(), PushedBack> {
        let Some(tcb) = self.conns.get_mut(conn) else { return Ok(()) };
        let mut result = Ok(());
        while result.is_ok()
            && let Some(output) = tcb.next_output()
        {
            result = self.tx.transmit(&mut self.shared, tcb, now, output);
        }
        tcb.is_dirty = result.is_err();
        // It wants no more room, but that there is none must be noticed.
        let starves = result == Err(PushedBack::NoFrame);
        if starves && !std::mem::replace(&mut tcb.is_starved, true) {
            self.starved.push_back(conn);
        }
        tcb.settle(now, &self.shared);
        if let Some(idle) = self.shared.config.keepalive_idle
            && !tcb.is_keepalive_armed
        {
            tcb.is_keepalive_armed = true;
            let at = tcb.keepalive_at(&self.shared).unwrap_or(now + idle);
            self.keepalives.arm(conn.index, at);
        }
        self.arm(conn);
        result
    }

    /// Transmits an acknowledgement without waiting for the flush; if that fails, the flush does.
    pub(super) fn ack_at_once(&mut self, now: Instant, conn: ConnId) {
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        if self.tx.transmit(&mut self.shared, tcb, now, Output::Ack).is_err() {
            tcb.owe_ack();
        }
    }

    /// Transmits a segment of no connection now or, if that fails, with the next flush.
    pub(super) fn answer(&mut self, answer: Answer) {
        if self.answers.is_empty() && self.tx.transmit_answer(&mut self.shared, &answer).is_ok() {
            return;
        }
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back(answer);
        } else {
            self.shared.counters.answers_dropped += 1;
        }
    }

    /// Tells the peer that the connection, which is already taken out, is no more.
    pub(super) fn reset(&mut self, tcb: &Tcb) {
        if tcb.state() == State::SynSent {
            // RFC 9293 §3.10.5: there is nothing to reset.
            return;
        }
        self.shared.counters.tx_resets += 1;
        self.answer(Answer { hop: tcb.hop, key: tcb.key, header: tcb.reset_header() });
    }
}

impl<P: Port> Tx<P> {
    pub(super) fn new(port: P) -> Self {
        Self { port, scratch: Vec::new(), is_ring_full: false }
    }

    /// Lets the device work on what was submitted.
    fn kick(&mut self) {
        self.port.tx_flush();
        self.is_ring_full = false;
    }

    pub(super) fn transmit(
        &mut self,
        shared: &mut Shared,
        tcb: &mut Tcb,
        now: Instant,
        output: Output,
    ) -> Result<(), PushedBack> {
        let header = tcb.header(now, output);
        let (hop, key, ecn) = (tcb.hop, tcb.key, tcb.ecn(output));
        match output {
            Output::Split { index, len } => return self.split(shared, tcb, index, len),
            Output::Segment { index } => {
                let segment = tcb.queue.get_mut(index);
                let (start, len) = segment.as_ref().map_or((0, 0), |s| (s.start, s.len));
                match segment.and_then(|segment| segment.frame.as_mut()) {
                    Some(frame) => {
                        if self.port.tx_in_flight(frame) {
                            shared.counters.tx_in_flight += 1;
                            return Err(PushedBack::InFlight);
                        }
                        self.submit(shared, frame, (start, len), &hop, &key, &header, ecn)?;
                    }
                    None => self.transmit_bare(shared, &hop, &key, &header)?,
                }
            }
            Output::Ack | Output::Probe => self.transmit_bare(shared, &hop, &key, &header)?,
        }
        tcb.on_sent(now, output, shared);
        Ok(())
    }

    /// Cuts a segment in two; the rest is copied into a frame of its own. Of the reserved ones half
    /// may be taken: peers that narrow their windows shall not have those for acknowledgements.
    fn split(
        &mut self,
        shared: &mut Shared,
        tcb: &mut Tcb,
        index: usize,
        len: u16,
    ) -> Result<(), PushedBack> {
        let segment = tcb.queue.get_mut(index).expect("the index came from next_output");
        if segment.frame.as_ref().is_some_and(|frame| self.port.tx_in_flight(frame)) {
            shared.counters.tx_in_flight += 1;
            return Err(PushedBack::InFlight);
        }
        let is_free = self.port.tx_available() > shared.config.reserved_frames / 2;
        let Some(mut rest) = is_free.then(|| self.port.tx_alloc()).flatten() else {
            shared.counters.no_tx_frame += 1;
            return Err(PushedBack::NoFrame);
        };
        let from = usize::from(segment.start) + usize::from(len);
        let to = usize::from(segment.start) + usize::from(segment.len);
        let frame = segment.frame.as_mut().expect("a segment with payload has a frame");
        self.scratch.clear();
        self.scratch
            .extend_from_slice(self.port.tx_bytes_mut(frame).get(from..to).unwrap_or_default());
        let end = HEADROOM_BYTES + self.scratch.len();
        let buf = self.port.tx_bytes_mut(&mut rest);
        buf.get_mut(HEADROOM_BYTES..end)
            .expect("a frame has room for a segment")
            .copy_from_slice(&self.scratch);
        tcb.queue.split(index, len, rest, offset(HEADROOM_BYTES));
        Ok(())
    }

    /// Transmits what the responder has to say, if anything. What finds no frame or no room is
    /// dropped: whoever asked asks again, and so does the responder.
    pub(super) fn transmit_raw(&mut self, responder: &mut Responder) {
        let Some(bytes) = responder.take_output() else { return };
        let submitted = self.port.tx_alloc().is_some_and(|mut frame| {
            let buf = self.port.tx_bytes_mut(&mut frame).get_mut(..bytes.len());
            let has_room = buf.map(|buf| buf.copy_from_slice(bytes)).is_some();
            let submitted = has_room && self.port.tx_submit(&mut frame, 0, bytes.len()).is_ok();
            self.port.tx_free(frame);
            submitted
        });
        if !submitted {
            responder.count_dropped();
        }
    }

    pub(super) fn transmit_answer(
        &mut self,
        shared: &mut Shared,
        answer: &Answer,
    ) -> Result<(), PushedBack> {
        self.transmit_bare(shared, &answer.hop, &answer.key, &answer.header)?;
        shared.counters.tx_segments += 1;
        Ok(())
    }

    /// Transmits a segment without payload from a frame that is given up at once.
    fn transmit_bare(
        &mut self,
        shared: &mut Shared,
        hop: &Hop,
        key: &FlowKey,
        header: &Header,
    ) -> Result<(), PushedBack> {
        let Some(mut frame) = self.port.tx_alloc() else {
            shared.counters.no_tx_frame += 1;
            return Err(PushedBack::NoFrame);
        };
        let payload = (offset(HEADROOM_BYTES), 0);
        let result = self.submit(shared, &mut frame, payload, hop, key, header, Ecn::NotEct);
        self.port.tx_free(frame);
        result
    }

    #[expect(clippy::too_many_arguments, reason = "where to, what, and from where")]
    /// Writes the headers in front of the payload and gives the frame to the device.
    fn submit(
        &mut self,
        shared: &mut Shared,
        frame: &mut TxFrame,
        (start, len): (u16, u16),
        hop: &Hop,
        key: &FlowKey,
        header: &Header,
        ecn: Ecn,
    ) -> Result<(), PushedBack> {
        if self.is_ring_full {
            shared.counters.tx_ring_full += 1;
            return Err(PushedBack::RingFull);
        }
        let (start, len) = (usize::from(start), usize::from(len));
        let addresses = (key.local().ip(), key.remote().ip());
        let by_device = self.port.caps().tx_checksum;
        let checksum = if by_device { Checksum::Partial } else { Checksum::Full };
        let bytes = self.port.tx_bytes_mut(frame);
        let begin = wire::write_with(bytes, start, len, hop, addresses, header, ecn, checksum)
            .expect("headroom is enough for all headers, and payload was put into the frame");
        let total = start + len - begin;
        let mut submit = |port: &mut P| match checksum {
            Checksum::Full => port.tx_submit(frame, begin, total),
            Checksum::Partial => port.tx_submit_partial(frame, begin, total, start - header.len()),
        };
        if submit(&mut self.port).is_ok() {
            return Ok(());
        }
        // The ring may only wait for a kick.
        self.port.tx_flush();
        submit(&mut self.port).map_err(|TxRingFull| {
            self.is_ring_full = true;
            shared.counters.tx_ring_full += 1;
            PushedBack::RingFull
        })
    }
}

/// Offsets in frames fit 16 bits: frames are smaller than 64 KiB.
pub(super) fn offset(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("frames are smaller than 64 KiB")
}
