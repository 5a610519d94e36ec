//! SLOWLOG, LATENCY and MEMORY.

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

/// LATENCY: no events are sampled, which is what Redis replies with its monitor off.
pub(super) fn latency(request: &AdminRequest, sub: &[u8]) -> Answer {
    match sub {
        b"latest" | b"history" => Answer::Now(request.reply(|reply| reply.array(0))),
        b"histogram" => Answer::Now(request.reply(|reply| reply.map(0))),
        b"reset" => Answer::Now(request.reply(|reply| reply.int(0))),
        b"doctor" => {
            let text = "Coney samples no latency events. SLOWLOG has the commands that waited for \
                        long, and busy_longest_usec in INFO coney is the longest that a worker kept \
                        its clients waiting.";
            Answer::Now(request.reply(|reply| reply.verbatim(*b"txt", text.as_bytes())))
        }
        _ => unknown(request, "LATENCY", sub),
    }
}
