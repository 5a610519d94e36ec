//! One connection: the transmission control block and the calls of the application.
//!
//! Segments are taken by `input`, deadlines by `timers`, and what to transmit is decided by
//! `output`; all three are further `impl`s of [`Tcb`].

use std::time::Duration;

use coney_base::Instant;

use super::Shared;
use super::config::Config;
use super::congestion::{Algorithm, Congestion, CongestionControl as _};
use super::flow::FlowKey;
use super::flow_map::HasFlow;
use super::rack::Loss;
use super::reassembly::Reassembly;
use super::rto::RttEstimator;
use super::send_queue::{SendQueue, TxSegment};
use super::seq::Seq;
use super::state::State;
use crate::port::{RxFrame, TxFrame};
use crate::transport::HELD_BYTES_MAX;
use crate::wire::tcp::{Flags, HEADER_LEN, Header, Options, TIMESTAMPS_LEN};
use crate::wire::{Hop, ipv4, ipv6};

/// The largest receive window.
pub const RCV_WND_MAX: u32 = 256 * 1024;
const _: () = assert!(RCV_WND_MAX as usize == HELD_BYTES_MAX, "what the application may hold");
/// The shift that we offer: the smallest with which the field can say [`RCV_WND_MAX`].
pub const RCV_WSCALE: u8 = 3;
const _: () = assert!(RCV_WND_MAX >> RCV_WSCALE <= 0xffff && RCV_WND_MAX >> 2 > 0xffff);
/// RFC 9293 §3.7.1: what a peer takes that did not say, over IPv4 and IPv6.
pub const MSS_DEFAULT: [u16; 2] = [536, 1220];
/// A peer that says less is not believed (Linux's TCP_MIN_SND_MSS): tiny segments cost a frame each.
pub const MSS_MIN: u16 = 88;

/// Least packet over IPv4 and IPv6 that is believed to be all that fits a path (Linux's `min_pmtu`;
/// RFC 8200 §5).
const PATH_MTU_MIN: [u32; 2] = [552, 1280];
/// RFC 1191 §7.1: what to try where a router does not say what fits.
const PLATEAUS: [u32; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 552];
/// How long a router that said what fits is believed (RFC 1191 §6.3, RFC 8201 §4). Then full segments
/// are tried again: the path may be another one, and if it is not, the router says so once more.
const PATH_MTU_AGE_MAX: Duration = Duration::from_secs(600);
/// Least payload that a path without answers is believed to demand, over IPv4 and IPv6.
const BLACK_HOLE_MSS_MIN: [u16; 2] = [512, 1208];

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// Largest payload that we send in one segment, without options.
    pub mss: u16,
    /// Shift of the peer's window field.
    pub snd_wscale: u8,
    /// Shift of ours.
    pub rcv_wscale: u8,
    /// Both sides send timestamps; the peer's last one.
    pub timestamps: Option<u32>,
    /// The peer understands SACK blocks.
    pub sack: bool,
    /// Both sides take part in ECN.
    pub ecn: bool,
}

impl Agreed {
    /// From the peer's SYN or SYN-ACK. `mss_max` is what our frames and MTU allow.
    pub fn from_syn(header: &Header, is_ipv4: bool, mss_max: u16, config: &Config) -> Self {
        let Header { flags, options, .. } = header;
        let default = MSS_DEFAULT[usize::from(!is_ipv4)];
        let mss = options.mss.filter(|mss| *mss > 0).unwrap_or(default).clamp(MSS_MIN, u16::MAX);
        let mut mss = mss.min(mss_max);
        let timestamps = options.timestamps.filter(|_| config.timestamps);
        if timestamps.is_some() {
            // RFC 6691: the MSS option counts options as payload.
            mss -= u16::try_from(TIMESTAMPS_LEN).unwrap_or(0);
        }
        let (snd_wscale, rcv_wscale) = options.window_scale.map_or((0, 0), |s| (s, RCV_WSCALE));
        Self {
            mss,
            snd_wscale,
            rcv_wscale,
            timestamps: timestamps.map(|timestamps| timestamps.value),
            sack: options.sack_permitted && config.sack,
            // RFC 3168 §6.1.1: SYN has both bits, SYN-ACK only the one.
            ecn: config.ecn
                && flags.has(Flags::ECE)
                && flags.has(Flags::CWR) != flags.has(Flags::ACK),
        }
    }
}

