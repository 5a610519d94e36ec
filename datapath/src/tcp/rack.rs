//! Loss detection by time: RACK-TLP (RFC 8985) on top of selective acknowledgements (RFC 2018).
//!
//! A segment is lost when one that was sent later arrived, and a reordering window has passed
//! since. Which segments arrived is noted in the send queue; the rest of the state is boxed and
//! exists only from the first sign of trouble until everything is acknowledged.

use std::time::Duration;

use coney_base::Instant;

use super::Shared;
use super::congestion::{Congestion, CongestionControl as _};
use super::isn::timestamp;
use super::prr::Prr;
use super::send_queue::Delivered;
use super::seq::Seq;
use super::tcb::{Phase, RtxTimer, Tcb};
use crate::wire::tcp::Header;

/// SACKed segments that prove a loss if the network was never seen to reorder (RFC 8985 §6.2).
const DUP_THRESHOLD: usize = 3;
/// Recoveries after which a reordering window that was widened is narrowed again (§6.2 step 4).
const REO_WND_PERSIST: u8 = 16;
/// A probe is not sent earlier after the last transmission: our timers tick in milliseconds, and
/// a busy peer is not a lost segment. Linux waits two ticks, 2 to 20 ms.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// What is known while something is lost or out of order.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The last sent among the segments that arrived (§6.1, `RACK.segment`).
    newest: Option<Delivered>,
    /// How long it took (`RACK.rtt`).
    rtt: Duration,
    /// Highest position that arrived (`RACK.fack`).
    fack: Seq,
    /// When the reordering window of a segment ends.
    pub(super) reorder_at: Option<Instant>,
    reo_wnd_mult: u8,
    reo_wnd_persist: u8,
    /// Duplicates reported before this is acknowledged count as one.
    dsack_round: Option<Seq>,
    /// How to undo the last reduction of the window, should it prove wrong.
    undo: Option<Undo>,
    /// How fast the present recovery sends.
    pub(super) prr: Option<Prr>,
}

#[derive(Clone, Copy, Debug)]
struct Undo {
    congestion: Congestion,
    /// Our timestamps clock when the first segment was sent again.
    since: u32,
}

impl Loss {
    fn new(una: Seq) -> Self {
        Self {
            newest: None,
            rtt: Duration::ZERO,
            fack: una,
            reorder_at: None,
            reo_wnd_mult: 1,
            reo_wnd_persist: 0,
            dsack_round: None,
            undo: None,
            prr: None,
        }
    }
}

/// What a segment's SACK option says.
#[derive(Clone, Copy, Debug, Default)]
struct Blocks {
    /// RFC 2883: something arrived twice, up to here.
    dsack_end: Option<Seq>,
    /// Some segment is newly known to have arrived.
    is_news: bool,
}

impl Tcb {
    /// Notes selective acknowledgements, finds losses and begins a recovery. After the
    /// cumulative acknowledgement was taken, which delivered `acked`.
    pub(super) fn on_selective_ack(
        &mut self,
        now: Instant,
        header: &Header,
        acked: Option<Delivered>,
        shared: &mut Shared,
    ) {
        if header.options.sack.as_slice().is_empty()
            && self.loss.is_none()
            && self.tail_probe.is_none()
        {
            return;
        }
        let blocks = self.take_blocks(now, header, acked, shared);
        self.check_tail_probe(header, &blocks, shared);
        if self.snd_una == self.snd_nxt {
            self.reorder_off();
            self.forget_loss_if_idle();
            return;
        }
        if blocks.is_news || acked.is_some() {
            self.detect_losses(now, shared);
        }
    }

    fn take_blocks(
        &mut self,
        now: Instant,
        header: &Header,
        acked: Option<Delivered>,
        shared: &mut Shared,
    ) -> Blocks {
        let mut blocks = Blocks::default();
        let mut rest = header.options.sack.as_slice();
        // RFC 2883 §4: the first block tells of a duplicate if it is already acknowledged or lies
        // within the second.
        if let Some((&(start, end), others)) = rest.split_first()
            && start.before(end)
            && (end.at_or_before(header.ack)
                || others.first().is_some_and(|&(left, right)| {
                    start.at_or_after(left) && end.at_or_before(right)
                }))
        {
            shared.counters.rx_dsacks += 1;
            blocks.dsack_end = Some(end);
            rest = others;
        }
        let (una, nxt) = (self.snd_una, self.snd_nxt);
        let mut loss = self.loss.take().unwrap_or_else(|| Box::new(Loss::new(una)));
        let fack = loss.fack;
        let mut is_reordered = acked.is_some_and(|delivered| {
            self.note_delivered(&mut loss, now, header, &delivered);
            delivered.is_below(fack)
        });
        for &(start, end) in rest {
            // Blocks of things never sent, or below what is acknowledged, are not believed.
            if start.after(una)
                && start.before(end)
                && end.at_or_before(nxt)
                && let Some(delivered) = self.queue.sack(start, end)
            {
                blocks.is_news = true;
                self.note_delivered(&mut loss, now, header, &delivered);
                is_reordered |= delivered.is_below(fack);
            }
        }
        if blocks.dsack_end.is_some() && loss.dsack_round.is_none_or(|round| una.at_or_after(round))
        {
            // §6.2 step 4: we were too quick.
            loss.dsack_round = Some(nxt);
            loss.reo_wnd_mult = loss.reo_wnd_mult.saturating_add(1);
            loss.reo_wnd_persist = REO_WND_PERSIST;
        }
        if is_reordered && !self.saw_reordering {
            self.saw_reordering = true;
            shared.counters.reorderings += 1;
        }
        self.loss = Some(loss);
        blocks
    }

