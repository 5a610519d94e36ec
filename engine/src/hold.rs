//! Writing commands that take too long for a worker: made on the I/O pool, committed by the worker.
//!
//! A command that writes and would have to read very many elements, or ranges that are not in
//! memory, stops with everything latched and nothing written. The executor then *holds* its latches
//! over the following iterations: every other command that would write these keys is parked
//! meanwhile, by the stripes of other workers as by this one ([`Executor::latch`]), so that what the
//! pool reads cannot change. The pool executes the command on a snapshot into a batch of its own;
//! the worker adds that batch to its open one, and lets the latches go with its commit. Readers go
//! on and see the old state until then. Most elements of a large new collection are not even in that
//! batch any more ([`crate::ahead`]), nor is what would change very much of one that is there
//! ([`crate::renew`]).
//!
//! The hold belongs to its client. If the client goes, the hold ends, and what the pool made of it
//! is dropped ([`Executor::release`]).

use crate::ahead::Ahead;
use crate::batch::Batch;
use crate::client::Client;
use crate::command::CommandSpec;
use crate::counts::Changes;
use crate::edges::Edges;
use crate::executor::{Executor, stripe_of};
use crate::mail::Outgoing;
use crate::stopwatch::Timed;

/// Bytes of a batch that a command may make on the pool: it is kept in memory, and RocksDB takes
/// it as a whole.
pub const BUILT_BYTES_MAX: usize = 512 << 20;

/// One command that is executed on the pool.
#[derive(Debug)]
pub(crate) struct Hold {
    client: u64,
    /// Tells this hold from earlier ones of the same client.
    id: u64,
    stripes: Vec<usize>,
    built: Option<Built>,
}

/// What the pool made of a command.
#[derive(Debug)]
pub struct Built {
    pub(crate) client: u64,
    pub(crate) hold: u64,
    pub(crate) reply: Vec<u8>,
    pub(crate) batch: Batch,
    pub(crate) changes: Changes,
    pub(crate) earliest_deadline_ms: u64,
    pub(crate) is_error: bool,
    pub(crate) outgoing: Vec<Outgoing>,
    /// Elements that are written already.
    pub(crate) ahead: Vec<Ahead>,
    /// What EXEC made of its client.
    pub(crate) client_after: Option<Box<Client>>,
    /// Of EXEC: how long its commands took.
    pub(crate) timed: Option<Timed>,
}

impl Executor {
    /// Keeps the latches of the command that has just stopped until its batch is built; `None`:
    /// something uncommitted is in its way, which must be committed first.
    pub(crate) fn hold(&mut self, client: &Client) -> Option<u64> {
        if let Some(hold) = self.holds.iter().find(|hold| hold.client == client.id) {
            return Some(hold.id);
        }
        let mut stripes = std::mem::take(&mut self.command_stripes);
        stripes.sort_unstable();
        stripes.dedup();
        if self.batch.touched().any(|key| stripes.contains(&stripe_of(key))) {
            return None;
        }
        self.latched.retain(|stripe| !stripes.contains(stripe));
        self.hold_number += 1;
        let id = self.hold_number;
        self.holds.push(Hold { client: client.id, id, stripes, built: None });
        self.stats.holds += 1;
        Some(id)
    }

    /// The stripes of a hold.
    pub(crate) fn held_stripes(&self, id: u64) -> &[usize] {
        self.holds.iter().find(|hold| hold.id == id).map_or(&[], |hold| &hold.stripes)
    }

    /// What this worker knows of the sorted sets in stripes that it holds, of which nothing is uncommitted.
    pub(crate) fn edges_of(&mut self, stripes: &[usize]) -> Edges {
        let edges = std::mem::take(&mut self.batch.edges);
        let mut known = Edges::default();
        known.learn_from(&edges, |prefix, epoch| {
            let is_valid =
                stripes.contains(&stripe_of(prefix)) && self.epoch_of(prefix) == Some(epoch);
            // The pool knows of no other epoch.
            is_valid.then_some(0)
        });
        self.batch.edges = edges;
        known
    }

    /// Whether a command holds a stripe.
    pub(crate) fn is_held(&self, stripe: usize) -> bool {
        self.holds.iter().any(|hold| hold.stripes.contains(&stripe))
    }

    /// Takes in what the pool built; the command is then to be executed again, and ends.
    pub fn deliver(&mut self, built: Built) {
        let hold = self.holds.iter_mut().find(|hold| hold.id == built.hold);
        // Whose client went meanwhile has none any more.
        if let Some(hold) = hold.filter(|hold| hold.client == built.client) {
            hold.built = Some(built);
        }
    }

    /// The client is gone: its command, if one is on the pool, ends without effect, and it watches,
    /// awaits and is subscribed to nothing any more.
    pub fn release(&mut self, client: &mut Client) {
        self.end_hold(client);
        self.stop_waiting(client);
        self.unwatch(client);
        self.unsubscribe_all(client);
        self.stop_monitoring(client);
        self.stop_tracking(client);
        self.engine.roster.leave(client.id);
    }

    pub(crate) fn end_hold(&mut self, client: &Client) -> Option<Built> {
        let at = self.holds.iter().position(|hold| hold.client == client.id)?;
        let hold = self.holds.swap_remove(at);
        if self.is_shared {
            // They are released with the next commit.
            self.latched.extend(hold.stripes);
        }
        hold.built
    }

    /// What the pool found of sets and sorted sets to which nobody could write since.
    fn learn_from(&mut self, built: Batch, stripes: &[usize]) {
        let mut edges = std::mem::take(&mut self.batch.edges);
        edges.learn_from(&built.edges, |prefix, _| {
            if stripes.contains(&stripe_of(prefix)) { self.epoch_of(prefix) } else { None }
        });
        self.batch.edges = edges;
        for (prefix, members, cursor) in built.draws.into_all() {
            if stripes.contains(&stripe_of(&prefix))
                && let Some(epoch) = self.epoch_of(&prefix)
            {
                self.batch.draws.learn(&prefix, epoch, members, cursor);
            }
        }
    }

    /// Ends the client's command if the pool has built it: its batch joins the open one.
    pub(crate) fn take_built(&mut self, client: &Client, spec: &CommandSpec) -> Option<Built> {
        if !self.holds.iter().any(|hold| hold.client == client.id && hold.built.is_some()) {
            return None;
        }
        let hold = self.holds.iter().find(|hold| hold.client == client.id)?;
        let stripes = hold.stripes.clone();
        let mut built = self.end_hold(client)?;
        let outgoing = std::mem::take(&mut built.outgoing);
        debug_assert!(!self.is_sealed(), "{} is tried only in an open batch", spec.full_name);
        let mark = self.batch.mark();
        self.batch.append(&built.batch);
        self.kept_buckets.clear();
        self.learn_from(std::mem::take(&mut built.batch), &stripes);
        self.touch(mark, client.id);
        self.changes.merge(&built.changes);
        self.earliest_deadline_ms = self.earliest_deadline_ms.min(built.earliest_deadline_ms);
        self.outgoing.extend(outgoing);
        self.ahead.append(&mut built.ahead);
        self.stopwatch.timed = built.timed.take();
        Some(built)
    }
}
