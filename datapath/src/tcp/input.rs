//! A segment arrives at an open connection (RFC 9293 §3.10.7.3 and §3.10.7.4, with RFC 5961).

use std::ops::Range;
use std::time::Duration;

use coney_base::Instant;

use super::Shared;
use super::challenge::PER_CONNECTION_INTERVAL;
use super::congestion::{Ack, CongestionControl as _};
use super::isn::timestamp;
use super::reassembly::{Held, Reassembly, Refused};
use super::send_queue::Acked;
use super::seq::Seq;
use super::state::State;
use super::tcb::{Agreed, MSS_DEFAULT, Phase, RCV_WND_MAX, RtxTimer, Tcb};
use crate::port::RxFrame;
use crate::transport::CloseReason;
use crate::wire::Ecn;
use crate::wire::tcp::{Flags, Header};

/// RFC 5681 §3.2.
const DUP_ACKS_THRESHOLD: u8 = 3;
/// RFC 7323 §5.5: a timestamp older than this says nothing.
const TS_RECENT_AGE_MAX: Duration = Duration::from_secs(24 * 24 * 3600);

/// What a segment means to whoever drives the connection. Things happen in this order: the payload
/// is delivered, then the end of the peer's data, then the end of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// The segment passed all checks: it is the peer's.
    pub accepted: bool,
    /// Part of the payload to deliver: new and in order. Then [`Tcb::pop_held`] may have more.
    pub deliver: Range<usize>,
    /// The payload lies behind a gap: keep the frame with [`Tcb::hold`].
    pub hold: bool,
    /// Transmit an acknowledgement at once, before the next segment is looked at.
    pub ack: bool,
    /// Answer with RST (only while opening actively).
    pub reset: bool,
    /// An active open succeeded.
    pub established: bool,
    /// The peer closed its side.
    pub eof: bool,
    /// There is room for what the application could not send.
    pub writable: bool,
    /// The connection ended.
    pub end: Option<End>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What the application is told.
    pub reason: CloseReason,
    /// We closed first and must remember the connection.
    pub time_wait: bool,
}

const RESET: End = End { reason: CloseReason::Reset, time_wait: false };

/// How much of a segment counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acceptable {
    Yes,
    /// The window is closed: the acknowledgement counts, the payload does not.
    AckOnly,
    No,
}

impl Tcb {
    /// Takes a segment with `payload_len` bytes of payload.
    pub fn on_segment(
        &mut self,
        now: Instant,
        header: &Header,
        payload_len: u32,
        ecn: Ecn,
        shared: &mut Shared,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        if self.state == State::SynSent {
            self.on_segment_syn_sent(now, header, shared, &mut reaction);
            return reaction;
        }
        let flags = header.flags;
        if self.is_old_timestamp(now, header) {
            shared.counters.rx_paws += 1;
            self.answer_stray(now, header, payload_len, shared, &mut reaction);
            return reaction;
        }
        let acceptable = self.acceptable(header.seq, header.seq_len(payload_len));
        if acceptable == Acceptable::No {
            shared.counters.rx_out_of_window += 1;
            if !flags.has(Flags::RST) {
                self.answer_stray(now, header, payload_len, shared, &mut reaction);
            }
            return reaction;
        }
        if flags.has(Flags::RST) {
            // RFC 5961 §3.2: only the exact position resets.
            if header.seq == self.rcv_nxt {
                shared.counters.rx_resets += 1;
                reaction.end = Some(RESET);
            } else {
                self.challenge(now, shared, &mut reaction);
            }
            return reaction;
        }
        if flags.has(Flags::SYN) {
            // RFC 5961 §4.2.
            self.challenge(now, shared, &mut reaction);
            return reaction;
        }
        if !flags.has(Flags::ACK) {
            shared.counters.rx_bad_flags += 1;
            return reaction;
        }
        self.last_rx = now;
        self.keepalive_probes = 0;
        if let Some(timestamps) = header.options.timestamps
            && header.seq.at_or_before(self.last_ack_sent)
        {
            // RFC 7323 §4.3 (2). That it is not older was checked above.
            self.ts_recent = timestamps.value;
        }
        if !self.on_ack(now, header, payload_len, shared, &mut reaction) {
            return reaction;
        }
        reaction.accepted = true;
        if self.ecn && payload_len > 0 {
            self.note_marks(flags, ecn, shared);
        }
        if acceptable == Acceptable::AckOnly {
            reaction.ack = true;
        } else if reaction.end.is_none() {
            self.on_payload(header, payload_len, shared, &mut reaction);
        }
        reaction
    }

