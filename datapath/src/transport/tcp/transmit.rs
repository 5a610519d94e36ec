//! From decisions of the state machine to frames on the port.

use coney_base::Instant;

use super::{ANSWERS_MAX, HEADROOM_BYTES, PUSH_BACK_RETRY, TcpTransport};
use crate::port::{Port, TxFrame, TxRingFull};
use crate::tcp::Shared;
use crate::tcp::flow::FlowKey;
use crate::tcp::output::Output;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::transport::ConnId;
use crate::wire::tcp::Header;
use crate::wire::{self, Hop};

/// A segment without payload that no connection stands behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) hop: Hop,
    pub(super) key: FlowKey,
    pub(super) header: Header,
}

/// Nothing was transmitted; the next flush tries again. The reason is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PushedBack;

impl<P: Port> TcpTransport<P> {
    /// Copies bytes into the connection's frames and returns how many it took.
    pub(super) fn queue_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let Some(tcb) = self.conns.get_mut(conn) else { return bytes.len() };
        if !tcb.state().may_send() {
            // Closed by the application; during an active open it has to wait.
            return if tcb.state() == State::SynSent { 0 } else { bytes.len() };
        }
        tcb.before_send(now);
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some(len) = append(&mut self.port, tcb, rest) {
                rest = rest.get(len..).unwrap_or_default();
                continue;
            }
            if tcb.queue.len() >= self.shared.config.send_frames_max {
                self.shared.counters.send_queue_full += 1;
                tcb.want_writable = true;
                break;
            }
            let is_free = self.port.tx_available() > self.shared.config.reserved_frames;
            let Some(frame) = is_free.then(|| self.port.tx_alloc()).flatten() else {
                self.shared.counters.no_tx_frame += 1;
                if !tcb.want_writable {
                    tcb.want_writable = true;
                    self.starved.push_back(conn);
                }
                self.retry_at.get_or_insert(now + PUSH_BACK_RETRY);
                break;
            };
            tcb.push_frame(frame, offset(HEADROOM_BYTES), 0);
        }
        bytes.len() - rest.len()
    }

    /// Transmits what the connections on the dirty list have, and kicks the port once.
    pub(super) fn flush_dirty(&mut self, now: Instant) {
        while let Some(answer) = self.answers.pop_front() {
            if transmit_answer(&mut self.port, &mut self.shared, &answer).is_err() {
                self.answers.push_front(answer);
                break;
            }
        }
        // The list is walked in place; whoever is pushed back stays on it, in order.
        let mut kept = 0;
        for at in 0..self.dirty.len() {
            let Some(&conn) = self.dirty.get(at) else { break };
            if self.flush_conn(now, conn).is_err() {
                self.dirty.swap(kept, at);
                kept += 1;
            }
        }
        self.dirty.truncate(kept);
        self.give_back();
        self.port.tx_flush();
        let is_pushed_back =
            !self.dirty.is_empty() || !self.answers.is_empty() || !self.starved.is_empty();
        self.retry_at = is_pushed_back.then(|| now + PUSH_BACK_RETRY);
    }

    fn flush_conn(&mut self, now: Instant, conn: ConnId) -> Result<(), PushedBack> {
        let Some(tcb) = self.conns.get_mut(conn) else { return Ok(()) };
        let mut result = Ok(());
        while result.is_ok()
            && let Some(output) = tcb.next_output()
        {
            result =
                transmit(&mut self.port, &mut self.shared, &mut self.scratch, tcb, now, output);
        }
        tcb.is_dirty = result.is_err();
        tcb.settle(now, &self.shared);
        if let Some(deadline) = tcb.deadline(&self.shared) {
            self.conns.arm(conn, deadline);
        }
        result
    }

    /// Transmits an acknowledgement without waiting for the flush; if that fails, the flush does.
    pub(super) fn ack_at_once(&mut self, now: Instant, conn: ConnId) {
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        let (port, scratch) = (&mut self.port, &mut self.scratch);
        if transmit(port, &mut self.shared, scratch, tcb, now, Output::Ack).is_err() {
            tcb.owe_ack();
        }
    }

    /// Transmits a segment of no connection now or, if that fails, with the next flush.
    pub(super) fn answer(&mut self, answer: Answer) {
        if self.answers.is_empty()
            && transmit_answer(&mut self.port, &mut self.shared, &answer).is_ok()
        {
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

/// Appends to the last frame, if it was never sent and has room; returns how much.
fn append<P: Port>(port: &mut P, tcb: &mut Tcb, bytes: &[u8]) -> Option<usize> {
    let mss = tcb.mss();
    let tail = tcb.queue.open_tail()?;
    let room = usize::from(mss.saturating_sub(tail.len));
    let (start, len) = (usize::from(tail.start), usize::from(tail.len));
    let chunk = bytes.get(..room.min(bytes.len())).filter(|chunk| !chunk.is_empty())?;
    let buf = port.tx_bytes_mut(tail.frame.as_mut()?);
    buf.get_mut(start + len..start + len + chunk.len())?.copy_from_slice(chunk);
    tail.len += offset(chunk.len());
    Some(chunk.len())
}

fn transmit<P: Port>(
    port: &mut P,
    shared: &mut Shared,
    scratch: &mut Vec<u8>,
    tcb: &mut Tcb,
    now: Instant,
    output: Output,
) -> Result<(), PushedBack> {
    let header = tcb.header(now, output);
    let (hop, key) = (tcb.hop, tcb.key);
    match output {
        Output::Split { index, len } => return split(port, shared, scratch, tcb, index, len),
        Output::Segment { index } => {
            let segment = tcb.queue.get_mut(index);
            let (start, len) = segment.as_ref().map_or((0, 0), |s| (s.start, s.len));
            match segment.and_then(|segment| segment.frame.as_mut()) {
                Some(frame) => {
                    if port.tx_in_flight(frame) {
                        shared.counters.tx_in_flight += 1;
                        return Err(PushedBack);
                    }
                    submit(port, shared, frame, (start, len), &hop, &key, &header)?;
                }
                None => transmit_bare(port, shared, &hop, &key, &header)?,
            }
        }
        Output::Ack | Output::Probe => transmit_bare(port, shared, &hop, &key, &header)?,
    }
    tcb.on_sent(now, output, shared);
    Ok(())
}

/// Cuts an unsent segment in two; the rest is copied into a frame of its own.
fn split<P: Port>(
    port: &mut P,
    shared: &mut Shared,
    scratch: &mut Vec<u8>,
    tcb: &mut Tcb,
    index: usize,
    len: u16,
) -> Result<(), PushedBack> {
    let Some(mut rest) = port.tx_alloc() else {
        shared.counters.no_tx_frame += 1;
        return Err(PushedBack);
    };
    let segment = tcb.queue.get_mut(index).expect("the index came from next_output");
    let from = usize::from(segment.start) + usize::from(len);
    let to = usize::from(segment.start) + usize::from(segment.len);
    let frame = segment.frame.as_mut().expect("a segment with payload has a frame");
    scratch.clear();
    scratch.extend_from_slice(port.tx_bytes_mut(frame).get(from..to).unwrap_or_default());
    let end = HEADROOM_BYTES + scratch.len();
    let buf = port.tx_bytes_mut(&mut rest);
    buf.get_mut(HEADROOM_BYTES..end)
        .expect("a frame has room for a segment")
        .copy_from_slice(scratch);
    tcb.queue.split(index, len, rest, offset(HEADROOM_BYTES));
    Ok(())
}

fn transmit_answer<P: Port>(
    port: &mut P,
    shared: &mut Shared,
    answer: &Answer,
) -> Result<(), PushedBack> {
    transmit_bare(port, shared, &answer.hop, &answer.key, &answer.header)?;
    shared.counters.tx_segments += 1;
    Ok(())
}

/// Transmits a segment without payload from a frame that is given up at once.
fn transmit_bare<P: Port>(
    port: &mut P,
    shared: &mut Shared,
    hop: &Hop,
    key: &FlowKey,
    header: &Header,
) -> Result<(), PushedBack> {
    let Some(mut frame) = port.tx_alloc() else {
        shared.counters.no_tx_frame += 1;
        return Err(PushedBack);
    };
    let payload = (offset(HEADROOM_BYTES), 0);
    let result = submit(port, shared, &mut frame, payload, hop, key, header);
    port.tx_free(frame);
    result
}

/// Writes the headers in front of the payload and gives the frame to the device.
fn submit<P: Port>(
    port: &mut P,
    shared: &mut Shared,
    frame: &mut TxFrame,
    (start, len): (u16, u16),
    hop: &Hop,
    key: &FlowKey,
    header: &Header,
) -> Result<(), PushedBack> {
    let (start, len) = (usize::from(start), usize::from(len));
    let addresses = (key.local().ip(), key.remote().ip());
    let begin = wire::write(port.tx_bytes_mut(frame), start, len, hop, addresses, header)
        .expect("headroom is enough for all headers, and payload was put into the frame");
    let total = start + len - begin;
    if port.tx_submit(frame, begin, total).is_ok() {
        return Ok(());
    }
    // The ring may only wait for a kick.
    port.tx_flush();
    port.tx_submit(frame, begin, total).map_err(|TxRingFull| {
        shared.counters.tx_ring_full += 1;
        PushedBack
    })
}

/// Offsets in frames fit 16 bits: frames are smaller than 64 KiB.
fn offset(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("frames are smaller than 64 KiB")
}
