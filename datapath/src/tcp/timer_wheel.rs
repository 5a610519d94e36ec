//! Timers of many connections: a hierarchical timer wheel (Varghese and Lauck, 1987).
//!
//! One timer per slot number (the owner keeps all its deadlines and arms the earliest). Arming,
//! disarming and firing are O(1) and allocate only when a slot number is used for the first time.
//! A deadline that moves later need not be told: the timer fires at the old one, and the owner arms
//! it anew. Resolution is 1 ms; a timer never fires early.
//!
//! Level `n` has 64 places of 64^n ms each; the last place of a level's turn is handed down to the
//! level below when its time comes. Deadlines beyond all levels (12 days) wait in the last place.

use coney_base::Instant;

const LEVELS: usize = 5;
const PLACE_BITS: u32 = 6;
const PLACES: usize = 1 << PLACE_BITS;
const NONE: u32 = u32::MAX;
/// Ticks that the wheel spans.
const SPAN: u64 = 1 << (PLACE_BITS * 5);

/// A set of timers.
#[derive(Debug)]
pub struct TimerWheel {
    nodes: Vec<Node>,
    /// First timer of each place.
    heads: [[u32; PLACES]; LEVELS],
    /// Which places have timers.
    occupied: [u64; LEVELS],
    /// All ticks before this one have been fired.
    now: u64,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    tick: u64,
    prev: u32,
    next: u32,
    /// Level and place; `None`: not armed.
    place: Option<(u8, u8)>,
}

const IDLE: Node = Node { tick: 0, prev: NONE, next: NONE, place: None };

impl TimerWheel {
    /// A wheel without timers.
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            heads: [[NONE; PLACES]; LEVELS],
            occupied: [0; LEVELS],
            now: 0,
            len: 0,
        }
    }

    /// Armed timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets the CPU fetch what [`Self::arm`] needs to know of timer `id`.
    pub fn prefetch(&self, id: u32) {
        if let Some(node) = self.nodes.get(id as usize) {
            coney_base::prefetch(node);
        }
    }

    /// Lets timer `id` fire at `deadline`, or earlier if it is armed for an earlier moment.
    pub fn arm(&mut self, id: u32, deadline: Instant) {
        let at = id as usize;
        if at >= self.nodes.len() {
            self.nodes.resize(at + 1, IDLE);
        }
        let tick = deadline.as_nanos().div_ceil(1_000_000);
        if let Some(node) = self.nodes.get(at)
            && node.place.is_some()
            && node.tick <= tick
        {
            return;
        }
        self.disarm(id);
        self.link(id, tick);
    }

    /// Forgets timer `id`; no effect if it is not armed.
    pub fn disarm(&mut self, id: u32) {
        let Some(node) = self.nodes.get_mut(id as usize) else { return };
        let Some((level, place)) = node.place.take() else { return };
        let (prev, next) = (node.prev, node.next);
        self.len -= 1;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.prev = prev;
        }
        let (level, place) = (usize::from(level), usize::from(place));
        match self.nodes.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => {
                self.heads[level][place] = next;
                if next == NONE {
                    self.occupied[level] &= !(1 << place);
                }
            }
        }
    }

    /// Takes out one timer that is due at `now`; `None`: there is none. Timers that are due at
    /// different ticks come in their order.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_nanos() / 1_000_000;
        loop {
            let Some((tick, level)) = self.next_place().filter(|(tick, _)| *tick <= target) else {
                self.now = self.now.max(target);
                return None;
            };
            self.now = self.now.max(tick);
            let head = self.heads[level][place_of(tick, level)];
            let node = self.nodes.get(head as usize)?;
            let due = node.tick <= self.now;
            let tick = node.tick;
            self.disarm(head);
            if due {
                return Some(head);
            }
            self.link(head, tick);
        }
    }

    /// A moment at or before the first deadline, at which [`Self::pop_due`] should be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_place().map(|(tick, _)| Instant::from_millis(tick))
    }

    /// The tick at which the first occupied place begins, and its level. Of places that begin at
    /// one tick the highest level comes first: it may hold what belongs into the others.
    fn next_place(&self) -> Option<(u64, usize)> {
        let mut best: Option<(u64, usize)> = None;
        for level in 0..LEVELS {
            let bits = self.occupied[level];
            if bits == 0 {
                continue;
            }
            let shift = shift_of(level);
            let current = self.now >> shift;
            let place = place_of(self.now, level);
            let ahead = bits.rotate_right(u32::try_from(place).unwrap_or(0)).trailing_zeros();
            let tick = ((current + u64::from(ahead)) << shift).max(self.now);
            if best.is_none_or(|(first, _)| tick <= first) {
                best = Some((tick, level));
            }
        }
        best
    }

    fn link(&mut self, id: u32, tick: u64) {
        let shown = tick.clamp(self.now, self.now + SPAN - (SPAN >> PLACE_BITS));
        // The lowest level in which the deadline lies less than one turn ahead.
        let level = (0..LEVELS)
            .find(|&level| (shown >> shift_of(level)) - (self.now >> shift_of(level)) < 64)
            .unwrap_or(LEVELS - 1);
        let place = place_of(shown, level);
        let next = self.heads[level][place];
        self.heads[level][place] = id;
        self.occupied[level] |= 1 << place;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.prev = id;
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            let place = u8::try_from(level).ok().zip(u8::try_from(place).ok());
            *node = Node { tick, prev: NONE, next, place };
            self.len += 1;
        }
    }
}

