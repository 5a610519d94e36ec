//! Half-open connections: SYN-RECEIVED without a connection.
//!
//! A SYN takes one slot of a bounded cache and allocates nothing once the cache has reached its
//! size. When the cache is full further SYNs are answered with cookies ([`super::syn_cookie`]).

use std::time::Duration;

use coney_base::Instant;

use super::flow::FlowKey;
use super::flow_map::{FlowMap, HasFlow};
use super::isn::timestamp;
use super::seq::Seq;
use super::tcb::{Agreed, RCV_WND_MAX, RCV_WSCALE};
use crate::wire::Hop;
use crate::wire::tcp::{Flags, Header, Options, Timestamps};

/// SYN-ACKs sent again before a half-open connection is given up, as in Linux: with a timeout of
/// 1 s that doubles, 63 s.
pub const SYN_ACK_RETRANSMITS_MAX: u8 = 5;
const SYN_ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection whose SYN we answered.
#[derive(Clone, Copy, Debug)]
pub struct HalfOpen {
    /// Both ends.
    pub key: FlowKey,
    /// Way to the peer.
    pub hop: Hop,
    /// Our initial sequence number.
    pub iss: Seq,
    /// The peer's.
    pub irs: Seq,
    /// What the peer offered and we answer.
    pub agreed: Agreed,
    /// What our timestamps are shifted by.
    pub ts_offset: u32,
    /// First SYN-ACK.
    pub sent_at: Instant,
    /// SYN-ACKs sent again.
    pub retransmits: u8,
}

impl HasFlow for HalfOpen {
    fn flow(&self) -> &FlowKey {
        &self.key
    }
}

impl HalfOpen {
    /// The SYN-ACK. `mss` is what we can receive.
    pub fn syn_ack(&self, now: Instant, mss: u16) -> Header {
        let timestamps = self
            .agreed
            .timestamps
            .map(|echo| Timestamps { value: timestamp(now, self.ts_offset), echo });
        Header {
            src_port: self.key.local().port(),
            dst_port: self.key.remote().port(),
            seq: self.iss,
            ack: self.irs.plus(1),
            flags: if self.agreed.ecn {
                Flags::SYN | Flags::ACK | Flags::ECE
            } else {
                Flags::SYN | Flags::ACK
            },
            // Not scaled yet (RFC 7323 §2.2).
            window: u16::try_from(RCV_WND_MAX).unwrap_or(u16::MAX),
            options: Options {
                mss: Some(mss),
                window_scale: (self.agreed.rcv_wscale > 0).then_some(RCV_WSCALE),
                sack_permitted: self.agreed.sack,
                timestamps,
                ..Options::default()
            },
        }
    }

    /// An acknowledgement alone: the answer to what is not acceptable.
    pub fn challenge(&self, now: Instant) -> Header {
        let syn_ack = self.syn_ack(now, 0);
        Header {
            seq: self.iss.plus(1),
            flags: Flags::ACK,
            // Scaled, as in all segments without SYN.
            window: syn_ack.window >> self.agreed.rcv_wscale,
            options: Options { timestamps: syn_ack.options.timestamps, ..Options::default() },
            ..syn_ack
        }
    }

    /// When SYN-ACK is due again (RFC 6298 §5.5).
    pub fn deadline(&self, now: Instant) -> Instant {
        now + SYN_ACK_TIMEOUT * (1 << self.retransmits.min(16))
    }

    /// What a segment to a half-open connection means (RFC 9293 §3.10.7.4 for SYN-RECEIVED).
    pub fn on_segment(&self, header: &Header, payload_len: u32) -> Verdict {
        let flags = header.flags;
        let expected = self.irs.plus(1);
        let window = RCV_WND_MAX.min(0xffff);
        if flags.has(Flags::SYN) {
            if !flags.has(Flags::ACK) && header.seq == self.irs {
                return Verdict::AnswerAgain;
            }
            // RFC 5961 §4.2.
            return Verdict::Challenge;
        }
        let is_acceptable = header.seq.within(expected, window)
            || (payload_len > 0 && header.seq.plus(payload_len - 1).within(expected, window));
        if flags.has(Flags::RST) {
            return match header.seq == expected {
                true => Verdict::Forget,
                false if is_acceptable => Verdict::Challenge,
                false => Verdict::Drop,
            };
        }
        if !flags.has(Flags::ACK) {
            return Verdict::Drop;
        }
        if header.ack != self.iss.plus(1) {
            return Verdict::Reset;
        }
        if is_acceptable { Verdict::Open } else { Verdict::Challenge }
    }
}

/// What is to be done with a segment to a half-open connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The handshake is finished.
    Open,
    /// The same SYN: the SYN-ACK got lost.
    AnswerAgain,
    /// Tell where we are (RFC 5961).
    Challenge,
    /// It acknowledges what we did not send.
    Reset,
    /// The peer gave up.
    Forget,
    /// Nothing.
    Drop,
}

/// The half-open connections of a worker.
pub type SynCache = FlowMap<HalfOpen>;
