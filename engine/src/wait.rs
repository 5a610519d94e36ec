//! Blocking commands: which clients wait for elements of which keys, in the order of arrival.
//!
//! A blocking command that finds nothing stops with `Stop::Wait`, and its client takes a place in
//! the queue of each of its keys; the queues are one table for all workers, in parts with a lock
//! each, looked at only while somebody waits. A committed batch that put a list, a sorted set or a
//! stream *calls* the first client that waits for such a key: the client's number goes into the
//! mailbox of its worker, which executes the command again. A client that still finds nothing keeps
//! its place. One that is served, or gives up, leaves, and calls whoever is next in the queues that
//! it left; that one may be called for nothing, which costs no more than one try.
//!
//! Nothing is missed: a blocking command that writes holds the latches of its keys from before it
//! looks until after it has entered, so another worker's write is either committed before that, or
//! begins after it and finds the entry. One that only reads is called at once when it has entered,
//! and so looks again.
//!
//! A blocking command that finds elements for which somebody waits already does not take them, but
//! waits behind: that one is about to be called (its elements may not even be committed, in a pipeline),
//! or was called and is on its way.
//!
//! Who reads a stream without a group is called for all that is added: entries are not used up. Of
//! those who read for a group only the first is called, who calls the next; and they are called too
//! when the stream is gone or has become something else, because then their commands fail.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coney_resp::Args;
use crossbeam_queue::SegQueue;

use crate::batch::Pending;
use crate::client::Client;
use crate::command::{self, CommandSpec, Flags};
use crate::executor::{Executor, stripe_of};
use crate::key;
use crate::meta::{Header, Kind};

/// What a client waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Need {
    /// What its keys must hold to serve it.
    kind: Kind,
    /// The group of a stream that it reads for.
    group: Option<Vec<u8>>,
}

impl Need {
    /// Whether what serves one that waits for this is gone for the others.
    fn uses_up(&self) -> bool {
        self.kind != Kind::Stream || self.group.is_some()
    }

    /// Whether a client is to look again at a key that holds this now.
    fn is_concerned(&self, kind: Option<Kind>) -> bool {
        kind == Some(self.kind) || self.group.is_some()
    }
}

/// A client that can be called.
#[derive(Clone, Debug)]
struct Callee {
    worker: usize,
    client: u64,
    /// It is in the mailbox of its worker, once.
    is_called: Arc<AtomicBool>,
}

/// A client in the queue of a key.
#[derive(Debug)]
struct Waiter {
    callee: Callee,
    need: Need,
}

/// The place of one client, as it keeps it itself.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    ticket: u64,
    callee: Callee,
    need: Need,
    keys: Vec<Vec<u8>>,
}

/// For each key of a database, those that wait, by their tickets.
type Queues = BTreeMap<Vec<u8>, BTreeMap<u64, Waiter>>;

/// Parts of the table, each with a lock of its own, held for a few steps.
const SHARDS: usize = 64;

/// See the module page. One for all workers.
#[derive(Debug)]
pub(crate) struct Waits {
    /// Clients that wait. Read before anything else: mostly it is 0.
    count: AtomicUsize,
    /// The last ticket given out: whoever has a lower one was there before.
    last_ticket: AtomicU64,
    shards: Box<[Mutex<Queues>]>,
    /// For each worker, those of its clients that were called, in that order. A client is in it once at most.
    mailboxes: Box<[SegQueue<Callee>]>,
}

impl Waits {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            last_ticket: AtomicU64::new(0),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            mailboxes: (0..workers).map(|_| SegQueue::new()).collect(),
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Queues> {
        let at = stripe_of(key) % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, worker: usize, client: u64, need: Need, keys: Vec<Vec<u8>>) -> Place {
        self.count.fetch_add(1, Ordering::SeqCst);
        let ticket = self.last_ticket.fetch_add(1, Ordering::SeqCst) + 1;
        let callee = Callee { worker, client, is_called: Arc::default() };
        for key in &keys {
            let mut queues = self.shard(key);
            let queue = queues.entry(key.clone()).or_default();
            queue.insert(ticket, Waiter { callee: callee.clone(), need: need.clone() });
        }
        Place { ticket, callee, need, keys }
    }

    /// Whether somebody else than `client` is the next who gets what a key of this kind holds.
    pub(crate) fn is_anothers(&self, key: &[u8], kind: Kind, client: u64) -> bool {
        let shard = self.shard(key);
        let mut waiters = shard.get(key).into_iter().flat_map(BTreeMap::values);
        let next = waiters.find(|waiter| waiter.need.kind == kind && waiter.need.uses_up());
        next.is_some_and(|waiter| waiter.callee.client != client)
    }