    /// §6.2 step 2.
    fn note_delivered(&self, loss: &mut Loss, now: Instant, header: &Header, what: &Delivered) {
        loss.fack = loss.fack.max(what.end);
        let is_later = loss.newest.is_none_or(|newest| what.is_later_than(&newest));
        if is_later && self.is_of_last_transmission(now, header, what) {
            loss.newest = Some(*what);
            loss.rtt = now.since(what.sent_at);
        }
    }

    /// What was sent twice may have arrived the first time.
    fn is_of_last_transmission(
        &self,
        now: Instant,
        header: &Header,
        delivered: &Delivered,
    ) -> bool {
        if !delivered.retransmitted {
            return true;
        }
        let rtt = now.since(delivered.sent_at);
        if let Some(timestamps) = header.options.timestamps.filter(|_| self.timestamps) {
            let sent = timestamp(delivered.sent_at, self.ts_offset);
            if Seq(timestamps.echo).before(Seq(sent)) {
                return false;
            }
        }
        rtt >= self.rtt.min().unwrap_or_default()
    }

    /// §6.2 step 4.
    fn reordering_window(&self, loss: &Loss) -> Duration {
        let is_proof_enough =
            self.phase != Phase::Open || self.queue.sacked_segments() >= DUP_THRESHOLD;
        if !self.saw_reordering && is_proof_enough {
            return Duration::ZERO;
        }
        let min_rtt = self.rtt.min().unwrap_or_default();
        let window = min_rtt / 4 * u32::from(loss.reo_wnd_mult);
        window.min(self.rtt.srtt().unwrap_or(window))
    }

    /// §6.2 step 5. Begins a recovery if something is lost.
    pub(super) fn detect_losses(&mut self, now: Instant, shared: &mut Shared) {
        let Some(mut loss) = self.loss.take() else { return };
        loss.reorder_at = None;
        let mut is_lost = false;
        if let Some(newest) = loss.newest {
            let patience = loss.rtt + self.reordering_window(&loss);
            let found = self.queue.mark_lost_before(&newest, now, patience);
            is_lost = found.is_lost;
            loss.reorder_at = found.next_at;
        }
        self.loss = Some(loss);
        if is_lost {
            shared.counters.rack_losses += 1;
            self.on_loss_found(now, shared);
        }
    }

    fn on_loss_found(&mut self, now: Instant, shared: &mut Shared) {
        self.tail_probe = None;
        self.tail_probe_now = false;
        if self.phase != Phase::Open {
            return;
        }
        self.begin_recovery(now, shared);
        if let Some(loss) = &mut self.loss {
            if loss.reo_wnd_persist > 0 {
                loss.reo_wnd_persist -= 1;
            } else {
                loss.reo_wnd_mult = 1;
            }
        }
    }

    /// The window shrinks, and the first lost segment is sent whatever the window says.
    pub(super) fn begin_recovery(&mut self, now: Instant, shared: &mut Shared) {
        shared.counters.fast_retransmits += 1;
        self.remember_for_undo(now);
        self.phase = Phase::Recovery;
        self.recover = self.snd_nxt;
        self.rtx_now = true;
        if self.sack {
            let una = self.snd_una;
            let loss = self.loss.get_or_insert_with(|| Box::new(Loss::new(una)));
            loss.prr = Some(Prr::default());
        }
        let flight = self.snd_nxt.since(self.snd_una).min(self.congestion.cwnd());
        self.congestion.on_congestion(flight, u32::from(self.mss));
        if matches!(self.rtx_timer, RtxTimer::TailProbe(_)) {
            self.rtx_timer = RtxTimer::Retransmit(now + self.rtt.rto(0));
        }
    }

    /// After an acknowledgement during a recovery told that `delivered` of the `outstanding` bytes
    /// arrived: what may be sent.
    pub(super) fn reduce_rate(&mut self, delivered: u32, outstanding: u32) {
        let (pipe, ssthresh) = (self.in_flight(), self.congestion.ssthresh());
        if let Some(prr) = self.loss.as_mut().and_then(|loss| loss.prr.as_mut()) {
            prr.on_ack(delivered, outstanding, pipe, ssthresh, u32::from(self.mss));
        }
    }

