//! The text of INFO.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::{Calls, REDIS_VERSION, Snapshot};

/// Bytes, or other things, as a text for people: `bytesToHuman` in Redis.
fn human(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two decimals for people")]
    let bytes_f = bytes as f64;
    match bytes {
        0..0x400 => format!("{bytes}B"),
        0x400..0x10_0000 => format!("{:.2}K", bytes_f / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.2}M", bytes_f / 1048576.0),
        0x4000_0000..0x100_0000_0000 => format!("{:.2}G", bytes_f / 1073741824.0),
        _ => format!("{:.2}T", bytes_f / 1099511627776.0),
    }
}

/// Writes sections, one line for each field.
struct Text(String);

impl Text {
    fn section(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.0.push_str("# ");
        self.0.push_str(title);
        self.0.push_str("\r\n");
    }

    fn field(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("writing to a string cannot fail");
    }
}

/// One section: the name that selects it, whether plain INFO shows it, and what writes it.
struct Section {
    name: &'static str,
    is_default: bool,
    write: fn(&Snapshot, &mut Text),
}

const fn section(name: &'static str, is_default: bool, write: fn(&Snapshot, &mut Text)) -> Section {
    Section { name, is_default, write }
}

static SECTIONS: [Section; 15] = [
    section("server", true, server),
    section("clients", true, clients),
    section("memory", true, memory),
    section("persistence", true, persistence),
    section("stats", true, stats),
    section("replication", true, replication),
    section("cpu", true, cpu),
    section("modules", true, modules),
    section("commandstats", false, commandstats),
    section("errorstats", true, errorstats),
    section("cluster", true, cluster),
    section("coney", true, coney),
    section("datapath", true, datapath),
    section("storage", true, storage),
    section("tables", true, tables),
];

/// The reply of `INFO` with these section names; none means the default ones. Unknown names are
/// ignored, as in Redis.
pub fn write(snapshot: &Snapshot, sections: &[&[u8]]) -> String {
    let is_named = |name: &str| sections.iter().any(|s| s.eq_ignore_ascii_case(name.as_bytes()));
    let is_all = is_named("all") || is_named("everything");
    let is_default = sections.is_empty() || is_named("default");
    let mut text = Text(String::new());
    for section in &SECTIONS {
        if is_all || is_named(section.name) || (is_default && section.is_default) {
            (section.write)(snapshot, &mut text);
        }
    }
    // Redis puts it last, and so do people's eyes.
    if is_all || is_default || is_named("keyspace") {
        keyspace(snapshot, &mut text);
    }
    text.0
}

