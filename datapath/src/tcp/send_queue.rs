//! What a connection has to send or has sent without acknowledgement: segments in sequence order,
//! each in the transmit frame from which it is sent and, if need be, sent again.
//!
//! ```text
//!  snd_una            snd_nxt                end
//!     | sent, maybe lost |  not yet sent      |
//!     +------------------+--------------------+
//!     0 .. unsent_at      unsent_at .. len      (indices)
//! ```
//! SYN and FIN are segments without a frame or bits of one with payload. The queue knows which
//! segments are taken for lost; what is neither lost nor acknowledged is in flight.

use std::collections::VecDeque;

use coney_base::Instant;

use super::seq::Seq;
use crate::port::TxFrame;

/// Segments for which an idle connection keeps memory.
const IDLE_CAPACITY: usize = 4;

/// One segment.
#[derive(Debug)]
pub struct TxSegment {
    /// The payload's frame; `None`: no payload, a frame is taken only for a transmission.
    pub frame: Option<TxFrame>,
    /// Position of the first payload byte (or of SYN or FIN).
    pub seq: Seq,
    /// Offset of the payload in the frame.
    pub start: u16,
    /// Payload bytes.
    pub len: u16,
    /// SYN occupies the position before the payload.
    pub syn: bool,
    /// FIN occupies the position behind the payload.
    pub fin: bool,
    /// Taken for lost and not yet sent again.
    pub lost: bool,
    /// Sent more than once.
    pub retransmitted: bool,
    /// Last transmission.
    pub sent_at: Instant,
}

impl TxSegment {
    /// A segment that was not sent.
    pub fn new(frame: Option<TxFrame>, seq: Seq, start: u16, len: u16) -> Self {
        Self {
            frame,
            seq,
            start,
            len,
            syn: false,
            fin: false,
            lost: false,
            retransmitted: false,
            sent_at: Instant::ZERO,
        }
    }

    /// Sequence numbers that it takes.
    pub fn seq_len(&self) -> u32 {
        u32::from(self.len) + u32::from(self.syn) + u32::from(self.fin)
    }

    /// The position behind it.
    pub fn end(&self) -> Seq {
        self.seq.plus(self.seq_len())
    }
}

/// What an acknowledgement did to the queue.
#[derive(Debug, Default)]
pub struct Acked {
    /// When the newest of the acknowledged segments was sent, if all of it was sent only once.
    pub sent_at: Option<Instant>,
    /// Some of what was acknowledged had been sent more than once.
    pub retransmitted: bool,
    /// SYN or FIN was acknowledged.
    pub fin: bool,
}

/// The segments of one connection.
#[derive(Debug, Default)]
pub struct SendQueue {
    segments: VecDeque<TxSegment>,
    /// Index of the first segment that was never sent.
    unsent_at: usize,
    /// Sequence numbers of lost segments.
    lost: u32,
}

impl SendQueue {
    /// Segments in the queue.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether everything was sent and acknowledged.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Sequence numbers of segments that are taken for lost.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// Index of the first segment that was never sent, if there is one.
    pub fn unsent(&self) -> Option<usize> {
        (self.unsent_at < self.segments.len()).then_some(self.unsent_at)
    }

    /// The segment at `index`.
    pub fn get(&self, index: usize) -> Option<&TxSegment> {
        self.segments.get(index)
    }

