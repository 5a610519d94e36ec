//! Settings of Redis's that mean nothing here, but that clients ask for.

use super::super::value::{BadValue, integer, memory, show_bool, yes_no};

/// Settings of Redis's that mean nothing to this server, with what CONFIG GET shows until CONFIG
/// SET changes it. Clients, tools and Redis's own tests ask for them.
pub const ECHOED: &[(&str, &str)] = &[
    // Every write is in a log that is read at the start: that is what these two ask about.
    ("appendonly", "yes"),
    ("save", ""),
    // Memory is bounded by caches and buffers, which have settings; nothing is ever evicted.
    ("maxmemory", "0"),
    ("maxmemory-clients", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("activedefrag", "no"),
    ("aof-use-rdb-preamble", "yes"),
    ("auto-aof-rewrite-min-size", "67108864"),
    ("auto-aof-rewrite-percentage", "100"),
    ("busy-reply-threshold", "5000"),
    ("cluster-enabled", "no"),
    ("daemonize", "no"),
    ("dbfilename", "dump.rdb"),
    ("hll-sparse-max-bytes", "3000"),
    ("hz", "10"),
    ("latency-tracking", "yes"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("list-compress-depth", "0"),
    ("logfile", ""),
    ("loglevel", "notice"),
    ("lua-time-limit", "5000"),
    ("masterauth", ""),
    ("min-replicas-to-write", "0"),
    ("no-appendfsync-on-rewrite", "no"),
    ("pidfile", ""),
    ("rdb-key-save-delay", "0"),
    ("rdbcompression", "yes"),
    ("repl-backlog-size", "1048576"),
    ("repl-diskless-sync", "yes"),
    ("repl-diskless-sync-delay", "5"),
    ("repl-diskless-sync-max-replicas", "0"),
    ("repl-ping-replica-period", "10"),
    ("repl-timeout", "60"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("replicaof", ""),
    ("set-proc-title", "yes"),
    ("shutdown-timeout", "10"),
    ("slaveof", ""),
    ("stop-writes-on-bgsave-error", "yes"),
    ("stream-node-max-bytes", "4096"),
    ("supervised", "no"),
    ("unixsocket", ""),
];

/// Those of [`ECHOED`] that are numbers of bytes.
const ECHOED_MEMORY: &[&str] = &[
    "auto-aof-rewrite-min-size",
    "hll-sparse-max-bytes",
    "maxmemory",
    "maxmemory-clients",
    "repl-backlog-size",
    "stream-node-max-bytes",
];

/// The value that CONFIG SET gives one of [`ECHOED`]: of the kind of its default, and as CONFIG GET shows
/// it.
pub(in crate::config) fn echoed_value(name: &str, text: &str) -> Result<String, BadValue> {
    let default = ECHOED.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
    if name == "maxmemory-clients"
        && let Some(percent) = text.strip_suffix('%')
    {
        let percent: u64 = integer(percent, 0, i64::MAX)?;
        return if percent > 100 { Err(BadValue::NotPercentage) } else { Ok(text.to_owned()) };
    }
    if ECHOED_MEMORY.contains(&name) {
        return Ok(memory::<i64>(text, 0, i64::MAX)?.to_string());
    }
    match default {
        "yes" | "no" => yes_no(text).map(show_bool),
        _ if default.parse::<i64>().is_ok() => {
            Ok(integer::<i64>(text, i64::MIN, i64::MAX)?.to_string())
        }
        _ => Ok(text.to_owned()),
    }
}

/// Those of [`ECHOED`] that a running Redis refuses to change: whoever tries shall know that nothing
/// happened.
pub const ECHOED_IMMUTABLE: &[&str] = &[
    "cluster-enabled",
    "daemonize",
    "logfile",
    "pidfile",
    "set-proc-title",
    "supervised",
    "unixsocket",
];
