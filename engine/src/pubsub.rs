//! Publish and subscribe, between the clients of all workers.
//!
//! What is subscribed is kept twice. [`Local`] belongs to one worker and says which of its clients
//! get a message. [`PubSub`] is shared and says how many clients of which workers there are for
//! each name: PUBLISH counts its receivers there, and learns which workers have any.
//!
//! A message is handed on after the commit of the batch that was open when it was published, so
//! whoever gets it finds what its publisher wrote before; it is lost with that batch. Then it goes
//! into the mailboxes of the workers that have receivers. While a mailbox is full, PUBLISH is parked.
//!
//! Messages to one client come in the order in which each publisher published them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use coney_base::glob;
use coney_resp::Reply;

use crate::client::Client;
use crate::executor::Executor;
use crate::mail::{Mail, Outgoing};

/// Channels, patterns and shard channels that one client may subscribe to.
pub const SUBSCRIPTIONS_MAX: usize = 64 * 1024;

/// The three kinds of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// What one client is subscribed to, by [`Kind`].
#[derive(Clone, Debug, Default)]
pub struct Subscriptions([BTreeSet<Vec<u8>>; 3]);

impl Subscriptions {
    /// Channels, patterns, shard channels.
    pub fn counts(&self) -> [usize; 3] {
        self.0.each_ref().map(BTreeSet::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
    }

    pub(crate) fn of(&self, kind: Kind) -> &BTreeSet<Vec<u8>> {
        &self.0[kind as usize]
    }
}

/// A published message.
#[derive(Debug)]
pub struct Message {
    is_sharded: bool,
    channel: Vec<u8>,
    payload: Vec<u8>,
}

impl Message {
    pub(crate) fn new(is_sharded: bool, channel: &[u8], payload: &[u8]) -> Self {
        Self { is_sharded, channel: channel.to_vec(), payload: payload.to_vec() }
    }

    /// Writes it as a subscriber reads it; with the pattern, if it comes because of one.
    pub fn write(&self, pattern: Option<&[u8]>, reply: &mut Reply<'_>) {
        match pattern {
            Some(pattern) => {
                reply.push(4);
                reply.bulk(b"pmessage");
                reply.bulk(pattern);
            }
            None => {
                reply.push(3);
                reply.bulk(if self.is_sharded { b"smessage" } else { b"message" });
            }
        }
        reply.bulk(&self.channel);
        reply.bulk(&self.payload);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.channel.len() + self.payload.len() + size_of::<Self>()
    }
}

/// Subscribers of one name, for each worker that has some.
type Counts = Vec<(usize, usize)>;

#[derive(Debug, Default)]
struct Registry([BTreeMap<Vec<u8>, Counts>; 3]);

/// See the module page. One for all workers.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    /// Names with subscribers. Read before anything else.
    names: AtomicUsize,
    registry: RwLock<Registry>,
}

impl PubSub {
    fn enter(&self, kind: Kind, name: &[u8], worker: usize) {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let names = &mut registry.0[kind as usize];
        if !names.contains_key(name) {
            self.names.fetch_add(1, Ordering::SeqCst);
        }
        let counts = names.entry(name.to_vec()).or_default();
        match counts.iter_mut().find(|(other, _)| *other == worker) {
            Some((_, count)) => *count += 1,
            None => counts.push((worker, 1)),
        }
    }

    fn leave(&self, kind: Kind, name: &[u8], worker: usize) {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let names = &mut registry.0[kind as usize];
        let Some(counts) = names.get_mut(name) else { return };
        if let Some((_, count)) = counts.iter_mut().find(|(other, _)| *other == worker) {
            *count = count.saturating_sub(1);
        }
        counts.retain(|(_, count)| *count > 0);
        if counts.is_empty() {
            names.remove(name);
            self.names.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// How many clients would get a message, and which workers they are at.
    fn receivers(&self, is_sharded: bool, channel: &[u8]) -> (usize, Vec<usize>) {
        if self.names.load(Ordering::SeqCst) == 0 {
            return (0, Vec::new());
        }
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let [channels, patterns, shards] = &registry.0;
        let direct = if is_sharded { shards } else { channels }.get(channel);
        let matching = patterns
            .iter()
            .filter(|(pattern, _)| !is_sharded && glob::matches(pattern, channel, false))
            .map(|(_, counts)| counts);
        let (mut total, mut workers) = (0, Vec::new());
        for (worker, count) in direct.into_iter().chain(matching).flatten() {
            total += count;
            if !workers.contains(worker) {
                workers.push(*worker);
            }
        }
        (total, workers)
    }

    /// Names of a kind that somebody is subscribed to.
    pub(crate) fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let is_meant =
            |name: &&Vec<u8>| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
        registry.0[kind as usize].keys().filter(is_meant).cloned().collect()
    }

    /// How many channels, patterns and shard channels have subscribers.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.0.each_ref().map(BTreeMap::len)
    }

