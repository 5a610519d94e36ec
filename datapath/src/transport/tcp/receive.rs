//! From a received frame to the connection, and what the connection makes of it.

use std::net::{IpAddr, SocketAddr};

use coney_base::Instant;

use super::TcpTransport;
use super::transmit::Answer;
use super::writer::Writer;
use crate::admission::Verdict;
use crate::port::{Port, RxFrame};
use crate::tcp::flow::FlowKey;
use crate::tcp::input::Reaction;
use crate::tcp::seq::Seq;
use crate::tcp::syn_cookie;
use crate::transport::{App, ConnId};
use crate::wire::tcp::{Flags, Header, Options};
use crate::wire::{self, ParseError, Received};

/// How many frames each step of [`TcpTransport::receive_burst`] is ahead of the next: so many segments
/// take as long to be processed as memory takes to be fetched.
pub(super) const LEAD: usize = 4;
/// Segments between the first step and the last.
pub(super) const RX_PIPELINE_MAX: usize = 3 * LEAD + 1;

/// A received segment on its way to its connection.
#[derive(Debug)]
pub(super) struct Parsed {
    frame: RxFrame,
    received: Received,
    key: FlowKey,
    hash: u32,
    conn: Option<ConnId>,
}

impl<P: Port> TcpTransport<P> {
    /// Takes a burst. With many connections, what belongs to one is in no CPU cache. So frames go
    /// through a pipeline: parse, fetch the connection, find it and fetch what the application has of
    /// it, process; each step is [`LEAD`] frames ahead of the next, and what it fetches arrives while
    /// others are processed.
    pub(super) fn receive_burst(
        &mut self,
        now: Instant,
        burst: &mut Vec<RxFrame>,
        app: &mut dyn App,
    ) {
        let mut pipeline = std::mem::take(&mut self.rx_pipeline);
        let mut frames = burst.drain(..);
        // How many at the front have had the second step, and the third.
        let (mut fetched, mut found) = (0, 0);
        loop {
            let frame = frames.next();
            // Once there are no more, steps are made as soon as the one before is done.
            let lead = if frame.is_some() { LEAD } else { 0 };
            if let Some(parsed) = frame.and_then(|frame| self.parse(now, frame)) {
                pipeline.push_back(parsed);
            }
            if pipeline.len() > fetched + lead
                && let Some(parsed) = pipeline.get(fetched)
            {
                self.conns.prefetch_value(parsed.hash);
                fetched += 1;
            }
            if fetched > found + lead
                && let Some(parsed) = pipeline.get_mut(found)
            {
                parsed.conn = self.conns.find(parsed.hash, &parsed.key);
                if let Some(conn) = parsed.conn.filter(|_| !parsed.received.payload.is_empty()) {
                    app.expect_data(conn);
                }
                found += 1;
            }
            if found > lead
                && let Some(parsed) = pipeline.pop_front()
            {
                self.receive(now, parsed, app);
                fetched -= 1;
                found -= 1;
            }
            if pipeline.is_empty() && frames.len() == 0 {
                break;
            }
        }
        drop(frames);
        self.rx_pipeline = pipeline;
    }

    /// `None`: no segment; the frame was released.
    fn parse(&mut self, now: Instant, frame: RxFrame) -> Option<Parsed> {
        let partial_checksum = self.tx.port.caps().rx_partial_checksum;
        match wire::parse(self.tx.port.rx_bytes(&frame), partial_checksum) {
            Ok(received) => {
                self.shared.counters.rx_segments += 1;
                let local = SocketAddr::new(received.dst, received.header.dst_port);
                if received.header.flags.is_first_syn() && !self.admits_syn(now, local, &received) {
                    self.tx.port.rx_release(frame);
                    return None;
                }
                let remote = SocketAddr::new(received.src, received.header.src_port);
                let key = FlowKey::new(local, remote);
                let hash = self.shared.hasher.table_hash(&key);
                self.conns.prefetch_entry(hash);
                Some(Parsed { frame, received, key, hash, conn: None })
            }
            Err(error) => {
                // The XDP program steers one kind of frame here that is not TCP.
                let too_big = (error == ParseError::NotTcp)
                    .then(|| wire::icmp::parse(self.tx.port.rx_bytes(&frame)).ok())
                    .flatten();
                match too_big {
                    Some(too_big) => {
                        self.on_packet_too_big(now, &too_big);
                    }
                    None if error == ParseError::NotTcp && self.respond(now, &frame) => {}
                    None => self.count_unparsed(error),
                }
                self.tx.port.rx_release(frame);
                None
            }
        }
    }

