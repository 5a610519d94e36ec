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

use std::time::Duration;

use coney_base::Instant;

use super::front_deque::FrontDeque;
use super::seq::Seq;
use crate::port::TxFrame;

/// Segments behind the first for which an idle connection keeps memory that it once needed.
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
    /// The peer reported that it arrived ahead of a gap (RFC 2018).
    pub sacked: bool,
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
            sacked: false,
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

/// Segments that are newly known to have arrived.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// Last transmission of the one that was sent last.
    pub sent_at: Instant,
    /// Where that one ends; decides between segments that were sent at the same time.
    pub newest_end: Seq,
    /// That one was sent more than once.
    pub retransmitted: bool,
    /// Highest position that arrived.
    pub end: Seq,
    /// End of the first among them that was sent only once.
    pub once_end: Option<Seq>,
}

impl Delivered {
    fn note(all: &mut Option<Self>, segment: &TxSegment) {
        let end = segment.end();
        let once_end = (!segment.retransmitted).then_some(end);
        let (sent_at, retransmitted) = (segment.sent_at, segment.retransmitted);
        let one = Self { sent_at, newest_end: end, retransmitted, end, once_end };
        *all = Some(all.map_or(one, |all| {
            let newest = if one.is_later_than(&all) { one } else { all };
            Self { end: all.end.max(end), once_end: all.once_end.or(once_end), ..newest }
        }));
    }

    /// Whether it was sent later than `other` (RFC 8985 §6.2, `RACK_sent_after`).
    pub fn is_later_than(&self, other: &Self) -> bool {
        self.is_sent_after(other.sent_at, other.newest_end)
    }

    fn is_sent_after(&self, sent_at: Instant, end: Seq) -> bool {
        self.sent_at > sent_at || (self.sent_at == sent_at && self.newest_end.after(end))
    }

    /// Whether something arrived below `fack` that was sent only once: out of order.
    pub fn is_below(&self, fack: Seq) -> bool {
        self.once_end.is_some_and(|end| end.before(fack))
    }
}

/// What [`SendQueue::mark_lost_before`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LossFound {
    /// Segments were newly taken for lost.
    pub is_lost: bool,
    /// When to look again.
    pub next_at: Option<Instant>,
}

/// What an acknowledgement did to the queue.
#[derive(Debug, Default)]
pub struct Acked {
    /// What arrived and was not reported before.
    pub delivered: Option<Delivered>,
    /// Segments that it took out.
    pub segments: usize,
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
    segments: FrontDeque<TxSegment>,
    /// Index of the first segment that was never sent.
    unsent_at: usize,
    /// Sequence numbers of lost segments.
    lost: u32,
    /// Sequence numbers of segments that arrived ahead of a gap, and how many they are. No segment
    /// is both.
    sacked: u32,
    sacked_segments: usize,
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

    /// Sequence numbers of segments that arrived ahead of a gap.
    pub fn sacked(&self) -> u32 {
        self.sacked
    }

    /// How many segments arrived ahead of a gap.
    pub fn sacked_segments(&self) -> usize {
        self.sacked_segments
    }

    /// Whether the first segment is reported as arrived although it is not acknowledged: the peer
    /// dropped it again, or lies.
    pub fn is_first_sacked(&self) -> bool {
        self.segments.front().is_some_and(|first| first.sacked)
    }

    /// Whether exactly one segment is unacknowledged.
    pub fn is_one_sent(&self) -> bool {
        self.unsent_at == 1
    }

