//! Socket options and ioctls that rustix does not have.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// Frames of one copy-mode transmit call, 32 unless set (Linux 6.17, uapi/linux/if_xdp.h).
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;
/// uapi/asm-generic/socket.h; libc has the first alone.
const SO_BUSY_POLL: c_int = libc::SO_BUSY_POLL;
const SO_PREFER_BUSY_POLL: c_int = 69;
const SO_BUSY_POLL_BUDGET: c_int = 70;

/// uapi/linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ifreq` with its union as plain bytes.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}
const _: () = assert!(size_of::<InterfaceRequest>() == size_of::<libc::ifreq>());

/// `struct ifreq` whose union holds a pointer.
#[repr(C)]
struct PointerRequest {
    name: [u8; libc::IFNAMSIZ],
    pointer: *mut c_void,
    unused: [u8; 24 - size_of::<usize>()],
}
const _: () = assert!(size_of::<PointerRequest>() == size_of::<libc::ifreq>());

/// `struct ethtool_drvinfo`
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    unused: [u8; 160],
}
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ethtool_channels`
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}
const _: () = assert!(size_of::<Channels>() == 36);

/// How many queues an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct QueueCounts {
    pub(in super::super) rx: u32,
    pub(in super::super) tx: u32,
}

/// Lets one copy-mode transmit call send up to `frames`. ENOPROTOOPT: an older kernel.
pub(in super::super) fn set_tx_skb_budget(xsk: BorrowedFd<'_>, frames: u32) -> Result<(), Errno> {
    set_option(xsk, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames)
}

/// Makes receive and transmit calls on the socket poll the device for up to `usecs`.
pub(in super::super) fn set_busy_poll(
    xsk: BorrowedFd<'_>,
    usecs: u32,
    budget: u32,
) -> Result<(), Errno> {
    set_option(xsk, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)?;
    set_option(xsk, libc::SOL_SOCKET, SO_BUSY_POLL, usecs)?;
    set_option(xsk, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, budget)
}

fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: u32) -> Result<(), Errno> {
    const LEN: libc::socklen_t = 4;
    let pointer = (&raw const value).cast::<c_void>();
    // SAFETY: `pointer` leads to `LEN` readable bytes for the call, and the kernel checks the rest.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, LEN) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// SIOCGIFMTU.
pub(in super::super) fn mtu(socket: BorrowedFd<'_>, name: &str) -> Result<u32, Errno> {
    let [a, b, c, d, ..] = interface_ioctl(socket, name, libc::SIOCGIFMTU)?;
    Ok(u32::from_ne_bytes([a, b, c, d]))
}

/// SIOCGIFFLAGS, of which IFF_UP.
pub(in super::super) fn is_up(socket: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    let [a, b, ..] = interface_ioctl(socket, name, libc::SIOCGIFFLAGS)?;
    Ok(c_int::from(i16::from_ne_bytes([a, b])) & libc::IFF_UP != 0)
}

/// SIOCGIFHWADDR: the first six bytes, which are all of an Ethernet address.
pub(in super::super) fn mac(socket: BorrowedFd<'_>, name: &str) -> Result<[u8; 6], Errno> {
    let [_, _, a, b, c, d, e, f, ..] = interface_ioctl(socket, name, libc::SIOCGIFHWADDR)?;
    Ok([a, b, c, d, e, f])
}

/// Name of the driver, as `ethtool -i` shows it. EOPNOTSUPP: the device has none.
pub(in super::super) fn driver(socket: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], unused: [0; 160] };
    // SAFETY: the request's structure is `struct ethtool_drvinfo`.
    unsafe { ethtool(socket, name, (&raw mut info).cast()) }?;
    let text: Vec<u8> = info.driver.into_iter().take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Queues in use, as `ethtool -l` shows them. EOPNOTSUPP: the driver does not tell.
pub(in super::super) fn queue_counts(
    socket: BorrowedFd<'_>,
    name: &str,
) -> Result<QueueCounts, Errno> {
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    // SAFETY: the request's structure is `struct ethtool_channels`.
    unsafe { ethtool(socket, name, (&raw mut channels).cast()) }?;
    Ok(QueueCounts {
        rx: channels.rx.saturating_add(channels.combined),
        tx: channels.tx.saturating_add(channels.combined),
    })
}

fn interface_ioctl(
    socket: BorrowedFd<'_>,
    name: &str,
    request: libc::Ioctl,
) -> Result<[u8; 24], Errno> {
    let mut argument = InterfaceRequest { name: padded_name(name)?, value: [0; 24] };
    // SAFETY: these requests read and write one `struct ifreq`, which `argument` is laid out as.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut argument) };
    if result < 0 { Err(last_errno()) } else { Ok(argument.value) }
}

/// SIOCETHTOOL.
///
/// # Safety
/// `command` leads to a writable structure of the type that its first word, the request, implies.
unsafe fn ethtool(socket: BorrowedFd<'_>, name: &str, command: *mut c_void) -> Result<(), Errno> {
    let mut argument = PointerRequest {
        name: padded_name(name)?,
        pointer: command,
        unused: [0; 24 - size_of::<usize>()],
    };
    // SAFETY: SIOCETHTOOL reads a `struct ifreq` and, through its pointer, reads and writes the
    // structure of the request, which the caller guarantees to be of the right type.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut argument) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The name with its terminating NUL; ENODEV if none can be this long or have a NUL inside.
fn padded_name(name: &str) -> Result<[u8; libc::IFNAMSIZ], Errno> {
    let mut padded = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= padded.len() || name.contains('\0') {
        return Err(Errno::NODEV);
    }
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    Ok(padded)
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
