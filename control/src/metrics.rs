//! The page of metrics in Prometheus's text format: the rows that INFO shows, as counters, gauges and
//! histograms with labels.
//!
//! All names begin with `coney_`; times are in seconds, sizes in bytes. What the transports, the
//! storage and the XDP program count by themselves keeps the name that INFO shows.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
    prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::info::{Calls, Snapshot, Times, WorkerRow};

/// The media type of [`write`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page for this moment.
pub fn write(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("coney");
    registry.register_collector(Box::new(Page(snapshot)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("writing to a string cannot fail");
    text
}

/// Hands the rows over one metric after the other.
#[derive(Debug)]
struct Page(Snapshot);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = Metrics(encoder);
        self.server(&mut metrics)?;
        self.clients(&mut metrics)?;
        self.commands(&mut metrics)?;
        self.memory(&mut metrics)?;
        self.persistence(&mut metrics)?;
        self.workers(&mut metrics)?;
        self.keyspace(&mut metrics)?;
        self.datapath(&mut metrics)?;
        self.storage(&mut metrics)
    }
}

impl Page {
    fn server(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let row = &self.0.server;
        let version = [([("version", row.coney_version.to_owned())], 1)];
        metrics.gauges("build_info", "The running version.", version)?;
        metrics.gauge("uptime_seconds", "Since the start.", row.uptime.as_secs())?;
        let cpu = [
            ([("mode", "system".to_owned())], self.0.cpu.system.as_secs_f64()),
            ([("mode", "user".to_owned())], self.0.cpu.user.as_secs_f64()),
        ];
        metrics.counters("cpu_seconds", "CPU time of the process.", cpu)
    }

    fn clients(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let clients = self.0.workers.iter().map(|row| (worker(row), row.clients as u64));
        metrics.gauges("clients", "Connected clients.", clients)?;
        let blocked = self.0.sum(|row| row.blocked_clients as u64);
        metrics.gauge("blocked_clients", "Clients in blocking commands.", blocked)?;
        let waiting = self.0.sum(|row| row.waiting_clients as u64);
        let help = "Clients whose command waits for the device or another writer.";
        metrics.gauge("waiting_clients", help, waiting)?;
        metrics.gauge("clients_max", "The limit maxclients.", self.0.server.maxclients as u64)?;
        let received = self.0.sum(|row| row.connections_received);
        metrics.counter("connections", "Accepted connections.", received)?;
        let ends: [(&str, Field); 8] = [
            ("maxclients", |row| row.rejected_connections),
            ("reset", |row| row.closed_by_reset),
            ("timeout", |row| row.closed_by_timeout),
            ("idle", |row| row.idle_disconnections),
            ("query_limit", |row| row.query_limit_disconnections),
            ("output_limit", |row| row.output_limit_disconnections),
            ("sync_failure", |row| row.sync_failure_disconnections),
            ("protocol_error", |row| row.protocol_errors),
        ];
        let ends = ends.map(|(why, field)| ([("reason", why.to_owned())], self.0.sum(field)));
        let help = "Connections that did not end by the client's wish.";
        metrics.counters("connections_broken", help, ends)?;
        let received = self.0.sum(|row| row.rx_bytes);
        metrics.counter("received_bytes", "Requests, without headers.", received)?;
        let sent = self.0.sum(|row| row.tx_bytes);
        metrics.counter("sent_bytes", "Replies, without headers.", sent)
    }

    fn commands(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let rows = self.called();
        let of = |field: fn(&Calls) -> u64| {
            rows.iter().map(move |(name, calls, _)| (command(name), field(calls)))
        };
        metrics.counters("command_calls", "Executed commands.", of(|calls| calls.calls))?;
        let help = "Commands that were executed and replied an error.";
        metrics.counters("command_failures", help, of(|calls| calls.failed))?;
        let help = "Commands that were refused before they were executed.";
        metrics.counters("command_rejections", help, of(|calls| calls.rejected))?;
        let times = rows.iter().filter(|(_, _, times)| times.count() > 0);
        let times = times.map(|(name, _, times)| (command(name), times));
        let help = "From the first execution to the reply; fast commands are sampled.";
        metrics.histograms("command_duration_seconds", help, times)?;
        let errors = self.0.error_counts();
        let errors = errors.into_iter().map(|(code, count)| ([("code", code.to_owned())], count));
        metrics.counters("error_replies", "Error replies by their first word.", errors)?;
        let hits = self.0.sum(|row| row.keyspace_hits);
        metrics.counter("keyspace_hits", "Keys that were looked up and found.", hits)?;
        let misses = self.0.sum(|row| row.keyspace_misses);
        metrics.counter("keyspace_misses", "Keys that were looked up and not there.", misses)?;
        let expired = self.0.sum(|row| row.expired_keys);
        metrics.counter("expired_keys", "Keys whose time was over.", expired)?;
        let dropped = self.0.sum(|row| row.events_dropped);
        let help = "Keyspace events that were dropped because a mailbox was full.";
        metrics.counter("keyspace_events_dropped", help, dropped)
    }

    /// Commands that were called, by all workers.
    fn called(&self) -> Vec<(&'static str, Calls, Times)> {
        let names = self.0.commands.iter().enumerate();
        let rows = names.map(|(at, name)| (*name, self.0.calls(at), self.0.times(at)));
        rows.filter(|(_, calls, _)| *calls != Calls::default()).collect()
    }

