//! What a worker tells of itself and of its clients.

use coney_base::Instant;
use coney_control::clients::ClientRow;
use coney_control::info::{Calls, WorkerRow};
use coney_resp::Protocol;
use rustix::time::{ClockId, clock_gettime};

use super::core::{Core, Transports};
use super::session::{Session, State};
use super::stats::Stats;

impl Session {
    /// The session as CLIENT LIST shows it.
    pub(crate) fn row(&self, worker: usize, now: Instant) -> ClientRow {
        ClientRow {
            id: self.client.id,
            addr: self.peer,
            laddr: self.local,
            worker,
            conn_index: self.key.conn.index,
            name: self.client.name.clone(),
            created: self.created,
            idle_secs: now.since(self.last_active).as_secs(),
            table: self.client.table,
            query_buffer_bytes: self.input.len(),
            query_buffer_capacity: self.input.capacity(),
            argument_bytes: self.parked.as_ref().map_or(0, |parked| parked.args.heap_bytes()),
            output_bytes: self.outbox.pending_len(),
            output_capacity: self.outbox.capacity(),
            command: self.client.last_command,
            is_waiting: self.client.is_waiting(),
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
        let cache = self.executor.cache_usage();
        row.cache_bytes = cache.bytes;
        row.cache_entries = cache.entries as u64;
        row.cache_hits = cache.hits;
        row.cache_misses = cache.misses;
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        row.cpu = std::time::Duration::try_from(cpu).unwrap_or_default();
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
