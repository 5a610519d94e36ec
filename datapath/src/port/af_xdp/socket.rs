//! Creating, configuring and binding the AF_XDP socket of one queue, with its four rings.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpOptionsFlags,
    XdpRingOffset, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::error::{Error, classify};
use super::interface::Interface;
use super::netdev;
use super::options::Options;
use super::ring::{Consumer, Producer};
use super::sys::calls;
use super::sys::mapping::Mapping;
use super::sys::ring_memory::{RingMemory, Slot};
use super::tx_metadata;
use super::umem::Umem;

/// A closed socket gives its queue back a moment later (the kernel does it on a work queue), so
/// that a program which reopens it at once meets EBUSY: try this often, this far apart.
const BIND_ATTEMPTS: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(4);
/// `XDP_UMEM_TX_METADATA_LEN` (Linux 6.11, uapi/linux/if_xdp.h): the field of this name counts.
const UMEM_TX_METADATA_LEN: XdpUmemRegFlags = XdpUmemRegFlags::from_bits_retain(1 << 2);

/// A bound socket and its rings.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fill: Producer<u64>,
    pub(super) rx: Consumer<XdpDesc>,
    pub(super) tx: Producer<XdpDesc>,
    pub(super) completion: Consumer<u64>,
    pub(super) fd: OwnedFd,
    pub(super) zero_copy: bool,
    /// The kernel reads what [`super::tx_metadata`] writes.
    pub(super) tx_metadata: bool,
}

/// Opens a socket on the queue, registers the UMEM, fills the fill ring and binds.
pub(super) fn open(
    interface: &Interface,
    queue: u32,
    options: &Options,
    umem: &mut Umem,
    zero_copy: bool,
) -> Result<Socket, Error> {
    let fd: OwnedFd = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(|errno| classify("open an AF_XDP socket", errno))?;
    // Without a copy the driver reads the notes, and one that does not would send wrong checksums.
    let wanted = options.tx_checksum
        && (!zero_copy
            || netdev::features(interface.index).is_some_and(|features| features.tx_checksum));
    let tx_metadata = register_umem(&fd, umem, wanted)?;
    let mut socket = map_rings(fd, options)?;
    socket.tx_metadata = tx_metadata;
    for addr in umem.lend_rx() {
        socket.fill.push(addr).expect("the fill ring has two slots for every receive chunk");
    }
    socket.fill.publish();
    set_options(&socket.fd, options)?;
    bind_to_queue(&socket.fd, interface, queue, zero_copy)?;
    let answer = sockopt::xdp_options(&socket.fd)
        .map_err(|errno| classify("ask an AF_XDP socket for its mode", errno))?;
    socket.zero_copy = answer.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
    Ok(socket)
}

/// Registers the memory and returns whether transmit metadata was agreed on, which is tried if it is
/// wanted; older kernels do not know it.
fn register_umem(fd: &OwnedFd, umem: &mut Umem, metadata: bool) -> Result<bool, Error> {
    const ACTION: &str = "register packet buffers with the kernel";
    let (addr, bytes, chunk_size) = umem.registration();
    let register = |flags, tx_metadata_len| {
        let len = u64::try_from(bytes).expect("usize has at most 64 bits");
        let registration =
            XdpUmemReg { addr, len, chunk_size, headroom: 0, flags, tx_metadata_len };
        sockopt::set_xdp_umem_reg(fd, registration)
    };
    let mut result = Err(Errno::INVAL);
    if metadata {
        result = register(UMEM_TX_METADATA_LEN, tx_metadata::LEN_U32);
    }
    let agreed = result.is_ok();
    if result == Err(Errno::INVAL) {
        result = register(XdpUmemRegFlags::empty(), 0);
    }
    umem.set_tx_metadata_len(if agreed { tx_metadata::LEN } else { 0 });
    result.map(|()| agreed).map_err(|errno| match errno {
        // The kernel's answer to RLIMIT_MEMLOCK.
        Errno::NOBUFS => Error::Memlock { bytes },
        Errno::NOMEM => Error::OutOfMemory { action: ACTION, bytes },
        _ => classify(ACTION, errno),
    })
}

