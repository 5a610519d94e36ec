//! The calls that have no safe wrapper: naming a TAP device, and running before others.

#![allow(unsafe_code, reason = "the ioctl that makes a TAP device, and the scheduler")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Attaches an opened `/dev/net/tun` to the TAP device `name`, which is made if need be, in the
/// network namespace of the calling thread. Frames come and go without a header in front.
pub(crate) fn attach(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut ifr_name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    assert!(name.len() < ifr_name.len(), "a short name");
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::try_from(from).expect("an ASCII name");
    }
    let flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).expect("low bits");
    let request =
        libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives during the call.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets this thread, and those that it starts, run before all that is not of a real-time class.
pub(crate) fn run_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters are read during the call.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
