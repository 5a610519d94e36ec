//! What a connection transmits next, and the header of it.
//!
//! Deciding ([`Tcb::next_output`]) changes nothing; the transport writes the header and submits the
//! frame, and only if that worked tells [`Tcb::on_sent`]. A full ring or an empty pool thus loses
//! nothing: the same decision comes again.

use coney_base::Instant;

use super::Shared;
use super::isn::timestamp;
use super::send_queue::TxSegment;
use super::seq::Seq;
use super::tcb::{RCV_WND_MAX, RCV_WSCALE, RtxTimer, TailProbe, Tcb};
use crate::wire::Ecn;
use crate::wire::tcp::{Flags, Header, OPTIONS_LEN_MAX, Options, SackBlocks, Timestamps};

/// Unacknowledged data segments that are acknowledged without delay (RFC 9293 §3.8.6.3).
const UNACKED_SEGMENTS_MAX: u8 = 2;

/// Bytes of a SACK option with one block.
const DSACK_LEN: usize = 12;

/// One transmission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// The segment at this index of the queue, for the first time or again.
    Segment {
        /// Index in [`Tcb::queue`].
        index: usize,
    },
    /// Only `len` bytes of the segment at this index fit the window or the path: cut it
    /// ([`super::send_queue::SendQueue::split`]) and ask again.
    Split {
        /// Index in [`Tcb::queue`].
        index: usize,
        /// Bytes that fit.
        len: u16,
    },
    /// An acknowledgement alone.
    Ack,
    /// A segment that the peer must answer: an acknowledgement from one position back.
    Probe,
}

impl Tcb {
    /// What to transmit now, if anything. Acknowledgements that may wait do.
    pub fn next_output(&self) -> Option<Output> {
        if let Some(index) = self.queue.first_lost()
            && let Some(segment) = self.queue.get(index)
            && (self.rtx_now || self.in_flight() == 0 || self.fits_cwnd(segment))
        {
            return Some(self.whole_or_part(index, segment));
        }
        if let Some(index) = self.queue.unsent()
            && let Some(segment) = self.queue.get(index)
            && self.queue.lost() == 0
            && (self.tail_probe_now || self.fits_cwnd(segment))
        {
            let room = self.window_room();
            // A FIN may lie one position outside: sent again and again it is a probe by itself.
            if u32::from(segment.len) <= room || segment.len > self.mss {
                return Some(self.whole_or_part(index, segment));
            }
            // RFC 9293 §3.8.6.2.1: a part only if it is half of the largest window that the peer
            // ever had, or after a timeout.
            if room > 0
                && (room >= self.max_snd_wnd / 2 || self.push_part)
                && let Ok(len) = u16::try_from(room)
            {
                return Some(Output::Split { index, len });
            }
        }
        if self.tail_probe_now
            && let Some(index) = self.queue.last_sent()
            && let Some(segment) = self.queue.get(index)
        {
            return Some(self.whole_or_part(index, segment));
        }
        if self.probe_now {
            return Some(Output::Probe);
        }
        let is_ack_due = self.ack_now || self.unacked_segments >= UNACKED_SEGMENTS_MAX;
        is_ack_due.then_some(Output::Ack)
    }

    /// What was queued before the path became narrower is cut.
    fn whole_or_part(&self, index: usize, segment: &TxSegment) -> Output {
        if segment.len > self.mss {
            return Output::Split { index, len: self.mss };
        }
        Output::Segment { index }
    }

    fn fits_cwnd(&self, segment: &TxSegment) -> bool {
        let in_flight = self.in_flight();
        // A window below one segment must not stop everything.
        in_flight == 0 || in_flight + segment.seq_len() <= self.allowed_in_flight()
    }

    /// What the peer's window still takes.
    pub(super) fn window_room(&self) -> u32 {
        self.snd_una.plus(self.snd_wnd).since(self.snd_nxt)
    }

    /// Whether queued data waits for nothing but the peer's window.
    pub(super) fn is_window_blocked(&self) -> bool {
        let Some(segment) = self.queue.unsent().and_then(|index| self.queue.get(index)) else {
            return false;
        };
        u32::from(segment.len) > self.window_room()
    }

