//! [`AfXdpPort`]: the port over one AF_XDP socket.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::xdp::{XdpDesc, XdpDescOptions};
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use super::error::Error;
use super::interface::Interface;
use super::limits::{FRAME_BYTES_MIN, chunk_bytes, rx_frame_bytes_max};
use super::netdev;
use super::options::{CopyMode, Options};
use super::socket::{self, Socket};
use super::tx_metadata;
use super::umem::{Umem, UmemTx};
use crate::port::{Port, PortCaps, RxFrame, TxFrame, TxFrames, TxRingFull};

/// One queue pair of an interface, with packet memory of its own. Dropping it closes the socket:
/// the XDP program then passes the queue's frames to the kernel.
#[derive(Debug)]
pub struct AfXdpPort {
    caps: PortCaps,
    socket: Socket,
    umem: Umem,
    busy_poll: bool,
    rx_frame_bytes_max: u32,
    interface_index: u32,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    rx_frames: u64,
    rx_bytes: u64,
    rx_all_held: u64,
    rx_wakeups: u64,
    rx_wakeup_errors: u64,
    tx_frames: u64,
    tx_bytes: u64,
    tx_completions: u64,
    tx_pool_empty: u64,
    tx_ring_full: u64,
    tx_checksums_offloaded: u64,
    tx_kicks: u64,
    tx_later_eagain: u64,
    tx_later_ebusy: u64,
    tx_later_enobufs: u64,
    tx_link_down: u64,
    tx_kick_errors: u64,
    bad_descriptors: u64,
}

impl AfXdpPort {
    /// Opens the port. Frames arrive once the XDP program has the socket
    /// ([`coney_xdp_prog::Program::set_xsk`]); to transmit, no program is needed.
    ///
    /// The calling thread's network namespace counts; the port may then be moved to any thread.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(interface: &str, queue: u32, options: &Options) -> Result<Self, Error> {
        options.check()?;
        let interface = Interface::query(interface)?;
        let chunk_bytes = chunk_bytes(interface.mtu_bytes).ok_or_else(|| Error::MtuTooBig {
            interface: interface.name.clone(),
            mtu_bytes: interface.mtu_bytes,
        })?;
        if let Some(queues) = interface.queues
            && queue >= queues.rx
        {
            let interface = interface.name;
            return Err(Error::QueueOutOfRange { interface, queue, queues: Some(queues.rx) });
        }
        let mut umem = Umem::new(options, chunk_bytes)?;
        let socket = open_socket(&interface, queue, options, &mut umem)?;
        let caps = PortCaps {
            mac: interface.mac,
            mtu_bytes: to_usize(interface.mtu_bytes),
            frame_bytes_max: umem.tx_frame_bytes(),
            tx_frames_max: to_usize(options.tx_frames),
            rx_frames_max: to_usize(options.rx_frames),
            rx_partial_checksum: interface.is_virtual(),
            tx_checksum: socket.tx_metadata,
            zero_copy: socket.zero_copy,
        };
        tracing::info!(
            interface = interface.name,
            queue,
            driver = interface.driver_name(),
            zero_copy = caps.zero_copy,
            tx_checksum = caps.tx_checksum,
            huge_pages = umem.huge_pages(),
            chunk_bytes,
            "AF_XDP port opened"
        );
        Ok(Self {
            caps,
            socket,
            umem,
            busy_poll: options.busy_poll.is_some() && can_busy_poll(&interface, queue),
            rx_frame_bytes_max: rx_frame_bytes_max(chunk_bytes),
            interface_index: interface.index,
            counters: Counters::default(),
        })
    }

    /// The longest frame, Ethernet header included, that can be received; the XDP program must
    /// not redirect longer ones ([`coney_xdp_prog::Options::frame_bytes_max`]).
    pub const fn rx_frame_bytes_max(&self) -> u32 {
        self.rx_frame_bytes_max
    }

    /// The interface's number in its network namespace.
    pub const fn interface_index(&self) -> u32 {
        self.interface_index
    }

    /// Whether the packet memory lies in reserved huge pages.
    pub const fn huge_pages(&self) -> bool {
        self.umem.huge_pages()
    }

    fn submit(
        &mut self,
        frame: &TxFrame,
        start: usize,
        len: usize,
        options: XdpDescOptions,
    ) -> Result<(), TxRingFull> {
        // The kernel would skip an empty descriptor and never complete it.
        assert!(len >= FRAME_BYTES_MIN, "a frame of {len} bytes has no Ethernet header");
        let (addr, len) = self.umem.tx_address(frame.index, start, len);
        let desc = XdpDesc { addr, len, options };
        if self.socket.tx.push(desc).is_err() {
            self.counters.tx_ring_full += 1;
            return Err(TxRingFull);
        }
        self.umem.tx_lend(frame.index);
        self.counters.tx_frames += 1;
        self.counters.tx_bytes += u64::from(len);
        Ok(())
    }

    /// Takes completed frames back from the device.
    fn reap(&mut self) {
        while let Some(addr) = self.socket.completion.pop() {
            match self.umem.tx_complete(addr) {
                Ok(()) => self.counters.tx_completions += 1,
                Err(_) => self.counters.bad_descriptors += 1,
            }
        }
        self.socket.completion.release();
    }

    /// One transmit call. Returns whether calling again may help at once.
    fn kick_tx(&mut self) -> bool {
        self.counters.tx_kicks += 1;
        let Err(errno) = send(&self.socket.fd, &[], SendFlags::DONTWAIT) else { return false };
        let counter = match errno {
            // Copy mode: its budget is used up, or the device queue or our send buffer is full.
            Errno::AGAIN => {
                self.counters.tx_later_eagain += 1;
                return !self.socket.zero_copy;
            }
            Errno::BUSY => &mut self.counters.tx_later_ebusy,
            Errno::NOBUFS => &mut self.counters.tx_later_enobufs,
            Errno::NETDOWN | Errno::NETUNREACH | Errno::NXIO => &mut self.counters.tx_link_down,
            _ => {
                if self.counters.tx_kick_errors == 0 {
                    tracing::error!(%errno, "an AF_XDP transmit call fails; later ones are counted");
                }
                &mut self.counters.tx_kick_errors
            }
        };
        *counter += 1;
        false
    }

    /// Lets the kernel look at the fill ring (zero-copy) and, busy polling, at the device.
    fn kick_rx(&mut self) {
        self.counters.rx_wakeups += 1;
        let mut nothing = [0_u8; 0];
        if let Err(errno) = recv(&self.socket.fd, &mut nothing, RecvFlags::DONTWAIT)
            && !matches!(errno, Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::NETDOWN)
        {
            self.counters.rx_wakeup_errors += 1;
        }
    }
}

