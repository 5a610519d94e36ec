//! System calls that no safe crate of the tree offers.
#![allow(unsafe_code, reason = "raw system calls")]

use std::io::Error;
use std::ptr;

/// Whether the kernel lets this process use io_uring.
///
/// # Errors
/// `ENOSYS`: the kernel has none. `EPERM`: it is forbidden.
pub(super) fn probe_io_uring() -> Result<(), Error> {
    // SAFETY: with zero entries and no parameters the call creates nothing and writes nothing: the
    // kernel checks whether it is permitted, then fails to copy the parameters from address zero.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, 0_u32, ptr::null_mut::<libc::c_void>()) };
    if result >= 0 {
        return Ok(());
    }
    let error = Error::last_os_error();
    match error.raw_os_error() {
        // It looked at the arguments: it would have worked.
        Some(libc::EFAULT | libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}