    /// The header of `output`. The window in it counts as advertised only after [`Self::on_sent`].
    pub fn header(&self, now: Instant, output: Output) -> Header {
        let mut header = Header {
            src_port: self.key.local().port(),
            dst_port: self.key.remote().port(),
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: self.window_field(),
            options: Options::default(),
        };
        if self.timestamps {
            let value = timestamp(now, self.ts_offset);
            header.options.timestamps = Some(Timestamps { value, echo: self.ts_recent });
        }
        if self.ecn_echo {
            header.flags = header.flags | Flags::ECE;
        }
        match output {
            Output::Ack => header.options.sack = self.sack_blocks(OPTIONS_LEN_MAX),
            Output::Probe => header.seq = self.snd_una.minus(1),
            Output::Segment { index } | Output::Split { index, .. } => {
                if let Some(segment) = self.queue.get(index) {
                    self.fill_header(&mut header, index, segment);
                }
            }
        }
        header
    }

    fn fill_header(&self, header: &mut Header, index: usize, segment: &TxSegment) {
        header.seq = segment.seq;
        if segment.syn {
            header.flags = Flags::SYN;
            header.ack = Seq::default();
            header.window = u16::try_from(RCV_WND_MAX).unwrap_or(u16::MAX);
            header.options.mss = Some(self.mss);
            header.options.window_scale = Some(RCV_WSCALE);
            header.options.sack_permitted = self.sack;
            // RFC 3168 §6.1.1.1: some boxes drop such a SYN.
            if self.ecn && !segment.retransmitted && index == 0 && self.queue.unsent() == Some(0) {
                header.flags = header.flags | Flags::ECE | Flags::CWR;
            }
            return;
        }
        if self.cwr_now && self.is_new_data(index) {
            header.flags = header.flags | Flags::CWR;
        }
        if segment.fin {
            header.flags = header.flags | Flags::FIN;
        }
        if index + 1 == self.queue.len() && segment.len > 0 {
            header.flags = header.flags | Flags::PSH;
        }
        header.options.sack = self.sack_blocks(self.room_beside(segment.len));
    }

    fn is_new_data(&self, index: usize) -> bool {
        self.queue.unsent() == Some(index) && self.queue.get(index).is_some_and(|s| s.len > 0)
    }

    /// What routers may do with `output` (RFC 3168 §6.1.4 to §6.1.6): only data, and only the first
    /// time.
    pub fn ecn(&self, output: Output) -> Ecn {
        match output {
            Output::Segment { index } if self.ecn && self.is_new_data(index) => Ecn::Ect0,
            Output::Segment { .. } | Output::Split { .. } | Output::Ack | Output::Probe => {
                Ecn::NotEct
            }
        }
    }