    /// RFC 9293 §3.10.7.3. Simultaneous open is not supported: see docs/tcp.md.
    fn on_segment_syn_sent(
        &mut self,
        now: Instant,
        header: &Header,
        shared: &mut Shared,
        reaction: &mut Reaction,
    ) {
        let flags = header.flags;
        if flags.has(Flags::ACK) && header.ack != self.snd_nxt {
            shared.counters.rx_bad_ack += 1;
            reaction.reset = !flags.has(Flags::RST);
            return;
        }
        if flags.has(Flags::RST) {
            if flags.has(Flags::ACK) {
                shared.counters.rx_resets += 1;
                reaction.end = Some(RESET);
            }
            return;
        }
        if !flags.has(Flags::SYN | Flags::ACK) {
            shared.counters.rx_bad_flags += 1;
            return;
        }
        let mss_max = self.mss;
        let agreed = Agreed::from_syn(header, self.key.is_ipv4(), mss_max, &shared.config);
        self.agree(&agreed, &shared.config);
        self.rcv_nxt = header.seq.plus(1);
        self.rcv_adv = self.rcv_nxt.plus(RCV_WND_MAX.min(0xffff));
        self.take_acked(now, header, shared);
        self.set_window(header, u32::from(header.window));
        self.last_rx = now;
        self.rtx_timer = RtxTimer::Off;
        self.backoff = 0;
        // Whatever was lost was SYN, before there was a window to speak of.
        self.phase = Phase::Open;
        self.loss = None;
        self.set_state(State::Established);
        self.ack_now = true;
        reaction.accepted = true;
        reaction.established = true;
    }

    /// RFC 9293 §3.10.7.4, first check.
    fn acceptable(&self, seq: Seq, seq_len: u32) -> Acceptable {
        let window = if self.state.may_receive() { self.rcv_adv.since(self.rcv_nxt) } else { 0 };
        if window == 0 {
            return match (seq == self.rcv_nxt, seq_len) {
                (true, 0) => Acceptable::Yes,
                (true, _) => Acceptable::AckOnly,
                (false, _) => Acceptable::No,
            };
        }
        let last = seq.plus(seq_len.saturating_sub(1));
        if seq.within(self.rcv_nxt, window) || (seq_len > 0 && last.within(self.rcv_nxt, window)) {
            return Acceptable::Yes;
        }
        // A segment that begins before the window and ends behind it has both ends outside.
        let spans = seq.before(self.rcv_nxt) && last.after(self.rcv_nxt);
        if spans { Acceptable::Yes } else { Acceptable::No }
    }

    /// PAWS (RFC 7323 §5.3).
    fn is_old_timestamp(&self, now: Instant, header: &Header) -> bool {
        let Some(timestamps) = header.options.timestamps.filter(|_| self.timestamps) else {
            return false;
        };
        !header.flags.has(Flags::RST)
            && Seq(timestamps.value).before(Seq(self.ts_recent))
            && now.since(self.last_rx) < TS_RECENT_AGE_MAX
    }