/// Whether calls on the socket would poll anything; without, they would be wasted.
fn can_busy_poll(interface: &Interface, queue: u32) -> bool {
    let has_napi = netdev::queue_has_napi(interface.index, queue);
    if has_napi == Some(false) {
        tracing::warn!(
            interface = interface.name,
            queue,
            driver = interface.driver_name(),
            "busy polling has no effect: the driver does not link its queues to NAPI"
        );
    }
    has_napi != Some(false)
}

/// Binds in the mode that is asked for, or in the best that works.
fn open_socket(
    interface: &Interface,
    queue: u32,
    options: &Options,
    umem: &mut Umem,
) -> Result<Socket, Error> {
    match options.mode {
        CopyMode::Copy => socket::open(interface, queue, options, umem, false),
        CopyMode::ZeroCopy => socket::open(interface, queue, options, umem, true),
        CopyMode::Auto => match socket::open(interface, queue, options, umem, true) {
            Err(error @ Error::ZeroCopyUnsupported { .. }) => {
                tracing::warn!(interface = interface.name, queue, %error, "using copy mode");
                socket::open(interface, queue, options, umem, false)
            }
            other => other,
        },
    }
}

/// The transmit frames of an [`AfXdpPort`].
#[derive(Debug)]
pub struct AfXdpTx<'a> {
    umem: UmemTx<'a>,
    pool_empty: &'a mut u64,
}

impl TxFrames for AfXdpTx<'_> {
    fn alloc(&mut self) -> Option<TxFrame> {
        let index = self.umem.alloc();
        if index.is_none() {
            *self.pool_empty += 1;
        }
        index.map(|index| TxFrame { index })
    }

    fn bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8] {
        self.umem.bytes_mut(frame.index)
    }

    fn free(&mut self, frame: TxFrame) {
        self.umem.free(frame.index);
    }

    fn available(&self) -> usize {
        self.umem.available()
    }
}

impl Port for AfXdpPort {
    type Tx<'a> = AfXdpTx<'a>;

    fn caps(&self) -> &PortCaps {
        &self.caps
    }

    fn rx_burst(&mut self, out: &mut Vec<RxFrame>, max: usize) -> usize {
        let mut count = 0;
        while count < max {
            let Some(desc) = self.socket.rx.pop() else { break };
            if self.umem.receive(desc.addr, desc.len).is_err() {
                self.counters.bad_descriptors += 1;
                continue;
            }
            self.counters.rx_bytes += u64::from(desc.len);
            out.push(RxFrame { addr: desc.addr, len: desc.len });
            count += 1;
        }
        self.socket.rx.release();
        self.counters.rx_frames += u64::try_from(count).unwrap_or(u64::MAX);
        if to_usize(self.umem.rx_held()) == self.caps.rx_frames_max {
            self.counters.rx_all_held += 1;
        }
        // In copy mode the kernel takes fill slots when it has a frame, and needs no waking.
        if (self.busy_poll && count == 0)
            || (self.socket.zero_copy && self.socket.fill.needs_wakeup())
        {
            self.kick_rx();
        }
        count
    }

    fn rx_bytes(&self, frame: &RxFrame) -> &[u8] {
        self.umem.rx_bytes(frame.addr, frame.len)
    }

