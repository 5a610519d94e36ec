//! SLOWLOG: the commands that took longest, newest first.
//!
//! Source: <https://redis.io/docs/latest/commands/slowlog-get/>

use std::collections::VecDeque;

/// Arguments kept of one command; the last of them says how many more there were.
pub const ARGS_MAX: usize = 32;
/// Bytes kept of one argument.
pub const ARG_LEN_MAX: usize = 128;

/// One slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number of the entry; never reused while the server runs.
    pub id: u64,
    /// When it ended, in seconds since the Unix epoch.
    pub unix_secs: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// The command, shortened by [`shorten`].
    pub args: Vec<Vec<u8>>,
    /// Address of the client.
    pub addr: String,
    /// Name of the client.
    pub name: Vec<u8>,
}

/// The log: bounded, the oldest entry goes first.
#[derive(Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl SlowLog {
    /// Adds an entry, whose id is chosen here.
    pub fn push(&mut self, mut entry: Entry, len_max: usize) {
        entry.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(entry);
        self.entries.truncate(len_max);
    }

    /// The newest entries, at most `count` of them.
    pub fn newest(&self, count: usize) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter().take(count)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// The arguments as Redis's slow log keeps them: at most [`ARGS_MAX`] of at most [`ARG_LEN_MAX`]
/// bytes each, with a note of what is missing.
pub fn shorten<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = args.len();
    let kept = if count > ARGS_MAX { ARGS_MAX - 1 } else { count };
    let mut short: Vec<Vec<u8>> = args
        .take(kept)
        .map(|arg| match arg.get(..ARG_LEN_MAX) {
            Some(head) if arg.len() > ARG_LEN_MAX => {
                let more = format!("... ({} more bytes)", arg.len() - ARG_LEN_MAX);
                [head, more.as_bytes()].concat()
            }
            _ => arg.to_vec(),
        })
        .collect();
    if count > kept {
        short.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(micros: u64) -> Entry {
        Entry { id: 0, unix_secs: 1, micros, args: vec![], addr: String::new(), name: vec![] }
    }

    #[test]
    fn the_newest_entries_are_kept_and_ids_go_on() {
        let mut log = SlowLog::default();
        for micros in 0..5 {
            log.push(entry(micros), 3);
        }
        let ids: Vec<u64> = log.newest(2).map(|entry| entry.id).collect();
        assert_eq!(ids, [4, 3]);
        assert_eq!(log.len(), 3);
        log.clear();
        log.push(entry(9), 3);
        assert_eq!(log.newest(10).map(|entry| entry.id).collect::<Vec<_>>(), [5]);
        log.push(entry(9), 0);
        assert!(log.is_empty());
    }

    #[test]
    fn long_commands_are_shortened_and_say_so() {
        let long = vec![b'x'; 130];
        assert_eq!(
            shorten([&b"SET"[..], &long].into_iter()),
            [b"SET".to_vec(), [vec![b'x'; 128], b"... (2 more bytes)".to_vec()].concat()]
        );
        let many = vec![&b"a"[..]; 40];
        let short = shorten(many.into_iter());
        assert_eq!(short.len(), 32);
        assert_eq!(short[31], b"... (9 more arguments)");
    }
}
