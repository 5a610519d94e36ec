//! Waking a worker that sleeps in `poll`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// Wakes one worker. A wake-up costs a syscall only while the worker sleeps.
///
/// Lost wake-ups cannot happen: the worker announces its sleep before it looks at its inbox for
/// the last time, and a sender puts its message there before it looks for the announcement. All
/// four steps are sequentially consistent, so at least one side sees the other.
#[derive(Debug)]
pub(crate) struct Waker {
    sleeping: AtomicBool,
    eventfd: OwnedFd,
}

impl Waker {
    /// # Errors
    /// The process has no file descriptors left.
    pub(crate) fn new() -> Result<Self, Errno> {
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { sleeping: AtomicBool::new(false), eventfd })
    }

    /// To be called after a message was put where the worker finds it.
    pub(crate) fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // The only failure is a full counter, and then the worker is awake already.
            rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes()).ok();
        }
    }

    /// The worker is about to sleep; it must look at its inbox once more before it does.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
    }

    /// The worker is awake again.
    pub(crate) fn awake(&self) {
        if !self.sleeping.swap(false, Ordering::SeqCst) {
            // Somebody wrote, or is just about to: take the wake-up back so that the next sleep
            // is not cut short. If it comes later, that sleep ends early, which is harmless.
            let mut count = [0_u8; 8];
            rustix::io::read(&self.eventfd, &mut count).ok();
        }
    }

    /// Becomes readable on a wake-up.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(waker: &Waker) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(waker.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn only_a_sleeping_worker_costs_a_syscall() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!readable(&waker), "awake: nothing to do");
        waker.announce_sleep();
        waker.wake();
        assert!(readable(&waker));
        waker.awake();
        assert!(!readable(&waker), "the wake-up was taken back");
    }
}