fn server(snapshot: &Snapshot, text: &mut Text) {
    let row = &snapshot.server;
    text.section("Server");
    text.field("redis_version", REDIS_VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", row.coney_version);
    text.field("redis_mode", "standalone");
    text.field("coney_version", row.coney_version);
    text.field("os", &row.os);
    text.field("arch_bits", usize::BITS);
    text.field("multiplexing_api", row.kernel_transport);
    text.field("process_id", row.process_id);
    text.field("run_id", &row.run_id);
    text.field("tcp_port", row.tcp_port);
    text.field("server_time_usec", row.unix_micros);
    text.field("uptime_in_seconds", row.uptime.as_secs());
    text.field("uptime_in_days", row.uptime.as_secs() / 86_400);
    text.field("executable", &row.executable);
    text.field("config_file", &row.config_file);
    text.field("io_threads_active", u8::from(row.workers > 1));
    for (at, listener) in row.listeners.iter().enumerate() {
        text.field(&format!("listener{at}"), format_args!("name=tcp,addr={listener}"));
    }
}

fn clients(snapshot: &Snapshot, text: &mut Text) {
    text.section("Clients");
    text.field("connected_clients", snapshot.sum_usize(|row| row.clients));
    text.field("cluster_connections", 0);
    text.field("maxclients", snapshot.server.maxclients);
    text.field("client_recent_max_input_buffer", snapshot.max(|row| row.query_buffer_max));
    text.field("client_recent_max_output_buffer", snapshot.max(|row| row.output_buffer_max));
    text.field("blocked_clients", snapshot.sum_usize(|row| row.blocked_clients));
    text.field("tracking_clients", snapshot.sum_usize(|row| row.tracking[0]));
    text.field("clients_in_timeout_table", 0);
    text.field("waiting_clients", snapshot.sum_usize(|row| row.waiting_clients));
}

fn memory(snapshot: &Snapshot, text: &mut Text) {
    let row = &snapshot.memory;
    text.section("Memory");
    for (name, bytes) in [
        ("used_memory", row.allocated),
        ("used_memory_rss", row.rss),
        ("used_memory_peak", row.peak),
    ] {
        text.field(name, bytes);
        text.field(&format!("{name}_human"), human(bytes));
    }
    text.field("allocator_allocated", row.allocated);
    text.field("allocator_active", row.active);
    text.field("allocator_resident", row.resident);
    text.field("total_system_memory", row.system);
    text.field("total_system_memory_human", human(row.system));
    text.field("maxmemory", 0);
    text.field("maxmemory_human", "0B");
    text.field("maxmemory_policy", "noeviction");
    text.field("mem_fragmentation_ratio", ratio(row.rss, row.allocated));
    text.field("mem_fragmentation_bytes", row.rss.saturating_sub(row.allocated));
    text.field("mem_allocator", "jemalloc");
    let buffers =
        snapshot.sum_usize(|worker| worker.query_buffer_bytes + worker.output_buffer_bytes);
    text.field("mem_clients_normal", buffers);
    text.field("mem_hot_cache", snapshot.sum(|worker| worker.cache_bytes));
    for (name, value) in &snapshot.storage {
        if matches!(*name, "block_cache_bytes" | "memtable_bytes" | "table_reader_bytes") {
            text.field(&format!("mem_{}", name.trim_end_matches("_bytes")), value);
        }
    }
    text.field("active_defrag_running", 0);
    text.field("lazyfree_pending_objects", 0);
}

fn persistence(snapshot: &Snapshot, text: &mut Text) {
    let row = &snapshot.persistence;
    let status = |failed: bool| if failed { "err" } else { "ok" };
    text.section("Persistence");
    text.field("loading", 0);
    text.field("async_loading", 0);
    text.field("rdb_changes_since_last_save", row.written.saturating_sub(row.durable));
    text.field("rdb_bgsave_in_progress", u8::from(row.saving));
    text.field("rdb_last_save_time", row.last_save_unix_secs);
    text.field("rdb_last_bgsave_status", status(row.save_failed));
    text.field("aof_enabled", 1);
    text.field("aof_rewrite_in_progress", 0);
    text.field("aof_rewrite_scheduled", 0);
    text.field("aof_last_bgrewrite_status", "ok");
    text.field("aof_last_write_status", status(row.failure.is_some() || row.sync_failed));
    text.field("sync", &row.sync);
    text.field("log_batches_written", row.written);
    text.field("log_batches_durable", row.durable);
    text.field("log_syncs", row.syncs);
    text.field("last_write_error", row.failure.as_deref().unwrap_or("").replace(['\r', '\n'], " "));
}

fn stats(snapshot: &Snapshot, text: &mut Text) {
    text.section("Stats");
    text.field("total_connections_received", snapshot.sum(|row| row.connections_received));
    text.field("total_commands_processed", snapshot.sum(|row| row.commands));
    text.field("instantaneous_ops_per_sec", snapshot.rates.commands);
    text.field("total_net_input_bytes", snapshot.sum(|row| row.rx_bytes));
    text.field("total_net_output_bytes", snapshot.sum(|row| row.tx_bytes));
    text.field("instantaneous_input_kbps", hundredths(snapshot.rates.rx_bytes, 1024));
    text.field("instantaneous_output_kbps", hundredths(snapshot.rates.tx_bytes, 1024));
    text.field("rejected_connections", snapshot.sum(|row| row.rejected_connections));
    text.field("sync_full", 0);
    text.field("sync_partial_ok", 0);
    text.field("sync_partial_err", 0);
    text.field("expired_keys", snapshot.sum(|row| row.expired_keys));
    text.field("expired_subkeys", snapshot.sum(|row| row.expired_fields));
    text.field("evicted_keys", 0);
    text.field("keyspace_hits", snapshot.sum(|row| row.keyspace_hits));
    text.field("keyspace_misses", snapshot.sum(|row| row.keyspace_misses));
    let [channels, patterns, shard_channels] = snapshot.subscribed;
    text.field("pubsub_channels", channels);
    text.field("pubsub_patterns", patterns);
    text.field("tracking_total_keys", snapshot.sum_usize(|row| row.tracking[1]));
    text.field("tracking_total_items", snapshot.sum_usize(|row| row.tracking[2]));
    text.field("tracking_total_prefixes", snapshot.sum_usize(|row| row.tracking[3]));
    text.field("pubsubshard_channels", shard_channels);
    text.field("latest_fork_usec", 0);
    text.field("total_forks", 0);
    text.field("total_error_replies", snapshot.sum(|row| row.error_replies));
    text.field("total_reads_processed", snapshot.transport(&["kernel_reads"]));
    text.field("total_writes_processed", snapshot.transport(&["kernel_writes"]));
    let query_limit = snapshot.sum(|row| row.query_limit_disconnections);
    text.field("client_query_buffer_limit_disconnections", query_limit);
    let output_limit = snapshot.sum(|row| row.output_limit_disconnections);
    text.field("client_output_buffer_limit_disconnections", output_limit);
}

fn replication(snapshot: &Snapshot, text: &mut Text) {
    let sequence = snapshot.storage.iter().find(|(name, _)| *name == "sequence");
    text.section("Replication");
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &snapshot.server.run_id);
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", sequence.map_or(0, |(_, value)| *value));
    text.field("second_repl_offset", -1);
    text.field("repl_backlog_active", 0);
    text.field("repl_backlog_size", 0);
    text.field("repl_backlog_first_byte_offset", 0);
    text.field("repl_backlog_histlen", 0);
}

