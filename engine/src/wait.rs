//! Blocking commands: which clients wait for elements of which keys, in the order of arrival.
//!
//! A blocking command that finds nothing stops with `Stop::Wait`, and its client takes a place in
//! the queue of each of its keys; the queues are one table for all workers, looked at only while
//! somebody waits. A committed batch that put a list, a sorted set or a stream *calls* the first
//! client that waits for such a key: the client's number goes into the mailbox of its worker, which
//! executes the command again. A client that still finds nothing keeps its place. One that is
//! served, or gives up, leaves, and calls whoever is next in the queues that it left; that one may
//! be called for nothing, which costs no more than one try.
//!
//! Nothing is missed: a blocking command that writes holds the latches of its keys from before it
//! looks until after it has entered, so another worker's write is either committed before that, or
//! begins after it and finds the entry. One that only reads is called at once when it has entered,
//! and so looks again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coney_resp::Args;

use crate::client::Client;
use crate::command::{CommandSpec, Flags};
use crate::executor::Executor;
use crate::key;
use crate::meta::Kind;

/// A client in the queue of a key.
#[derive(Debug)]
struct Waiter {
    worker: usize,
    client: u64,
    kind: Kind,
}

/// The place of one client, as it keeps it itself.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    ticket: u64,
    kind: Kind,
    meta_keys: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Queues {
    last_ticket: u64,
    /// For each meta key, those that wait, by their tickets.
    by_key: BTreeMap<Vec<u8>, BTreeMap<u64, Waiter>>,
}

/// Clients of one worker that were called.
#[derive(Debug, Default)]
struct Mailbox {
    has_some: AtomicBool,
    called: Mutex<Vec<u64>>,
}

/// See the module page. One for all workers.
#[derive(Debug)]
pub(crate) struct Waits {
    /// Clients that wait. Read before anything else: mostly it is 0.
    count: AtomicUsize,
    queues: Mutex<Queues>,
    mailboxes: Box<[Mailbox]>,
}

impl Waits {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            queues: Mutex::default(),
            mailboxes: (0..workers).map(|_| Mailbox::default()).collect(),
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, worker: usize, client: u64, kind: Kind, meta_keys: Vec<Vec<u8>>) -> Place {
        self.count.fetch_add(1, Ordering::SeqCst);
        let mut queues = self.queues();
        queues.last_ticket += 1;
        let ticket = queues.last_ticket;
        for meta_key in &meta_keys {
            let queue = queues.by_key.entry(meta_key.clone()).or_default();
            queue.insert(ticket, Waiter { worker, client, kind });
        }
        Place { ticket, kind, meta_keys }
    }

    /// Takes a client out of its queues, and calls the next of each. Returns their workers.
    fn leave(&self, place: &Place) -> Vec<usize> {
        let mut queues = self.queues();
        let mut workers = Vec::new();
        for meta_key in &place.meta_keys {
            let Some(queue) = queues.by_key.get_mut(meta_key) else { continue };
            queue.remove(&place.ticket);
            if queue.is_empty() {
                queues.by_key.remove(meta_key);
            } else {
                self.call_from(queue, place.kind, &mut workers);
            }
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
        workers
    }

    /// There are elements of this kind at a key: calls the first who waits for such. Adds the
    /// workers of those called to `workers`.
    pub(crate) fn call(&self, meta_key: &[u8], kind: Kind, workers: &mut Vec<usize>) {
        if let Some(queue) = self.queues().by_key.get(meta_key) {
            self.call_from(queue, kind, workers);
        }
    }

    fn call_from(&self, queue: &BTreeMap<u64, Waiter>, kind: Kind, workers: &mut Vec<usize>) {
        // Entries of a stream are not used up by whoever reads them.
        let most = if kind == Kind::Stream { usize::MAX } else { 1 };
        for waiter in queue.values().filter(|waiter| waiter.kind == kind).take(most) {
            self.call_client(waiter.worker, waiter.client);
            if !workers.contains(&waiter.worker) {
                workers.push(waiter.worker);
            }
        }
    }

    fn call_client(&self, worker: usize, client: u64) {
        let mailbox = &self.mailboxes[worker];
        let mut called = mailbox.called.lock().unwrap_or_else(PoisonError::into_inner);
        // At most one entry for each client that waits.
        if !called.contains(&client) {
            called.push(client);
        }
        mailbox.has_some.store(true, Ordering::SeqCst);
    }
}