    /// What may be in flight now: in a recovery of a peer with SACK what RFC 6937 says, else the
    /// congestion window.
    pub(super) fn allowed_in_flight(&self) -> u32 {
        let prr = self.loss.as_ref().and_then(|loss| loss.prr);
        match prr.filter(|_| self.phase == Phase::Recovery) {
            Some(prr) => prr.cwnd(),
            None => self.congestion.cwnd(),
        }
    }

    pub(super) fn remember_for_undo(&mut self, now: Instant) {
        if !self.timestamps {
            return;
        }
        let undo = Undo { congestion: self.congestion, since: timestamp(now, self.ts_offset) };
        let una = self.snd_una;
        self.loss.get_or_insert_with(|| Box::new(Loss::new(una))).undo = Some(undo);
    }

    /// RFC 3522: if the first acknowledgement after a retransmission echoes a timestamp from before
    /// it, nothing was lost. `true`: the recovery is called off.
    pub(super) fn undo_if_spurious(&mut self, header: &Header, shared: &mut Shared) -> bool {
        let Some(undo) = self.loss.as_mut().and_then(|loss| loss.undo.take()) else {
            return false;
        };
        let is_older = header
            .options
            .timestamps
            .is_some_and(|timestamps| Seq(timestamps.echo).before(Seq(undo.since)));
        if self.phase == Phase::Open || !is_older {
            return false;
        }
        shared.counters.spurious_retransmits += 1;
        if self.phase == Phase::Recovery && !self.saw_reordering {
            self.saw_reordering = true;
            shared.counters.reorderings += 1;
        }
        self.congestion = undo.congestion;
        self.queue.forget_lost();
        self.phase = Phase::Open;
        self.rtx_now = false;
        true
    }

    fn reorder_off(&mut self) {
        if let Some(loss) = &mut self.loss {
            loss.reorder_at = None;
        }
    }

    /// The state goes when nothing is outstanding.
    pub(super) fn forget_loss_if_idle(&mut self) {
        if self.loss.is_some() && self.queue.is_empty() {
            self.loss = None;
        }
    }

    /// What may be marked lost by a timeout: all that was sent longer ago than a round trip
    /// (RFC 8985 §6.3), in any case the first.
    pub(super) fn mark_lost_by_timeout(&mut self, now: Instant) {
        if !self.sack || self.queue.is_first_sacked() {
            // RFC 2018 §8: a peer that does not acknowledge what it reported may have dropped it.
            self.queue.forget_sacked();
            self.queue.mark_all_lost();
            return;
        }
        let srtt = self.rtt.srtt().unwrap_or_default();
        let patience = self.loss.as_ref().map_or(srtt, |loss| loss.rtt.max(srtt));
        self.queue.mark_first_lost();
        self.queue.mark_lost_older(now, patience);
        self.reorder_off();
    }

    /// RFC 8985 §7.2: when to probe for a lost tail instead of waiting for the timeout.
    pub(super) fn probe_or_retransmit(&self, now: Instant, shared: &Shared) -> RtxTimer {
        let rto = self.rtt.rto(self.backoff);
        let may_probe = self.sack
            && self.phase == Phase::Open
            && self.tail_probe.is_none()
            && self.backoff == 0
            && self.queue.sacked_segments() == 0;
        if let Some(srtt) = self.rtt.srtt().filter(|_| may_probe) {
            let mut timeout = (2 * srtt).max(PROBE_TIMEOUT_MIN);
            if self.queue.is_one_sent() {
                timeout += shared.config.peer_ack_delay;
            }
            if timeout < rto {
                return RtxTimer::TailProbe(now + timeout);
            }
        }
        RtxTimer::Retransmit(now + rto)
    }

    /// §7.3: the probe is new data or else the last segment again.
    pub(super) fn on_probe_timeout(&mut self, now: Instant, shared: &mut Shared) {
        shared.counters.tail_probes += 1;
        self.tail_probe_now = true;
        self.rtx_timer = RtxTimer::Retransmit(now + self.rtt.rto(0));
    }

    /// §7.4: whether a probe repaired a loss, which the congestion window must hear of.
    fn check_tail_probe(&mut self, header: &Header, blocks: &Blocks, shared: &mut Shared) {
        let Some(probe) = self.tail_probe else { return };
        if header.ack.before(probe.end) {
            return;
        }
        let is_repeated = blocks.dsack_end == Some(probe.end);
        if !probe.is_retransmission || is_repeated {
            self.tail_probe = None;
        } else if header.ack.after(probe.end) {
            self.tail_probe = None;
            shared.counters.tail_losses += 1;
            self.congestion.on_congestion(self.congestion.cwnd(), u32::from(self.mss));
        }
    }
}