impl Default for TimerWheel {
    fn default() -> Self {
        Self::new()
    }
}

fn shift_of(level: usize) -> u32 {
    PLACE_BITS * u32::try_from(level).unwrap_or(0)
}

fn place_of(tick: u64, level: usize) -> usize {
    usize::try_from((tick >> shift_of(level)) & (PLACES as u64 - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u32, u64),
        Disarm(u32),
        Advance(u64),
    }

    fn delay() -> impl Strategy<Value = u64> {
        // All levels and beyond the last.
        (0_u32..42).prop_flat_map(|bits| 0..(1_u64 << bits))
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0_u32..20, delay()).prop_map(|(id, delay)| Op::Arm(id, delay)),
            1 => (0_u32..20).prop_map(Op::Disarm),
            3 => delay().prop_map(Op::Advance),
        ]
    }

    proptest! {
        #[test]
        fn it_fires_what_a_sorted_list_fires(ops in proptest::collection::vec(op(), 1..100)) {
            let mut wheel = TimerWheel::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Arm(id, delay) => {
                        wheel.arm(id, Instant::from_millis(now + delay));
                        let tick = model.entry(id).or_insert(now + delay);
                        *tick = (*tick).min(now + delay);
                    }
                    Op::Disarm(id) => {
                        wheel.disarm(id);
                        model.remove(&id);
                    }
                    Op::Advance(by) => {
                        now += by;
                        let mut last = 0;
                        while let Some(id) = wheel.pop_due(Instant::from_millis(now)) {
                            let tick = model.remove(&id);
                            prop_assert!(tick.is_some_and(|tick| tick <= now), "{} early", id);
                            prop_assert!(tick >= Some(last), "out of order");
                            last = tick.unwrap_or(0);
                        }
                        prop_assert!(model.values().all(|tick| *tick > now), "{:?} late", model);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let first = model.values().min();
                let deadline = wheel.next_deadline().map(Instant::as_millis);
                prop_assert_eq!(deadline.is_some(), first.is_some());
                prop_assert!(deadline.is_none_or(|deadline| Some(&deadline) <= first));
            }
        }
    }

    #[test]
    fn a_deadline_between_ticks_never_fires_early() {
        let mut wheel = TimerWheel::new();
        wheel.arm(0, Instant::from_nanos(5_000_001));
        assert_eq!(wheel.pop_due(Instant::from_nanos(5_999_999)), None);
        assert_eq!(wheel.pop_due(Instant::from_millis(6)), Some(0));
    }
}