    /// As many blocks as fit `room` bytes and the header.
    fn sack_blocks(&self, room: usize) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        if !self.sack || (self.reassembly.is_none() && self.dsack.is_none()) {
            return blocks;
        }
        if let Some((start, end)) = self.dsack {
            // RFC 2883 §4: first of all.
            blocks.push(start, end);
        }
        for &(start, end) in self.reassembly.iter().flat_map(|held| held.blocks()) {
            blocks.push(start, end);
        }
        let used = if self.timestamps { crate::wire::tcp::TIMESTAMPS_LEN } else { 0 };
        blocks.truncate(room.min(OPTIONS_LEN_MAX - used).saturating_sub(4) / 8);
        blocks
    }

    /// What a segment with `len` bytes of payload leaves for SACK blocks.
    fn room_beside(&self, len: u16) -> usize {
        usize::from(self.mss.saturating_sub(len))
    }

    /// The window field (RFC 9293 §3.8.6.2.2): it grows by whole segments and never takes back
    /// what was promised (§3.8.6).
    fn window_field(&self) -> u16 {
        let promised = self.rcv_adv.since(self.rcv_nxt);
        let wanted = RCV_WND_MAX.saturating_sub(self.held_bytes);
        let step = u32::from(self.mss).min(RCV_WND_MAX / 2);
        let window = if wanted >= promised.saturating_add(step) { wanted } else { promised };
        // Rounded up, because rounding down would move the edge back.
        let unit = 1 << self.rcv_wscale;
        u16::try_from(window.div_ceil(unit)).unwrap_or(u16::MAX)
    }

    fn window_bytes(&self) -> u32 {
        u32::from(self.window_field()) << self.rcv_wscale
    }

    /// Whether the peer should hear that the window opened: it was nearly closed, and grows by two
    /// segments or more.
    pub(super) fn is_window_update_due(&self) -> bool {
        let promised = self.rcv_adv.since(self.rcv_nxt);
        promised < RCV_WND_MAX / 8
            && self.window_bytes() >= promised.saturating_add(2 * u32::from(self.mss))
    }

    /// Notes that an acknowledgement is due with the next flush.
    pub fn owe_ack(&mut self) {
        self.ack_now = true;
    }

    /// Notes that `output` was handed to the port.
    pub fn on_sent(&mut self, now: Instant, output: Output, shared: &mut Shared) {
        // Every segment but SYN acknowledges.
        self.rcv_adv = self.rcv_nxt.plus(self.window_bytes()).max(self.rcv_adv);
        self.last_ack_sent = self.rcv_nxt;
        self.unacked_segments = 0;
        self.ack_now = false;
        self.delayed_ack_at = None;
        shared.counters.tx_segments += 1;
        if self.dsack.is_some() {
            self.on_dsack_sent(output, shared);
        }
        match output {
            Output::Ack | Output::Split { .. } => {}
            Output::Probe => self.probe_now = false,
            Output::Segment { index } => self.on_segment_sent(now, index, shared),
        }
    }

    fn on_segment_sent(&mut self, now: Instant, index: usize, shared: &mut Shared) {
        let Some(segment) = self.queue.get(index) else { return };
        let (end, len) = (segment.end(), u64::from(segment.len));
        self.last_tx = now;
        if let Some(prr) = self.loss.as_mut().and_then(|loss| loss.prr.as_mut()) {
            prr.on_sent(segment.seq_len());
        }
        self.queue.on_sent(index, now);
        if end.after(self.snd_nxt) {
            self.snd_nxt = end;
            self.cwr_now &= len == 0;
            shared.counters.tx_bytes += len;
            self.on_tail_probe_sent(end, false);
        } else {
            self.on_tail_probe_sent(end, true);
            shared.counters.retransmits += 1;
            self.rtx_now = false;
        }
        match self.rtx_timer {
            RtxTimer::Retransmit(_) => {}
            // RFC 8985 §7.2: what is sent later moves the probe.
            RtxTimer::TailProbe(_) => self.rtx_timer = self.probe_or_retransmit(now, shared),
            RtxTimer::Off | RtxTimer::Persist(_) => {
                if matches!(self.rtx_timer, RtxTimer::Persist(_)) {
                    self.backoff = 0;
                    self.push_part = false;
                }
                // RFC 6298 §5.1.
                self.rtx_timer = self.probe_or_retransmit(now, shared);
            }
        }
    }

    /// A duplicate is reported once; a full segment has no room to do so.
    fn on_dsack_sent(&mut self, output: Output, shared: &mut Shared) {
        let room = match output {
            Output::Ack => OPTIONS_LEN_MAX,
            Output::Segment { index } => {
                self.queue.get(index).map_or(0, |segment| self.room_beside(segment.len))
            }
            Output::Split { .. } | Output::Probe => 0,
        };
        if !self.sack || room >= DSACK_LEN {
            self.dsack = None;
            shared.counters.tx_dsacks += u64::from(self.sack);
        }
    }

    fn on_tail_probe_sent(&mut self, end: Seq, is_retransmission: bool) {
        if std::mem::take(&mut self.tail_probe_now) {
            self.tail_probe = Some(TailProbe { end, is_retransmission });
        }
    }
}
