//! CLIENT PAUSE: until when clients wait, and with which commands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coney_base::UnixMillis;

use crate::client::Client;
use crate::command::{CommandSpec, Flags};

/// See the module page. One for all workers.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// In milliseconds since 1970; 0: there is no pause. Read before anything else.
    until_ms: AtomicU64,
    is_for_all: AtomicBool,
}

impl Pause {
    /// Begins a pause. One that is under way neither ends earlier nor becomes weaker by it.
    pub(crate) fn start(&self, now: UnixMillis, until: UnixMillis, is_for_all: bool) {
        if self.is_on(now) {
            self.is_for_all.fetch_or(is_for_all, Ordering::SeqCst);
            self.until_ms.fetch_max(until.0, Ordering::SeqCst);
        } else {
            self.is_for_all.store(is_for_all, Ordering::SeqCst);
            self.until_ms.store(until.0, Ordering::SeqCst);
        }
    }

    pub(crate) fn end(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }

    /// When it ends; `None`: there is none.
    pub(crate) fn until(&self, now: UnixMillis) -> Option<UnixMillis> {
        Some(self.until_ms.load(Ordering::Relaxed)).filter(|until| *until > now.0).map(UnixMillis)
    }

    fn is_on(&self, now: UnixMillis) -> bool {
        self.until(now).is_some()
    }

    /// Whether a command has to wait for its end.
    pub(crate) fn holds(&self, now: UnixMillis, spec: &CommandSpec, client: &Client) -> bool {
        if !self.is_on(now) {
            return false;
        }
        let may_write = |spec: &CommandSpec| {
            // What Redis calls commands that may be replicated.
            spec.flags.contains(Flags::WRITE)
                || matches!(spec.full_name, "publish" | "spublish" | "pfcount")
        };
        self.is_for_all.load(Ordering::Relaxed)
            || may_write(spec)
            || spec.full_name == "exec"
                && client.transaction.as_ref().is_some_and(|transaction| {
                    transaction.queue.iter().any(|queued| may_write(queued.spec))
                })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_only_made_longer_and_stronger() {
        let (pause, now) = (Pause::default(), UnixMillis(1000));
        assert_eq!(pause.until(now), None);
        pause.start(now, UnixMillis(2000), true);
        pause.start(now, UnixMillis(1500), false);
        assert_eq!(pause.until(now), Some(UnixMillis(2000)));
        assert!(pause.is_for_all.load(Ordering::SeqCst));
        assert_eq!(pause.until(UnixMillis(2000)), None);
        pause.start(UnixMillis(2000), UnixMillis(3000), false);
        assert!(!pause.is_for_all.load(Ordering::SeqCst));
        pause.end();
        assert_eq!(pause.until(UnixMillis(2000)), None);
    }
}
