//! One worker's way to the database.
//!
//! [`Executor::execute`] runs a command against, in this order, the writes of the present
//! iteration ([`crate::batch`]), the hot-key cache, and what RocksDB holds in memory. What would
//! have to wait comes back as [`Park`], with nothing written. [`Executor::commit`] brings the
//! iteration's writes to the log and makes them visible, all or none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use coney_base::UnixMillis;
use coney_resp::{Args, OwnedArgs, Reply};

use crate::acl::Acl;
use crate::ahead::{Ahead, NewVersion};
use crate::batch::{Batch, Family, Pending};
use crate::cache::Cache;
use crate::client::Client;
use crate::command::zset::buckets::Kept;
use crate::command::{self, CommandError, CommandSpec, Context, Flags, Group, Handler, Old, Stop};
use crate::counts::Changes;
use crate::databases::Exchange;
use crate::engine::Engine;
use crate::hold::{Built, Hold};
use crate::job::{Job, Purpose};
use crate::key::{self, MetaKey};
use crate::mail::Outgoing;
use crate::pubsub::Local;
use crate::stopwatch::Stopwatch;
use crate::store::{Found, Frozen, StoreError, Tier};
use crate::stripe::{Known, Stripes};
use crate::tenant::LocalTenants;
use crate::tracking::{self, Tracked};

mod admission;
mod stats;

pub use park::fetch_too;
pub use stats::{CacheUsage, ExecutorStats};

mod commit;
mod page;
mod park;
mod reads;

/// How often the keys of one command are fetched before it may read the device on the worker.
/// Fetched keys are in the block cache when the command runs again; only a cache far too small for
/// the load throws them out that fast, and then a command must still end.
pub const FETCH_ROUNDS_MAX: u32 = 3;

/// Where reads beyond the open batch go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// The worker's cache and RocksDB, as far as the tier allows.
    Worker(Tier),
    /// On the pool: a snapshot of what is committed.
    Pool(&'a Frozen<'a>),
}

/// What an executor is for.
#[derive(Debug)]
enum Place {
    /// A worker's way to the database.
    Worker,
    /// On the pool: what is written is thrown away. Keys are not latched.
    Rehearsal,
    /// On the pool: the batch is handed to a worker, which holds these stripes.
    Building(Vec<usize>),
}

/// What became of a command.
#[derive(Debug)]
pub enum Outcome {
    /// The reply is written.
    Done,
    /// The reply is written, and the connection ends after it.
    Close,
    /// The command has to wait; nothing is written.
    Park(Park),
}

/// What a parked command waits for.
#[derive(Debug)]
pub enum Park {
    /// Somebody else's commit, or one's own: try again in the next iteration.
    Latch,
    /// RocksDB's compactions, which are behind: try again in the next iteration.
    Stall,
    /// A job for the I/O pool.
    Job(Box<Job>),
    /// The control plane, which answers the command itself.
    Admin,
    /// The control plane, which answers these commands of the transaction in this order: see
    /// [`Client::take_answers`].
    AdminQueue(Vec<OwnedArgs>),
    /// The end of CLIENT PAUSE ([`Executor::paused_until`]): try again then.
    Paused,
    /// Elements of its keys. It is to be executed again when its client is called
    /// ([`Executor::take_called`]), or else ended after this time ([`Executor::give_up`]).
    Wait {
        /// Milliseconds from its first execution; 0: for ever.
        timeout_ms: u64,
    },
}

/// What became of the iteration's writes.
#[derive(Debug)]
pub enum CommitOutcome {
    /// There were none.
    Nothing,
    /// They are in the log and visible. `ticket` tells when they are on the disk.
    Committed {
        /// Compare with [`Engine::durable_ticket`].
        ticket: u64,
    },
    /// RocksDB would have to wait: the batch is kept, call again.
    Stalled,
    /// They are gone.
    Failed(StoreError),
}

