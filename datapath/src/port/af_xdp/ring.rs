//! The two ends of a single-producer single-consumer ring shared with the kernel.
//!
//! Indices run freely over 32 bits and are masked on access. Each side writes one index with
//! release order after it is done with the slots, and reads the other one with acquire order
//! before it touches slots. Both ends cache the other side's index and read it anew only when the
//! cached one does not suffice, because reading it takes a cache line away from the other CPU.

use std::sync::atomic::{Ordering, fence};

use super::sys::ring_memory::{RingMemory, Slot};

/// `XDP_RING_NEED_WAKEUP`: the kernel looks at the ring only after a system call.
const NEED_WAKEUP: u32 = 1;

/// No slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingFull;

/// The end that writes: fill and transmit ring.
#[derive(Debug)]
pub(super) struct Producer<T: Slot> {
    memory: RingMemory<T>,
    /// Next slot to write; slots from `published` on are not visible yet.
    head: u32,
    published: u32,
    /// The consumer's index as last read.
    tail: u32,
}

impl<T: Slot> Producer<T> {
    pub(super) fn new(memory: RingMemory<T>) -> Self {
        let head = memory.producer().load(Ordering::Relaxed);
        let tail = memory.consumer().load(Ordering::Acquire);
        Self { memory, head, published: head, tail }
    }

    /// Writes one slot; the consumer sees it after [`Self::publish`].
    pub(super) fn push(&mut self, value: T) -> Result<(), RingFull> {
        let entries = self.memory.entries();
        if self.head.wrapping_sub(self.tail) >= entries {
            self.tail = self.memory.consumer().load(Ordering::Acquire);
            if self.head.wrapping_sub(self.tail) >= entries {
                return Err(RingFull);
            }
        }
        self.memory.write(self.head, value);
        self.head = self.head.wrapping_add(1);
        Ok(())
    }

    /// Makes every written slot visible.
    pub(super) fn publish(&mut self) {
        if self.published != self.head {
            self.memory.producer().store(self.head, Ordering::Release);
            self.published = self.head;
        }
    }

    /// How many published slots the consumer has not taken.
    pub(super) fn untaken(&mut self) -> u32 {
        self.tail = self.memory.consumer().load(Ordering::Acquire);
        self.published.wrapping_sub(self.tail)
    }

    /// Whether the kernel must be woken to look at what was published.
    pub(super) fn needs_wakeup(&self) -> bool {
        // The kernel sets the flag and then looks at the producer index once more; we published
        // and then look at the flag. Without a full fence both could miss each other.
        fence(Ordering::SeqCst);
        self.memory.flags() & NEED_WAKEUP != 0
    }
}

/// The end that reads: receive and completion ring.
#[derive(Debug)]
pub(super) struct Consumer<T: Slot> {
    memory: RingMemory<T>,
    /// The producer's index as last read.
    head: u32,
    /// Next slot to read; slots from `released` on still belong to us.
    tail: u32,
    released: u32,
}

impl<T: Slot> Consumer<T> {
    pub(super) fn new(memory: RingMemory<T>) -> Self {
        let tail = memory.consumer().load(Ordering::Relaxed);
        let head = memory.producer().load(Ordering::Acquire);
        Self { memory, head, tail, released: tail }
    }

    /// Reads one slot; the producer may reuse it after [`Self::release`].
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.head == self.tail {
            self.head = self.memory.producer().load(Ordering::Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        let value = self.memory.read(self.tail);
        self.tail = self.tail.wrapping_add(1);
        Some(value)
    }

    /// Gives every read slot back.
    pub(super) fn release(&mut self) {
        if self.released != self.tail {
            self.memory.consumer().store(self.tail, Ordering::Release);
            self.released = self.tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use rustix::net::xdp::{XdpDesc, XdpDescOptions};

    use super::*;
    use crate::port::af_xdp::sys::ring_memory::pair_in_memory;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Push,
        Publish,
        Pop,
        Release,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => Just(Op::Push),
            2 => Just(Op::Publish),
            4 => Just(Op::Pop),
            2 => Just(Op::Release),
        ]
    }

    fn desc(number: u64) -> XdpDesc {
        let len = u32::try_from(number).unwrap();
        XdpDesc { addr: number << 11, len, options: XdpDescOptions::empty() }
    }

    proptest! {
        /// Against two queues: what is written but not published, and what is published.
        #[test]
        fn ring_behaves_like_a_bounded_queue(
            order in 0_u32..5,
            // Indices wrap at 2^32 in the middle of the run.
            first in prop_oneof![Just(0_u32), u32::MAX - 40..=u32::MAX],
            ops in proptest::collection::vec(op(), 0..400),
        ) {
            let entries = 1 << order;
            let (ours, theirs) = pair_in_memory(entries, first);
            let mut producer = Producer::new(ours);
            let mut consumer = Consumer::new(theirs);
            let mut written = VecDeque::new();
            let mut published = VecDeque::new();
            // Read but not released: these slots still count as occupied.
            let mut kept = 0_usize;
            let mut next = 0_u64;
            for op in ops {
                let occupied = written.len() + published.len() + kept;
                match op {
                    Op::Push => {
                        let expected = if occupied < usize::try_from(entries).unwrap() {
                            written.push_back(desc(next));
                            Ok(())
                        } else {
                            Err(RingFull)
                        };
                        prop_assert_eq!(producer.push(desc(next)), expected);
                        next += 1;
                    }
                    Op::Publish => {
                        producer.publish();
                        published.append(&mut written);
                    }
                    Op::Pop => {
                        let expected = published.pop_front();
                        kept += usize::from(expected.is_some());
                        prop_assert_eq!(consumer.pop(), expected);
                    }
                    Op::Release => {
                        consumer.release();
                        kept = 0;
                    }
                }
                let untaken = usize::try_from(producer.untaken()).unwrap();
                prop_assert_eq!(untaken, published.len() + kept);
            }
        }
    }

    /// What could break: an ordering too weak, seen as a value that was not written yet.
    #[test]
    fn values_cross_threads_whole_and_in_order() {
        const COUNT: u64 = 200_000;
        let (ours, theirs) = pair_in_memory::<XdpDesc>(64, u32::MAX - 1000);
        let mut producer = Producer::new(ours);
        let mut consumer = Consumer::new(theirs);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..COUNT {
                    while producer.push(desc(number)).is_err() {
                        producer.publish();
                        std::thread::yield_now();
                    }
                    if number % 7 == 0 {
                        producer.publish();
                    }
                }
                producer.publish();
            });
            for number in 0..COUNT {
                let value = loop {
                    match consumer.pop() {
                        Some(value) => break value,
                        None => {
                            consumer.release();
                            std::thread::yield_now();
                        }
                    }
                };
                assert_eq!(value, desc(number));
            }
        });
    }
}
