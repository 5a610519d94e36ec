//! Keyspace notifications: messages that tell what happens to keys.
//! <https://redis.io/docs/latest/develop/use/keyspace-notifications/>
//!
//! Handlers tell of each event by [`Context::notify`], in the words of Redis and right where they
//! write; while nothing is to be notified, that is one load and one comparison. An event is a message
//! like those of PUBLISH ([`crate::pubsub`]): it leaves after the commit of what it tells of, and is
//! lost with it. Where the mailbox of a worker with receivers is full, events are dropped and counted
//! (`keyspace_events_dropped` in INFO), because a command that writes cannot wait half way.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::{Context, Old};
use crate::executor::Executor;
use crate::pubsub::Message;

/// What an event is about: the letters of `notify-keyspace-events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Class {
    /// Commands on keys of any type.
    Generic = 1 << 2,
    String = 1 << 3,
    List = 1 << 4,
    Set = 1 << 5,
    Hash = 1 << 6,
    ZSet = 1 << 7,
    Stream = 1 << 8,
    /// A key's deadline has passed.
    Expired = 1 << 9,
    /// A command found no such key.
    Miss = 1 << 10,
    /// A key that was not there is created.
    New = 1 << 11,
}

/// Messages on `__keyspace@<table>__:<key>`.
const KEYSPACE: u32 = 1;
/// Messages on `__keyevent@<table>__:<event>`.
const KEYEVENT: u32 = 1 << 1;
/// Everything of `A`.
const ALL: u32 = Class::Generic as u32
    | Class::String as u32
    | Class::List as u32
    | Class::Set as u32
    | Class::Hash as u32
    | Class::ZSet as u32
    | Class::Stream as u32
    | Class::Expired as u32;

/// Which events are notified, for all workers.
#[derive(Debug, Default)]
pub(crate) struct Notified(AtomicU32);

impl Notified {
    /// Sets it by the letters of `notify-keyspace-events`. Those of events that never happen here
    /// (`e`, evicted; `d`, of modules) mean nothing.
    pub(crate) fn set(&self, letters: &str) {
        let mask = letters.chars().fold(0, |mask, letter| {
            mask | match letter {
                'K' => KEYSPACE,
                'E' => KEYEVENT,
                'A' => ALL,
                'g' => Class::Generic as u32,
                '$' => Class::String as u32,
                'l' => Class::List as u32,
                's' => Class::Set as u32,
                'h' => Class::Hash as u32,
                'z' => Class::ZSet as u32,
                't' => Class::Stream as u32,
                'x' => Class::Expired as u32,
                'm' => Class::Miss as u32,
                'n' => Class::New as u32,
                _ => 0,
            }
        });
        // Without a channel there is nobody to tell.
        let has_channel = mask & (KEYSPACE | KEYEVENT) != 0;
        self.0.store(if has_channel { mask } else { 0 }, Ordering::Relaxed);
    }
}

impl Context<'_> {
    /// Something happened to a key of the client's table.
    pub(crate) fn notify(&mut self, class: Class, event: &'static str, user_key: &[u8]) {
        self.exec.notify(self.client.table, class, event, user_key);
    }

    /// A latched key of any table is about to get a new value: it may have expired before, and be new.
    pub(crate) fn notify_put(&mut self, table: u16, user_key: &[u8], old: Old) {
        if self.exec.notifies() {
            let is_expired = old.stored.is_some_and(|header| header.is_expired(self.now));
            if is_expired {
                self.exec.notify(table, Class::Expired, "expired", user_key);
            }
            if is_expired || old.stored.is_none() {
                self.exec.notify(table, Class::New, "new", user_key);
            }
        }
    }

    /// A latched key of the client's table is about to be removed.
    pub(crate) fn notify_removal(&mut self, user_key: &[u8], old: Old) {
        match old.stored {
            Some(header) if header.is_expired(self.now) => {
                self.notify(Class::Expired, "expired", user_key);
            }
            Some(_) => self.notify(Class::Generic, "del", user_key),
            None => {}
        }
    }
}

impl Executor {
    /// Whether anything is notified.
    fn notifies(&self) -> bool {
        self.engine.notified.0.load(Ordering::Relaxed) != 0
    }

    /// Something happened to a key.
    pub(crate) fn notify(&mut self, table: u16, class: Class, event: &str, user_key: &[u8]) {
        let mask = self.engine.notified.0.load(Ordering::Relaxed);
        if mask & class as u32 != 0 {
            self.publish_event(mask, table, event.as_bytes(), user_key);
        }
    }

    #[cold]
    fn publish_event(&mut self, mask: u32, table: u16, event: &[u8], user_key: &[u8]) {
        let database = self.database_of(table);
        let mut publish = |kind: &str, name: &[u8], payload: &[u8]| {
            let mut channel = format!("__{kind}@{database}__:").into_bytes();
            channel.extend_from_slice(name);
            self.publish_after_commit(Message::new(false, &channel, payload));
        };
        if mask & KEYSPACE != 0 {
            publish("keyspace", user_key, event);
        }
        if mask & KEYEVENT != 0 {
            publish("keyevent", event, user_key);
        }
    }
}
