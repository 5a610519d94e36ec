//! What a worker tells of itself and of its clients.

use std::time::Duration;

use coney_base::{Instant, UnixMillis};
use coney_control::clients::{ClientRow, TrackingRow};
use coney_control::info::{Calls, WorkerRow};
use coney_control::slowlog::{self, Entry};
use coney_engine::command::{Flags, table};
use coney_engine::secret::shown;
use coney_engine::stopwatch::Timed;
use coney_resp::{Args, Protocol};
use rustix::time::{ClockId, clock_gettime};

use super::core::{Core, Transports};
use super::session::{Parked, Session, SessionKey, State};
use super::stats::Stats;
use super::timing::Timing;
use crate::admin::AdminClient;
use crate::runtime::Runtime;

impl Session {
    /// The session as CLIENT LIST shows it.
    pub(crate) fn row(&self, worker: usize, now: Instant) -> ClientRow {
        // A parked command is one that was received and not executed: in Redis it is in the buffer still.
        let parked_bytes =
            self.parked.as_ref().map_or(0, |parked| parked.args.as_args().request_len());
        ClientRow {
            id: self.client.id,
            addr: self.peer,
            laddr: self.local,
            worker,
            conn_index: self.key.conn.index,
            name: self.client.name.clone(),
            created: self.created,
            idle_secs: now.since(self.last_active).as_secs(),
            table: self.client.database,
            query_buffer_bytes: self.input.len() + parked_bytes,
            query_buffer_capacity: self.input.capacity(),
            argument_bytes: self.parked.as_ref().map_or(0, |parked| parked.args.heap_bytes()),
            output_bytes: self.outbox.pending_len(),
            output_capacity: self.outbox.capacity(),
            command: self.client.last_command,
            is_waiting: self.client.is_waiting(),
            is_monitor: self.client.is_monitor,
            tracking: self.client.tracking.as_ref().map(|tracking| TrackingRow {
                redirect: tracking.redirect,
                is_broadcast: tracking.is_broadcast(),
                is_broken: tracking.is_broken,
            }),
            is_closing: matches!(self.state, State::Closing | State::Closed),
            resp: match self.client.protocol {
                Protocol::Resp2 => 2,
                Protocol::Resp3 => 3,
            },
            no_evict: self.client.no_evict,
            no_touch: self.client.no_touch,
            user: self.client.user_name().to_vec(),
            subscriptions: self.client.subscriptions.counts(),
            queued: self.client.queued(),
            lib_name: self.client.lib_name.clone(),
            lib_ver: self.client.lib_ver.clone(),
        }
    }
}

impl Core {
    /// All clients, for CLIENT LIST.
    pub(crate) fn client_rows(&self) -> Vec<ClientRow> {
        let worker = self.worker_id();
        self.sessions
            .iter()
            .filter(|session| session.state != State::Closed)
            .map(|session| session.row(worker, self.now))
            .collect()
    }

    /// Counters, for INFO.
    pub(crate) fn report(&self, transports: &Transports) -> WorkerRow {
        let mut row = WorkerRow { id: self.worker_id(), ..WorkerRow::default() };
        self.stats.fill(&mut row);
        for session in self.sessions.iter() {
            row.clients += usize::from(session.state != State::Closed);
            row.blocked_clients += usize::from(session.client.is_waiting());
            row.waiting_clients += usize::from(session.parked.is_some());
            row.query_buffer_max = row.query_buffer_max.max(session.input.len());
            row.query_buffer_bytes += session.input.capacity();
            row.output_buffer_max = row.output_buffer_max.max(session.outbox.pending_len());
            row.output_buffer_bytes += session.outbox.capacity();
        }
        // Those that CLIENT PAUSE stopped count too, as in Redis.
        row.blocked_clients += self.paused.len();
        let stats = &self.executor.stats;
        row.commands = stats.commands;
        row.keyspace_hits = stats.keyspace_hits;
        row.keyspace_misses = stats.keyspace_misses;
        row.expired_keys = stats.expired_keys;
        row.expired_fields = stats.expired_fields;
        row.fetches = stats.fetches;
        row.blocking_reads = stats.blocking_reads;
        row.pool_reads = stats.pool_reads;
        row.pool_writes = stats.holds;
        row.latch_waits = stats.latch_waits;
        row.events_dropped = stats.events_dropped;
        row.calls = stats
            .calls
            .iter()
            .zip(&stats.failed_calls)
            .zip(&stats.rejected_calls)
            .map(|((calls, failed), rejected)| Calls {
                calls: *calls,
                failed: *failed,
                rejected: *rejected,
            })
            .collect();
        row.tracking = self.executor.tracking_figures();
        row.times = self.timing.report();
        let cache = self.executor.cache_usage();
        row.cache_bytes = cache.bytes;
        row.cache_entries = cache.entries as u64;
        row.cache_hits = cache.hits;
        row.cache_misses = cache.misses;
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        row.cpu = Duration::try_from(cpu).unwrap_or_default();
        for transport in transports {
            transport.counters(&mut |name, value| match row
                .transports
                .iter_mut()
                .find(|(known, _)| *known == name)
            {
                Some((_, sum)) => *sum += value,
                None => row.transports.push((name, value)),
            });
        }
        row
    }