    /// Index of the segment before the first that was never sent.
    pub fn last_sent(&self) -> Option<usize> {
        self.unsent_at.checked_sub(1)
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

    /// Takes up to `len` bytes of payload back from the last segment, which was never sent. Returns
    /// how many, and the frame if no bytes are left in it; the segment is gone then.
    ///
    /// # Panics
    /// If the last segment was sent or has no payload (a bug of the caller).
    pub fn cut_tail(&mut self, len: usize) -> (usize, Option<TxFrame>) {
        let tail = self.open_tail().expect("something was not sent");
        let cut = tail.len.min(u16::try_from(len).unwrap_or(u16::MAX));
        assert!(cut > 0, "nothing to take back");
        tail.len -= cut;
        let is_empty = tail.len == 0;
        let emptied = is_empty.then(|| self.segments.pop_back()).flatten();
        (usize::from(cut), emptied.and_then(|segment| segment.frame))
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
        if !first.lost && !first.sacked {
            first.lost = true;
            self.lost += first.seq_len();
        }
        true
    }

    /// Takes for lost what `is_lost` says of what was sent and has not arrived.
    fn mark_lost(&mut self, mut is_lost: impl FnMut(&TxSegment) -> bool) -> bool {
        let mut is_any = false;
        for segment in self.segments.iter_mut().take(self.unsent_at) {
            if !segment.lost && !segment.sacked && is_lost(segment) {
                segment.lost = true;
                self.lost += segment.seq_len();
                is_any = true;
            }
        }
        is_any
    }

    /// Takes everything that was sent and is not known to have arrived for lost (RFC 6298 §5.4, and
    /// go-back-N).
    pub fn mark_all_lost(&mut self) {
        self.mark_lost(|_| true);
    }

    /// Takes for lost what was sent `patience` ago or earlier.
    pub fn mark_lost_older(&mut self, now: Instant, patience: Duration) {
        self.mark_lost(|segment| segment.sent_at + patience <= now);
    }

    /// Takes for lost what is longer than `len`: it does not fit the path.
    pub fn mark_lost_longer(&mut self, len: u16) -> bool {
        self.mark_lost(|segment| segment.len > len)
    }

    /// Takes for lost what was sent before `newest`, which arrived, and at least `patience` ago
    /// (RFC 8985 §6.2 step 5). O(n) in what is unacknowledged, and only while there are gaps.
    pub fn mark_lost_before(
        &mut self,
        newest: &Delivered,
        now: Instant,
        patience: Duration,
    ) -> LossFound {
        let mut next_at: Option<Instant> = None;
        let is_lost = self.mark_lost(|segment| {
            if !newest.is_sent_after(segment.sent_at, segment.end()) {
                return false;
            }
            let lost_at = segment.sent_at + patience;
            if lost_at <= now {
                return true;
            }
            next_at = Some(next_at.map_or(lost_at, |at| at.max(lost_at)));
            false
        });
        LossFound { is_lost, next_at }
    }

    /// Nothing is lost after all.
    pub fn forget_lost(&mut self) {
        self.segments.iter_mut().take(self.unsent_at).for_each(|segment| segment.lost = false);
        self.lost = 0;
    }

    /// Forgets what was reported as arrived.
    pub fn forget_sacked(&mut self) {
        if self.sacked_segments > 0 {
            self.segments.iter_mut().for_each(|segment| segment.sacked = false);
            self.sacked = 0;
            self.sacked_segments = 0;
        }
    }

    /// Notes that the peer has the positions `start..end`; what is newly known to have arrived.
    pub fn sack(&mut self, start: Seq, end: Seq) -> Option<Delivered> {
        let from = self.segments.partition_point(|segment| segment.seq.before(start));
        let mut delivered = None;
        let count = self.unsent_at.saturating_sub(from);
        for segment in self.segments.range_mut(from, count) {
            if segment.end().after(end) {
                break;
            }
            if std::mem::replace(&mut segment.sacked, true) {
                continue;
            }
            self.sacked += segment.seq_len();
            self.sacked_segments += 1;
            if std::mem::take(&mut segment.lost) {
                self.lost -= segment.seq_len();
            }
            Delivered::note(&mut delivered, segment);
        }
        delivered
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
            if !first.sacked {
                // Of what was reported earlier the time of arrival is not known.
                acked.retransmitted |= first.retransmitted;
                acked.sent_at = Some(first.sent_at);
                Delivered::note(&mut acked.delivered, first);
            }
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
                let gone = before - first.seq_len();
                if first.lost {
                    self.lost -= gone;
                }
                if first.sacked {
                    self.sacked -= gone;
                }
                break;
            }
            acked.fin |= first.fin || first.syn;
            acked.segments += 1;
            if first.lost {
                self.lost -= first.seq_len();
            }
            if first.sacked {
                self.sacked -= first.seq_len();
                self.sacked_segments -= 1;
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
        if self.segments.is_empty() {
            self.segments.shrink_to(IDLE_CAPACITY);
        }
    }

    /// Cuts the segment at `index` behind `len` bytes; the rest was copied into `frame`, from
    /// `start` on. What is known of a segment that was sent holds for both parts.
    pub fn split(&mut self, index: usize, len: u16, frame: TxFrame, start: u16) {
        let Some(segment) = self.segments.get_mut(index) else { return };
        let mut rest = TxSegment::new(Some(frame), segment.seq, start, segment.len - len);
        rest.fin = std::mem::take(&mut segment.fin);
        rest.lost = segment.lost;
        rest.sacked = segment.sacked;
        rest.retransmitted = segment.retransmitted;
        rest.sent_at = segment.sent_at;
        segment.len = len;
        rest.seq = segment.end();
        self.sacked_segments += usize::from(rest.sacked);
        self.unsent_at += usize::from(index < self.unsent_at);
        self.segments.insert_behind(index, rest);
    }

    /// Removes everything; frames go to `freed`.
    pub fn clear(&mut self, freed: &mut Vec<TxFrame>) {
        freed.extend(self.segments.drain().filter_map(|segment| segment.frame));
        self.unsent_at = 0;
        self.lost = 0;
        self.sacked = 0;
        self.sacked_segments = 0;
    }

    /// Checks what must hold; for tests.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self, una: Seq, nxt: Seq) {
        let mut at = una;
        let mut lost = 0;
        let mut sacked = (0, 0);
        for (index, segment) in self.segments.iter().enumerate() {
            assert_eq!(segment.seq, at, "segments follow each other");
            assert_eq!(segment.frame.is_some(), segment.len > 0, "payload has a frame");
            assert!(segment.seq_len() > 0, "no segment is empty");
            if index == self.unsent_at {
                assert_eq!(at, nxt, "the first unsent segment is at snd_nxt");
            }
            assert!(!segment.lost || index < self.unsent_at, "what was not sent is not lost");
            assert!(!segment.sacked || !segment.lost && index < self.unsent_at, "it arrived");
            if segment.sacked {
                sacked = (sacked.0 + segment.seq_len(), sacked.1 + 1);
            }
            lost += if segment.lost { segment.seq_len() } else { 0 };
            at = segment.end();
        }
        if self.unsent_at == self.segments.len() {
            assert_eq!(at, nxt, "everything was sent");
        }
        assert_eq!(lost, self.lost, "lost bytes add up");
        assert_eq!(sacked, (self.sacked, self.sacked_segments), "arrived bytes add up");
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
    fn what_arrived_is_not_lost_and_what_was_sent_before_it_is_after_a_while() {
        let una = Seq(u32::MAX - 99);
        let ms = Instant::from_millis;
        let mut queue = queue();
        let mut freed = Vec::new();
        (0..3).for_each(|index| queue.on_sent(index, ms(1)));
        assert!(queue.sack(una.plus(1), una.plus(150)).is_none(), "no whole segment");
        let delivered = queue.sack(una.plus(100), una.plus(200)).unwrap();
        assert_eq!((delivered.end, delivered.sent_at), (una.plus(200), ms(1)));
        assert!(queue.sack(una.plus(100), una.plus(200)).is_none(), "no news");
        queue.check(una, una.plus(301));
        let patience = Duration::from_millis(5);
        let early = queue.mark_lost_before(&delivered, ms(5), patience);
        assert_eq!(early, LossFound { is_lost: false, next_at: Some(ms(6)) });
        assert!(queue.mark_lost_before(&delivered, ms(6), patience).is_lost);
        assert_eq!((queue.lost(), queue.sacked()), (100, 100), "the last was sent later");
        queue.mark_all_lost();
        assert_eq!(queue.lost(), 201);
        let acked = queue.ack(una.plus(200), &mut freed);
        assert_eq!((queue.lost(), queue.sacked(), acked.segments), (101, 0, 2));
        queue.check(una.plus(200), una.plus(301));
    }

    #[test]
    fn what_was_not_sent_can_be_taken_back() {
        let una = Seq(u32::MAX - 99);
        let mut queue = queue();
        queue.on_sent(0, Instant::from_millis(1));
        let last = queue.segments.pop_back().unwrap();
        assert!(last.fin, "nothing is appended behind FIN, or taken back");
        assert_eq!(queue.cut_tail(30), (30, None));
        assert_eq!(queue.cut_tail(1000), (70, Some(TxFrame { index: 1 })));
        queue.check(una, una.plus(100));
        assert_eq!((queue.len(), queue.unsent()), (1, None));
    }

    #[test]
    #[should_panic(expected = "something was not sent")]
    fn what_was_sent_is_not_taken_back() {
        let mut queue = queue();
        (0..3).for_each(|index| queue.on_sent(index, Instant::from_millis(1)));
        queue.cut_tail(1);
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
