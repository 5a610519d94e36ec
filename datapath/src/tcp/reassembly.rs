//! Segments that arrived ahead of a gap, held in their receive frames until the gap is filled.
//!
//! Frames are bounded twice, per connection and over all ([`Quota`]): a frame that is held is
//! missing to the device. What finds no room is dropped and comes again by retransmission.

use std::collections::VecDeque;
use std::ops::Range;

use super::seq::Seq;
use crate::port::RxFrame;
use crate::wire::tcp::{SACK_BLOCKS_MAX, SackBlocks};

/// Frames that one connection may hold.
pub const HELD_FRAMES_MAX: usize = 128;

/// Receive frames that all connections together may hold.
#[derive(Debug)]
pub struct Quota {
    used: usize,
    max: usize,
}

impl Quota {
    /// Room for `max` frames.
    pub fn new(max: usize) -> Self {
        Self { used: 0, max }
    }

    /// Frames held now.
    pub fn used(&self) -> usize {
        self.used
    }

    fn take(&mut self) -> bool {
        let free = self.used < self.max;
        self.used += usize::from(free);
        free
    }

    fn give_back(&mut self, count: usize) {
        self.used -= count;
    }
}

/// A segment ahead of its time.
#[derive(Debug)]
pub struct Held {
    /// Position of the first payload byte.
    pub seq: Seq,
    /// The frame.
    pub frame: RxFrame,
    /// Where the payload lies in it.
    pub payload: Range<usize>,
    /// FIN follows the payload.
    pub fin: bool,
}

impl Held {
    fn end(&self) -> Seq {
        let len = u32::try_from(self.payload.len()).unwrap_or(0);
        self.seq.plus(len).plus(u32::from(self.fin))
    }
}

/// The segments of one connection that wait for a gap to be filled.
#[derive(Debug, Default)]
pub struct Reassembly {
    /// In sequence order; they may overlap, but none lies within another.
    held: VecDeque<Held>,
    /// What SACK tells: merged, most recently changed first (RFC 2018 §4). They may name less than
    /// is held, never more.
    blocks: SackBlocks,
}

impl Reassembly {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Frames held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// The blocks to report.
    pub fn blocks(&self) -> &[(Seq, Seq)] {
        self.blocks.as_slice()
    }

    /// Keeps a segment.
    ///
    /// # Errors
    /// The frame comes back: it brings nothing new (`Ok` inside), or there is no room for it
    /// (`Err` inside).
    pub fn insert(&mut self, new: Held, quota: &mut Quota) -> Result<(), Refused> {
        let (start, end) = (new.seq, new.end());
        // Mostly the new one is the last.
        let mut at = self.held.len();
        while at > 0 && self.held.get(at - 1).is_some_and(|held| held.seq.after(start)) {
            at -= 1;
        }
        let covers = |held: &Held| held.seq.at_or_before(start) && held.end().at_or_after(end);
        let before = at.checked_sub(1).and_then(|at| self.held.get(at));
        if before.is_some_and(covers) || self.held.get(at).is_some_and(covers) {
            return Err(Refused::Duplicate(new.frame));
        }
        if self.held.len() >= HELD_FRAMES_MAX || !quota.take() {
            return Err(Refused::Full(new.frame));
        }
        self.held.insert(at, new);
        self.note_block(start, end);
        Ok(())
    }

    /// Puts the block `[start, end)`, merged with those that it touches, in front.
    fn note_block(&mut self, mut start: Seq, mut end: Seq) {
        let mut others = SackBlocks::default();
        for &(left, right) in self.blocks.as_slice() {
            if left.at_or_before(end) && right.at_or_after(start) {
                start = start.min(left);
                end = end.max(right);
            } else {
                others.push(left, right);
            }
        }
        self.blocks = SackBlocks::default();
        self.blocks.push(start, end);
        for &(left, right) in others.as_slice().iter().take(SACK_BLOCKS_MAX - 1) {
            self.blocks.push(left, right);
        }
    }