    /// Whether a SYN may come in, before it is looked at.
    fn admits_syn(&mut self, now: Instant, local: SocketAddr, received: &Received) -> bool {
        let Some(admission) = &mut self.admission else { return true };
        !self.listen.contains(&local) || admission.on_syn(now, received.src) == Verdict::Admit
    }

    fn receive(&mut self, now: Instant, parsed: Parsed, app: &mut dyn App) {
        let Parsed { frame, received, key, hash, conn } = parsed;
        // Since the lookup a frame of the same burst may have opened or ended the connection.
        let conn = conn
            .filter(|conn| self.conns.get(*conn).is_some())
            .or_else(|| self.conns.find(hash, &key))
            .or_else(|| self.find_or_open(now, hash, &key, &received, app));
        match conn {
            Some(conn) => self.on_segment(now, conn, &received, frame, app),
            None => self.tx.port.rx_release(frame),
        }
    }

    fn count_unparsed(&mut self, error: ParseError) {
        let counters = &mut self.shared.counters;
        match error {
            ParseError::Truncated | ParseError::BadIpHeader | ParseError::BadTcpHeader => {
                counters.rx_malformed += 1;
            }
            ParseError::NotTcp => counters.rx_not_tcp += 1,
            ParseError::Fragment => counters.rx_fragment += 1,
            ParseError::BadIpChecksum => counters.rx_bad_ip_checksum += 1,
            ParseError::BadTcpChecksum => counters.rx_bad_checksum += 1,
        }
    }

    /// A segment of no open connection: half-open, in TIME-WAIT, a SYN, or a stray one. Some if it
    /// opened a connection, which then takes it.
    fn find_or_open(
        &mut self,
        now: Instant,
        hash: u32,
        key: &FlowKey,
        received: &Received,
        app: &mut dyn App,
    ) -> Option<ConnId> {
        if let Some(id) = self.syn_cache.find(hash, key) {
            return self.on_half_open_segment(now, id, hash, received, app);
        }
        if let Some(id) = self.time_wait.find(hash, key) {
            self.on_time_wait_segment(now, id, hash, received);
            return None;
        }
        if !self.addresses.contains(&received.dst) || !is_unicast(received.src) {
            self.shared.counters.rx_not_ours += 1;
            return None;
        }
        let flags = received.header.flags;
        // SYNs were admitted before.
        if !flags.is_first_syn()
            && let Some(admission) = &mut self.admission
            && admission.is_denied(received.src)
        {
            return None;
        }
        if self.listen.contains(&key.local()) {
            if flags.has(Flags::RST) {
                self.shared.counters.rx_no_connection += 1;
                return None;
            }
            if flags.is_first_syn() {
                self.on_syn(now, hash, key, received, None);
                return None;
            }
            if flags.has(Flags::ACK)
                && !flags.has(Flags::SYN)
                && syn_cookie::is_recent(now, self.cookie_sent_at)
            {
                return self.open_by_cookie(now, hash, key, received, app);
            }
        }
        self.shared.counters.rx_no_connection += 1;
        self.reset_stray(now, key, received);
        None
    }

    /// RFC 9293 §3.10.7.1.
    pub(super) fn reset_stray(&mut self, now: Instant, key: &FlowKey, received: &Received) {
        let header = &received.header;
        if header.flags.has(Flags::RST) {
            return;
        }
        if !self.shared.resets.allow(now, &self.shared.hasher) {
            self.shared.counters.resets_limited += 1;
            return;
        }
        let (seq, ack, flags) = if header.flags.has(Flags::ACK) {
            (header.ack, Seq::default(), Flags::RST)
        } else {
            let len = u32::try_from(received.payload.len()).unwrap_or(0);
            (Seq::default(), header.seq.plus(header.seq_len(len)), Flags::RST | Flags::ACK)
        };
        let header = Header {
            src_port: header.dst_port,
            dst_port: header.src_port,
            seq,
            ack,
            flags,
            window: 0,
            options: Options::default(),
        };
        self.shared.counters.tx_resets += 1;
        self.answer(Answer { hop: received.hop, key: *key, header });
    }

