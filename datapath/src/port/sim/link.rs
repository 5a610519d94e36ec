//! A link between two simulated ports that loses, reorders, duplicates, damages and delays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use coney_base::Instant;

use super::{Rng, SimPort};
use crate::wire::checksum::Sum;

/// What a link does to frames. Chances are per million and independent of each other.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Time that every frame takes.
    pub delay: Duration,
    /// Up to this much more, drawn per frame; frames overtake each other by it only where
    /// `reorder_ppm` says so.
    pub jitter: Duration,
    /// Chance that a frame is lost.
    pub loss_ppm: u32,
    /// Chance that a frame that may be marked is marked (ECN, IPv4 only).
    pub mark_ppm: u32,
    /// Chance that a frame arrives twice.
    pub duplicate_ppm: u32,
    /// Chance that a bit of a frame flips.
    pub corrupt_ppm: u32,
    /// Chance that a frame is held back for [`Self::reorder_delay`].
    pub reorder_ppm: u32,
    /// How long a frame is held back; later ones overtake it.
    pub reorder_delay: Duration,
    /// Frames on their way in one direction; what exceeds it is lost (a router's queue).
    pub queue_frames_max: usize,
}

impl Faults {
    /// A wire without faults and without delay.
    pub const NONE: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss_ppm: 0,
        mark_ppm: 0,
        duplicate_ppm: 0,
        corrupt_ppm: 0,
        reorder_ppm: 0,
        reorder_delay: Duration::ZERO,
        queue_frames_max: usize::MAX,
    };
}

/// What happened on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Frames that entered.
    pub frames: u64,
    /// Lost by chance or in a full queue.
    pub lost: u64,
    /// Marked (ECN).
    pub marked: u64,
    /// Delivered once more.
    pub duplicated: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Held back.
    pub reordered: u64,
    /// Arrived while the port had no frame to receive into.
    pub refused: u64,
}

/// Both directions of a link. Time is passed in; nothing happens between calls. What happens to the
/// n-th frame of a direction depends on the seed alone, not on the other direction.
#[derive(Debug)]
pub struct Link {
    faults: Faults,
    stats: LinkStats,
    directions: [Direction; 2],
}

#[derive(Debug)]
struct Direction {
    rng: Rng,
    /// Ordered by arrival, then by entrance.
    on_the_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    entered: u64,
    /// Arrival of the last frame that was not held back: none overtakes it.
    last_arrival: Instant,
}

impl Direction {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            on_the_way: BinaryHeap::new(),
            entered: 0,
            last_arrival: Instant::ZERO,
        }
    }
}

impl Link {
    /// A link whose faults `seed` determines.
    pub fn new(faults: Faults, seed: u64) -> Self {
        let mut seeds = Rng::new(seed);
        let directions = [seeds.next_u64(), seeds.next_u64()].map(Direction::new);
        Self { faults, stats: LinkStats::default(), directions }
    }

    /// What happened so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Changes the faults for frames that enter from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// When the next frame arrives, if any is on its way.
    pub fn next_arrival(&self) -> Option<Instant> {
        let next = |direction: &Direction| {
            direction.on_the_way.peek().map(|Reverse((arrival, _, _))| *arrival)
        };
        self.directions.iter().filter_map(next).min()
    }

    /// Takes what both ports transmitted, and delivers what has arrived by `now`.
    pub fn transfer(&mut self, now: Instant, a: &mut SimPort, b: &mut SimPort) {
        for (at, port) in [&mut *a, &mut *b].into_iter().enumerate() {
            for frame in port.take_transmitted() {
                self.enter(now, at, frame);
            }
        }
        for (at, port) in [b, a].into_iter().enumerate() {
            while let Some(frame) = self.leave(now, at) {
                self.stats.refused += u64::from(!port.inject(&frame));
                port.recycle(frame);
            }
        }
    }

    /// Takes the next frame of direction `at` that has arrived by `now`.
    pub fn leave(&mut self, now: Instant, at: usize) -> Option<Vec<u8>> {
        let on_the_way = &mut self.directions.get_mut(at)?.on_the_way;
        on_the_way.peek().filter(|Reverse((arrival, _, _))| *arrival <= now)?;
        on_the_way.pop().map(|Reverse((_, _, frame))| frame)
    }

    /// A frame enters direction `at`, which is 0 or 1.
    pub fn enter(&mut self, now: Instant, at: usize, mut frame: Vec<u8>) {
        let (faults, stats) = (self.faults, &mut self.stats);
        let direction = &mut self.directions[at];
        let rng = &mut direction.rng;
        stats.frames += 1;
        if rng.chance(faults.loss_ppm) || direction.on_the_way.len() >= faults.queue_frames_max {
            stats.lost += 1;
            return;
        }
        if rng.chance(faults.mark_ppm) && mark(&mut frame) {
            stats.marked += 1;
        }
        let copies = if rng.chance(faults.duplicate_ppm) {
            stats.duplicated += 1;
            2
        } else {
            1
        };
        if rng.chance(faults.corrupt_ppm) {
            stats.corrupted += 1;
            let at = rng.below(frame.len() as u64);
            if let Some(byte) = usize::try_from(at).ok().and_then(|at| frame.get_mut(at)) {
                *byte ^= 1 << rng.below(8);
            }
        }
        for copy in 0..copies {
            let jitter = Duration::from_nanos(
                rng.below(u64::try_from(faults.jitter.as_nanos()).unwrap_or(u64::MAX)),
            );
            let mut arrival = (now + faults.delay + jitter).max(direction.last_arrival);
            if rng.chance(faults.reorder_ppm) {
                stats.reordered += 1;
                arrival = arrival + faults.reorder_delay;
            } else {
                direction.last_arrival = arrival;
            }
            direction.entered += 1;
            let is_last = copy + 1 == copies;
            let bytes = if is_last { std::mem::take(&mut frame) } else { frame.clone() };
            direction.on_the_way.push(Reverse((arrival, direction.entered, bytes)));
        }
    }
}

/// Marks an IPv4 packet whose sender takes part in ECN (RFC 3168 §5).
fn mark(frame: &mut [u8]) -> bool {
    let is_ipv4 = frame.get(12..14) == Some(&[0x08, 0x00]);
    let Some(header) = frame.get_mut(14..34).filter(|_| is_ipv4) else { return false };
    if !matches!(header[1] & 3, 1 | 2) {
        return false;
    }
    header[1] |= 3;
    header[10..12].fill(0);
    let sum = Sum::default().plus(header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    true
}