    /// Takes out the first segment if it does not begin behind `rcv_nxt`. Its payload is cut to
    /// what is new and may be empty.
    pub fn pop(&mut self, rcv_nxt: Seq, quota: &mut Quota) -> Option<Held> {
        if self.held.front()?.seq.after(rcv_nxt) {
            return None;
        }
        let mut held = self.held.pop_front()?;
        quota.give_back(1);
        let old = usize::try_from(rcv_nxt.since(held.seq)).unwrap_or(usize::MAX);
        if old > held.payload.len() {
            // The FIN, if there is one, is old too.
            held.fin = false;
        }
        held.payload.start = held.payload.start.saturating_add(old).min(held.payload.end);
        held.seq = rcv_nxt;
        Some(held)
    }

    /// Forgets blocks that the cumulative acknowledgement covers.
    pub fn on_advance(&mut self, rcv_nxt: Seq) {
        let old = std::mem::take(&mut self.blocks);
        for &(left, right) in old.as_slice() {
            if left.after(rcv_nxt) {
                self.blocks.push(left, right);
            }
        }
    }

    /// Takes out everything.
    pub fn clear(&mut self, quota: &mut Quota) -> impl Iterator<Item = RxFrame> {
        quota.give_back(self.held.len());
        self.blocks = SackBlocks::default();
        std::mem::take(&mut self.held).into_iter().map(|held| held.frame)
    }
}

/// A segment that is not kept, with its frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its bytes are held already.
    Duplicate(RxFrame),
    /// This connection, or all together, hold as many frames as they may.
    Full(RxFrame),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Seq = Seq(u32::MAX - 20);

    fn held(start: u32, len: usize, addr: u64) -> Held {
        let frame = RxFrame { addr, len: 0 };
        Held { seq: BASE.plus(start), frame, payload: 10..10 + len, fin: false }
    }

    proptest! {
        /// Against a set of byte positions.
        #[test]
        fn bytes_come_out_once_in_order_and_blocks_name_only_what_is_held(
            arrivals in proptest::collection::vec((1_u32..60, 1_usize..15), 1..60),
        ) {
            let mut quota = Quota::new(20);
            let mut reassembly = Reassembly::default();
            let mut model = [false; 80];
            for (addr, (start, len)) in arrivals.into_iter().enumerate() {
                let at = start as usize;
                let result = reassembly.insert(held(start, len, addr as u64), &mut quota);
                match result {
                    Ok(()) => model[at..at + len].fill(true),
                    Err(Refused::Duplicate(_)) => {
                        prop_assert!(model[at..at + len].iter().all(|is_held| *is_held));
                    }
                    Err(Refused::Full(_)) => prop_assert_eq!(quota.used(), 20),
                }
                prop_assert_eq!(quota.used(), reassembly.len());
                let blocks = reassembly.blocks();
                for (index, &(left, right)) in blocks.iter().enumerate() {
                    let (left, right) = (left.since(BASE) as usize, right.since(BASE) as usize);
                    prop_assert!(model[left..right].iter().all(|is_held| *is_held));
                    let newest = left <= at && at + len <= right;
                    prop_assert!(index > 0 || newest || result.is_err());
                }
            }
            // The gap is filled up to somewhere; what is contiguous comes out.
            let mut nxt = 1;
            while nxt < 80 {
                match reassembly.pop(BASE.plus(nxt), &mut quota) {
                    None => {
                        prop_assert!(!model[nxt as usize]);
                        nxt += 1;
                    }
                    Some(held) => {
                        let len = u32::try_from(held.payload.len()).unwrap();
                        prop_assert!((nxt..nxt + len).all(|at| model[at as usize]));
                        nxt += len;
                    }
                }
                reassembly.on_advance(BASE.plus(nxt));
            }
            prop_assert!(reassembly.is_empty() && reassembly.blocks().is_empty());
            prop_assert_eq!(quota.used(), 0);
        }
    }
}
