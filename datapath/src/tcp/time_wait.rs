//! TIME-WAIT: what is left of a connection that we closed first (RFC 9293 §3.6.1).

use coney_base::Instant;

use super::flow::FlowKey;
use super::flow_map::{FlowMap, HasFlow};
use super::isn::timestamp;
use super::seq::Seq;
use crate::wire::tcp::{Flags, Header, Options, Timestamps};

/// What must be remembered. The way to the peer is not: it is that of the segment to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Remains {
    /// Both ends.
    pub key: FlowKey,
    /// Our next position: behind our FIN.
    pub snd_nxt: Seq,
    /// The peer's next position: behind its FIN.
    pub rcv_nxt: Seq,
    /// The peer's last timestamp, if timestamps were agreed on.
    pub ts_recent: Option<u32>,
    /// What our timestamps are shifted by.
    pub ts_offset: u32,
}

impl HasFlow for Remains {
    fn flow(&self) -> &FlowKey {
        &self.key
    }
}

/// What is to be done with a segment to a connection in TIME-WAIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Acknowledge; the peer did not hear our last acknowledgement, so the time starts anew.
    AnswerAndRestart,
    /// Acknowledge.
    Answer,
    /// A new connection of the same flow, which cannot be mistaken for the old one: forget this one
    /// and take the SYN, with an initial sequence number behind our old ones.
    Reopen,
    /// Nothing. Resets among it (RFC 1337).
    Drop,
}

impl Remains {
    /// What a segment means (RFC 9293 §3.10.7.4 for TIME-WAIT, RFC 6191 for SYN).
    pub fn on_segment(&self, header: &Header, payload_len: u32) -> Verdict {
        let flags = header.flags;
        if flags.has(Flags::RST) {
            return Verdict::Drop;
        }
        if flags.has(Flags::SYN) {
            let is_newer = match (self.ts_recent, header.options.timestamps) {
                (Some(recent), Some(new)) if new.value != recent => {
                    Seq(new.value).after(Seq(recent))
                }
                _ => header.seq.after(self.rcv_nxt),
            };
            let is_new = !flags.has(Flags::ACK) && is_newer;
            return if is_new { Verdict::Reopen } else { Verdict::Answer };
        }
        if flags.has(Flags::FIN) {
            return Verdict::AnswerAndRestart;
        }
        if payload_len > 0 || header.seq != self.rcv_nxt { Verdict::Answer } else { Verdict::Drop }
    }

    /// The acknowledgement.
    pub fn ack(&self, now: Instant) -> Header {
        let timestamps =
            self.ts_recent.map(|echo| Timestamps { value: timestamp(now, self.ts_offset), echo });
        Header {
            src_port: self.key.local().port(),
            dst_port: self.key.remote().port(),
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: 0,
            options: Options { timestamps, ..Options::default() },
        }
    }
}

/// The connections in TIME-WAIT of a worker.
pub type TimeWait = FlowMap<Remains>;