    fn memory(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let row = &self.0.memory;
        metrics.gauge("memory_allocated_bytes", "What the allocator gave out.", row.allocated)?;
        metrics.gauge("memory_resident_bytes", "Memory of the process.", row.rss)?;
        let cached = self.0.sum(|row| row.cache_bytes);
        metrics.gauge("hot_cache_bytes", "Memory of the hot-key cache.", cached)?;
        let entries = self.0.sum(|row| row.cache_entries);
        metrics.gauge("hot_cache_entries", "Entries of the hot-key cache.", entries)?;
        let hits = self.0.sum(|row| row.cache_hits);
        metrics.counter("hot_cache_hits", "Reads that the hot-key cache answered.", hits)?;
        let misses = self.0.sum(|row| row.cache_misses);
        metrics.counter("hot_cache_misses", "Reads that went on to RocksDB.", misses)
    }

    fn persistence(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let row = &self.0.persistence;
        let is_writable = row.failure.is_none() && !row.sync_failed;
        metrics.gauge("writable", "1 while writes succeed, else 0.", u64::from(is_writable))?;
        metrics.counter("log_batches_written", "Batches in the log.", row.written)?;
        let help = "Batches in the log that survive a power failure.";
        metrics.counter("log_batches_durable", help, row.durable)?;
        metrics.counter("log_syncs", "Times that the log was synced.", row.syncs)?;
        let stalls = self.0.sum(|row| row.commit_stalls);
        let help = "Times that a batch had to wait for compactions.";
        metrics.counter("commit_stalls", help, stalls)?;
        let failures = self.0.sum(|row| row.commit_failures);
        metrics.counter("commit_failures", "Batches that could not be written.", failures)
    }

    fn workers(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let of = |field: Field| self.0.workers.iter().map(move |row| (worker(row), field(row)));
        let time = |field: fn(&WorkerRow) -> Duration| {
            self.0.workers.iter().map(move |row| (worker(row), field(row).as_secs_f64()))
        };
        metrics.counters("worker_commands", "Commands by worker.", of(|row| row.commands))?;
        let help = "Iterations that had something to do.";
        metrics.counters("worker_busy_iterations", help, of(|row| row.busy_iterations))?;
        let help = "Time in iterations that had something to do.";
        metrics.counters("worker_busy_seconds", help, time(|row| row.busy))?;
        let help = "CPU time of the worker's thread, polling included.";
        metrics.counters("worker_cpu_seconds", help, time(|row| row.cpu))?;
        let help = "The longest iteration since CONFIG RESETSTAT.";
        metrics.gauges("worker_busy_longest_seconds", help, time(|row| row.busy_longest))?;
        let help = "Commands that waited for keys from the device.";
        metrics.counters("worker_fetches", help, of(|row| row.fetches))?;
        let help = "Reads of the device on the worker itself.";
        metrics.counters("worker_blocking_reads", help, of(|row| row.blocking_reads))?;
        let help = "Commands that waited for another writer of their keys.";
        metrics.counters("worker_latch_waits", help, of(|row| row.latch_waits))
    }

    fn keyspace(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        let of = |field: fn(&crate::info::TableRow) -> i64| {
            let tables = self.0.tables.iter().filter(|row| row.keys > 0);
            tables.map(move |row| ([("db", row.table.to_string())], field(row)))
        };
        metrics.gauges("keys", "Keys of a database.", of(|row| row.keys))?;
        metrics.gauges("keys_with_expiry", "Those with a time to live.", of(|row| row.expires))
    }

    fn datapath(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        for (name, value) in self.0.transport_counters() {
            metrics.figure(
                name,
                "A figure of a transport; see docs/af-xdp.md and docs/tcp.md.",
                value,
            )?;
        }
        let frames = self.0.steering.iter().map(|(name, count)| {
            let verdict = name.strip_prefix("xdp_").unwrap_or(name);
            ([("verdict", verdict.to_owned())], *count)
        });
        metrics.counters("xdp_frames", "Frames by what the XDP program did with them.", frames)
    }

    fn storage(&self, metrics: &mut Metrics<'_>) -> fmt::Result {
        for (name, value) in &self.0.storage {
            let name = format!("storage_{name}");
            metrics.figure(&name, "A figure of RocksDB or its device.", *value)?;
        }
        Ok(())
    }
}

/// A column of the workers' rows.
type Field = fn(&WorkerRow) -> u64;
/// One label.
type Labels = [(&'static str, String); 1];

fn worker(row: &WorkerRow) -> Labels {
    [("worker", row.id.to_string())]
}

fn command(name: &str) -> Labels {
    [("command", name.to_owned())]
}

/// Writes metrics; the encoder appends `_total` to counters. A metric without a row is left out.
struct Metrics<'a>(DescriptorEncoder<'a>);

impl Metrics<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A number of which only its owner knows whether it may fall.
    fn figure(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Unknown)?.encode_gauge(&value)
    }

    fn counters<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, rows, |mut row, value| {
            row.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let encode = |mut row: MetricEncoder<'_>, value| row.encode_gauge(&value);
        self.family(name, help, MetricType::Gauge, rows, encode)
    }

    fn histograms<'t>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, &'t Times)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, rows, |mut row, times| {
            let (sum, buckets) = (times.total().as_secs_f64(), times.buckets_seconds());
            row.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)
        })
    }

    /// A metric with a row for each set of labels, if there is one.
    fn family<V>(
        &mut self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        rows: impl IntoIterator<Item = (Labels, V)>,
        encode: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.0.encode_descriptor(name, help, None, metric_type)?;
        rows.try_for_each(|(labels, value)| encode(encoder.encode_family(&labels)?, value))
    }
}

#[cfg(test)]
mod tests;
