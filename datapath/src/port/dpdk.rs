//! DPDK: frames from a device that is taken from the kernel, or from one of DPDK's virtual ones.
//!
//! [`open`] configures a device and gives a [`DpdkPort`] for each of its queues. What is behind
//! it is in the crate coney-dpdk; here are only the port's terms. See docs/dpdk.md.
//!
//! A frame that the device has not given back cannot be sent again. Drivers recycle lazily; the
//! flush asks them to look (`rte_eth_tx_done_cleanup`) while anything is in flight.

use std::os::fd::BorrowedFd;

pub use coney_dpdk::{Eal, Error, Options};
use coney_dpdk::{Queue, RingFull, TxPart};

use super::{Port, PortCaps, RxFrame, TxFrame, TxFrames, TxRingFull};

#[cfg(test)]
mod tests;

/// Drivers whose frames may come from a sender on the same host, who left checksums to a device.
const VIRTUAL_DRIVERS: [&str; 7] =
    ["net_af_packet", "net_af_xdp", "net_pcap", "net_ring", "net_tap", "net_vhost", "net_virtio"];

/// One queue pair of a DPDK device. It can only be polled.
#[derive(Debug)]
pub struct DpdkPort {
    caps: PortCaps,
    queue: Queue,
}

/// Configures and starts a device, the only one if `name` is empty, and gives its queues.
///
/// # Errors
/// See [`Error`].
pub fn open(eal: Eal, name: &str, options: &Options) -> Result<Vec<DpdkPort>, Error> {
    let queues = coney_dpdk::open(eal, name, options)?;
    if let Some(queue) = queues.first() {
        let (device, driver, mtu_bytes) = (queue.device_name(), queue.driver(), queue.mtu_bytes());
        tracing::info!(device, driver, mtu_bytes, queues = queues.len(), "DPDK device started");
    }
    Ok(queues.into_iter().map(DpdkPort::new).collect())
}

impl DpdkPort {
    fn new(queue: Queue) -> Self {
        let (rx_frames_max, tx_frames_max) = queue.frames();
        let is_virtual = VIRTUAL_DRIVERS.iter().any(|name| queue.driver().starts_with(name));
        let caps = PortCaps {
            mac: queue.mac(),
            mtu_bytes: queue.mtu_bytes(),
            frame_bytes_max: queue.frame_bytes(),
            tx_frames_max,
            rx_frames_max,
            rx_partial_checksum: is_virtual,
            tx_checksum: false,
            zero_copy: !is_virtual,
        };
        Self { caps, queue }
    }

    /// The name that DPDK gives the device.
    pub fn device_name(&self) -> &str {
        self.queue.device_name()
    }
}

/// The transmit frames of a [`DpdkPort`].
#[derive(Debug)]
pub struct DpdkTx<'a>(TxPart<'a>);

impl TxFrames for DpdkTx<'_> {
    fn alloc(&mut self) -> Option<TxFrame> {
        self.0.alloc().map(|index| TxFrame { index })
    }

    fn bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8] {
        self.0.bytes_mut(frame.index)
    }

    fn free(&mut self, frame: TxFrame) {
        self.0.free(frame.index);
    }

    fn available(&self) -> usize {
        self.0.available()
    }
}

impl Port for DpdkPort {
    type Tx<'a> = DpdkTx<'a>;

    fn caps(&self) -> &PortCaps {
        &self.caps
    }

    fn rx_burst(&mut self, out: &mut Vec<RxFrame>, max: usize) -> usize {
        self.queue.rx_burst(max, |slot, len| out.push(RxFrame { addr: slot.into(), len }))
    }

    fn rx_bytes(&self, frame: &RxFrame) -> &[u8] {
        self.queue.rx_bytes(slot(frame))
    }

    fn rx_and_tx(&mut self, frame: &RxFrame) -> (&[u8], DpdkTx<'_>) {
        let (bytes, tx) = self.queue.rx_and_tx(slot(frame));
        (bytes, DpdkTx(tx))
    }

    fn tx(&mut self) -> DpdkTx<'_> {
        DpdkTx(self.queue.tx())
    }

    fn rx_release(&mut self, frame: RxFrame) {
        self.queue.rx_release(slot(&frame));
    }

    fn tx_bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8] {
        self.queue.tx_bytes_mut(frame.index)
    }

    fn tx_submit(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
    ) -> Result<(), TxRingFull> {
        self.queue.tx_submit(frame.index, start, len).map_err(|RingFull| TxRingFull)
    }

    fn tx_in_flight(&self, frame: &TxFrame) -> bool {
        self.queue.tx_in_flight(frame.index)
    }

    fn tx_available(&self) -> usize {
        self.queue.tx_available()
    }

    fn tx_flush(&mut self) {
        self.queue.tx_flush();
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.queue.counters(visit);
    }
}

fn slot(frame: &RxFrame) -> u32 {
    u32::try_from(frame.addr).expect("the token came from this port")
}