/// Sizes and maps the rings.
///
/// The receive ring has a slot for every receive chunk, so that a received one can always be
/// delivered. The fill ring has two, so that one can always be given back: the kernel delivers a
/// frame before it publishes that it took the chunk's fill slot (xsk_flush in copy mode, the next
/// refill with zero-copy), so that a chunk given back in between occupies its old slot and a new
/// one. Not more than these: the kernel takes the new one only after it published the old one.
fn map_rings(fd: OwnedFd, options: &Options) -> Result<Socket, Error> {
    const ACTION: &str = "set up the rings of an AF_XDP socket";
    let rx = options.rx_frames.next_power_of_two();
    let fill = 2 * rx;
    let tx = options.tx_ring_entries.next_power_of_two();
    let failed = |errno| match errno {
        Errno::NOMEM | Errno::NOBUFS => Error::OutOfMemory {
            action: ACTION,
            bytes: usize::try_from(rx.max(tx)).map_or(usize::MAX, |entries| entries * 16),
        },
        _ => classify(ACTION, errno),
    };
    sockopt::set_xdp_umem_fill_ring_size(&fd, fill).map_err(failed)?;
    sockopt::set_xdp_umem_completion_ring_size(&fd, tx).map_err(failed)?;
    sockopt::set_xdp_rx_ring_size(&fd, rx).map_err(failed)?;
    sockopt::set_xdp_tx_ring_size(&fd, tx).map_err(failed)?;
    let offsets = sockopt::xdp_mmap_offsets(&fd).map_err(failed)?;
    Ok(Socket {
        fill: Producer::new(
            map_ring(&fd, &offsets.fr, fill, XDP_UMEM_PGOFF_FILL_RING).map_err(failed)?,
        ),
        rx: Consumer::new(map_ring(&fd, &offsets.rx, rx, XDP_PGOFF_RX_RING).map_err(failed)?),
        tx: Producer::new(map_ring(&fd, &offsets.tx, tx, XDP_PGOFF_TX_RING).map_err(failed)?),
        completion: Consumer::new(
            map_ring(&fd, &offsets.cr, tx, XDP_UMEM_PGOFF_COMPLETION_RING).map_err(failed)?,
        ),
        fd,
        zero_copy: false,
        tx_metadata: false,
    })
}

fn map_ring<T: Slot>(
    fd: &OwnedFd,
    offsets: &XdpRingOffset,
    entries: u32,
    page_offset: u64,
) -> Result<RingMemory<T>, Errno> {
    let slots = usize::try_from(entries).expect("32 bits fit") * size_of::<T>();
    let start = usize::try_from(offsets.desc).map_err(|_too_large| Errno::INVAL)?;
    let mapping = Mapping::of_ring(fd.as_fd(), start + slots, page_offset)?;
    Ok(RingMemory::new(Arc::new(mapping), offsets, entries))
}

fn set_options(fd: &OwnedFd, options: &Options) -> Result<(), Error> {
    // In copy mode each frame in flight is charged to the socket as an sk_buff of up to twice its
    // size, and the default limit holds only some hundred. Best effort: beyond the limit the
    // kernel says EAGAIN, and the frames wait in the ring.
    let bytes = usize::try_from(options.tx_ring_entries).map_or(usize::MAX, |n| n * 8192);
    let bytes = bytes.min(1 << 30);
    if sockopt::set_socket_send_buffer_size_force(fd, bytes).is_err()
        && let Err(errno) = sockopt::set_socket_send_buffer_size(fd, bytes)
    {
        tracing::debug!(%errno, "cannot raise the send buffer of an AF_XDP socket");
    }
    if options.raise_tx_budget {
        let entries = options.tx_ring_entries.next_power_of_two();
        if let Err(errno) = calls::set_tx_skb_budget(fd.as_fd(), entries) {
            tracing::debug!(%errno, "AF_XDP transmit budget stays 32 (raised since Linux 6.17)");
        }
    }
    if let Some(busy_poll) = options.busy_poll {
        calls::set_busy_poll(fd.as_fd(), busy_poll.usecs, busy_poll.budget)
            .map_err(|errno| Error::BusyPoll { source: errno.into() })?;
    }
    Ok(())
}

fn bind_to_queue(
    fd: &OwnedFd,
    interface: &Interface,
    queue: u32,
    zero_copy: bool,
) -> Result<(), Error> {
    let mode =
        if zero_copy { SocketAddrXdpFlags::XDP_ZEROCOPY } else { SocketAddrXdpFlags::XDP_COPY };
    let flags = mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    let address = SocketAddrXdp::new(flags, interface.index, queue);
    let mut attempts = 1;
    let errno = loop {
        match bind(fd, &address) {
            Ok(()) => return Ok(()),
            Err(Errno::BUSY) if attempts < BIND_ATTEMPTS => pause(BIND_PAUSE),
            Err(errno) => break errno,
        }
        attempts += 1;
    };
    let name = interface.name.clone();
    Err(match errno {
        Errno::BUSY => Error::QueueTaken { interface: name, queue },
        Errno::NODEV => Error::NoSuchInterface { interface: name },
        Errno::NETDOWN => Error::InterfaceDown { interface: name },
        Errno::NOMEM | Errno::NOBUFS => {
            Error::OutOfMemory { action: "bind an AF_XDP socket", bytes: 0 }
        }
        _ if zero_copy => Error::ZeroCopyUnsupported {
            interface: name,
            queue,
            driver: interface.driver_name().to_owned(),
            source: errno.into(),
        },
        // In copy mode this is all that the kernel can mind.
        Errno::INVAL => Error::QueueOutOfRange { interface: name, queue, queues: None },
        _ => classify("bind an AF_XDP socket", errno),
    })
}

/// Waits while a port is opened.
pub(super) fn pause(duration: Duration) {
    let pause = Timespec::try_from(duration).expect("a few milliseconds");
    if let Err(errno) = poll(&mut [], Some(&pause)) {
        tracing::debug!(%errno, "interrupted while waiting for a queue");
    }
}