/// The retransmission timer, which probes a closed window when nothing is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RtxTimer {
    Off,
    /// RFC 8985 §7.2: earlier than a timeout.
    TailProbe(Instant),
    /// RFC 6298 §5.
    Retransmit(Instant),
    /// RFC 9293 §3.8.6.1.
    Persist(Instant),
}

/// Whether losses are being repaired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No.
    Open,
    /// Found by acknowledgements (RFC 6582, RFC 6675).
    Recovery,
    /// After a timeout, in slow start.
    Timeout,
}

/// A probe for a lost tail that is not acknowledged (RFC 8985 §7.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct TailProbe {
    /// `TLP.end_seq`.
    pub(super) end: Seq,
    /// It was no new data.
    pub(super) is_retransmission: bool,
}

/// Segments are smaller than was agreed, because a router said so.
#[derive(Clone, Copy, Debug)]
pub(super) struct NarrowPath {
    /// What segments may carry again when this is forgotten.
    agreed_mss: u16,
    /// What they may carry meanwhile.
    mss: u16,
    forget_at: Instant,
}

/// One connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, and the block must be small")]
pub struct Tcb {
    /// Both ends.
    pub key: FlowKey,
    /// How frames reach the peer: learnt from those that it sends.
    pub hop: Hop,
    pub(super) state: State,

    /// Oldest position that is not acknowledged.
    pub(super) snd_una: Seq,
    /// Next position to send.
    pub(super) snd_nxt: Seq,
    /// The peer's window, from `snd_una` on.
    pub(super) snd_wnd: u32,
    /// The largest that it ever was.
    pub(super) max_snd_wnd: u32,
    /// Position and acknowledgement of the segment that last set the window.
    pub(super) snd_wl1: Seq,
    pub(super) snd_wl2: Seq,
    /// Everything that is unsent or unacknowledged.
    pub queue: SendQueue,
    pub(super) mss: u16,
    pub(super) narrow_path: Option<Box<NarrowPath>>,

    /// Next position that we expect.
    pub(super) rcv_nxt: Seq,
    /// Right edge of the window as last advertised; it never moves back.
    pub(super) rcv_adv: Seq,
    /// The acknowledgement that we last sent (RFC 7323 §4.3).
    pub(super) last_ack_sent: Seq,
    /// Bytes that the application holds unprocessed.
    pub(super) held_bytes: u32,
    pub(super) reassembly: Option<Box<Reassembly>>,

    pub(super) snd_wscale: u8,
    pub(super) rcv_wscale: u8,
    pub(super) sack: bool,
    pub(super) timestamps: bool,
    pub(super) ts_recent: u32,
    pub(super) ts_offset: u32,

    /// Both sides take part in ECN (RFC 3168).
    pub(super) ecn: bool,
    /// A mark arrived and the peer has not reacted yet.
    pub(super) ecn_echo: bool,
    /// We reacted and the peer does not know yet.
    pub(super) cwr_now: bool,
    /// One reaction to marks until this is acknowledged.
    pub(super) ecn_recover: Seq,

    pub(super) congestion: Congestion,
    pub(super) rtt: RttEstimator,
    /// Doublings of the timeout.
    pub(super) backoff: u8,
    /// Timeouts or probes since the peer last gave a sign of life.
    pub(super) unanswered: u8,
    pub(super) dup_acks: u8,
    /// Repair goes on until `recover` is acknowledged.
    pub(super) phase: Phase,
    pub(super) recover: Seq,
    pub(super) loss: Option<Box<Loss>>,
    pub(super) tail_probe: Option<TailProbe>,
    pub(super) tail_probe_now: bool,
    /// The network reorders (RFC 8985 §6.2 step 3).
    pub(super) saw_reordering: bool,
    /// What arrived twice, to be reported once (RFC 2883).
    pub(super) dsack: Option<(Seq, Seq)>,
    /// One lost segment may be sent whatever the congestion window says.
    pub(super) rtx_now: bool,

    /// Full segments that are still acknowledged at once: a peer in slow start waits for it.
    pub(super) quick_acks: u8,
    /// Data segments received since we last sent an acknowledgement.
    pub(super) unacked_segments: u8,
    pub(super) ack_now: bool,
    pub(super) probe_now: bool,
    /// The persist timer expired: send even a part of a segment.
    pub(super) push_part: bool,
    /// The application closed.
    pub(super) discards: bool,
    /// The application waits for room.
    pub want_writable: bool,
    /// When its timer fires. A later deadline need not be armed: the timer fires too early once.
    pub armed_for: Option<Instant>,
    /// It has a second timer, for keepalive, that fires at the right time or too early.
    pub is_keepalive_armed: bool,
    /// In the list of connections that found no free frame.
    pub is_starved: bool,
    /// In the list of connections to be looked at by the next flush.
    pub is_dirty: bool,
    pub(super) keepalive_probes: u8,

