//! Messages to a worker: the only way in which other threads reach it.

use std::sync::Arc;

use coney_control::clients::ClientRow;
use coney_control::info::WorkerRow;
use coney_engine::{DueKey, JobDone};
use coney_xdp_prog::Rules;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::io::Errno;

use super::session::SessionKey;
use crate::waker::Waker;

/// Messages that may wait for a worker. The senders are threads that may block: they wait for
/// room. Every connection has at most one answer under way, so the queue does not fill in practice.
pub(crate) const MESSAGES_MAX: usize = 16 * 1024;

/// What other threads have to say to a worker.
#[derive(Debug)]
pub(crate) enum Message {
    /// The I/O pool has done what a parked command asked for.
    JobDone {
        /// Whose command.
        session: SessionKey,
        /// The result.
        done: Box<JobDone>,
    },
    /// The control plane has answered a parked command.
    AdminDone {
        /// Whose command.
        session: SessionKey,
        /// The reply, already RESP; may be empty.
        reply: Vec<u8>,
        /// Close the connection after the reply.
        close: bool,
    },
    /// The control plane has answered the commands of a transaction, whose EXEC is parked.
    AdminQueueDone {
        /// Whose transaction.
        session: SessionKey,
        /// The replies in order, already RESP.
        replies: Vec<Vec<u8>>,
        /// Close the connection after the reply of EXEC.
        close: bool,
    },
    /// Keys whose deadline has passed.
    Expire(Vec<DueKey>),
    /// Close these clients' connections and say how many there were; those of other workers are
    /// not found here.
    Kill(Vec<u64>, Sender<usize>),
    /// End this client's blocking command, with an error or as if its time were over, and say whether
    /// it waited in one (1) or not (0).
    Unblock {
        /// CLIENT ID.
        client: u64,
        /// With an error.
        with_error: bool,
        /// Who asks.
        answer: Sender<usize>,
    },
    /// Describe all clients.
    ListClients(Sender<Vec<ClientRow>>),
    /// Report counters.
    Report(Sender<Box<WorkerRow>>),
    /// From now on, these decide who may connect, and how fast.
    SetRules(Arc<Rules>),
    /// The log could not be brought to the disk.
    SyncFailed,
    /// Set the counters that CONFIG RESETSTAT resets to zero.
    ResetStats,
    /// Finish what was received, close every connection and end.
    Stop,
}

/// Where messages for one worker go.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    /// Index of the worker.
    pub(crate) id: usize,
    messages: Sender<Message>,
    waker: Waker,
}

impl WorkerHandle {
    /// A handle and the worker's end of the queue.
    ///
    /// # Errors
    /// The process has no file descriptors left.
    pub(crate) fn new(id: usize) -> Result<(Self, Receiver<Message>), Errno> {
        let (messages, receiver) = bounded(MESSAGES_MAX);
        Ok((Self { id, messages, waker: Waker::new()? }, receiver))
    }

    /// Sends a message; waits for room. A worker that has ended takes nothing more.
    pub(crate) fn send(&self, message: Message) {
        if self.messages.send(message).is_ok() {
            self.waker.wake();
        }
    }

    /// Wakes the worker to look at shared state.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }
}
