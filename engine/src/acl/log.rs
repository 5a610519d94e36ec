//! ACL LOG: what was refused lately.

use std::collections::VecDeque;

use coney_base::UnixMillis;

/// Refusals that are kept (`acllog-max-len` of Redis).
pub(crate) const ENTRIES_MAX: usize = 128;
/// A refusal that comes again within this time is counted with the first.
const GROUPING_MS: u64 = 60_000;
/// Bytes kept of the object that was refused.
const OBJECT_LEN_MAX: usize = 256;

/// What was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) count: u64,
    pub(crate) reason: Reason,
    pub(crate) object: Vec<u8>,
    pub(crate) username: Vec<u8>,
    pub(crate) client_info: Vec<u8>,
    pub(crate) created: UnixMillis,
    pub(crate) updated: UnixMillis,
}

/// The entries, newest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl Log {
    /// Notes a refusal.
    pub(crate) fn push(
        &mut self,
        now: UnixMillis,
        reason: Reason,
        object: &[u8],
        username: &[u8],
        client_info: Vec<u8>,
    ) {
        let object = object.get(..OBJECT_LEN_MAX).unwrap_or(object);
        let is_same = |entry: &Entry| {
            entry.reason == reason
                && entry.object == object
                && entry.username == username
                && now.0.saturating_sub(entry.created.0) <= GROUPING_MS
        };
        if let Some(at) = self.entries.iter().position(is_same)
            && let Some(mut entry) = self.entries.remove(at)
        {
            entry.count += 1;
            entry.updated = now;
            entry.client_info = client_info;
            self.entries.push_front(entry);
            return;
        }
        self.entries.truncate(ENTRIES_MAX - 1);
        self.entries.push_front(Entry {
            id: self.next_id,
            count: 1,
            reason,
            object: object.to_vec(),
            username: username.to_vec(),
            client_info,
            created: now,
            updated: now,
        });
        self.next_id += 1;
    }

    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
