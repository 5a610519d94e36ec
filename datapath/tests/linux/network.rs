//! The lossy network between the client and a server, in real time.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coney_base::Instant;
use coney_base::time::Clock;
use coney_datapath::port::sim::{Link, LinkStats};
use coney_datapath::transport::Transport as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::server::Server;

/// How long a stop may go unnoticed.
const NAP_MAX: Duration = Duration::from_millis(5);
const FRAME_LEN_MAX: usize = 2048;
/// Frames taken from one device before it is the other's turn.
const BURST_MAX: usize = 64;

/// What is at the end of a link.
#[derive(Debug)]
pub(crate) enum End<'a> {
    /// Linux, through a TAP device.
    Tap(&'a OwnedFd),
    /// Our TCP.
    Ours(Box<Server>),
}

impl End<'_> {
    /// Lets the end work and hands on what it transmitted. Returns how much was done.
    fn collect(&mut self, now: Instant, at: usize, link: &mut Link) -> usize {
        match self {
            End::Tap(tap) => {
                let mut frame = [0; FRAME_LEN_MAX];
                let mut count = 0;
                while count < BURST_MAX {
                    match rustix::io::read(*tap, &mut frame) {
                        Ok(len) => link.enter(now, at, frame[..len].to_vec()),
                        Err(Errno::AGAIN) => break,
                        Err(error) => panic!("reading a TAP device: {error}"),
                    }
                    count += 1;
                }
                count
            }
            End::Ours(server) => {
                let work = server.step(now);
                for frame in server.transport.port_mut().take_transmitted() {
                    link.enter(now, at, frame);
                }
                work
            }
        }
    }

    /// Delivers a frame. Whether there was room is the receiver's affair.
    fn deliver(&mut self, frame: &[u8]) -> bool {
        match self {
            End::Tap(tap) => rustix::io::write(*tap, frame).is_ok_and(|len| len == frame.len()),
            End::Ours(server) => server.transport.port_mut().inject(frame),
        }
    }
}

/// What happened in a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) link: LinkStats,
    /// Frames that an end had no room for.
    pub(crate) refused: u64,
}

/// Runs the network until `stop`.
pub(crate) fn run(mut ends: [End<'_>; 2], mut link: Link, stop: &AtomicBool) -> Report {
    let clock = Clock::new();
    let mut refused = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let mut work = 0;
        for (at, end) in ends.iter_mut().enumerate() {
            work += end.collect(now, at, &mut link);
        }
        for (at, end) in ends.iter_mut().enumerate() {
            while let Some(frame) = link.leave(now, 1 - at) {
                refused += u64::from(!end.deliver(&frame));
                work += 1;
            }
        }
        if work == 0 {
            nap(clock.now(), &ends, &link);
        }
    }
    Report { link: link.stats(), refused }
}

/// Until a device has a frame, or something is due.
fn nap(now: Instant, ends: &[End<'_>; 2], link: &Link) {
    let mut fds = Vec::with_capacity(2);
    let mut until = link.next_arrival().map_or(NAP_MAX, |at| at.since(now));
    for end in ends {
        match end {
            End::Tap(tap) => fds.push(PollFd::from_borrowed_fd(tap.as_fd(), PollFlags::IN)),
            End::Ours(server) => {
                let due = server.transport.next_deadline();
                until = until.min(due.map_or(NAP_MAX, |at| at.since(now)));
            }
        }
    }
    let nap = Timespec::try_from(until.min(NAP_MAX)).expect("a short time");
    poll(&mut fds, Some(&nap)).expect("descriptors are good");
}