    pub(super) rtx_timer: RtxTimer,
    pub(super) delayed_ack_at: Option<Instant>,
    /// When the connection ends without progress: the user timeout, or after the application closed
    /// its time without progress, or the end of FIN-WAIT-2.
    pub(super) close_at: Option<Instant>,
    pub(super) last_rx: Instant,
    pub(super) last_tx: Instant,
    /// Suspicious segments get no answer until then.
    pub(super) next_challenge: Instant,
}

impl HasFlow for Tcb {
    fn flow(&self) -> &FlowKey {
        &self.key
    }
}

/// A finished passive handshake.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Both ends.
    pub key: FlowKey,
    /// Way to the peer.
    pub hop: Hop,
    /// Our initial sequence number.
    pub iss: Seq,
    /// The peer's.
    pub irs: Seq,
    /// What was agreed.
    pub agreed: Agreed,
    /// What our timestamps are shifted by.
    pub ts_offset: u32,
    /// Round-trip time, if SYN-ACK was sent once.
    pub rtt: Option<Duration>,
}

impl Tcb {
    /// A connection whose handshake the peer just finished. The segment that did so is still to be
    /// taken by [`Self::on_segment`], which sets the send window from it.
    pub fn passive(now: Instant, opened: &Opened, config: &Config) -> Self {
        let Opened { key, hop, iss, irs, agreed, ts_offset, rtt } = *opened;
        let mut tcb = Self::new(now, key, hop, iss, ts_offset);
        tcb.state = State::Established;
        tcb.snd_una = iss.plus(1);
        tcb.snd_nxt = iss.plus(1);
        tcb.snd_wl1 = irs;
        tcb.snd_wl2 = iss;
        tcb.rcv_nxt = irs.plus(1);
        // SYN-ACK said so, unscaled (RFC 7323 §2.2).
        tcb.rcv_adv = tcb.rcv_nxt.plus(RCV_WND_MAX.min(0xffff));
        tcb.last_ack_sent = tcb.rcv_nxt;
        tcb.agree(&agreed, config);
        if let Some(rtt) = rtt {
            tcb.rtt.sample(rtt);
        }
        tcb
    }

    /// An active open: SYN is queued. `mss_max` is what our frames and MTU allow.
    pub fn active(
        now: Instant,
        key: FlowKey,
        hop: Hop,
        iss: Seq,
        ts_offset: u32,
        mss_max: u16,
        config: &Config,
    ) -> Self {
        let mut tcb = Self::new(now, key, hop, iss, ts_offset);
        tcb.mss = mss_max;
        // Offered, and sent in every SYN; what the peer answers decides.
        tcb.timestamps = config.timestamps;
        tcb.sack = config.sack;
        tcb.ecn = config.ecn;
        let mut syn = TxSegment::new(None, iss, 0, 0);
        syn.syn = true;
        tcb.queue.push(syn);
        // The window is unknown; one position is enough for SYN.
        tcb.snd_wnd = 1;
        tcb
    }

    fn new(now: Instant, key: FlowKey, hop: Hop, iss: Seq, ts_offset: u32) -> Self {
        Self {
            key,
            hop,
            state: State::SynSent,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            max_snd_wnd: 0,
            snd_wl1: Seq::default(),
            snd_wl2: Seq::default(),
            queue: SendQueue::default(),
            mss: MSS_MIN,
            narrow_path: None,
            rcv_nxt: Seq::default(),
            rcv_adv: Seq::default(),
            last_ack_sent: Seq::default(),
            held_bytes: 0,
            reassembly: None,
            snd_wscale: 0,
            rcv_wscale: 0,
            sack: false,
            timestamps: false,
            ts_recent: 0,
            ts_offset,
            ecn: false,
            ecn_echo: false,
            cwr_now: false,
            ecn_recover: iss,
            congestion: Congestion::new(Algorithm::NewReno, u32::from(MSS_MIN)),
            rtt: RttEstimator::default(),
            backoff: 0,
            unanswered: 0,
            dup_acks: 0,
            phase: Phase::Open,
            recover: iss,
            loss: None,
            tail_probe: None,
            tail_probe_now: false,
            saw_reordering: false,
            dsack: None,
            rtx_now: false,
            quick_acks: 0,
            unacked_segments: 0,
            ack_now: false,
            probe_now: false,
            push_part: false,
            discards: false,
            want_writable: false,
            armed_for: None,
            is_keepalive_armed: false,
            is_starved: false,
            is_dirty: false,
            keepalive_probes: 0,
            rtx_timer: RtxTimer::Off,
            delayed_ack_at: None,
            close_at: None,
            last_rx: now,
            last_tx: now,
            next_challenge: Instant::ZERO,
        }
    }