    /// Takes a client out of its queues, and calls the next of each. Returns their workers.
    fn leave(&self, place: &Place) -> Vec<usize> {
        let mut workers = Vec::new();
        for key in &place.keys {
            let mut queues = self.shard(key);
            let Some(queue) = queues.get_mut(key) else { continue };
            queue.remove(&place.ticket);
            if queue.is_empty() {
                queues.remove(key);
            } else if place.need.uses_up()
                && let Some(next) = queue.values().find(|waiter| waiter.need == place.need)
            {
                self.call_client(&next.callee, &mut workers);
            }
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
        workers
    }

    /// A key holds this now: calls those whom that concerns. Adds their workers to `workers`.
    fn call(&self, key: &[u8], kind: Option<Kind>, workers: &mut Vec<usize>) {
        if let Some(queue) = self.shard(key).get(key) {
            self.call_from(queue, |need| need.is_concerned(kind), workers);
        }
    }

    /// All keys of some databases are gone.
    fn call_emptied(&self, databases: RangeInclusive<u16>, workers: &mut Vec<usize>) {
        self.call_range(databases, |need| need.is_concerned(None), workers);
    }

    /// The keys of a database may be any others now.
    pub(crate) fn call_database(&self, database: u16, workers: &mut Vec<usize>) {
        self.call_range(database..=database, |_| true, workers);
    }

    fn call_range(
        &self,
        databases: RangeInclusive<u16>,
        is_concerned: impl Fn(&Need) -> bool,
        workers: &mut Vec<usize>,
    ) {
        for shard in &self.shards {
            let queues = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, queue) in queues.range(key::of_databases(&databases)) {
                self.call_from(queue, &is_concerned, workers);
            }
        }
    }

    fn call_from(
        &self,
        queue: &BTreeMap<u64, Waiter>,
        is_concerned: impl Fn(&Need) -> bool,
        workers: &mut Vec<usize>,
    ) {
        let mut served: Vec<&Need> = Vec::new();
        for Waiter { callee, need } in queue.values() {
            if !is_concerned(need) || served.contains(&need) {
                continue;
            }
            if need.uses_up() {
                served.push(need);
            }
            self.call_client(callee, workers);
        }
    }

    fn call_client(&self, callee: &Callee, workers: &mut Vec<usize>) {
        if !callee.is_called.swap(true, Ordering::SeqCst) {
            self.mailboxes[callee.worker].push(callee.clone());
        }
        if !workers.contains(&callee.worker) {
            workers.push(callee.worker);
        }
    }
}

impl Need {
    fn of(spec: &CommandSpec, args: Args<'_>) -> Self {
        let kind = match spec.full_name.as_bytes() {
            [b'b', b'z', ..] => Kind::ZSet,
            [b'x', ..] => Kind::Stream,
            _ => Kind::List,
        };
        let group = match spec.full_name {
            "xreadgroup" => command::group_of_xreadgroup(args).map(<[u8]>::to_vec),
            _ => None,
        };
        Self { kind, group }
    }
}

impl Executor {
    /// A blocking command found nothing: its client takes its place, or keeps it.
    pub(crate) fn wait(&mut self, spec: &'static CommandSpec, client: &mut Client, args: Args<'_>) {
        if client.waits.is_some() {
            return;
        }
        let keys = spec.keys_of(args);
        // BLMOVE waits for its source only.
        let most = if spec.keys.len() > 1 { 1 } else { usize::MAX };
        let mut awaited: Vec<Vec<u8>> = Vec::new();
        for user_key in keys.take(most) {
            let mut key = Vec::new();
            key::write_meta_key(&mut key, client.database, user_key);
            awaited.push(key);
        }
        awaited.sort_unstable();
        awaited.dedup();
        let need = Need::of(spec, args);
        let place = self.engine.waits.enter(self.id, client.id, need, awaited);
        client.last_command = spec.full_name;
        // Whoever it gave way to may have gone before it has entered.
        let gave_way = std::mem::take(&mut self.gave_way);
        if spec.flags.contains(Flags::READONLY) || gave_way {
            self.engine.waits.call_client(&place.callee, &mut Vec::new());
        }
        client.waits = Some(Box::new(place));
    }

    /// The client's blocking command has ended, or waits no longer.
    pub fn stop_waiting(&mut self, client: &mut Client) {
        client.stream_ends = Vec::new();
        client.awaited_ticket = None;
        if let Some(place) = client.waits.take() {
            for worker in self.engine.waits.leave(&place) {
                self.note_called(worker);
            }
        }
    }

    pub(crate) fn note_called(&mut self, worker: usize) {
        if worker != self.id && !self.called_workers.contains(&worker) {
            self.called_workers.push(worker);
        }
    }

    /// Calls those who wait for what the batch has put, or lose what they wait for; after a failed
    /// commit, all that wait for what it touched, because they may have been passed over for its
    /// sake.
    pub(crate) fn call_waiting(&mut self, is_committed: bool) {
        if self.engine.waits.is_empty() {
            return;
        }
        let mut workers = Vec::new();
        let waits = &self.engine.waits;
        for (meta_key, pending) in self.batch.all_pending() {
            let key = &self.database_key(meta_key);
            if !is_committed {
                for kind in [Kind::List, Kind::ZSet, Kind::Stream] {
                    waits.call(key, Some(kind), &mut workers);
                }
                continue;
            }
            let kind = match pending {
                Pending::Put(value) => Header::parse(value).ok().map(|(header, _)| header.kind),
                Pending::Deleted => None,
            };
            waits.call(key, kind, &mut workers);
        }
        for (begin, end) in self.batch.emptied_ranges() {
            waits.call_emptied(self.emptied_databases(begin, end), &mut workers);
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
        !self.engine.waits.mailboxes[self.id].is_empty()
    }

    /// Takes the ids of this worker's clients that were called: their commands are to be executed
    /// again.
    pub fn take_called(&self) -> Vec<u64> {
        let mailbox = &self.engine.waits.mailboxes[self.id];
        // Before its command looks again: whoever writes after that calls again.
        let take = |callee: Callee| {
            callee.is_called.store(false, Ordering::SeqCst);
            callee.client
        };
        (0..mailbox.len()).map_while(|_| mailbox.pop().map(take)).collect()
    }
}
