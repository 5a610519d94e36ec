//! SPDK's thread: takes requests of all queues, lets SPDK work, and gives completions back.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use super::ffi::{Bdev, Flight, Flush, Shape, Start, StartError, Started, Submitted};
use super::{SpdkError, Waiter};
use crate::device::{DeviceError, Operation};

/// How often SPDK is polled in vain, with nothing in flight, before the thread sleeps.
const IDLE_POLLS: u32 = 10_000;
/// How often SPDK is polled in vain, with requests in flight, before other threads of this core have
/// a turn.
const BUSY_POLLS: u32 = 1_000;
/// Longest sleep: SPDK has work of its own now and then, such as an NVMe device's events.
const SLEEP: Duration = Duration::from_millis(5);

/// To SPDK's thread.
#[derive(Debug)]
pub(super) enum Message {
    /// Open a bdev.
    Open {
        /// Its name.
        name: CString,
        /// Where its number goes.
        answer: Sender<Result<(usize, Shape), OpenError>>,
    },
    /// Do something with an open bdev.
    Start {
        /// Its number.
        bdev: usize,
        /// What is to be done.
        flight: Box<Flight<Waiter>>,
    },
    /// Close a bdev, once nothing is in flight on it.
    Close(usize),
    /// End SPDK; all bdevs have been closed.
    Stop,
}

/// Why a bdev cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// There is none of that name; these there are.
    Missing(Vec<String>),
    /// The operating system's error number.
    Failed(i32),
}

/// Messages from any thread. Their number is bounded by what the queues may have in flight.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    messages: SegQueue<Message>,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Inbox {
    pub(super) fn send(&self, message: Message) {
        self.messages.push(message);
        // With the fence in `sleep`: either this sees that the thread sleeps, or it sees the message.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until a message comes, or SPDK wants its turn.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.messages.is_empty() {
            std::thread::park_timeout(SLEEP);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// Starts SPDK on a thread of its own, and returns when it runs.
pub(super) fn spawn(start: Start, inbox: Arc<Inbox>) -> Result<JoinHandle<()>, SpdkError> {
    let (answer, answered) = channel();
    let thread = std::thread::Builder::new().name("spdk".to_owned());
    let thread = thread.spawn(move || {
        inbox.thread.set(std::thread::current()).ok();
        match Started::new(&start) {
            Ok(started) => {
                answer.send(Ok(())).ok();
                Poller { started, inbox, bdevs: Vec::new() }.run();
            }
            Err(error) => {
                answer.send(Err(error)).ok();
            }
        }
    });
    let thread = thread.map_err(SpdkError::Thread)?;
    match answered.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(StartError { step, code, said })) => {
            Err(SpdkError::Start { what: step.what(), code, said })
        }
        Err(_ended) => Err(SpdkError::Thread(std::io::ErrorKind::BrokenPipe.into())),
    }
}

struct Poller {
    started: Started,
    inbox: Arc<Inbox>,
    /// By their numbers; closed ones leave a gap.
    bdevs: Vec<Option<Open>>,
}

struct Open {
    bdev: Bdev<Waiter>,
    block_len: u32,
    can_flush: bool,
    /// What SPDK had no room for, in order; and whether a flush is to be done in its place.
    delayed: VecDeque<(Box<Flight<Waiter>>, bool)>,
    closing: bool,
}

impl Poller {
    fn run(mut self) {
        let mut vain = 0_u32;
        loop {
            let mut worked = false;
            while let Some(message) = self.inbox.messages.pop() {
                worked = true;
                match message {
                    Message::Open { name, answer } => {
                        answer.send(self.open(&name)).ok();
                    }
                    Message::Start { bdev, flight } => {
                        let open = self.bdevs.get_mut(bdev).and_then(Option::as_mut);
                        open.expect("a queue keeps its bdev open").start(flight, false);
                    }
                    Message::Close(bdev) => {
                        if let Some(Some(open)) = self.bdevs.get_mut(bdev) {
                            open.closing = true;
                        }
                    }
                    Message::Stop => {
                        self.bdevs.clear();
                        self.started.stop();
                        return;
                    }
                }
            }
            worked |= self.started.poll();
            let mut in_flight = 0;
            for slot in &mut self.bdevs {
                let Some(open) = slot else { continue };
                worked |= open.settle();
                in_flight += open.in_flight();
                if open.closing && open.in_flight() == 0 {
                    *slot = None;
                }
            }
            vain = if worked { 0 } else { vain.saturating_add(1) };
            if in_flight == 0 && vain >= IDLE_POLLS {
                self.inbox.sleep();
            } else if vain > 0 && vain.is_multiple_of(BUSY_POLLS) {
                std::thread::yield_now();
            }
        }
    }

    fn open(&mut self, name: &CString) -> Result<(usize, Shape), OpenError> {
        let names = self.started.names();
        if !names.iter().any(|known| known.as_bytes() == name.as_bytes()) {
            return Err(OpenError::Missing(names));
        }
        let (bdev, shape) = self.started.open(name).map_err(OpenError::Failed)?;
        self.bdevs.push(Some(Open {
            bdev,
            block_len: shape.block_len,
            can_flush: shape.flush != Flush::Missing,
            delayed: VecDeque::new(),
            closing: false,
        }));
        Ok((self.bdevs.len() - 1, shape))
    }
}

impl Open {
    fn in_flight(&self) -> usize {
        self.bdev.in_flight() + self.delayed.len()
    }

    /// Hands a request to SPDK, behind those that wait already.
    fn start(&mut self, flight: Box<Flight<Waiter>>, as_flush: bool) {
        if self.delayed.is_empty() {
            self.submit(flight, as_flush);
        } else {
            self.delayed.push_back((flight, as_flush));
        }
    }

    /// Returns whether SPDK had room.
    fn submit(&mut self, flight: Box<Flight<Waiter>>, as_flush: bool) -> bool {
        match self.bdev.submit(flight, self.block_len, as_flush) {
            Submitted::Taken => true,
            Submitted::Later(flight) => {
                self.delayed.push_front((flight, as_flush));
                false
            }
            Submitted::Failed(flight, error) => {
                complete(*flight, Err(error));
                true
            }
        }
    }

    /// Gives back what has ended, and tries again what SPDK had no room for.
    fn settle(&mut self) -> bool {
        let mut worked = false;
        while let Some(flight) = self.bdev.ended() {
            worked = true;
            let result = flight.result();
            let durable =
                matches!(flight.operation, Operation::Write { force_unit_access: true, .. });
            if durable && self.can_flush && result.is_ok() && !flight.was_flush() {
                self.start(flight, true);
            } else {
                complete(*flight, result);
            }
        }
        while let Some((flight, as_flush)) = self.delayed.pop_front() {
            if !self.submit(flight, as_flush) {
                break;
            }
            worked = true;
        }
        worked
    }
}

fn complete(flight: Flight<Waiter>, result: Result<(), DeviceError>) {
    let Flight { operation, waiter, .. } = flight;
    waiter.complete(operation, result);
}