    pub(super) fn agree(&mut self, agreed: &Agreed, config: &Config) {
        self.mss = agreed.mss;
        self.snd_wscale = agreed.snd_wscale;
        self.rcv_wscale = agreed.rcv_wscale;
        self.timestamps = agreed.timestamps.is_some();
        self.ts_recent = agreed.timestamps.unwrap_or(0);
        self.sack = agreed.sack;
        self.ecn = agreed.ecn;
        self.congestion = Congestion::new(config.congestion, u32::from(agreed.mss));
        self.quick_acks = config.quick_acks;
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    pub(super) fn set_state(&mut self, next: State) {
        assert!(self.state.may_become(next), "{:?} never becomes {next:?}", self.state);
        self.state = next;
    }

    /// Retransmissions and probes since the peer was last heard of.
    pub fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// Largest payload of one segment.
    pub fn mss(&self) -> u16 {
        self.mss
    }

    /// Position behind everything that is queued: where appended bytes go.
    pub fn queue_end(&self) -> Seq {
        self.queue.get(self.queue.len().wrapping_sub(1)).map_or(self.snd_nxt, TxSegment::end)
    }

    /// Sequence numbers that were sent and neither arrived nor are taken for lost (RFC 6675 §4,
    /// `pipe`). Each duplicate acknowledgement of a peer without SACK tells of one segment that
    /// arrived.
    pub fn in_flight(&self) -> u32 {
        let unacked = self.snd_nxt.since(self.snd_una);
        let known = unacked - self.queue.lost() - self.queue.sacked();
        if self.sack || self.dup_acks == 0 {
            return known;
        }
        known.saturating_sub(u32::from(self.dup_acks) * u32::from(self.mss))
    }

    /// To be called before bytes are queued: after a pause the congestion window is stale, and what a
    /// router said is forgotten after a time.
    pub fn before_send(&mut self, now: Instant) {
        if let Some(path) = self.narrow_path.take_if(|path| path.forget_at <= now)
            && self.mss == path.mss
        {
            self.mss = path.agreed_mss;
        }
        if self.queue.is_empty() && now.since(self.last_tx) > self.rtt.rto(0) {
            self.congestion.on_idle(u32::from(self.mss));
        }
    }

    /// The application now holds `held_bytes` unprocessed.
    pub fn set_held(&mut self, held_bytes: usize) {
        self.held_bytes = u32::try_from(held_bytes).unwrap_or(u32::MAX);
        if self.state.may_receive() && self.is_window_update_due() {
            self.ack_now = true;
        }
    }

    /// The application closes: FIN follows what is queued, and received bytes are discarded from
    /// now on. `false`: the handshake is not finished, there is nothing to close in order.
    pub fn close(&mut self, now: Instant, shared: &Shared) -> bool {
        let is_open = self.shutdown();
        self.discards = true;
        self.held_bytes = 0;
        if self.state != State::FinWait2 {
            self.close_at = Some(now + shared.config.orphan_timeout);
        } else if self.close_at.is_none() {
            self.close_at = Some(now + shared.config.fin_wait_2_timeout);
        }
        is_open
    }

    /// FIN follows what is queued; what the peer sends is still delivered. `false` as above.
    pub fn shutdown(&mut self) -> bool {
        let next = match self.state {
            State::SynSent => return false,
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck => return true,
        };
        self.set_state(next);
        match self.queue.open_tail() {
            Some(tail) => tail.fin = true,
            None => {
                let mut fin = TxSegment::new(None, self.queue_end(), 0, 0);
                fin.fin = true;
                self.queue.push(fin);
            }
        }
        true
    }

    /// RFC 1191, RFC 8201: a router dropped the segment at `seq`, part of a packet of `packet_len`
    /// bytes, because it takes only `mtu`; 0: it did not say. Who cannot see our traffic does not
    /// know `seq` (RFC 5927 §4.1). `false`: not believed, or nothing new.
    pub fn on_packet_too_big(&mut self, now: Instant, seq: Seq, packet_len: u32, mtu: u32) -> bool {
        if !seq.within(self.snd_una, self.snd_nxt.since(self.snd_una)) {
            return false;
        }
        let is_v6 = usize::from(!self.key.is_ipv4());
        let said = if mtu > 0 {
            mtu
        } else {
            PLATEAUS.into_iter().find(|plateau| *plateau < packet_len).unwrap_or(0)
        };
        let options = if self.timestamps { TIMESTAMPS_LEN } else { 0 };
        let headers = [ipv4::HEADER_LEN, ipv6::HEADER_LEN][is_v6] + HEADER_LEN + options;
        let mss = said.max(PATH_MTU_MIN[is_v6]) - u32::try_from(headers).unwrap_or(0);
        let before = self.mss;
        let is_lowered = self.lower_mss(u16::try_from(mss).unwrap_or(u16::MAX));
        if is_lowered {
            self.narrow_path = Some(Box::new(NarrowPath {
                agreed_mss: self.narrow_path.as_ref().map_or(before, |path| path.agreed_mss),
                mss: self.mss,
                forget_at: now + PATH_MTU_AGE_MAX,
            }));
        }
        is_lowered
    }

    /// RFC 4821 §7.7: a full segment gets no answer again and again, maybe because a router drops it
    /// without a word.
    pub(super) fn suspect_black_hole(&mut self) -> bool {
        let least = BLACK_HOLE_MSS_MIN[usize::from(!self.key.is_ipv4())];
        let is_full = self.queue.get(0).is_some_and(|first| first.len > least);
        is_full && self.lower_mss((self.mss / 2).max(least))
    }

    /// What is too long now was lost, but by no congestion.
    fn lower_mss(&mut self, mss: u16) -> bool {
        if mss >= self.mss {
            return false;
        }
        self.mss = mss;
        self.rtx_now |= self.queue.mark_lost_longer(mss);
        true
    }

    /// Whether the peer takes nothing, or does not answer: to two retransmissions, or for `patience`,
    /// because a peer that echoes old timestamps makes the wait for the first one as long as it likes,
    /// and a connection that finds no frame to split a segment sends nothing that could be answered.
    pub fn is_stalled(&self, now: Instant, patience: Duration) -> bool {
        matches!(self.rtx_timer, RtxTimer::Persist(_))
            || self.backoff >= 2
            || (!self.queue.is_empty() && now.since(self.last_rx) >= patience)
    }

    /// Whether the application closed, so that received bytes have no taker.
    pub fn discards(&self) -> bool {
        self.discards
    }

    /// Gives up all frames; the caller removes the connection.
    pub fn release(&mut self, shared: &mut Shared, held: &mut Vec<RxFrame>) {
        self.queue.clear(&mut shared.freed);
        if let Some(mut reassembly) = self.reassembly.take() {
            held.extend(reassembly.clear(&mut shared.quota));
        }
    }

    /// The RST that ends the connection at once (RFC 9293 §3.10.5).
    pub fn reset_header(&self) -> Header {
        Header {
            src_port: self.key.local().port(),
            dst_port: self.key.remote().port(),
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: if self.state == State::SynSent { Flags::RST } else { Flags::RST | Flags::ACK },
            window: 0,
            options: Options::default(),
        }
    }

    /// What TIME-WAIT must remember.
    pub fn remains(&self) -> super::time_wait::Remains {
        super::time_wait::Remains {
            key: self.key,
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            ts_recent: self.timestamps.then_some(self.ts_recent),
            ts_offset: self.ts_offset,
        }
    }

    /// Keeps bytes that were copied into a frame as the end of the queue.
    pub fn push_frame(&mut self, frame: TxFrame, start: u16, len: u16) {
        self.queue.push(TxSegment::new(Some(frame), self.queue_end(), start, len));
    }

    /// Checks what must hold at any time; for tests.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self) {
        self.queue.check(self.snd_una, self.snd_nxt);
        let unacked = self.snd_nxt.since(self.snd_una);
        assert!(self.queue.lost() + self.queue.sacked() <= unacked, "parts of what was sent");
        assert!(self.loss.is_none() || !self.queue.is_empty(), "state of losses is kept: {self:?}");
        assert!(!self.rcv_adv.before(self.rcv_nxt) || !self.state.may_receive(), "{self:?}");
        let outstanding = self.snd_nxt != self.snd_una;
        assert!(
            !outstanding
                || matches!(self.rtx_timer, RtxTimer::Retransmit(_) | RtxTimer::TailProbe(_)),
            "what is not acknowledged has a timer: {self:?}"
        );
    }
}
