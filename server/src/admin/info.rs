//! INFO: gathers the rows.

use std::sync::atomic::Ordering;

use coney_control::info::{self, MemoryRow, NamedRow, PersistenceRow, RateRow, Snapshot, TableRow};
use coney_engine::command::table;

use super::{Admin, AdminRequest, Answer};

impl Admin {
    pub(super) fn info(&mut self, request: &AdminRequest, sections: &[&[u8]]) -> Answer {
        let text = info::write(&self.snapshot(), sections);
        Answer::Now(request.reply(|reply| reply.verbatim(*b"txt", text.as_bytes())))
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let workers = self.reports();
        let memory = self.memory_row();
        let parts = &self.parts;
        let mut server = parts.server.clone();
        server.unix_micros = parts.clock.unix_now_micros();
        server.uptime = parts.clock.now().since(self.started);
        Snapshot {
            server,
            workers,
            memory,
            cpu: crate::host::cpu(),
            persistence: self.persistence(),
            rates: RateRow {
                commands: self.commands.per_second(),
                rx_bytes: self.rx_bytes.per_second(),
                tx_bytes: self.tx_bytes.per_second(),
            },
            tables: (0..parts.engine.tables())
                .map(|table| {
                    let count = parts.engine.count(table);
                    TableRow { table, keys: count.keys, expires: count.expires }
                })
                .collect(),
            named: parts
                .engine
                .named_tables()
                .into_iter()
                .map(|table| NamedRow {
                    name: String::from_utf8_lossy(&table.name).into_owned(),
                    fields: table.fields.into(),
                })
                .collect(),
            steering: self.steering(),
            storage: parts.engine.figures(),
            commands: table::ALL.iter().map(|row| row.full_name).collect(),
            subscribed: parts.engine.subscribed(),
            slowlog_dropped: parts.client.slow_dropped.load(Ordering::Relaxed),
        }
    }

    /// What the XDP program did with frames.
    fn steering(&self) -> Vec<(&'static str, u64)> {
        let counters = self.parts.steering.as_ref().and_then(|steering| steering.counters().ok());
        let rows = counters.iter().flat_map(coney_xdp_prog::Counters::iter);
        rows.map(|(verdict, count)| (verdict.metric_name(), count)).collect()
    }

    pub(super) fn memory_row(&mut self) -> MemoryRow {
        let mut memory = crate::host::memory();
        self.peak_bytes = self.peak_bytes.max(memory.allocated);
        memory.peak = self.peak_bytes;
        memory
    }

    fn persistence(&self) -> PersistenceRow {
        let parts = &self.parts;
        let sync = coney_control::config::command::get(&parts.config, &[b"sync"]);
        PersistenceRow {
            sync: sync.into_iter().next().map(|(_, value)| value).unwrap_or_default(),
            written: parts.engine.written_ticket(),
            durable: parts.engine.durable_ticket(),
            failure: parts.engine.failure(),
            sync_failed: parts.sync.has_failed(),
            syncs: parts.sync.count(),
            last_save_unix_secs: self.last_save_unix_secs,
            save_failed: self.save_failed,
            saving: self.saving.is_some(),
        }
    }
}