    /// Sets the counters that CONFIG RESETSTAT resets to zero.
    pub(crate) fn reset_stats(&mut self) {
        self.executor.reset_stats();
        self.stats = Stats::default();
        self.timing.reset();
    }
}

/// A command that has ended, for SLOWLOG and LATENCY.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) took: Duration,
    /// Its place in the table.
    pub(super) index: usize,
    pub(super) unix_now: UnixMillis,
}

impl Report {
    /// Tells of the command; of EXEC, of the commands of its transaction, if they were timed, and then
    /// not of it as well, as in Redis.
    pub(super) fn send(
        &self,
        session: &Session,
        args: Args<'_>,
        timed: Option<&Timed>,
        timing: &mut Timing,
        (runtime, admin): (&Runtime, &AdminClient),
    ) {
        let is_exec = table::ALL.get(self.index).is_some_and(|spec| spec.full_name == "exec");
        let Some(timed) = timed.filter(|_| is_exec) else {
            self.send_if_slow(session, args, runtime, admin);
            return;
        };
        for (index, args, took) in timed.iter() {
            timing.record(index, took, 1);
            let report = Self { took, index, unix_now: self.unix_now };
            report.send_if_slow(session, args, runtime, admin);
        }
    }

    /// Tells the control plane if it took longer than the settings want to know.
    fn send_if_slow(
        &self,
        session: &Session,
        args: Args<'_>,
        runtime: &Runtime,
        admin: &AdminClient,
    ) {
        let unix_secs = self.unix_now.0 / 1000;
        if runtime.slower_than().is_some_and(|least| self.took >= least) {
            admin.note_slow(Entry {
                id: 0,
                unix_secs,
                micros: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
                args: slowlog::shorten(shown(args)),
                addr: session.peer.to_string(),
                name: session.client.name.clone(),
            });
        }
        if runtime.latency_threshold().is_some_and(|least| self.took >= least) {
            let is_fast =
                table::ALL.get(self.index).is_some_and(|spec| spec.flags.contains(Flags::FAST));
            let event = if is_fast { "fast-command" } else { "command" };
            let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
            admin.note_latency(event, unix_secs, millis);
        }
    }
}

impl Core {
    /// A parked command has ended. One that waited for elements says nothing of its speed.
    pub(super) fn note_parked(&mut self, key: SessionKey, parked: &Parked) {
        let args = parked.args.as_args();
        let took = self.now.since(parked.since);
        // Even if nothing is said of them: they are not the next command's.
        let timed = self.executor.take_timed();
        let Some(session) = self.sessions.get_mut(key).filter(|_| !parked.has_waited) else {
            return;
        };
        if let Some(index) = table::index_of(args) {
            self.timing.record(index, took, 1);
            let to = (&*self.runtime, &self.admin);
            let report = Report { took, index, unix_now: self.unix_now };
            report.send(session, args, timed.as_ref(), &mut self.timing, to);
        }
    }
}

impl Stats {
    fn fill(&self, row: &mut WorkerRow) {
        row.connections_received = self.connections_received;
        row.rejected_connections = self.rejected_connections;
        row.closed_by_reset = self.closed_by_reset;
        row.closed_by_timeout = self.closed_by_timeout;
        row.idle_disconnections = self.idle_disconnections;
        row.query_limit_disconnections = self.query_limit_disconnections;
        row.output_limit_disconnections = self.output_limit_disconnections;
        row.sync_failure_disconnections = self.sync_failure_disconnections;
        row.protocol_errors = self.protocol_errors;
        row.error_replies = self.error_replies;
        row.errors.clone_from(&self.errors);
        row.rx_bytes = self.rx_bytes;
        row.tx_bytes = self.tx_bytes;
        row.parked = self.parked;
        row.commits = self.commits;
        row.commit_stalls = self.commit_stalls;
        row.commit_failures = self.commit_failures;
        row.busy_iterations = self.busy_iterations;
        row.idle_iterations = self.idle_iterations;
        row.sleeps = self.sleeps;
        row.busy = self.busy;
        row.busy_longest = self.busy_longest;
    }
}