    /// Answers a segment outside the window: always if it carries data or FIN (the peer did not get
    /// our acknowledgement), rarely otherwise, lest two confused stacks answer each other for ever.
    fn answer_stray(
        &mut self,
        now: Instant,
        header: &Header,
        payload_len: u32,
        shared: &mut Shared,
        reaction: &mut Reaction,
    ) {
        let end = header.seq.plus(payload_len);
        if payload_len > 0 && end.at_or_before(self.rcv_nxt) {
            self.dsack = Some((header.seq, end));
        }
        if payload_len > 0 || header.flags.has(Flags::FIN) || self.may_challenge(now) {
            reaction.ack = true;
        } else {
            shared.counters.challenge_acks_limited += 1;
        }
    }

    /// RFC 5961 §7: an acknowledgement that an honest peer can act on, within limits.
    fn challenge(&mut self, now: Instant, shared: &mut Shared, reaction: &mut Reaction) {
        if self.may_challenge(now) && shared.challenges.allow(now, &shared.hasher) {
            shared.counters.challenge_acks += 1;
            reaction.ack = true;
        } else {
            shared.counters.challenge_acks_limited += 1;
        }
    }

    fn may_challenge(&mut self, now: Instant) -> bool {
        let may = now >= self.next_challenge;
        if may {
            self.next_challenge = now + PER_CONNECTION_INTERVAL;
        }
        may
    }

    /// The acknowledgement and window fields. `false`: the segment is to be dropped.
    fn on_ack(
        &mut self,
        now: Instant,
        header: &Header,
        payload_len: u32,
        shared: &mut Shared,
        reaction: &mut Reaction,
    ) -> bool {
        let ack = header.ack;
        // RFC 5961 §5.2.
        if ack.after(self.snd_nxt) || ack.before(self.snd_una.minus(self.max_snd_wnd)) {
            shared.counters.rx_bad_ack += 1;
            self.challenge(now, shared, reaction);
            return false;
        }
        let window = u32::from(header.window) << self.snd_wscale;
        let (una, sacked, phase) = (self.snd_una, self.queue.sacked(), self.phase);
        // A window that was not made use of must not grow (RFC 7661 §4.1 in spirit, and Linux): an
        // application that sends little would collect the right to a burst.
        let is_window_used = self.in_flight() >= self.congestion.cwnd() / 2;
        if self.ecn && header.flags.has(Flags::ECE) && ack.at_or_after(self.snd_una) {
            self.on_ecn_echo(ack, shared);
        }
        let mut rtt = None;
        if ack.after(self.snd_una) {
            rtt = self.on_new_ack(now, header, shared, reaction);
        } else if self.sack
            && ack == self.snd_una
            && (self.snd_nxt != self.snd_una || self.tail_probe.is_some())
        {
            shared.counters.rx_dup_acks += u64::from(header.seq_len(payload_len) == 0);
            self.on_selective_ack(now, header, None, shared);
        } else if ack == self.snd_una
            && self.snd_nxt != self.snd_una
            && header.seq_len(payload_len) == 0
            && window == self.snd_wnd
        {
            self.on_dup_ack(now, shared);
        }
        // What is reported counts like what is acknowledged: where the network reorders, one
        // acknowledgement follows many reports, and the window would hardly grow.
        let delivered = (self.snd_una.since(una) + self.queue.sacked()).saturating_sub(sacked);
        match (phase, self.phase) {
            (_, Phase::Recovery) => {
                let outstanding = self.snd_nxt.since(una).saturating_sub(sacked);
                self.reduce_rate(delivered, outstanding);
            }
            (Phase::Recovery, Phase::Open | Phase::Timeout) => {}
            (Phase::Open | Phase::Timeout, _) if is_window_used && delivered > 0 => {
                let srtt = self.rtt.srtt().unwrap_or_default();
                let mss = u32::from(self.mss);
                let (una, nxt) = (self.snd_una, self.snd_nxt);
                self.congestion.on_ack(&Ack { now, acked: delivered, mss, srtt, rtt, una, nxt });
            }
            (Phase::Open | Phase::Timeout, _) => {}
        }
        if ack.at_or_after(self.snd_una) {
            let is_newer = header.seq.after(self.snd_wl1)
                || (header.seq == self.snd_wl1 && ack.at_or_after(self.snd_wl2));
            if is_newer {
                self.set_window(header, window);
            }
        }
        if self.snd_wnd == 0 || matches!(self.rtx_timer, RtxTimer::Persist(_)) {
            // It is alive, only full.
            self.unanswered = 0;
        }
        true
    }