    fn rx_and_tx(&mut self, frame: &RxFrame) -> (&[u8], AfXdpTx<'_>) {
        let (bytes, umem) = self.umem.rx_and_tx(frame.addr, frame.len);
        (bytes, AfXdpTx { umem, pool_empty: &mut self.counters.tx_pool_empty })
    }

    fn tx(&mut self) -> AfXdpTx<'_> {
        AfXdpTx { umem: self.umem.tx(), pool_empty: &mut self.counters.tx_pool_empty }
    }

    fn rx_release(&mut self, frame: RxFrame) {
        let addr = self.umem.rx_release(frame.addr);
        self.socket.fill.push(addr).expect("the fill ring has two slots for every receive chunk");
        // At once: a worker may go to sleep next, and the device shall not starve meanwhile.
        self.socket.fill.publish();
    }

    fn tx_bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8] {
        self.umem.tx_bytes_mut(frame.index)
    }

    fn tx_submit(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
    ) -> Result<(), TxRingFull> {
        self.submit(frame, start, len, XdpDescOptions::empty())
    }

    fn tx_submit_partial(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
        segment_at: usize,
    ) -> Result<(), TxRingFull> {
        assert!(self.caps.tx_checksum, "the device adds up no checksums");
        let segment_at = segment_at.checked_sub(start).and_then(|at| u16::try_from(at).ok());
        let segment_at = segment_at.expect("the segment begins in the frame");
        self.umem.put_tx_metadata(frame.index, start, &tx_metadata::tcp_checksum(segment_at));
        self.submit(frame, start, len, tx_metadata::HAS_METADATA)?;
        self.counters.tx_checksums_offloaded += 1;
        Ok(())
    }

    fn tx_in_flight(&self, frame: &TxFrame) -> bool {
        self.umem.tx_in_flight(frame.index)
    }

    fn tx_available(&self) -> usize {
        self.umem.tx_available()
    }

    fn tx_flush(&mut self) {
        self.socket.tx.publish();
        // First, because the kernel sends only what its completion ring has room for.
        self.reap();
        let mut untaken = self.socket.tx.untaken();
        while untaken > 0 && (!self.socket.zero_copy || self.socket.tx.needs_wakeup()) {
            let again = self.kick_tx();
            self.reap();
            let before = untaken;
            untaken = self.socket.tx.untaken();
            // Each round takes frames from a ring that nobody fills meanwhile, so this ends.
            if !again || untaken == before {
                break;
            }
        }
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.fd.as_fd())
    }

    /// Reads the kernel's statistics with a system call: not for every iteration.
    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        let counters = &self.counters;
        visit("af_xdp_rx_frames", counters.rx_frames);
        visit("af_xdp_rx_bytes", counters.rx_bytes);
        visit("af_xdp_rx_held", u64::from(self.umem.rx_held()));
        visit("af_xdp_rx_all_held", counters.rx_all_held);
        visit("af_xdp_rx_wakeups", counters.rx_wakeups);
        visit("af_xdp_rx_wakeup_errors", counters.rx_wakeup_errors);
        visit("af_xdp_tx_frames", counters.tx_frames);
        visit("af_xdp_tx_bytes", counters.tx_bytes);
        visit("af_xdp_tx_completions", counters.tx_completions);
        visit("af_xdp_tx_pool_empty", counters.tx_pool_empty);
        visit("af_xdp_tx_ring_full", counters.tx_ring_full);
        visit("af_xdp_tx_checksums_offloaded", counters.tx_checksums_offloaded);
        visit("af_xdp_tx_kicks", counters.tx_kicks);
        visit("af_xdp_tx_later_eagain", counters.tx_later_eagain);
        visit("af_xdp_tx_later_ebusy", counters.tx_later_ebusy);
        visit("af_xdp_tx_later_enobufs", counters.tx_later_enobufs);
        visit("af_xdp_tx_link_down", counters.tx_link_down);
        visit("af_xdp_tx_kick_errors", counters.tx_kick_errors);
        visit("af_xdp_bad_descriptors", counters.bad_descriptors);
        let Ok(kernel) = sockopt::xdp_statistics(&self.socket.fd) else { return };
        visit("af_xdp_rx_dropped", kernel.rx_dropped);
        visit("af_xdp_rx_invalid_descs", kernel.rx_invalid_descs);
        visit("af_xdp_tx_invalid_descs", kernel.tx_invalid_descs);
        let since_5_9 = [
            ("af_xdp_rx_ring_full", kernel.rx_ring_full),
            ("af_xdp_rx_fill_ring_empty", kernel.rx_fill_ring_empty_descs),
            ("af_xdp_tx_ring_empty", kernel.tx_ring_empty_descs),
        ];
        for (name, count) in since_5_9 {
            if let Some(count) = count {
                visit(name, count);
            }
        }
    }
}

impl AsFd for AfXdpPort {
    /// The AF_XDP socket, for [`coney_xdp_prog::Program::set_xsk`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).expect("usize has at least 32 bits")
}
