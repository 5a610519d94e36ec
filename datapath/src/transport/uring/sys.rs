//! [`Ring`]: requests whose memory the kernel uses until they complete, behind safe functions.

#![allow(unsafe_code, reason = "the kernel is handed addresses")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};

mod buffers;

use buffers::Buffers;
pub(super) use buffers::{BUFFERS, Filled};

/// Requests that wait for the next [`Ring::enter`]; one more calls it at once.
pub(super) const SUBMISSIONS_MAX: u32 = 512;
/// Completions that the kernel can note; what is beyond it keeps and notes when there is room.
pub(super) const COMPLETIONS_MAX: u32 = 4096;
/// The only group of receive buffers.
const GROUP: u16 = 0;
/// Linux's MSG_WAITALL: a send that went through in part goes on by itself.
const MSG_WAITALL: u32 = 0x100;

/// What a request is about; it comes back with each completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Accepting from the listener of this number.
    Accept(u32),
    /// Receiving on the connection of this index.
    Receive(u32),
    /// Sending on the connection of this index.
    Send(u32),
    /// Waiting until a descriptor is readable.
    Watch,
    /// Cancelling something.
    Cancel,
}

impl Tag {
    fn pack(self) -> u64 {
        let (kind, index) = match self {
            Self::Accept(index) => (0, index),
            Self::Receive(index) => (1, index),
            Self::Send(index) => (2, index),
            Self::Watch => (3, 0),
            Self::Cancel => (4, 0),
        };
        kind << 32 | u64::from(index)
    }

    fn unpack(packed: u64) -> Self {
        let index = u32::try_from(packed & 0xffff_ffff).unwrap_or(u32::MAX);
        match packed >> 32 {
            0 => Self::Accept(index),
            1 => Self::Receive(index),
            2 => Self::Send(index),
            3 => Self::Watch,
            _ => Self::Cancel,
        }
    }
}

/// What became of a request. `more`: it goes on, and completes again.
#[derive(Debug)]
pub(super) enum Completion {
    /// A connection was accepted, or accepting failed.
    Accepted { listener: u32, outcome: Result<OwnedFd, Errno>, more: bool },
    /// Bytes arrived; `None`: the peer's FIN.
    Received { index: u32, outcome: Result<Option<Filled>, Errno>, more: bool },
    /// How many bytes were sent. The buffer comes back.
    Sent { index: u32, outcome: Result<usize, Errno>, buffer: Vec<u8> },
    /// The watched descriptor is readable, or cannot be watched.
    Watched,
    /// A request was cancelled, or had ended before.
    Cancelled,
}

/// How often the kernel was entered, and what came of it.
#[derive(Debug, Default)]
pub(super) struct RingCounters {
    pub(super) enters: u64,
    /// The kernel had no memory for a request, and got it again later.
    pub(super) enters_put_off: u64,
    /// More completed than fits [`COMPLETIONS_MAX`].
    pub(super) cq_overflows: u64,
}

/// An io_uring with its receive buffers, for the thread that made it.
pub(super) struct Ring {
    ring: IoUring,
    buffers: Buffers,
    /// What is being sent, by the index of the connection.
    sending: Vec<Option<Vec<u8>>>,
    /// Requests for which the submission queue had no room: at most a few for each connection.
    backlog: VecDeque<squeue::Entry>,
    /// Completions that were taken out to make room.
    taken: VecDeque<cqueue::Entry>,
    /// Requests that have not completed for the last time.
    requests: usize,
    pub(super) counters: RingCounters,
}

