//! [`Queue`]: bursts over one queue pair, and the state of its buffers.

use std::collections::VecDeque;
use std::sync::Arc;

use coney_base::FramePool;

use crate::error::Error;
use crate::ffi::{Properties, Received, Running, TxBuffer, TxBurst};

/// Frames handed over in one call.
const BURST_MAX: usize = 64;

/// What all queues of a device have in common.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) properties: Properties,
    pub(crate) rx_frames: u32,
    pub(crate) tx_frames: u32,
    pub(crate) frame_bytes: usize,
}

/// Nothing was queued: flush first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFull;

#[derive(Debug, Default)]
struct Counters {
    rx_frames: u64,
    rx_bytes: u64,
    rx_dropped: u64,
    rx_all_held: u64,
    tx_frames: u64,
    tx_bytes: u64,
    tx_completions: u64,
    tx_pool_empty: u64,
    tx_ring_full: u64,
    tx_later: u64,
}

/// One queue pair. Frames that are kept, and transmit frames, are named by small numbers; whoever
/// uses a number that is not his meets a panic, not another's bytes.
#[derive(Debug)]
pub struct Queue {
    // Buffers go before the device and its pools.
    rx_kept: Vec<Option<Received>>,
    tx: Vec<TxBuffer>,
    shape: Shape,
    queue: u16,
    rx_free: Vec<u32>,
    rx_burst: Vec<Received>,
    tx_pool: FramePool,
    /// Submitted since the last flush, and what the device had no room for.
    pending: VecDeque<u32>,
    /// With the device, oldest first.
    in_flight: VecDeque<u32>,
    burst: TxBurst,
    can_clean_up: bool,
    counters: Counters,
    device: Arc<Running>,
}

/// The transmit frames of a [`Queue`], apart from its receive side.
#[derive(Debug)]
pub struct TxPart<'a> {
    buffers: &'a mut [TxBuffer],
    pool: &'a mut FramePool,
    pool_empty: &'a mut u64,
}

impl TxPart<'_> {
    /// Takes a transmit frame.
    pub fn alloc(&mut self) -> Option<u32> {
        let index = self.pool.alloc();
        *self.pool_empty += u64::from(index.is_none());
        index
    }

    /// The buffer of a transmit frame.
    ///
    /// # Panics
    /// If the caller does not own it.
    pub fn bytes_mut(&mut self, index: u32) -> &mut [u8] {
        self.pool.expect_owned(index);
        self.buffers.get_mut(index as usize).expect("it has a state").bytes_mut()
    }

    /// Gives a transmit frame up.
    pub fn free(&mut self, index: u32) {
        self.pool.free(index);
    }

    /// Transmit frames that are free.
    pub fn available(&self) -> usize {
        self.pool.available()
    }
}

impl Queue {
    pub(crate) fn new(device: Arc<Running>, queue: u16, shape: &Shape) -> Result<Self, Error> {
        let tx = (0..shape.tx_frames).map(|_| device.tx_buffer(queue)).collect::<Option<Vec<_>>>();
        let tx = tx.ok_or_else(|| Error::Device {
            device: shape.name.clone(),
            driver: shape.properties.driver.clone(),
            action: "take the buffers of a pool",
            source: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        Ok(Self {
            rx_kept: (0..shape.rx_frames).map(|_| None).collect(),
            tx_pool: FramePool::new(shape.tx_frames),
            tx,
            shape: shape.clone(),
            queue,
            rx_free: (0..shape.rx_frames).rev().collect(),
            rx_burst: Vec::with_capacity(BURST_MAX),
            pending: VecDeque::new(),
            in_flight: VecDeque::new(),
            burst: TxBurst::default(),
            can_clean_up: true,
            counters: Counters::default(),
            device,
        })
    }

    /// The device's name.
    pub fn device_name(&self) -> &str {
        &self.shape.name
    }

    /// The name of its driver.
    pub fn driver(&self) -> &str {
        &self.shape.properties.driver
    }

    /// Its hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.shape.properties.mac
    }

    /// Its MTU in bytes.
    pub fn mtu_bytes(&self) -> usize {
        self.shape.properties.mtu.into()
    }

    /// Bytes of one transmit buffer.
    pub fn frame_bytes(&self) -> usize {
        self.shape.frame_bytes
    }

    /// How many frames may be kept, and how many transmit frames there are.
    pub fn frames(&self) -> (usize, usize) {
        (self.rx_kept.len(), self.tx.len())
    }

    /// Receives up to `max` frames, hands the number and length of each to `take`, and returns how
    /// many. Nothing is received while all frames are kept: they wait in the device.
    pub fn rx_burst(&mut self, max: usize, mut take: impl FnMut(u32, u32)) -> usize {
        let mut count = 0;
        while count < max {
            let wanted = (max - count).min(self.rx_free.len()).min(BURST_MAX);
            if wanted == 0 {
                self.counters.rx_all_held += 1;
                break;
            }
            let dropped = self.device.receive(self.queue, &mut self.rx_burst, wanted);
            self.counters.rx_dropped += u64::from(dropped);
            let got = self.rx_burst.len();
            for received in self.rx_burst.drain(..) {
                let slot = self.rx_free.pop().expect("no more was received than slots are free");
                let len = received.len();
                self.counters.rx_bytes += u64::from(len);
                if let Some(kept) = self.rx_kept.get_mut(slot as usize) {
                    *kept = Some(received);
                }
                take(slot, len);
            }
            count += got;
            if got < wanted {
                break;
            }
        }
        self.counters.rx_frames += count as u64;
        count
    }

    /// The bytes of a kept frame.
    ///
    /// # Panics
    /// If none is kept under this number.
    pub fn rx_bytes(&self, slot: u32) -> &[u8] {
        let kept = self.rx_kept.get(slot as usize).and_then(Option::as_ref);
        kept.expect("the caller keeps this frame").bytes()
    }

    /// Gives a kept frame back.
    ///
    /// # Panics
    /// If none is kept under this number.
    pub fn rx_release(&mut self, slot: u32) {
        let kept = self.rx_kept.get_mut(slot as usize).and_then(Option::take);
        drop(kept.expect("the caller keeps this frame"));
        self.rx_free.push(slot);
    }

    /// The bytes of a kept frame, and the transmit frames beside it.
    ///
    /// # Panics
    /// As [`Self::rx_bytes`].
    pub fn rx_and_tx(&mut self, slot: u32) -> (&[u8], TxPart<'_>) {
        let kept = self.rx_kept.get(slot as usize).and_then(Option::as_ref);
        let bytes = kept.expect("the caller keeps this frame").bytes();
        let (buffers, pool) = (&mut self.tx, &mut self.tx_pool);
        (bytes, TxPart { buffers, pool, pool_empty: &mut self.counters.tx_pool_empty })
    }

    /// The transmit frames.
    pub fn tx(&mut self) -> TxPart<'_> {
        let (buffers, pool) = (&mut self.tx, &mut self.tx_pool);
        TxPart { buffers, pool, pool_empty: &mut self.counters.tx_pool_empty }
    }