    /// RFC 3168 §6.1.3: a mark is echoed until the peer says that it reacted.
    fn note_marks(&mut self, flags: Flags, ecn: Ecn, shared: &mut Shared) {
        if flags.has(Flags::CWR) {
            self.ecn_echo = false;
        }
        if ecn == Ecn::Ce {
            shared.counters.rx_ce += 1;
            self.ecn_echo = true;
        }
    }

    /// RFC 3168 §6.1.2: as to a loss, but once for each window of data, and not beside a loss.
    fn on_ecn_echo(&mut self, ack: Seq, shared: &mut Shared) {
        if self.phase != Phase::Open || !ack.after(self.ecn_recover) {
            return;
        }
        shared.counters.ecn_reductions += 1;
        let flight = self.snd_nxt.since(self.snd_una).min(self.congestion.cwnd());
        self.congestion.on_congestion(flight, u32::from(self.mss));
        self.ecn_recover = self.snd_nxt;
        self.cwr_now = true;
    }

    fn set_window(&mut self, header: &Header, window: u32) {
        self.snd_wnd = window;
        self.max_snd_wnd = self.max_snd_wnd.max(window);
        self.snd_wl1 = header.seq;
        self.snd_wl2 = header.ack;
    }

    /// Moves `snd_una`, frees frames and measures the round-trip time, if that is possible.
    fn take_acked(
        &mut self,
        now: Instant,
        header: &Header,
        shared: &mut Shared,
    ) -> (Acked, Option<Duration>) {
        self.snd_una = header.ack;
        let acked = self.queue.ack(header.ack, &mut shared.freed);
        let rtt = if let Some(sent_at) = acked.sent_at {
            Some(now.since(sent_at))
        } else if acked.retransmitted
            && self.timestamps
            && let Some(timestamps) = header.options.timestamps
            && timestamps.echo != 0
        {
            // RFC 7323 §4: the echo tells which transmission it was, so Karn's rule does not apply.
            let ms = timestamp(now, self.ts_offset).wrapping_sub(timestamps.echo);
            (ms < 120_000).then(|| Duration::from_millis(u64::from(ms)))
        } else {
            None
        };
        if let Some(rtt) = rtt {
            self.rtt.sample(rtt);
        }
        (acked, rtt)
    }

    /// Returns the round-trip time that was measured.
    fn on_new_ack(
        &mut self,
        now: Instant,
        header: &Header,
        shared: &mut Shared,
        reaction: &mut Reaction,
    ) -> Option<Duration> {
        let mss = u32::from(self.mss);
        let (taken, rtt) = self.take_acked(now, header, shared);
        self.tail_probe_now = false;
        let dup_acks = std::mem::take(&mut self.dup_acks);
        let is_undone = self.loss.is_some() && self.undo_if_spurious(header, shared);
        match self.phase {
            _ if is_undone => {}
            Phase::Recovery if header.ack.at_or_after(self.recover) => {
                self.phase = Phase::Open;
                // RFC 6937 §3: the rate was reduced all the way already.
                let flight = if self.sack { self.congestion.ssthresh() } else { self.in_flight() };
                self.congestion.on_recovery_end(flight, mss);
            }
            // RACK finds the next hole.
            Phase::Recovery if self.sack => {}
            Phase::Recovery => {
                // RFC 6582 §3.2 step 3: the next hole begins here. Of the segments that went, all
                // but the first had been counted by duplicate acknowledgements.
                let counted = u8::try_from(taken.segments.saturating_sub(1)).unwrap_or(u8::MAX);
                self.dup_acks = dup_acks.saturating_sub(counted);
                self.rtx_now = self.queue.mark_first_lost();
            }
            Phase::Open | Phase::Timeout => {
                if header.ack.at_or_after(self.recover) {
                    self.phase = Phase::Open;
                }
            }
        }
        self.backoff = 0;
        self.unanswered = 0;
        if self.sack {
            self.on_selective_ack(now, header, taken.delivered, shared);
        }
        // RFC 6298 §5.2 and §5.3.
        self.rtx_timer = if self.snd_una == self.snd_nxt {
            self.rtx_now = false;
            RtxTimer::Off
        } else {
            self.probe_or_retransmit(now, shared)
        };
        self.forget_loss_if_idle();
        if self.discards && self.close_at.is_some() {
            // It goes on.
            self.close_at = Some(now + shared.config.orphan_timeout);
        } else {
            // The next flush starts the user timeout again.
            self.close_at = None;
        }
        if self.want_writable && self.queue.len() <= shared.config.send_frames_max / 2 {
            self.want_writable = false;
            reaction.writable = true;
        }
        if taken.fin {
            self.on_fin_acked(now, shared, reaction);
        }
        rtt
    }