    /// A segment of an open connection. The frame is released or held.
    fn on_segment(
        &mut self,
        now: Instant,
        conn: ConnId,
        received: &Received,
        frame: RxFrame,
        app: &mut dyn App,
    ) {
        let Some(tcb) = self.conns.get_mut(conn) else {
            self.tx.port.rx_release(frame);
            return;
        };
        let payload_len = u32::try_from(received.payload.len()).unwrap_or(0);
        let reaction =
            tcb.on_segment(now, &received.header, payload_len, received.ecn, &mut self.shared);
        if reaction.accepted {
            tcb.hop = received.hop;
            self.note_next_hop(now, conn);
        }
        if reaction.established && !self.on_established(conn, app) {
            self.tx.port.rx_release(frame);
            return;
        }
        if reaction.reset {
            let key = FlowKey::new(
                SocketAddr::new(received.dst, received.header.dst_port),
                SocketAddr::new(received.src, received.header.src_port),
            );
            self.reset_stray(now, &key, received);
        }
        if reaction.hold {
            self.hold(conn, received, &reaction, frame);
        } else {
            let start = received.payload.start;
            let range = start + reaction.deliver.start..start + reaction.deliver.end;
            self.deliver(now, conn, &frame, range, app);
            self.tx.port.rx_release(frame);
        }
        let reaction = self.deliver_held(now, conn, reaction, app);
        self.react(now, conn, &reaction, app);
    }

    fn hold(&mut self, conn: ConnId, received: &Received, reaction: &Reaction, frame: RxFrame) {
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        let start = received.payload.start;
        let payload = start + reaction.deliver.start..start + reaction.deliver.end;
        let cut = u32::try_from(reaction.deliver.start).unwrap_or(0);
        if let Err(frame) = tcb.hold(&received.header, cut, payload, frame, &mut self.shared) {
            self.tx.port.rx_release(frame);
        }
    }

    /// Hands payload to the application, as a slice of the frame, and the connection's transmit
    /// frames with it.
    fn deliver(
        &mut self,
        now: Instant,
        conn: ConnId,
        frame: &RxFrame,
        range: std::ops::Range<usize>,
        app: &mut dyn App,
    ) {
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        let (bytes, frames) = self.tx.port.rx_and_tx(frame);
        let bytes = bytes.get(range).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        if tcb.discards() {
            self.shared.counters.rx_after_close_bytes += bytes.len() as u64;
            return;
        }
        let mut writer = Writer::new(now, tcb, frames, &self.shared.config);
        let held_bytes = app.on_data_with(conn, bytes, &mut writer);
        tcb.set_held(held_bytes);
    }

    /// Delivers what a segment put in order behind itself; what that means is added to `reaction`.
    fn deliver_held(
        &mut self,
        now: Instant,
        conn: ConnId,
        mut reaction: Reaction,
        app: &mut dyn App,
    ) -> Reaction {
        if reaction.hold {
            return reaction;
        }
        // The state of a connection that ends with a FIN is FIN-WAIT-2 to the last: what the peer
        // sent behind its FIN shall not follow.
        while reaction.end.is_none()
            && let Some(tcb) = self.conns.get_mut(conn)
            && let Some((frame, payload, more)) = tcb.pop_held(&mut self.shared)
        {
            self.deliver(now, conn, &frame, payload, app);
            self.tx.port.rx_release(frame);
            reaction.eof |= more.eof;
            reaction.ack |= more.ack;
            reaction.end = more.end;
        }
        reaction
    }

    fn react(&mut self, now: Instant, conn: ConnId, reaction: &Reaction, app: &mut dyn App) {
        if reaction.ack {
            self.ack_at_once(now, conn);
        }
        if reaction.eof {
            app.on_eof(conn);
        }
        if let Some(end) = reaction.end {
            self.finish(now, conn, end, app);
            return;
        }
        if reaction.writable {
            app.on_writable(conn);
        }
        self.mark_dirty(conn);
    }
}

/// Whether an address can be one host's (RFC 1122 §3.2.1.3, RFC 4291 §2.7).
fn is_unicast(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}