impl Ring {
    /// A ring of the calling thread.
    ///
    /// # Errors
    /// What the kernel answers: ENOSYS and EPERM without io_uring, EINVAL before Linux 6.0.
    pub(super) fn new() -> io::Result<Self> {
        // Deferred task work would be cheaper, but it does not wake who polls the ring's descriptor.
        // SINGLE_ISSUER came with Linux 6.0, as the multishot receive did, which cannot be asked for.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS_MAX)
            .build(SUBMISSIONS_MAX)?;
        if !ring.params().is_feature_nodrop() {
            return Err(Errno::INVAL.into());
        }
        let buffers = Buffers::new();
        // SAFETY: the ring of buffers has BUFFERS slots at this address and lives until `Ring` is
        // dropped, after the io_uring (fields are dropped in their order).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(buffers.ring_addr(), BUFFERS, GROUP, 0)
        }?;
        Ok(Self {
            ring,
            buffers,
            sending: Vec::new(),
            backlog: VecDeque::new(),
            taken: VecDeque::new(),
            requests: 0,
            counters: RingCounters::default(),
        })
    }

    /// Accepts from `listener` until it fails or is cancelled.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, number: u32) {
        let flags = i32::try_from(SocketFlags::CLOEXEC.bits()).expect("a flag of accept4(2)");
        let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).flags(flags);
        self.push(accept.build(), Tag::Accept(number));
    }

    /// Receives on `socket` until its end, a failure, a lack of buffers, or a cancellation.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, index: u32) {
        let receive = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), GROUP);
        self.push(receive.build(), Tag::Receive(index));
    }

    /// Sends all of `buffer`. A connection has one send at a time.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, index: u32, buffer: Vec<u8>) {
        let at = index as usize;
        if at >= self.sending.len() {
            self.sending.resize_with(at + 1, || None);
        }
        let slot = self.sending.get_mut(at).expect("made above");
        assert!(slot.is_none(), "a connection has one send at a time");
        let buffer = slot.insert(buffer);
        let flags = i32::try_from(SendFlags::NOSIGNAL.bits() | MSG_WAITALL).expect("small bits");
        let len = u32::try_from(buffer.len()).expect("sends are short");
        let send = opcode::Send::new(types::Fd(socket.as_raw_fd()), buffer.as_ptr(), len);
        self.push(send.flags(flags).build(), Tag::Send(index));
    }

    /// Tells once when `fd` is readable.
    pub(super) fn watch(&mut self, fd: BorrowedFd<'_>) {
        let events = u32::from(PollFlags::IN.bits());
        let watch = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), events);
        self.push(watch.build(), Tag::Watch);
    }

    /// Ends a request; it still completes.
    pub(super) fn cancel(&mut self, tag: Tag) {
        self.push(opcode::AsyncCancel::new(tag.pack()).build(), Tag::Cancel);
    }

    /// What was received.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        self.buffers.bytes(filled)
    }

    /// Gives a receive buffer back.
    pub(super) fn give_back(&mut self, filled: Filled) {
        self.buffers.give_back(filled);
    }

    /// Whether the kernel has something to do, so that [`Ring::enter`] may lead to completions.
    pub(super) fn has_work(&mut self) -> bool {
        let submission = self.ring.submission();
        submission.taskrun() || submission.cq_overflow() || !submission.is_empty()
    }

    /// Whether requests wait for [`Ring::enter`].
    pub(super) fn has_requests(&mut self) -> bool {
        !self.backlog.is_empty() || !self.ring.submission().is_empty()
    }

    /// Hands requests to the kernel and lets it do what has become possible. Does not wait.
    pub(super) fn enter(&mut self) {
        loop {
            self.submit_backlog();
            self.counters.enters += 1;
            self.counters.cq_overflows += u64::from(self.ring.submission().cq_overflow());
            if let Err(error) = self.ring.submit() {
                let errno = Errno::from_io_error(&error);
                let is_transient =
                    matches!(errno, Some(Errno::INTR | Errno::AGAIN | Errno::BUSY | Errno::NOMEM));
                assert!(is_transient, "the kernel does not take a ring of our making: {error}");
                // What it did not take stays queued for the next time.
                self.counters.enters_put_off += 1;
                return;
            }
            if self.backlog.is_empty() {
                return;
            }
            let completion = self.ring.completion();
            self.taken.extend(completion);
        }
    }

    /// The next completion.
    pub(super) fn next(&mut self) -> Option<Completion> {
        let entry = match self.taken.pop_front() {
            Some(entry) => entry,
            None => self.ring.completion().next()?,
        };
        let more = cqueue::more(entry.flags());
        self.requests -= usize::from(!more);
        let result = u32::try_from(entry.result())
            .map_err(|_negative| Errno::from_raw_os_error(entry.result().saturating_neg()));
        let completion = match Tag::unpack(entry.user_data()) {
            Tag::Accept(listener) => {
                Completion::Accepted { listener, outcome: result.and_then(accepted), more }
            }
            Tag::Receive(index) => {
                let id = cqueue::buffer_select(entry.flags());
                let outcome = result.map(|len| self.buffers.take(id?, len));
                Completion::Received { index, outcome: self.end_of_stream(outcome), more }
            }
            Tag::Send(index) => {
                let buffer = self.sending.get_mut(index as usize).and_then(Option::take);
                let outcome = result.map(|len| len as usize);
                Completion::Sent { index, outcome, buffer: buffer.unwrap_or_default() }
            }
            Tag::Watch => Completion::Watched,
            Tag::Cancel => Completion::Cancelled,
        };
        Some(completion)
    }

    /// A buffer without bytes says the same as no buffer, and goes back at once.
    fn end_of_stream(
        &mut self,
        outcome: Result<Option<Filled>, Errno>,
    ) -> Result<Option<Filled>, Errno> {
        match outcome {
            Ok(Some(filled)) if filled.len() == 0 => {
                self.buffers.give_back(filled);
                Ok(None)
            }
            other => other,
        }
    }

    fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        let entry = entry.user_data(tag.pack());
        self.requests += 1;
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            self.backlog.push_back(entry);
            self.enter();
        }
    }

    fn submit_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the only memory that an entry of ours names is that of a buffer in `sending`: heap
        // memory that nobody touches and that is not freed before the send's last completion was
        // seen (`next`) or never came (`drop` leaks it then). Receives use the registered buffers.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }
}

fn accepted(fd: u32) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the kernel made this descriptor for the accept request, and told nobody else of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl AsFd for Ring {
    /// Becomes readable when there are completions or [`Ring::has_work`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `ring`, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

impl Drop for Ring {
    /// Ends all requests and waits until the kernel uses no memory any more.
    fn drop(&mut self) {
        let all = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        self.push(all, Tag::Cancel);
        self.enter();
        while self.requests > 0 {
            while let Some(completion) = self.next() {
                if let Completion::Received { outcome: Ok(Some(filled)), .. } = completion {
                    self.give_back(filled);
                }
            }
            if self.requests > 0
                && let Err(error) = self.ring.submit_and_wait(1)
                && Errno::from_io_error(&error) != Some(Errno::INTR)
            {
                tracing::error!("requests of an io_uring cannot be ended: {error}");
                // The kernel may still read it.
                std::mem::take(&mut self.sending).leak();
                return;
            }
        }
    }
}
