//! The deadlines of a connection: retransmission, persist, user timeout, delayed acknowledgement,
//! keepalive and FIN-WAIT-2.

use std::time::Duration;

use coney_base::Instant;

use super::Shared;
use super::congestion::CongestionControl as _;
use super::state::State;
use super::tcb::{Phase, RtxTimer, Tcb};
use crate::transport::CloseReason;

/// Keepalive probes without an answer before the connection is given up, as Redis sets it.
pub const KEEPALIVE_PROBES_MAX: u8 = 3;

/// Timeouts of the same full segment after which it is taken for too long for the path.
const BLACK_HOLE_TIMEOUTS: u8 = 2;

impl Tcb {
    /// The earliest deadline but for [`Self::keepalive_at`]. `None`: the connection waits for a segment
    /// or for the application.
    pub fn deadline(&self) -> Option<Instant> {
        let rtx = match self.rtx_timer {
            RtxTimer::Off => None,
            RtxTimer::TailProbe(at) | RtxTimer::Retransmit(at) | RtxTimer::Persist(at) => Some(at),
        };
        let reorder = self.loss.as_ref().and_then(|loss| loss.reorder_at);
        earlier(earlier(rtx, reorder), earlier(self.delayed_ack_at, self.close_at))
    }

    /// Whether [`Self::on_timer`] has something to do.
    pub fn is_due(&self, now: Instant, shared: &Shared) -> bool {
        earlier(self.deadline(), self.keepalive_at(shared)).is_some_and(|at| at <= now)
    }

    /// When the peer is asked whether it is still there. It moves with every segment, so a timer for
    /// it should not: it finds out when it fires. Keepalive runs only while nothing is unacknowledged:
    /// else retransmission finds out.
    pub fn keepalive_at(&self, shared: &Shared) -> Option<Instant> {
        let idle = shared.config.keepalive_idle?;
        if self.state == State::SynSent || !self.queue.is_empty() {
            return None;
        }
        let probes = u32::from(self.keepalive_probes);
        Some(self.last_rx + idle + keepalive_interval(idle) * probes)
    }

    /// Runs what is due. The connection then has output, unless it ended: the reason is returned.
    pub fn on_timer(&mut self, now: Instant, shared: &mut Shared) -> Option<CloseReason> {
        if self.close_at.is_some_and(|at| at <= now) {
            shared.counters.timeouts += u64::from(!self.discards);
            return Some(CloseReason::TimedOut);
        }
        if self.delayed_ack_at.is_some_and(|at| at <= now) {
            self.delayed_ack_at = None;
            self.ack_now = true;
            shared.counters.delayed_acks += 1;
        }
        if self.loss.as_ref().and_then(|loss| loss.reorder_at).is_some_and(|at| at <= now) {
            self.detect_losses(now, shared);
        }
        let gives_up = match self.rtx_timer {
            RtxTimer::TailProbe(at) if at <= now => {
                self.on_probe_timeout(now, shared);
                false
            }
            RtxTimer::Retransmit(at) if at <= now => self.on_rto(now, shared),
            RtxTimer::Persist(at) if at <= now => self.on_persist(now, shared),
            RtxTimer::Off
            | RtxTimer::TailProbe(_)
            | RtxTimer::Retransmit(_)
            | RtxTimer::Persist(_) => false,
        };
        let is_silent =
            self.keepalive_at(shared).is_some_and(|at| at <= now) && self.on_keepalive(shared);
        if gives_up || is_silent {
            shared.counters.timeouts += 1;
            return Some(CloseReason::TimedOut);
        }
        None
    }

    /// RFC 6298 §5.4 to §5.6. `true`: the peer did not answer for too long.
    fn on_rto(&mut self, now: Instant, shared: &mut Shared) -> bool {
        if self.unanswered >= shared.config.retransmits_max {
            return true;
        }
        shared.counters.rtos += 1;
        let first = self.backoff == 0;
        let flight = self.snd_nxt.since(self.snd_una).min(self.congestion.cwnd());
        if first && self.phase == Phase::Open {
            self.remember_for_undo(now);
        }
        // What was halved by a recovery that did not succeed is not halved again.
        let first = first && self.phase == Phase::Open;
        self.congestion.on_rto(flight, u32::from(self.mss), first);
        self.unanswered += 1;
        self.backoff = self.backoff.saturating_add(1);
        self.mark_lost_by_timeout(now);
        if self.unanswered >= BLACK_HOLE_TIMEOUTS && self.suspect_black_hole() {
            shared.counters.black_holes += 1;
        }
        self.rtt.forget_min();
        self.tail_probe = None;
        self.tail_probe_now = false;
        self.dup_acks = 0;
        // RFC 6582 §4.1: duplicate acknowledgements of what is sent again start no recovery.
        self.phase = Phase::Timeout;
        self.recover = self.snd_nxt;
        self.rtx_now = true;
        self.rtx_timer = RtxTimer::Retransmit(now + self.rtt.rto(self.backoff));
        false
    }

    /// RFC 9293 §3.8.6.1. A peer that answers keeps the connection however long its window is
    /// closed; one that does not is given up like one that does not acknowledge data.
    fn on_persist(&mut self, now: Instant, shared: &mut Shared) -> bool {
        if self.unanswered >= shared.config.retransmits_max {
            return true;
        }
        self.unanswered += 1;
        self.backoff = self.backoff.saturating_add(1);
        self.rtx_timer = RtxTimer::Persist(now + self.rtt.rto(self.backoff));
        if self.window_room() > 0 {
            self.push_part = true;
        } else {
            shared.counters.zero_window_probes += 1;
            self.probe_now = true;
        }
        false
    }

    /// RFC 9293 §3.8.4. `true`: the peer did not answer.
    fn on_keepalive(&mut self, shared: &mut Shared) -> bool {
        if self.keepalive_probes >= KEEPALIVE_PROBES_MAX {
            return true;
        }
        self.keepalive_probes += 1;
        shared.counters.keepalive_probes += 1;
        self.probe_now = true;
        false
    }

    /// To be called when all output that is possible now was handed over: starts or stops the
    /// persist timer, the user timeout and the delay of an acknowledgement.
    pub fn settle(&mut self, now: Instant, shared: &Shared) {
        if !self.discards
            && let Some(timeout) = shared.config.user_timeout
        {
            // RFC 9293 §3.8.3: `R2` as a time. Nothing is waited for while nothing is queued.
            self.close_at =
                (!self.queue.is_empty()).then(|| self.close_at.unwrap_or(now + timeout));
        }
        if self.snd_nxt == self.snd_una {
            let is_blocked = self.is_window_blocked();
            match self.rtx_timer {
                RtxTimer::Persist(_) if is_blocked => {}
                _ if is_blocked => {
                    self.rtx_timer = RtxTimer::Persist(now + self.rtt.rto(self.backoff));
                }
                _ => self.rtx_timer = RtxTimer::Off,
            }
        }
        if self.unacked_segments > 0 && self.delayed_ack_at.is_none() && !self.ack_now {
            self.delayed_ack_at = Some(now + shared.config.delayed_ack);
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (at, None) | (None, at) => at,
    }
}

fn keepalive_interval(idle: Duration) -> Duration {
    (idle / 3).max(Duration::from_secs(1))
}