    /// RFC 5681 §3.2 and RFC 6582 §3.2, for peers without SACK. That each duplicate acknowledgement
    /// takes a segment out of flight is also limited transmit (RFC 3042).
    fn on_dup_ack(&mut self, now: Instant, shared: &mut Shared) {
        shared.counters.rx_dup_acks += 1;
        self.dup_acks = self.dup_acks.saturating_add(1);
        if self.phase == Phase::Open
            && self.dup_acks == DUP_ACKS_THRESHOLD
            && self.snd_una.after(self.recover)
            && self.queue.lost() == 0
        {
            self.begin_recovery(now, shared);
            self.queue.mark_first_lost();
        }
    }

    fn on_fin_acked(&mut self, now: Instant, shared: &Shared, reaction: &mut Reaction) {
        match self.state {
            State::FinWait1 => {
                self.set_state(State::FinWait2);
                // Only if nobody waits for what the peer may still send (RFC 9293 §3.10.4).
                self.close_at = self.discards.then(|| now + shared.config.fin_wait_2_timeout);
            }
            State::Closing => {
                reaction.end = Some(End { reason: CloseReason::Finished, time_wait: true });
            }
            State::LastAck => {
                reaction.end = Some(End { reason: CloseReason::Finished, time_wait: false });
            }
            State::SynSent | State::Established | State::FinWait2 | State::CloseWait => {}
        }
    }

    fn on_payload(
        &mut self,
        header: &Header,
        payload_len: u32,
        shared: &mut Shared,
        reaction: &mut Reaction,
    ) {
        let is_fin = header.flags.has(Flags::FIN);
        if !self.state.may_receive() || (payload_len == 0 && !is_fin) {
            return;
        }
        // What was received before, and what lies behind the window, is cut off.
        let old = self.rcv_nxt.since(header.seq).min(payload_len);
        let room = self.rcv_adv.since(header.seq.plus(old));
        let new = (payload_len - old).min(room);
        let is_cut = new < payload_len - old;
        let is_fin = is_fin && !is_cut;
        let range = index(old)..index(old + new);
        if header.seq.plus(old).after(self.rcv_nxt) {
            shared.counters.rx_out_of_order += 1;
            // RFC 5681 §4.2: at once.
            reaction.ack = true;
            reaction.hold = new > 0 || is_fin;
            reaction.deliver = range;
            return;
        }
        if old > 0 {
            self.dsack = Some((header.seq, header.seq.plus(old)));
        }
        if old > 0 || is_cut {
            // The peer repeats itself or exceeds the window: it should know where we are.
            self.ack_now = true;
        }
        reaction.deliver = range;
        self.advance(new, shared);
        if new > 0 {
            self.unacked_segments = self.unacked_segments.saturating_add(1);
        }
        if self.quick_acks > 0 && new >= u32::from(MSS_DEFAULT[0]) {
            self.quick_acks -= 1;
            self.ack_now = true;
        }
        if self.reassembly.is_some() {
            // RFC 5681 §4.2: a segment that fills a gap is acknowledged at once.
            self.ack_now = true;
        }
        if is_fin {
            self.on_fin(reaction);
        }
    }