    /// The buffer of a transmit frame.
    ///
    /// # Panics
    /// If the caller does not own it.
    pub fn tx_bytes_mut(&mut self, index: u32) -> &mut [u8] {
        self.tx_pool.expect_owned(index);
        self.tx.get_mut(index as usize).expect("it has a state").bytes_mut()
    }

    /// Queues a part of a transmit frame.
    ///
    /// # Errors
    /// [`RingFull`].
    ///
    /// # Panics
    /// If the caller does not own it, or the part is none of it.
    pub fn tx_submit(&mut self, index: u32, start: usize, len: usize) -> Result<(), RingFull> {
        self.tx_pool.expect_owned(index);
        let end = start.checked_add(len);
        let is_inside = end.is_some_and(|end| end <= self.shape.frame_bytes);
        assert!(is_inside && len > 0, "the range leaves frame {index}");
        if self.pending.len() >= usize::from(self.shape.properties.tx_descriptors) {
            self.counters.tx_ring_full += 1;
            return Err(RingFull);
        }
        self.tx.get_mut(index as usize).expect("it has a state").lend(start, len);
        self.tx_pool.lend(index);
        self.pending.push_back(index);
        self.counters.tx_bytes += len as u64;
        self.counters.tx_frames += 1;
        Ok(())
    }

    /// Whether the device has the frame, as of the last flush.
    pub fn tx_in_flight(&self, index: u32) -> bool {
        self.tx_pool.is_in_flight(index)
    }

    /// Transmit frames that are free.
    pub fn tx_available(&self) -> usize {
        self.tx_pool.available()
    }

    /// Hands what was submitted to the device and takes back what it is done with.
    pub fn tx_flush(&mut self) {
        while !self.pending.is_empty() {
            for index in self.pending.iter().take(BURST_MAX) {
                let buffer = self.tx.get(*index as usize).expect("it has a state");
                self.burst.push(buffer);
            }
            let wanted = self.burst.len();
            let sent = self.device.transmit(self.queue, &mut self.burst);
            self.in_flight.extend(self.pending.drain(..sent));
            if sent < wanted {
                self.counters.tx_later += 1;
                break;
            }
        }
        self.reap();
        // Many drivers look for completions only when they have something to send.
        if self.can_clean_up && !self.in_flight.is_empty() {
            self.can_clean_up = self.device.clean_up(self.queue);
            self.reap();
        }
    }

    /// Completions come in order.
    fn reap(&mut self) {
        while let Some(&index) = self.in_flight.front() {
            let buffer = self.tx.get(index as usize).expect("it has a state");
            if !buffer.is_back() {
                break;
            }
            self.in_flight.pop_front();
            self.counters.tx_completions += 1;
            self.tx_pool.complete(index).expect("only frames in flight complete");
        }
    }

    /// Hands every counter to `visit`.
    pub fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        let counters = &self.counters;
        visit("dpdk_rx_frames", counters.rx_frames);
        visit("dpdk_rx_bytes", counters.rx_bytes);
        visit("dpdk_rx_dropped", counters.rx_dropped);
        visit("dpdk_rx_held", (self.rx_kept.len() - self.rx_free.len()) as u64);
        visit("dpdk_rx_all_held", counters.rx_all_held);
        visit("dpdk_tx_frames", counters.tx_frames);
        visit("dpdk_tx_bytes", counters.tx_bytes);
        visit("dpdk_tx_completions", counters.tx_completions);
        visit("dpdk_tx_pool_empty", counters.tx_pool_empty);
        visit("dpdk_tx_ring_full", counters.tx_ring_full);
        visit("dpdk_tx_later", counters.tx_later);
        // The device counts for all its queues.
        if self.queue == 0
            && let Some(stats) = self.device.stats()
        {
            visit("dpdk_device_rx_missed", stats.rx_missed);
            visit("dpdk_device_rx_errors", stats.rx_errors);
            visit("dpdk_device_rx_no_buffer", stats.rx_no_buffer);
            visit("dpdk_device_tx_errors", stats.tx_errors);
        }
    }
}