/// See the module page.
#[derive(Debug)]
pub struct Executor {
    pub(crate) engine: Arc<Engine>,
    pub(crate) id: usize,
    /// There are other workers: latches and versions matter.
    pub(crate) is_shared: bool,
    place: Place,
    pub(crate) batch: Batch,
    pub(crate) changes: Changes,
    cache: Cache,
    known: Known,
    /// Batches finished so far: names the open one.
    batch_number: u64,
    /// Meta keys that commands of this iteration have found expired.
    pub(crate) found_expired: Vec<Vec<u8>>,
    /// The earliest deadline that the batch gives a key, in milliseconds since 1970.
    pub(crate) earliest_deadline_ms: u64,
    /// Stripes that this iteration has latched.
    pub(crate) latched: Vec<usize>,
    /// Stripes that the present command has latched, be there other workers or not.
    pub(crate) command_stripes: Vec<usize>,
    /// On the pool: versions that the command has made.
    pub(crate) new_versions: Vec<NewVersion>,
    /// Elements that were written ahead of entries in the open batch.
    pub(crate) ahead: Vec<Ahead>,
    /// Commands that are executed on the pool meanwhile.
    pub(crate) holds: Vec<Hold>,
    pub(crate) hold_number: u64,
    /// Stripes of the keys that the present command has found committed, with their versions then;
    /// none while somebody else writes there. Only with other workers.
    seen: Vec<(usize, Option<u64>)>,
    /// It has found one in the open batch.
    seen_pending: bool,
    /// The reply of the last command may depend on what becomes of the open batch.
    pub(crate) leans_on_batch: bool,
    /// Elements and ranges that the present command has read.
    pub(crate) element_reads: u32,
    /// The present command missed an element and not only meta entries.
    pub(crate) missed_element: bool,
    is_batch_open: bool,
    /// The counters' new values are in the batch already (its commit stalled).
    is_sealed: bool,
    pub(crate) commit_requested: bool,
    /// The batch empties whole tables.
    empties_tables: bool,
    /// Which ones: as far as the present transaction has emptied them.
    pub(crate) emptied: Vec<std::ops::Range<u16>>,
    /// Who of this worker's clients is subscribed to what.
    pub(crate) subscribers: Local,
    /// Mail that leaves after the commit.
    pub(crate) outgoing: Vec<Outgoing>,
    /// Clients of this worker that are in MONITOR.
    pub(crate) monitors: BTreeSet<u64>,
    /// What this worker's clients keep.
    pub(crate) tracked: Tracked,
    /// Who wrote the keys of the batch, while anybody tracks: the one client, or 0 for several.
    pub(crate) writers: BTreeMap<Vec<u8>, u64>,
    /// What this worker knows of named tables.
    pub(crate) tenants: LocalTenants,
    pub(crate) stopwatch: Stopwatch,
    /// The command that ended last, and whether it may have taken long.
    last_call: Option<(usize, bool)>,
    /// Other workers with clients that were called.
    pub(crate) called_workers: Vec<usize>,
    /// The version of [`Engine::databases`] when the present command began.
    pub(crate) databases_version: u64,
    /// Databases that exchange their tables with the open batch.
    pub(crate) exchanges: Vec<Exchange>,
    /// EXEC runs its commands.
    pub(crate) in_transaction: bool,
    /// A blocking command left elements to somebody who has waited for longer.
    pub(crate) gave_way: bool,
    /// A command asked for exclusive mode in this iteration.
    pub(crate) asked_exclusive: bool,
    holds_exclusive: bool,
    /// The meta key looked at last.
    pub(crate) meta_key: Vec<u8>,
    pub(crate) index_key: Vec<u8>,
    /// An element below a prefix.
    pub(crate) element: Vec<u8>,
    /// A buffer for the next prefix of elements.
    pub(crate) prefix: Vec<u8>,
    /// A buffer for what an edit knows of its elements.
    pub(crate) are_known: Vec<bool>,
    /// For handlers that need a value while they write.
    pub(crate) value: Vec<u8>,
    /// What a handler of several keys found at each before it began to write.
    pub(crate) prepared: Vec<Old>,
    /// Pages of sorted sets that were changed last.
    pub(crate) kept_buckets: Kept,
    /// State of [`Executor::next_random`].
    random: u64,
    /// Counters.
    pub stats: ExecutorStats,
}

impl Executor {
    /// The executor of worker `id`.
    ///
    /// # Panics
    /// If the engine was opened for fewer workers.
    pub fn new(engine: Arc<Engine>, id: usize) -> Self {
        let workers = engine.config.workers;
        assert!(id < workers, "the engine was opened for {workers} workers");
        let commands = command::table::ALL.len();
        let stats = ExecutorStats::of(commands);
        let seed = engine.config.seed.wrapping_add(id as u64);
        let cache = Cache::new(engine.config.hot_cache_bytes / workers as u64);
        let mut executor = Self::with(engine, id, cache, Place::Worker, seed);
        executor.is_shared = workers > 1;
        executor.known = Known::new();
        executor.stats = stats;
        executor
    }