    fn advance(&mut self, bytes: u32, shared: &mut Shared) {
        self.rcv_nxt = self.rcv_nxt.plus(bytes);
        shared.counters.rx_bytes += u64::from(bytes);
    }

    /// RFC 9293 §3.10.7.4, eighth check: everything before FIN has been received.
    fn on_fin(&mut self, reaction: &mut Reaction) {
        self.rcv_nxt = self.rcv_nxt.plus(1);
        self.rcv_adv = self.rcv_adv.max(self.rcv_nxt);
        self.ack_now = true;
        match self.state {
            State::Established => {
                self.set_state(State::CloseWait);
                reaction.eof = true;
            }
            State::FinWait1 => {
                self.set_state(State::Closing);
                reaction.eof = !self.discards;
            }
            State::FinWait2 => {
                reaction.eof = !self.discards;
                reaction.ack = true;
                reaction.end = Some(End { reason: CloseReason::Finished, time_wait: true });
            }
            State::SynSent | State::Closing | State::CloseWait | State::LastAck => {}
        }
    }

    /// Keeps a segment that [`Reaction::hold`] asked for. `payload` is where its new part lies in
    /// the frame.
    ///
    /// # Errors
    /// The frame, if there is no room or its bytes are held already.
    pub fn hold(
        &mut self,
        header: &Header,
        cut: u32,
        payload: Range<usize>,
        frame: RxFrame,
        shared: &mut Shared,
    ) -> Result<(), RxFrame> {
        let seq = header.seq.plus(cut);
        // A FIN behind the window was cut off together with payload before it.
        let fin = header.flags.has(Flags::FIN)
            && seq.plus(u32::try_from(payload.len()).unwrap_or(0)).before(self.rcv_adv);
        let end = seq.plus(u32::try_from(payload.len()).unwrap_or(0));
        let reassembly = self.reassembly.get_or_insert_with(Box::<Reassembly>::default);
        let result = reassembly.insert(Held { seq, frame, payload, fin }, &mut shared.quota);
        if reassembly.is_empty() {
            self.reassembly = None;
        }
        result.map_err(|refused| match refused {
            Refused::Duplicate(frame) => {
                self.dsack = Some((seq, end)).filter(|_| seq != end);
                shared.counters.rx_duplicate += 1;
                frame
            }
            Refused::Full(frame) => {
                shared.counters.rx_reassembly_full += 1;
                frame
            }
        })
    }

    /// The next held segment that is in order now: its frame, the payload in it that is to be
    /// delivered, and what its FIN means.
    pub fn pop_held(&mut self, shared: &mut Shared) -> Option<(RxFrame, Range<usize>, Reaction)> {
        let reassembly = self.reassembly.as_mut()?;
        let Some(mut held) = reassembly.pop(self.rcv_nxt, &mut shared.quota) else {
            reassembly.on_advance(self.rcv_nxt);
            return None;
        };
        let mut reaction = Reaction::default();
        if self.state.may_receive() {
            self.advance(u32::try_from(held.payload.len()).unwrap_or(0), shared);
            if held.fin {
                self.on_fin(&mut reaction);
            }
        } else {
            // The peer sent bytes behind its own FIN.
            held.payload = 0..0;
        }
        if let Some(reassembly) = self.reassembly.as_mut() {
            reassembly.on_advance(self.rcv_nxt);
            if reassembly.is_empty() {
                self.reassembly = None;
            }
        }
        Some((held.frame, held.payload, reaction))
    }
}

fn index(position: u32) -> usize {
    position as usize
}
