//! CLIENT TRACKING: clients that keep values of keys are told when those change.
//! <https://redis.io/docs/latest/develop/reference/client-side-caching/>
//!
//! Each worker knows what its own clients keep ([`Tracked`]): the keys that they have read, or, with
//! BCAST, prefixes. A batch that was committed while any client of any worker tracks is turned into
//! mail ([`crate::mail`]) for the workers with such clients: the keys that it wrote, and who wrote each.
//! Whether anybody tracks is asked after the commit, so that nobody reads an old value unnoticed: who
//! read it before the commit had begun to track before that. While nobody tracks, a batch costs one
//! load, and a command one comparison.
//!
//! A worker remembers at most its share of `tracking-table-max-keys`; beyond, it tells the readers of
//! some keys, chosen at random, that these have changed, and forgets them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use coney_resp::{Args, Protocol, Reply};

use crate::batch::{Mark, Record};
use crate::client::Client;
use crate::command::{CommandSpec, Flags};
use crate::element;
use crate::executor::Executor;
use crate::key::{self, MetaKey, SLOTS};
use crate::mail::{Letter, Mail};

/// Prefixes of one client.
pub const PREFIXES_MAX: usize = 1024;

/// When keys that a client reads are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mode {
    /// Always.
    #[default]
    Always,
    /// After CLIENT CACHING YES.
    OptIn,
    /// Unless after CLIENT CACHING NO.
    OptOut,
    /// Never: the client is told of all keys with its prefixes.
    Broadcast,
}

/// How one client tracks.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// The client that is told instead; 0: none.
    pub redirect: u64,
    pub(crate) mode: Mode,
    /// It is not told of what it wrote itself.
    pub(crate) no_loop: bool,
    /// With [`Mode::Broadcast`]; none of them begins with another.
    pub(crate) prefixes: BTreeSet<Vec<u8>>,
    /// CLIENT CACHING was said for the next command.
    pub(crate) is_caching: bool,
    /// [`Tracking::redirect`] is gone.
    pub is_broken: bool,
}

impl Tracking {
    /// With BCAST.
    pub fn is_broadcast(&self) -> bool {
        self.mode == Mode::Broadcast
    }

    /// Whether the keys of the present command are remembered.
    fn remembers(&self) -> bool {
        match self.mode {
            Mode::Always => true,
            Mode::OptIn => self.is_caching,
            Mode::OptOut => !self.is_caching,
            Mode::Broadcast => false,
        }
    }
}

/// Shared by all workers.
#[derive(Debug)]
pub(crate) struct Trackers {
    /// Clients that track, of all workers. Read before anything else.
    total: AtomicUsize,
    by_worker: Box<[AtomicUsize]>,
    /// `tracking-table-max-keys`; 0: any number.
    keys_max: AtomicUsize,
}

impl Trackers {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            total: AtomicUsize::new(0),
            by_worker: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            keys_max: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set_keys_max(&self, count: usize) {
        self.keys_max.store(count, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.total.load(Ordering::SeqCst) == 0
    }
}

/// Keys that were written.
#[derive(Debug, Default)]
pub struct Invalidated {
    /// Meta keys, and which client alone wrote each; 0: several, or none.
    keys: Vec<(Vec<u8>, u64)>,
    /// Tables were emptied: whatever anybody keeps is no longer good.
    is_all: bool,
}

impl Invalidated {
    pub(crate) fn bytes(&self) -> usize {
        self.keys.iter().map(|(key, _)| key.len() + size_of::<(Vec<u8>, u64)>()).sum()
    }
}

/// What a worker must know of a client that tracks when there is something to tell.
#[derive(Debug)]
struct Tracker {
    redirect: u64,
    no_loop: bool,
    is_broadcast: bool,
}

/// What the clients of one worker keep.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    clients: BTreeMap<u64, Tracker>,
    /// Who has read a key, by meta keys.
    keys: BTreeMap<Vec<u8>, BTreeSet<u64>>,
    /// Clients in [`Tracked::keys`].
    items: usize,
    prefixes: BTreeMap<Vec<u8>, BTreeSet<u64>>,
}

/// Figures for INFO: clients, keys, clients of keys, prefixes.
pub type TrackingFigures = [usize; 4];