    /// One that executes a single command on the pool. `stripes`: those that its worker holds, if
    /// its batch is to be committed.
    pub(crate) fn on_pool(engine: Arc<Engine>, stripes: Option<Vec<usize>>, random: u64) -> Self {
        let place = stripes.map_or(Place::Rehearsal, Place::Building);
        Self::with(engine, 0, Cache::new(0), place, random)
    }

    fn with(engine: Arc<Engine>, id: usize, cache: Cache, place: Place, seed: u64) -> Self {
        Self {
            cache,
            is_shared: false,
            place,
            known: Known::nothing(),
            engine,
            id,
            batch: Batch::new(),
            changes: Changes::default(),
            batch_number: 0,
            found_expired: Vec::new(),
            earliest_deadline_ms: u64::MAX,
            latched: Vec::new(),
            command_stripes: Vec::new(),
            new_versions: Vec::new(),
            ahead: Vec::new(),
            holds: Vec::new(),
            hold_number: 0,
            seen: Vec::new(),
            seen_pending: false,
            leans_on_batch: false,
            element_reads: 0,
            missed_element: false,
            is_batch_open: false,
            is_sealed: false,
            commit_requested: false,
            empties_tables: false,
            emptied: Vec::new(),
            subscribers: Local::default(),
            outgoing: Vec::new(),
            monitors: BTreeSet::new(),
            tracked: Tracked::default(),
            writers: BTreeMap::new(),
            tenants: LocalTenants::default(),
            stopwatch: Stopwatch::default(),
            last_call: None,
            called_workers: Vec::new(),
            databases_version: 0,
            exchanges: Vec::new(),
            in_transaction: false,
            gave_way: false,
            asked_exclusive: false,
            holds_exclusive: false,
            meta_key: Vec::new(),
            index_key: Vec::new(),
            element: Vec::new(),
            prefix: Vec::new(),
            are_known: Vec::new(),
            value: Vec::new(),
            prepared: Vec::new(),
            kept_buckets: Kept::default(),
            random: seed,
            stats: ExecutorStats::default(),
        }
    }

    /// Users and what they may do.
    pub fn acl(&self) -> &Acl {
        self.engine.acl()
    }

    /// Executes one command. `attempt` counts the answers of the pool it has had.
    pub fn execute(
        &mut self,
        now: UnixMillis,
        client: &mut Client,
        args: Args<'_>,
        reply: &mut Reply<'_>,
        attempt: u32,
    ) -> Outcome {
        let outcome = self.try_execute(now, client, args, reply, attempt);
        if client.is_waiting() && !matches!(outcome, Outcome::Park(_)) {
            self.stop_waiting(client);
        }
        outcome
    }

    /// The client has connected: others find it by its id until [`Executor::release`].
    pub fn admit(&self, client: &Client) {
        self.engine.roster.enter(client.id, self.id);
    }