fn cpu(snapshot: &Snapshot, text: &mut Text) {
    let row = &snapshot.cpu;
    text.section("CPU");
    text.field("used_cpu_sys", seconds(row.system));
    text.field("used_cpu_user", seconds(row.user));
    text.field("used_cpu_sys_children", seconds(row.children_system));
    text.field("used_cpu_user_children", seconds(row.children_user));
}

fn modules(_snapshot: &Snapshot, text: &mut Text) {
    text.section("Modules");
}

fn commandstats(snapshot: &Snapshot, text: &mut Text) {
    text.section("Commandstats");
    for (at, name) in snapshot.commands.iter().enumerate() {
        let sum = snapshot.calls(at);
        if sum != Calls::default() {
            let times = snapshot.times(at);
            let micros = times.total_micros();
            text.field(
                &format!("cmdstat_{name}"),
                format_args!(
                    "calls={},usec={micros},usec_per_call={},rejected_calls={},failed_calls={}",
                    sum.calls,
                    ratio(micros, times.count()),
                    sum.rejected,
                    sum.failed
                ),
            );
        }
    }
}

fn errorstats(snapshot: &Snapshot, text: &mut Text) {
    text.section("Errorstats");
    for (code, count) in snapshot.error_counts() {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn cluster(_snapshot: &Snapshot, text: &mut Text) {
    text.section("Cluster");
    text.field("cluster_enabled", 0);
}

fn coney(snapshot: &Snapshot, text: &mut Text) {
    text.section("Coney");
    text.field("coney_version", snapshot.server.coney_version);
    text.field("metrics_listener", snapshot.server.metrics.as_deref().unwrap_or(""));
    text.field("workers", snapshot.server.workers);
    text.field("io_threads", snapshot.server.io_threads);
    text.field("cache_bytes", snapshot.sum(|row| row.cache_bytes));
    text.field("cache_entries", snapshot.sum(|row| row.cache_entries));
    text.field("cache_hits", snapshot.sum(|row| row.cache_hits));
    text.field("cache_misses", snapshot.sum(|row| row.cache_misses));
    text.field("parked_commands", snapshot.sum(|row| row.parked));
    text.field("fetches", snapshot.sum(|row| row.fetches));
    text.field("blocking_reads", snapshot.sum(|row| row.blocking_reads));
    text.field("pool_reads", snapshot.sum(|row| row.pool_reads));
    text.field("pool_writes", snapshot.sum(|row| row.pool_writes));
    text.field("latch_waits", snapshot.sum(|row| row.latch_waits));
    text.field("keyspace_events_dropped", snapshot.sum(|row| row.events_dropped));
    text.field("commits", snapshot.sum(|row| row.commits));
    text.field("commit_stalls", snapshot.sum(|row| row.commit_stalls));
    text.field("commit_failures", snapshot.sum(|row| row.commit_failures));
    text.field("protocol_errors", snapshot.sum(|row| row.protocol_errors));
    text.field("idle_disconnections", snapshot.sum(|row| row.idle_disconnections));
    let sync_failure = snapshot.sum(|row| row.sync_failure_disconnections);
    text.field("sync_failure_disconnections", sync_failure);
    text.field("closed_by_reset", snapshot.sum(|row| row.closed_by_reset));
    text.field("closed_by_timeout", snapshot.sum(|row| row.closed_by_timeout));
    text.field("slowlog_dropped", snapshot.slowlog_dropped);
    for row in &snapshot.workers {
        text.field(
            &format!("worker{}", row.id),
            format_args!(
                "clients={},commands={},busy_iterations={},idle_iterations={},sleeps={},\
                 busy_usec={},busy_longest_usec={},cpu_usec={}",
                row.clients,
                row.commands,
                row.busy_iterations,
                row.idle_iterations,
                row.sleeps,
                row.busy.as_micros(),
                row.busy_longest.as_micros(),
                row.cpu.as_micros(),
            ),
        );
    }
}

fn datapath(snapshot: &Snapshot, text: &mut Text) {
    text.section("Datapath");
    text.field("datapath", snapshot.server.datapath);
    for (name, value) in snapshot.transport_counters() {
        text.field(name, value);
    }
    for (name, value) in &snapshot.steering {
        text.field(name, value);
    }
}

fn storage(snapshot: &Snapshot, text: &mut Text) {
    text.section("Storage");
    for (name, value) in &snapshot.storage {
        text.field(name, value);
    }
}

/// Left out as a whole if there is no named table.
fn tables(snapshot: &Snapshot, text: &mut Text) {
    if snapshot.named.is_empty() {
        return;
    }
    text.section("Tables");
    for row in &snapshot.named {
        let fields: Vec<String> =
            row.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text.field(&format!("table_{}", row.name), fields.join(","));
    }
}

fn keyspace(snapshot: &Snapshot, text: &mut Text) {
    text.section("Keyspace");
    for row in snapshot.tables.iter().filter(|row| row.keys > 0) {
        text.field(
            &format!("db{}", row.table),
            format_args!("keys={},expires={},avg_ttl=0", row.keys, row.expires),
        );
    }
}

/// Seconds with six decimals.
fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

/// A ratio with two decimals; 0.00 if there is nothing to divide by.
fn ratio(a: u64, b: u64) -> String {
    if b == 0 { "0.00".to_owned() } else { hundredths(a, b) }
}

fn hundredths(a: u64, b: u64) -> String {
    let scaled = u128::from(a) * 100 / u128::from(b);
    format!("{}.{:02}", scaled / 100, scaled % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::{TableRow, WorkerRow};

    fn snapshot() -> Snapshot {
        let worker = |id: usize, commands| WorkerRow {
            id,
            commands,
            clients: 2,
            calls: vec![Calls::default(), Calls { calls: commands, failed: 1, rejected: 0 }],
            errors: vec![("ERR".to_owned(), 1)],
            transports: vec![("kernel_reads", 5)],
            ..WorkerRow::default()
        };
        Snapshot {
            workers: vec![worker(0, 10), worker(1, 20)],
            commands: vec!["get", "client|list"],
            tables: vec![
                TableRow { table: 0, keys: 3, expires: 1 },
                TableRow { table: 1, keys: 0, expires: 0 },
            ],
            ..Snapshot::default()
        }
    }

    #[test]
    fn workers_are_summed() {
        let text = write(&snapshot(), &[]);
        for line in [
            "redis_version:7.2.0\r\n",
            "connected_clients:4\r\n",
            "total_commands_processed:30\r\n",
            "errorstat_ERR:count=2\r\n",
            "total_reads_processed:10\r\n",
            "kernel_reads:10\r\n",
            "worker1:clients=2,commands=20,",
            "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(!text.contains("db1:"), "empty databases are not listed");
        assert!(!text.contains("cmdstat"), "only on request");
    }

    #[test]
    fn sections_are_selected_by_name() {
        let sections = |names: &[&[u8]]| -> Vec<String> {
            let text = write(&snapshot(), names);
            let titles = text.lines().filter_map(|line| line.strip_prefix("# "));
            titles.map(str::to_owned).collect()
        };
        assert_eq!(sections(&[b"CPU"]), ["CPU"]);
        assert_eq!(sections(&[b"keyspace", b"clients"]), ["Clients", "Keyspace"]);
        assert_eq!(sections(&[b"nothing"]), [""; 0]);
        assert_eq!(sections(&[b"default"]), sections(&[]));
        assert_eq!(sections(&[b"all"]).len(), 15);
        assert_eq!(sections(&[b"default", b"commandstats"]).len(), 15);
    }

    #[test]
    fn commandstats_name_subcommands() {
        let text = write(&snapshot(), &[b"commandstats"]);
        assert_eq!(
            text,
            "# Commandstats\r\ncmdstat_client|list:calls=30,usec=0,usec_per_call=0.00,\
             rejected_calls=0,failed_calls=2\r\n"
        );
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(3 << 30), "3.00G");
        assert_eq!(ratio(3, 2), "1.50");
        assert_eq!(seconds(Duration::from_micros(1_500_001)), "1.500001");
    }
}
