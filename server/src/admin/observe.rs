//! SLOWLOG, LATENCY and MEMORY.

use std::collections::BTreeMap;

use coney_control::info::Times;
use coney_engine::command::{CommandSpec, table};
use coney_resp::number::parse_i64;

use super::{Admin, AdminRequest, Answer, error, ok, unknown};

/// SLOWLOG GET without a count.
const ENTRIES_DEFAULT: usize = 10;

impl Admin {
    pub(super) fn slowlog(&mut self, request: &AdminRequest, sub: &[u8], args: &[&[u8]]) -> Answer {
        match (sub, args) {
            (b"len", []) => {
                let len = self.slowlog.len();
                Answer::Now(request.reply(|reply| reply.count(len)))
            }
            (b"reset", []) => {
                self.slowlog.clear();
                ok(request)
            }
            (b"get", []) => self.slowlog_get(request, ENTRIES_DEFAULT),
            (b"get", [count]) => match parse_i64(count) {
                Some(-1) => self.slowlog_get(request, usize::MAX),
                Some(count) if count >= 0 => {
                    self.slowlog_get(request, usize::try_from(count).unwrap_or(usize::MAX))
                }
                _ => error(request, "ERR count should be greater than or equal to -1"),
            },
            _ => unknown(request, "SLOWLOG", sub),
        }
    }

    fn slowlog_get(&self, request: &AdminRequest, count: usize) -> Answer {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Answer::Now(request.reply(|reply| {
            let entries = self.slowlog.newest(count);
            reply.array(entries.len());
            for entry in entries {
                reply.array(6);
                reply.int(int(entry.id));
                reply.int(int(entry.unix_secs));
                reply.int(int(entry.micros));
                reply.array(entry.args.len());
                entry.args.iter().for_each(|arg| reply.bulk(arg));
                reply.bulk(entry.addr.as_bytes());
                reply.bulk(&entry.name);
            }
        }))
    }

    pub(super) fn memory(&mut self, request: &AdminRequest, sub: &[u8]) -> Answer {
        match sub {
            b"stats" => self.memory_stats(request),
            b"doctor" => {
                let text = "Coney's memory is bounded by its settings: block-cache, hot-cache, four \
                            times write-buffer, and the buffers of clients. INFO memory shows what \
                            each of them uses.";
                Answer::Now(request.reply(|reply| reply.verbatim(*b"txt", text.as_bytes())))
            }
            // jemalloc gives unused memory back by itself, after ten seconds.
            b"purge" => ok(request),
            _ => unknown(request, "MEMORY", sub),
        }
    }

    fn memory_stats(&mut self, request: &AdminRequest) -> Answer {
        let row = self.memory_row();
        let workers = self.reports();
        let buffers: usize =
            workers.iter().map(|row| row.query_buffer_bytes + row.output_buffer_bytes).sum();
        let keys: i64 =
            (0..self.parts.engine.tables()).map(|table| self.parts.engine.count(table).keys).sum();
        let int = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let fields = [
            ("peak.allocated", int(row.peak)),
            ("total.allocated", int(row.allocated)),
            ("clients.normal", i64::try_from(buffers).unwrap_or(i64::MAX)),
            ("keys.count", keys),
            ("allocator.allocated", int(row.allocated)),
            ("allocator.active", int(row.active)),
            ("allocator.resident", int(row.resident)),
        ];
        Answer::Now(request.reply(|reply| {
            reply.map(fields.len());
            for (name, value) in fields {
                reply.bulk(name.as_bytes());
                reply.int(value);
            }
        }))
    }
}

/// LATENCY.
impl Admin {
    pub(super) fn latency(&mut self, request: &AdminRequest, sub: &[u8], args: &[&[u8]]) -> Answer {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        match (sub, args) {
            (b"latest", _) => Answer::Now(request.reply(|reply| {
                let latest = self.latency.latest();
                reply.array(latest.len());
                for (name, (unix_secs, millis), max_ms) in latest {
                    reply.array(4);
                    reply.bulk(name.as_bytes());
                    [unix_secs, millis, max_ms].iter().for_each(|number| reply.int(int(*number)));
                }
            })),
            (b"history", [event]) => Answer::Now(request.reply(|reply| {
                let samples = self.latency.history(event);
                reply.array(samples.len());
                for (unix_secs, millis) in samples {
                    reply.array(2);
                    reply.int(int(unix_secs));
                    reply.int(int(millis));
                }
            })),
            (b"histogram", names) => self.latency_histogram(request, names),
            (b"reset", names) => {
                let count = self.latency.reset(names);
                Answer::Now(request.reply(|reply| reply.count(count)))
            }
            (b"doctor", _) => {
                let text = self.latency.report(self.parts.config.latency_monitor_threshold);
                Answer::Now(request.reply(|reply| reply.verbatim(*b"txt", text.as_bytes())))
            }
            _ => unknown(request, "LATENCY", sub),
        }
    }

    fn latency_histogram(&self, request: &AdminRequest, names: &[&[u8]]) -> Answer {
        let is_named = |spec: &CommandSpec| {
            let container = spec.full_name.split('|').next().unwrap_or_default();
            names.iter().any(|name| {
                name.eq_ignore_ascii_case(spec.full_name.as_bytes())
                    || name.eq_ignore_ascii_case(container.as_bytes())
            })
        };
        let mut sums: BTreeMap<usize, Times> = BTreeMap::new();
        for (at, times) in self.reports().iter().flat_map(|worker| &worker.times) {
            sums.entry(*at).or_default().merge(times);
        }
        let rows: Vec<(&CommandSpec, Times)> = sums
            .into_iter()
            .filter_map(|(at, times)| Some((table::ALL.get(at)?, times)))
            .filter(|(spec, _)| names.is_empty() || is_named(spec))
            .collect();
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Answer::Now(request.reply(|reply| {
            reply.map(rows.len());
            for (spec, times) in rows {
                let buckets = times.cumulative();
                reply.bulk(spec.full_name.as_bytes());
                reply.map(2);
                reply.bulk(b"calls");
                reply.int(int(times.count()));
                reply.bulk(b"histogram_usec");
                reply.map(buckets.len());
                for (bound, count) in buckets {
                    reply.int(int(bound));
                    reply.int(int(count));
                }
            }
        }))
    }
}
