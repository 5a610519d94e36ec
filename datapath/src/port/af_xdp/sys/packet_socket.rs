//! An AF_PACKET socket for tests: the kernel's own way to raw frames, as the port's peer.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// A socket that sends on the interface, and receives the frames of one Ethernet type; 0: none.
pub(in super::super) fn open(interface_index: u32, ethertype: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().unwrap(),
        sll_protocol: ethertype.to_be(),
        sll_ifindex: interface_index.try_into().unwrap(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>().try_into().unwrap();
    // SAFETY: the pointer leads to an address of `len` bytes that lives during the call.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
    if result == 0 { Ok(fd) } else { Err(super::calls::last_errno()) }
}