    /// Subscribers of a name.
    pub(crate) fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let counts = registry.0[kind as usize].get(name);
        counts.into_iter().flatten().map(|(_, count)| count).sum()
    }
}

/// Which clients of one worker are subscribed to what.
#[derive(Debug, Default)]
pub(crate) struct Local([BTreeMap<Vec<u8>, BTreeSet<u64>>; 3]);

impl Executor {
    /// Subscribes a client; whether it was not yet.
    pub(crate) fn subscribe(&mut self, client: &mut Client, kind: Kind, name: &[u8]) -> bool {
        if !client.subscriptions.0[kind as usize].insert(name.to_vec()) {
            return false;
        }
        let clients = self.subscribers.0[kind as usize].entry(name.to_vec()).or_default();
        clients.insert(client.id);
        self.engine.pubsub.enter(kind, name, self.id);
        true
    }

    /// The opposite.
    pub(crate) fn unsubscribe(&mut self, client: &mut Client, kind: Kind, name: &[u8]) -> bool {
        if !client.subscriptions.0[kind as usize].remove(name) {
            return false;
        }
        let names = &mut self.subscribers.0[kind as usize];
        if let Some(clients) = names.get_mut(name) {
            clients.remove(&client.id);
            if clients.is_empty() {
                names.remove(name);
            }
        }
        self.engine.pubsub.leave(kind, name, self.id);
        true
    }

    /// The client is not subscribed to anything any more.
    pub(crate) fn unsubscribe_all(&mut self, client: &mut Client) {
        for kind in Kind::ALL {
            for name in std::mem::take(&mut client.subscriptions.0[kind as usize]) {
                client.subscriptions.0[kind as usize].insert(name.clone());
                self.unsubscribe(client, kind, &name);
            }
        }
    }

    /// Publishes a message: how many clients get it, or `None`: a mailbox is full, try again.
    pub(crate) fn publish(&mut self, message: Message) -> Option<usize> {
        let (count, targets) = self.engine.pubsub.receivers(message.is_sharded, &message.channel);
        // The pool cannot try again; a transaction that it built goes beyond the limit.
        if self.is_worker() && targets.iter().any(|worker| self.engine.mailboxes.is_full(*worker)) {
            return None;
        }
        if count > 0 {
            // In a transaction, a write may still follow.
            let needs_batch = self.in_transaction || self.batch.count() > 0;
            let mail = Arc::new(Mail::Message(message));
            self.outgoing.push(Outgoing { mail, targets, needs_batch });
        }
        Some(count)
    }

    /// Publishes a message that is lost if the open batch is, and dropped if a mailbox is full.
    pub(crate) fn publish_after_commit(&mut self, message: Message) {
        let (count, targets) = self.engine.pubsub.receivers(message.is_sharded, &message.channel);
        if targets.iter().any(|worker| self.engine.mailboxes.is_full(*worker)) {
            self.stats.events_dropped += 1;
        } else if count > 0 {
            let mail = Arc::new(Mail::Message(message));
            self.outgoing.push(Outgoing { mail, targets, needs_batch: true });
        }
    }

    /// Names the clients that a message is for, each once for every subscription that fits, with
    /// the pattern if it is one.
    pub(crate) fn each_subscriber(&self, message: &Message, mut f: impl FnMut(u64, Option<&[u8]>)) {
        let [channels, patterns, shards] = &self.subscribers.0;
        let direct = if message.is_sharded { shards } else { channels }.get(&message.channel);
        for client in direct.into_iter().flatten() {
            f(*client, None);
        }
        if message.is_sharded {
            return;
        }
        for (pattern, clients) in patterns {
            if glob::matches(pattern, &message.channel, false) {
                clients.iter().for_each(|client| f(*client, Some(pattern)));
            }
        }
    }
}