    /// When the present CLIENT PAUSE ends; `None`: there is none.
    pub fn paused_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.engine.pause.until(now)
    }

    /// Lets all workers look at what they share.
    pub(crate) fn call_all_workers(&mut self) {
        (0..self.engine.config.workers).for_each(|worker| self.note_called(worker));
    }

    /// The client's blocking command, which still waits, ends with the reply for nothing.
    pub fn give_up(
        &mut self,
        now: UnixMillis,
        client: &mut Client,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        let ticket = client.awaited_ticket;
        self.stop_waiting(client);
        if let Ok(spec) = command::table::find(args) {
            match spec.full_name {
                "wait" => reply.int(0),
                "waitaof" => {
                    let is_local = ticket.is_none_or(|it| self.engine.durable_ticket() >= it);
                    command::node::acknowledged(is_local, reply);
                }
                _ => reply.null_array(),
            }
            self.end_call(now, spec, client, args);
        }
    }

    fn try_execute(
        &mut self,
        now: UnixMillis,
        client: &mut Client,
        args: Args<'_>,
        reply: &mut Reply<'_>,
        attempt: u32,
    ) -> Outcome {
        let start = reply.len();
        self.leans_on_batch = true;
        if !self.exchanges.is_empty() {
            // Until it is committed, nobody knows which table is whose.
            self.commit_requested = true;
            return Outcome::Park(Park::Stall);
        }
        self.find_table(client);
        let Some(spec) = self.resolve(now, client, args, reply, attempt) else {
            return Outcome::Done;
        };
        if !self.holds.is_empty()
            && let Some(built) = self.take_built(client, spec)
        {
            self.finish_built(now, spec, client, args, built, reply);
            return Outcome::Done;
        }
        if self.engine.pause.holds(now, spec, client) {
            return Outcome::Park(Park::Paused);
        }
        if client.transaction.is_some() && !command::transaction::is_immediate(spec) {
            self.queue(spec, client, args, reply);
            return Outcome::Done;
        }
        self.remember_keys(client, spec, args);
        self.command_stripes.clear();
        self.missed_element = false;
        self.gave_way = false;
        self.seen.clear();
        self.seen_pending = false;
        // Those that only read say so when they meet something of the batch.
        self.leans_on_batch =
            !spec.flags.contains(Flags::READONLY) && spec.group != Group::Connection;
        if self.leans_on_batch {
            // It would have to be taken back: it waits for the batch.
            reply.bypass_sink();
        }
        self.element_reads = 0;
        let mark = self.batch.mark();
        let writes_before = self.batch.writes();
        let outgoing_before = self.outgoing.len();
        let stopped = match spec.handler {
            Handler::Fast(handler) => {
                let mut context = Context::new(self, client, now, attempt);
                let stopped = handler(&mut context, args, reply).err();
                stopped.or_else(|| self.check_reads(spec))
            }
            Handler::Slow(_) if self.has_uncommitted(client) => {
                // It reads committed data only, and must see what this client wrote before it.
                // What others write meanwhile does not keep it waiting.
                self.commit_requested = true;
                Some(Stop::Latch)
            }
            Handler::Slow(_) => {
                self.end_call(now, spec, client, args);
                return Outcome::Park(self.park_on_pool(spec, client, now, args, Purpose::Reply));
            }
            Handler::Admin => {
                self.end_call(now, spec, client, args);
                return Outcome::Park(Park::Admin);
            }
            Handler::Container => {
                unreachable!("{} alone fails its arity check", spec.full_name)
            }
        };
        let mut outcome = Outcome::Done;
        match stopped {
            None => {}
            Some(Stop::Close) => outcome = Outcome::Close,
            Some(Stop::Error(error)) => {
                assert_eq!(
                    self.batch.writes(),
                    writes_before,
                    "{} wrote and then failed",
                    spec.full_name
                );
                self.stats.errors += 1;
                self.stats.failed_calls[spec.index()] += 1;
                reply.truncate(start);
                error.write(reply, spec.full_name);
            }
            Some(stop) => {
                let has_written = self.batch.writes() != writes_before;
                let may_write = matches!(stop, Stop::Wait(_));
                assert!(!has_written || may_write, "{} wrote and then parked", spec.full_name);
                if has_written {
                    self.touch(mark, client.id);
                    client.wrote_in_batch = Some(self.batch_number);
                }
                // It will be executed again, and tell of everything again.
                if !may_write {
                    self.outgoing.truncate(outgoing_before);
                }
                reply.truncate(start);
                return Outcome::Park(self.park(spec, client, now, args, stop));
            }
        }
        if self.batch.writes() != writes_before {
            self.touch(mark, client.id);
            client.wrote_in_batch = Some(self.batch_number);
        }
        self.end_call(now, spec, client, args);
        // Subscriptions are pushed, like messages: a client that switched replies off gets them.
        if !client.take_reply_permission() && !command::pubsub::is_subscription(spec) {
            reply.truncate(start);
        }
        outcome
    }

    /// Ends a command that the pool has built.
    fn finish_built(
        &mut self,
        now: UnixMillis,
        spec: &'static CommandSpec,
        client: &mut Client,
        args: Args<'_>,
        built: Built,
        reply: &mut Reply<'_>,
    ) {
        let start = reply.len();
        reply.raw(&built.reply);
        self.stats.errors += u64::from(built.is_error);
        self.stats.failed_calls[spec.index()] += u64::from(built.is_error);
        if let Some(after) = built.client_after {
            self.end_transaction(now, client, *after);
        }
        client.wrote_in_batch = Some(self.batch_number);
        self.end_call(now, spec, client, args);
        if !client.take_reply_permission() {
            reply.truncate(start);
        }
    }

    /// Whether this is a worker's, not one on the pool.
    pub(crate) fn is_worker(&self) -> bool {
        matches!(self.place, Place::Worker)
    }

    /// Whether `client` has uncommitted writes.
    pub(crate) fn has_uncommitted(&self, client: &Client) -> bool {
        // What the pool built may be empty (SORT without STORE), and then no commit comes.
        !self.batch.is_empty() && client.wrote_in_batch == Some(self.batch_number)
    }

    /// What the open transaction emptied was taken back.
    pub(crate) fn forget_emptied(&mut self) {
        self.emptied.clear();
        self.empties_tables = false;
    }

    /// The client's command is over, or its end is no longer up to this worker.
    fn end_call(
        &mut self,
        now: UnixMillis,
        spec: &'static CommandSpec,
        client: &mut Client,
        args: Args<'_>,
    ) {
        self.feed_monitors(now, client, spec, args);
        self.last_call = Some((spec.index(), spec.may_be_long(args)));
        tracking::end_command(client, spec);
        self.stats.commands += 1;
        self.stats.calls[spec.index()] += 1;
        client.commands += 1;
        client.last_command = spec.full_name;
    }

    /// The next number of SplitMix64: fair enough for RANDOMKEY and SRANDMEMBER, and the same for
    /// the same seed.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Finds the raw meta value of the key in `self.meta_key` and hands it to `f`.
    pub(crate) fn find<R>(
        &mut self,
        source: Source<'_>,
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        let meta_key = self.meta_key.as_slice();
        // The batch's overlay does not know what a range delete hides.
        if self.empties_tables && !self.in_transaction {
            self.commit_requested = true;
            return Err(Stop::Stall);
        }
        let pending = self.batch.pending(meta_key);
        self.seen_pending |= pending.is_some();
        self.leans_on_batch |= pending.is_some();
        match pending {
            // Its fate is open: whoever reads it has to wait for it.
            Some(_) if self.is_sealed => return Err(Stop::Stall),
            Some(Pending::Put(value)) => return Ok(f(Some(value))),
            Some(Pending::Deleted) => return Ok(f(None)),
            None => {}
        }
        if !self.emptied.is_empty()
            && MetaKey::parse(meta_key).is_some_and(|key| self.has_emptied(key.table))
        {
            return Ok(f(None));
        }
        let tier = match source {
            Source::Worker(tier) => tier,
            Source::Pool(frozen) => {
                return Ok(f(frozen.get(Family::Meta, meta_key)?.as_deref()));
            }
        };
        let epoch = self.see(stripe_of(meta_key));
        let meta_key = self.meta_key.as_slice();
        if let Some(epoch) = epoch
            && let Some(value) = self.cache.get(meta_key, epoch)
        {
            return Ok(f(Some(value)));
        }
        match self.engine.store.get(Family::Meta, meta_key, tier)? {
            Found::Value(value) => {
                if let Some(epoch) = epoch {
                    self.cache.put(meta_key, &value, epoch);
                }
                if tier == Tier::Device {
                    self.stats.blocking_reads += 1;
                }
                Ok(f(Some(&value)))
            }
            Found::Absent => Ok(f(None)),
            Found::NeedsDevice => Err(Stop::Fetch),
        }
    }

    /// The epoch of what this worker knows of a key, whose meta key or elements begin like this;
    /// `None`: somebody else writes there.
    pub(crate) fn epoch_of(&mut self, meta_key: &[u8]) -> Option<u32> {
        if !self.is_shared {
            return Some(0);
        }
        let stripe = stripe_of(meta_key);
        let version = self.engine.stripes.version(stripe, self.id)?;
        Some(self.known.epoch(stripe, version))
    }

    /// Says that commands with these keys come next ([`key::meta_prefix`] of each): see
    /// [`Cache::warm`]. It changes nothing but the time that they take.
    pub fn warm(&self, prefixes: &[u64]) {
        self.cache.warm(prefixes);
    }

    /// Points `self.meta_key` to a key.
    pub(crate) fn look_at(&mut self, table: u16, user_key: &[u8]) {
        let is_there = MetaKey::parse(&self.meta_key)
            .is_some_and(|key| key.table == table && key.user_key == user_key);
        if !is_there {
            key::write_meta_key(&mut self.meta_key, table, user_key);
        }
    }

    /// Gets ready to write the key in `self.meta_key`.
    pub(crate) fn latch(&mut self) -> Result<(), Stop> {
        if self.is_sealed {
            return Err(Stop::Stall);
        }
        let stripe = stripe_of(&self.meta_key);
        match &self.place {
            Place::Worker => {}
            Place::Rehearsal => return Ok(()),
            Place::Building(stripes) => {
                if stripes.contains(&stripe) {
                    return Ok(());
                }
                // The keys that a command writes may depend on what it reads.
                assert!(self.in_transaction, "a command latches all its keys before it reads");
                return Err(Stop::Error(CommandError::Text(
                    "ERR the command writes a key that the transaction did not latch",
                )));
            }
        }
        if !self.holds.is_empty() && self.is_held(stripe) {
            return Err(Stop::Latch);
        }
        self.command_stripes.push(stripe);
        if !self.is_shared {
            return Ok(());
        }
        self.open_batch()?;
        if let Some(version) = self.engine.stripes.latch(stripe, self.id)? {
            self.latched.push(stripe);
            self.known.epoch(stripe, version);
        }
        Ok(())
    }

    /// The batch is waiting for RocksDB: its fate is open, and nothing can be added.
    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The batch as it was built on the pool, and what belongs to it.
    pub(crate) fn into_parts(self) -> (Batch, Changes, u64, Vec<Outgoing>) {
        (self.batch, self.changes, self.earliest_deadline_ms, self.outgoing)
    }

    /// A version for the elements of a latched key; see [`crate::element`].
    pub(crate) fn new_version(&mut self) -> u64 {
        let latest = self.engine.store.latest_sequence();
        let mut records = u64::from(self.batch.count());
        if matches!(self.place, Place::Building(_)) {
            // Elements that are written ahead take a sequence number for each of these, not for each
            // record of the batch.
            records = records.min(self.new_versions.len() as u64);
            self.new_versions.push(NewVersion::new(&self.meta_key, latest + records + 1));
        }
        latest + records + 1
    }

    fn open_batch(&mut self) -> Result<(), Stop> {
        if !self.is_batch_open {
            self.engine.stripes.open_batch(self.id)?;
            self.is_batch_open = true;
            if self.has_stale_table() {
                return Err(Stop::Latch);
            }
        }
        Ok(())
    }

    /// Keeps other workers from having an open batch until the next commit.
    pub(crate) fn work_alone(&mut self) -> Result<(), Stop> {
        if self.is_sealed {
            return Err(Stop::Stall);
        }
        if !self.holds.is_empty() {
            return Err(Stop::Latch);
        }
        if self.is_shared {
            self.asked_exclusive = true;
            self.holds_exclusive = true;
            self.engine.stripes.begin_exclusive(self.id)?;
            self.open_batch()?;
        }
        Ok(())
    }

    /// Empties tables, alone: other workers have no open batch meanwhile. The batch must be
    /// committed before anything else is read.
    pub(crate) fn empty_tables(&mut self, tables: std::ops::Range<u16>) -> Result<(), Stop> {
        if self.is_sealed || (self.empties_tables && !self.in_transaction) {
            self.commit_requested = true;
            return Err(Stop::Stall);
        }
        if !self.is_worker() {
            // EXEC is only rehearsed: it is never built with this in it.
            return Ok(());
        }
        self.work_alone()?;
        let (begin, end) = (tables.start.to_be_bytes(), tables.end.to_be_bytes());
        for family in [Family::Meta, Family::Data, Family::Score] {
            self.batch.delete_range(family, &begin, &end);
        }
        for table in tables.clone() {
            self.changes.empty(table);
        }
        if self.in_transaction {
            self.emptied.push(tables);
        }
        self.empties_tables = true;
        self.commit_requested = true;
        Ok(())
    }

    /// The databases whose tables lie from `begin` to before `end`: one, or all.
    pub(crate) fn emptied_databases(&self, begin: &[u8], end: &[u8]) -> RangeInclusive<u16> {
        let number = |bytes: &[u8]| match *bytes {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        match (number(begin), number(end)) {
            (table, end) if table.checked_add(1) == Some(end) => {
                let database = self.database_of(table);
                database..=database
            }
            _ => 0..=u16::MAX,
        }
    }

    /// Keys of a table, with those that the open batch creates and removes.
    pub(crate) fn keys_count(&mut self, table: u16) -> Result<i64, Stop> {
        self.leans_on_batch = true;
        if self.has_emptied(table) {
            return Ok(self.changes.of(table).keys.max(0));
        }
        if self.empties_tables && !self.in_transaction {
            self.commit_requested = true;
            return Err(Stop::Stall);
        }
        Ok((self.engine.counts.total(table).keys + self.changes.of(table).keys).max(0))
    }

    /// Frees a part of what FLUSHALL and the like left in the cache, about a millisecond's work; `false`: there is
    /// none.
    pub fn free_some(&mut self) -> bool {
        self.cache.free_some()
    }
}

pub(crate) fn stripe_of(meta_key: &[u8]) -> usize {
    let key = MetaKey::parse(meta_key).expect("executors look only at keys they encoded");
    Stripes::of(key.hash)
}