/// What the keys of a blocking command must hold to serve it.
fn kind_of(spec: &CommandSpec) -> Kind {
    match spec.full_name.as_bytes() {
        [b'b', b'z', ..] => Kind::ZSet,
        [b'x', ..] => Kind::Stream,
        _ => Kind::List,
    }
}

impl Executor {
    /// A blocking command found nothing: its client takes its place, or keeps it.
    pub(crate) fn wait(&self, spec: &'static CommandSpec, client: &mut Client, args: Args<'_>) {
        if client.waits.is_some() {
            return;
        }
        let keys = spec.keys_of(args);
        // BLMOVE waits for its source only.
        let most = if spec.keys.len() > 1 { 1 } else { usize::MAX };
        let mut meta_keys: Vec<Vec<u8>> = Vec::new();
        for user_key in keys.take(most) {
            let mut meta_key = Vec::new();
            key::write_meta_key(&mut meta_key, client.table, user_key);
            meta_keys.push(meta_key);
        }
        meta_keys.sort_unstable();
        meta_keys.dedup();
        let place = self.engine.waits.enter(self.id, client.id, kind_of(spec), meta_keys);
        client.waits = Some(Box::new(place));
        client.last_command = spec.full_name;
        if spec.flags.contains(Flags::READONLY) {
            self.engine.waits.call_client(self.id, client.id);
        }
    }

    /// The client's blocking command has ended, or waits no longer.
    pub fn stop_waiting(&mut self, client: &mut Client) {
        client.stream_ends = Vec::new();
        if let Some(place) = client.waits.take() {
            for worker in self.engine.waits.leave(&place) {
                self.note_called(worker);
            }
        }
    }

    fn note_called(&mut self, worker: usize) {
        if worker != self.id && !self.called_workers.contains(&worker) {
            self.called_workers.push(worker);
        }
    }

    /// Calls those who wait for what the batch has put; after a failed commit, for all that it
    /// touched, because they may have been passed over for its sake.
    pub(crate) fn call_waiting(&mut self, is_committed: bool) {
        if self.engine.waits.is_empty() {
            return;
        }
        let mut workers = Vec::new();
        for (meta_key, pending) in self.batch.all_pending() {
            if !is_committed {
                for kind in [Kind::List, Kind::ZSet, Kind::Stream] {
                    self.engine.waits.call(meta_key, kind, &mut workers);
                }
                continue;
            }
            if let crate::batch::Pending::Put(value) = pending
                && let Ok((header, _)) = crate::meta::Header::parse(value)
            {
                self.engine.waits.call(meta_key, header.kind, &mut workers);
            }
        }
        for worker in workers {
            self.note_called(worker);
        }
    }

    /// Takes the numbers of the other workers with clients that were called: they are to be woken.
    pub fn take_called_workers(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.called_workers)
    }

    /// Whether clients of this worker were called.
    pub fn has_called(&self) -> bool {
        self.engine.waits.mailboxes[self.id].has_some.load(Ordering::SeqCst)
    }

    /// Takes the ids of this worker's clients that were called: their commands are to be executed
    /// again.
    pub fn take_called(&self) -> Vec<u64> {
        if !self.has_called() {
            return Vec::new();
        }
        let mailbox = &self.engine.waits.mailboxes[self.id];
        let mut called = mailbox.called.lock().unwrap_or_else(PoisonError::into_inner);
        mailbox.has_some.store(false, Ordering::SeqCst);
        std::mem::take(&mut called)
    }
}