    /// The segment at `index`, to reach its frame.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut TxSegment> {
        self.segments.get_mut(index)
    }

    /// The last segment, if it was never sent and no FIN ends it: more can be appended.
    pub fn open_tail(&mut self) -> Option<&mut TxSegment> {
        if self.unsent_at >= self.segments.len() {
            return None;
        }
        self.segments.back_mut().filter(|segment| !segment.fin && !segment.syn)
    }

    /// Adds a segment behind the others.
    pub fn push(&mut self, segment: TxSegment) {
        self.segments.push_back(segment);
    }

    /// Index of the first lost segment. The lost ones are few and in front, but for a retransmission
    /// timeout, after which they are sent again in order: the search is short where it is frequent.
    pub fn first_lost(&self) -> Option<usize> {
        if self.lost == 0 {
            return None;
        }
        self.segments.iter().take(self.unsent_at).position(|segment| segment.lost)
    }

    /// Takes the oldest segment for lost; `false`: nothing was sent.
    pub fn mark_first_lost(&mut self) -> bool {
        if self.unsent_at == 0 {
            return false;
        }
        let Some(first) = self.segments.front_mut() else { return false };
        if !first.lost {
            first.lost = true;
            self.lost += first.seq_len();
        }
        true
    }

    /// Takes everything that was sent for lost (RFC 6298 §5.4, and go-back-N).
    pub fn mark_all_lost(&mut self) {
        for segment in self.segments.iter_mut().take(self.unsent_at) {
            if !segment.lost {
                segment.lost = true;
                self.lost += segment.seq_len();
            }
        }
    }

    /// Notes that the segment at `index` was transmitted.
    pub fn on_sent(&mut self, index: usize, now: Instant) {
        let Some(segment) = self.segments.get_mut(index) else { return };
        segment.sent_at = now;
        if index == self.unsent_at {
            self.unsent_at += 1;
            return;
        }
        segment.retransmitted = true;
        if segment.lost {
            segment.lost = false;
            self.lost -= segment.seq_len();
        }
    }

    /// Removes what lies before `una`; frames that are done with go to `freed`.
    pub fn ack(&mut self, una: Seq, freed: &mut Vec<TxFrame>) -> Acked {
        let mut acked = Acked::default();
        while self.unsent_at > 0
            && let Some(first) = self.segments.front_mut()
            && first.seq.before(una)
        {
            acked.retransmitted |= first.retransmitted;
            acked.sent_at = Some(first.sent_at);
            if first.end().after(una) {
                // Part of it: the rest stays, behind the bytes that are no longer needed.
                let cut = una.since(first.seq) - u32::from(first.syn);
                let cut = u16::try_from(cut).unwrap_or(first.len).min(first.len);
                let before = first.seq_len();
                first.syn = false;
                first.seq = una;
                first.start += cut;
                first.len -= cut;
                if first.len == 0 {
                    // Only FIN is left.
                    freed.extend(first.frame.take());
                }
                if first.lost {
                    self.lost -= before - first.seq_len();
                }
                break;
            }
            acked.fin |= first.fin || first.syn;
            if first.lost {
                self.lost -= first.seq_len();
            }
            self.unsent_at -= 1;
            freed.extend(self.segments.pop_front().and_then(|segment| segment.frame));
        }
        if acked.retransmitted {
            acked.sent_at = None;
        }
        acked
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        if self.segments.is_empty() && self.segments.capacity() > IDLE_CAPACITY {
            self.segments.shrink_to(IDLE_CAPACITY);
        }
    }

    /// Cuts the segment at `index`, which was never sent, behind `len` bytes; the rest was copied
    /// into `frame`, from `start` on.
    pub fn split(&mut self, index: usize, len: u16, frame: TxFrame, start: u16) {
        let Some(segment) = self.segments.get_mut(index) else { return };
        let mut rest = TxSegment::new(Some(frame), segment.seq, start, segment.len - len);
        rest.fin = std::mem::take(&mut segment.fin);
        segment.len = len;
        rest.seq = segment.end();
        self.segments.insert(index + 1, rest);
    }

    /// Removes everything; frames go to `freed`.
    pub fn clear(&mut self, freed: &mut Vec<TxFrame>) {
        freed.extend(self.segments.drain(..).filter_map(|segment| segment.frame));
        self.unsent_at = 0;
        self.lost = 0;
    }

    /// Checks what must hold; for tests.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self, una: Seq, nxt: Seq) {
        let mut at = una;
        let mut lost = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            assert_eq!(segment.seq, at, "segments follow each other");
            assert_eq!(segment.frame.is_some(), segment.len > 0, "payload has a frame");
            assert!(segment.seq_len() > 0, "no segment is empty");
            if index == self.unsent_at {
                assert_eq!(at, nxt, "the first unsent segment is at snd_nxt");
            }
            assert!(!segment.lost || index < self.unsent_at, "what was not sent is not lost");
            lost += if segment.lost { segment.seq_len() } else { 0 };
            at = segment.end();
        }
        if self.unsent_at == self.segments.len() {
            assert_eq!(at, nxt, "everything was sent");
        }
        assert_eq!(lost, self.lost, "lost bytes add up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> SendQueue {
        let mut queue = SendQueue::default();
        for index in 0..3 {
            let seq = Seq(u32::MAX - 99).plus(index * 100);
            queue.push(TxSegment::new(Some(TxFrame { index }), seq, 128, 100));
        }
        queue.open_tail().unwrap().fin = true;
        queue
    }

    #[test]
    fn an_acknowledgement_frees_whole_segments_and_trims_the_next() {
        let una = Seq(u32::MAX - 99);
        let mut queue = queue();
        let mut freed = Vec::new();
        queue.check(una, una);
        queue.on_sent(0, Instant::from_millis(1));
        queue.on_sent(1, Instant::from_millis(2));
        queue.check(una, una.plus(200));
        let acked = queue.ack(una.plus(130), &mut freed);
        assert_eq!(acked.sent_at, Some(Instant::from_millis(2)));
        assert_eq!(freed, [TxFrame { index: 0 }]);
        let first = queue.get(0).unwrap();
        assert_eq!((first.seq, first.start, first.len), (una.plus(130), 158, 70));
        queue.check(una.plus(130), una.plus(200));
        assert!(!acked.fin);
        queue.on_sent(1, Instant::from_millis(3));
        assert!(queue.ack(una.plus(301), &mut freed).fin);
        assert!(queue.is_empty());
        assert_eq!(freed.len(), 3);
    }

    #[test]
    fn lost_segments_are_counted_until_sent_again_or_acknowledged() {
        let una = Seq(u32::MAX - 99);
        let mut queue = queue();
        let mut freed = Vec::new();
        (0..3).for_each(|index| queue.on_sent(index, Instant::ZERO));
        queue.mark_all_lost();
        assert_eq!(queue.lost(), 301);
        assert_eq!(queue.first_lost(), Some(0));
        queue.on_sent(0, Instant::ZERO);
        assert_eq!((queue.lost(), queue.first_lost()), (201, Some(1)));
        let acked = queue.ack(una.plus(150), &mut freed);
        assert!(acked.retransmitted && acked.sent_at.is_none(), "Karn: no sample");
        assert_eq!(queue.lost(), 151);
        queue.check(una.plus(150), una.plus(301));
    }

    #[test]
    fn a_split_segment_keeps_its_fin_at_the_end() {
        let una = Seq(u32::MAX - 99);
        let mut queue = queue();
        queue.split(2, 30, TxFrame { index: 9 }, 128);
        queue.check(una, una);
        assert_eq!(queue.get(2).map(|segment| (segment.len, segment.fin)), Some((30, false)));
        assert_eq!(queue.get(3).map(|segment| (segment.len, segment.fin)), Some((70, true)));
    }
}