impl Executor {
    /// The client begins to track, or tracks otherwise.
    pub(crate) fn start_tracking(&mut self, client: &mut Client, tracking: Tracking) {
        let (id, redirect, no_loop) = (client.id, tracking.redirect, tracking.no_loop);
        let is_broadcast = tracking.is_broadcast();
        for prefix in &tracking.prefixes {
            self.tracked.prefixes.entry(prefix.clone()).or_default().insert(id);
        }
        client.tracking = Some(Box::new(tracking));
        let tracker = Tracker { redirect, no_loop, is_broadcast };
        if self.tracked.clients.insert(id, tracker).is_none() {
            self.engine.trackers.by_worker[self.id].fetch_add(1, Ordering::SeqCst);
            self.engine.trackers.total.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The client tracks nothing any more. What it has read is forgotten when it is written.
    pub(crate) fn stop_tracking(&mut self, client: &mut Client) {
        let Some(tracking) = client.tracking.take() else { return };
        for prefix in &tracking.prefixes {
            if let Some(clients) = self.tracked.prefixes.get_mut(prefix) {
                clients.remove(&client.id);
                if clients.is_empty() {
                    self.tracked.prefixes.remove(prefix);
                }
            }
        }
        if self.tracked.clients.remove(&client.id).is_some() {
            self.engine.trackers.by_worker[self.id].fetch_sub(1, Ordering::SeqCst);
            self.engine.trackers.total.fetch_sub(1, Ordering::SeqCst);
        }
        if self.tracked.clients.is_empty() {
            self.tracked.keys.clear();
            self.tracked.items = 0;
        }
    }

    /// How many keys more are remembered than may be.
    pub(crate) fn surplus(&self) -> usize {
        if self.tracked.keys.is_empty() {
            return 0;
        }
        let trackers = &self.engine.trackers;
        match trackers.keys_max.load(Ordering::Relaxed) {
            0 => 0,
            all => self.tracked.keys.len().saturating_sub(all.div_ceil(trackers.by_worker.len())),
        }
    }

    /// The client is about to read the keys of a command.
    pub(crate) fn remember_keys(&mut self, client: &Client, spec: &CommandSpec, args: Args<'_>) {
        let Some(tracking) = &client.tracking else { return };
        if !tracking.remembers() || !spec.flags.contains(Flags::READONLY) {
            return;
        }
        for user_key in spec.keys_of(args) {
            let mut meta_key = Vec::new();
            key::write_meta_key(&mut meta_key, client.table, user_key);
            let is_new = self.tracked.keys.entry(meta_key).or_default().insert(client.id);
            self.tracked.items += usize::from(is_new);
        }
    }

    /// The client has written the records since `mark`.
    pub(crate) fn note_writer(&mut self, mark: Mark, client: u64) {
        if self.engine.trackers.is_empty() {
            return;
        }
        let writers = &mut self.writers;
        for record in self.batch.records_since(mark) {
            let meta_key = match record {
                Record::Meta { key, .. } => Some(key.to_vec()),
                Record::Element { key } => element::meta_key_of(key),
                Record::MetaRange { .. } | Record::Other => None,
            };
            if let Some(meta_key) = meta_key {
                let writer = writers.entry(meta_key).or_insert(client);
                *writer = if *writer == client { client } else { 0 };
            }
        }
    }

    /// The batch was committed: tells those who keep what it wrote.
    pub(crate) fn invalidate_written(&mut self) {
        let trackers = &self.engine.trackers;
        if trackers.is_empty() {
            self.writers.clear();
            return;
        }
        let counts = trackers.by_worker.iter().enumerate();
        let mut targets: Vec<usize> = counts
            .filter(|(_, count)| count.load(Ordering::SeqCst) > 0)
            .map(|(worker, _)| worker)
            .collect();
        let mut invalidated =
            Invalidated { keys: Vec::new(), is_all: self.batch.emptied_ranges().next().is_some() };
        // Keys of two databases are other keys now.
        invalidated.is_all |= !self.exchanges.is_empty();
        let mut written: BTreeMap<Vec<u8>, u64> = std::mem::take(&mut self.writers);
        for (meta_key, _) in self.batch.all_pending() {
            if !written.contains_key(meta_key) {
                written.insert(meta_key.to_vec(), 0);
            }
        }
        for meta_key in self.batch.element_keys().filter_map(element::meta_key_of) {
            written.entry(meta_key).or_insert(0);
        }
        invalidated.keys.extend(written);
        // Mail cannot be left out: where there is no room for it, nothing that is kept is good.
        let (full, free): (Vec<usize>, Vec<usize>) =
            targets.drain(..).partition(|worker| self.engine.mailboxes.is_full(*worker));
        self.send(Mail::Invalidated(invalidated), free);
        let all = Invalidated { keys: Vec::new(), is_all: true };
        self.send(Mail::Invalidated(all), full);
    }

    /// About as many keys as are too many: they are forgotten as if they had been written.
    pub(crate) fn surplus_tracked(&mut self) -> Invalidated {
        let mut keys = BTreeSet::new();
        for _ in 0..self.surplus() {
            let random = self.next_random();
            let table = self.tracked.keys.keys().next().and_then(|key| MetaKey::parse(key));
            let mut start = table.map_or(0, |key| key.table).to_be_bytes().to_vec();
            let slot = u16::try_from(random % u64::from(SLOTS)).unwrap_or(0);
            start.extend_from_slice(&slot.to_be_bytes());
            let found = self.tracked.keys.range(start..).next().map(|(key, _)| key.clone());
            keys.extend(found.or_else(|| self.tracked.keys.keys().next().cloned()));
        }
        Invalidated { keys: keys.into_iter().map(|key| (key, 0)).collect(), is_all: false }
    }

    /// Names the clients that are to be told of keys, and forgets that they have read them.
    pub(crate) fn each_tracker(
        &mut self,
        invalidated: &Invalidated,
        f: &mut dyn FnMut(u64, Letter<'_>),
    ) {
        if invalidated.is_all {
            self.tracked.keys.clear();
            self.tracked.items = 0;
            let clients: Vec<u64> = self.tracked.clients.keys().copied().collect();
            clients.into_iter().for_each(|client| self.tell_tracker(client, None, f));
            return;
        }
        // Of all keys with a prefix, a client is told at once.
        let mut broadcast: BTreeMap<(usize, u64), Vec<&[u8]>> = BTreeMap::new();
        let mut told: Vec<(u64, &[u8])> = Vec::new();
        for (meta_key, writer) in &invalidated.keys {
            let Some(MetaKey { user_key, .. }) = MetaKey::parse(meta_key) else { continue };
            let tracked = &mut self.tracked;
            let readers = tracked.keys.remove(meta_key).unwrap_or_default();
            tracked.items = tracked.items.saturating_sub(readers.len());
            let is_meant = |client: &u64, is_broadcast: bool| {
                tracked.clients.get(client).is_some_and(|tracker| {
                    tracker.is_broadcast == is_broadcast && !(tracker.no_loop && client == writer)
                })
            };
            let readers = readers.into_iter().filter(|client| is_meant(client, false));
            told.extend(readers.map(|client| (client, user_key)));
            for (at, (prefix, clients)) in tracked.prefixes.iter().enumerate() {
                if user_key.starts_with(prefix) {
                    for client in clients.iter().filter(|client| is_meant(client, true)) {
                        broadcast.entry((at, *client)).or_default().push(user_key);
                    }
                }
            }
        }
        let broadcast: Vec<(u64, Vec<&[u8]>)> =
            broadcast.into_iter().map(|((_, client), keys)| (client, keys)).collect();
        for (client, user_key) in told {
            self.tell_tracker(client, Some(&[user_key]), f);
        }
        for (client, keys) in broadcast {
            self.tell_tracker(client, Some(&keys), f);
        }
    }

    fn tell_tracker(
        &mut self,
        client: u64,
        keys: Option<&[&[u8]]>,
        f: &mut dyn FnMut(u64, Letter<'_>),
    ) {
        let Some(tracker) = self.tracked.clients.get(&client) else { return };
        let redirect = tracker.redirect;
        if redirect == 0 {
            f(client, Letter::Invalidated { keys, is_redirected: false });
            return;
        }
        let keys = keys.map(|keys| keys.iter().map(|key| key.to_vec()).collect());
        if !self.forward(redirect, Mail::Redirected { client: redirect, keys }) {
            f(client, Letter::Broken(redirect));
        }
    }

    /// See [`TrackingFigures`].
    pub fn tracking_figures(&self) -> TrackingFigures {
        let tracked = &self.tracked;
        [tracked.clients.len(), tracked.keys.len(), tracked.items, tracked.prefixes.len()]
    }
}

/// The client has executed a command: what CLIENT CACHING said is over.
pub(crate) fn end_command(client: &mut Client, spec: &CommandSpec) {
    let is_queueing = client.transaction.is_some();
    if let Some(tracking) = &mut client.tracking
        && !is_queueing
        && !spec.full_name.starts_with("client|")
    {
        tracking.is_caching = false;
    }
}

/// Writes that values of keys are no longer good (`sendTrackingMessage` in Redis). A client with
/// RESP2 cannot be told, unless it is subscribed and another one redirects its messages to it.
pub(crate) fn write_invalidation(
    client: &Client,
    keys: Option<&[&[u8]]>,
    is_redirected: bool,
    reply: &mut Reply<'_>,
) {
    match client.protocol {
        Protocol::Resp3 => {
            reply.push(2);
            reply.bulk(b"invalidate");
        }
        Protocol::Resp2 if is_redirected && !client.subscriptions.is_empty() => {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(b"__redis__:invalidate");
        }
        Protocol::Resp2 => return,
    }
    match keys {
        None => reply.null(),
        Some(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
    }
}
