//! Users, what they may do, and what was refused them.
//! <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>
//!
//! A user is a value: a change puts another in its place and raises [`Acl::version`], which each
//! client compares before each command. So a change is felt by the next command of everybody, and
//! a command of somebody who may do everything costs one load and one comparison.
//!
//! - [`user`]: passwords and selectors. [`selector`]: commands, keys, channels.
//! - [`rule`]: what can be wrong with them. [`log`]: ACL LOG.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use coney_base::UnixMillis;

pub(crate) mod log;
pub mod rule;
pub(crate) mod selector;
pub mod user;

pub use rule::{FileError, UserError};

use log::{Log, Reason};
use user::User;

/// The user that everybody is at first.
pub const DEFAULT_USER: &str = "default";
/// Users that there can be.
pub const USERS_MAX: usize = 10_000;

type Users = BTreeMap<Vec<u8>, Arc<User>>;

/// All users.
#[derive(Debug)]
pub struct Acl {
    users: RwLock<Users>,
    version: AtomicU64,
    /// Who connects is the default user without more ado.
    is_open: AtomicBool,
    /// What `requirepass` said last.
    requirepass: Mutex<Option<Vec<u8>>>,
    log: Mutex<Log>,
}

impl Acl {
    /// The default user alone, who may do everything.
    pub(crate) fn new() -> Self {
        Self {
            users: RwLock::new(BTreeMap::from([(
                DEFAULT_USER.as_bytes().to_vec(),
                Arc::new(unrestricted()),
            )])),
            version: AtomicU64::new(1),
            is_open: AtomicBool::new(true),
            requirepass: Mutex::new(None),
            log: Mutex::new(Log::default()),
        }
    }

    /// Changes with every change of a user; never 0.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether clients are the default user without a password.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// The user of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether there is a user of this name.
    pub fn has_user(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// All users in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn change<R>(&self, change: impl FnOnce(&mut Users) -> R) -> R {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut users);
        let default = users.get(DEFAULT_USER.as_bytes());
        let is_open = default.is_some_and(|user| user.is_enabled && user.needs_no_password);
        self.is_open.store(is_open, Ordering::Release);
        self.version.fetch_add(1, Ordering::AcqRel);
        result
    }

    /// ACL SETUSER: all of the rules or none.
    ///
    /// # Errors
    /// [`UserError`].
    pub fn set_user(&self, name: &[u8], rules: &[&[u8]]) -> Result<(), UserError> {
        if name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(UserError::Name);
        }
        self.change(|users| {
            if users.len() >= USERS_MAX && !users.contains_key(name) {
                return Err(UserError::TooMany);
            }
            let user = match users.get(name) {
                Some(user) => user.with(rules)?,
                None => User::new(name).with(rules)?,
            };
            users.insert(name.to_vec(), Arc::new(user));
            Ok(())
        })
    }

    /// ACL DELUSER; returns how many of them there were.
    ///
    /// # Errors
    /// [`UserError::Default`]: nobody is removed.
    pub fn delete_users(&self, names: &[&[u8]]) -> Result<usize, UserError> {
        if names.contains(&DEFAULT_USER.as_bytes()) {
            return Err(UserError::Default);
        }
        let mut removed = 0;
        self.change(|users| {
            removed = names.iter().filter(|name| users.remove(**name).is_some()).count();
        });
        Ok(removed)
    }

    /// `requirepass`: the one password of the default user. What ACL SETUSER did to that user stays
    /// until the setting is changed.
    pub fn set_requirepass(&self, password: Option<Vec<u8>>) {
        let mut last = self.requirepass.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == password {
            return;
        }
        self.change(|users| {
            let Some(default) = users.get_mut(DEFAULT_USER.as_bytes()) else { return };
            let rule = password.as_ref().map(|password| [b">", password.as_slice()].concat());
            let user = match &rule {
                Some(rule) => default.with(&[b"resetpass", rule]),
                None => default.with(&[b"nopass"]),
            };
            // These rules are right.
            if let Ok(user) = user {
                *default = Arc::new(user);
            }
        });
        *last = password;
    }

    /// ACL LOAD: the users of a file in place of all that there are. A file without the default
    /// user leaves that one as it is.
    ///
    /// # Errors
    /// [`FileError`]: nothing has changed.
    pub fn load(&self, text: &[u8]) -> Result<(), FileError> {
        let mut loaded = Users::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
                return Err(FileError::Line(at + 1));
            };
            let rules: Vec<&[u8]> = words.collect();
            let user =
                User::new(name).with(&rules).map_err(|error| FileError::User(at + 1, error))?;
            if loaded.insert(name.to_vec(), Arc::new(user)).is_some() {
                return Err(FileError::Duplicate(
                    at + 1,
                    String::from_utf8_lossy(name).into_owned(),
                ));
            }
            if loaded.len() > USERS_MAX {
                return Err(FileError::User(at + 1, UserError::TooMany));
            }
        }
        self.change(|users| {
            let default = users.remove(DEFAULT_USER.as_bytes());
            *users = loaded;
            if let Some(default) = default {
                users.entry(DEFAULT_USER.as_bytes().to_vec()).or_insert(default);
            }
        });
        Ok(())
    }

    /// ACL SAVE: what [`Acl::load`] reads.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for line in self.describe() {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        text
    }

    /// Lines of ACL LIST.
    pub(crate) fn describe(&self) -> Vec<Vec<u8>> {
        self.all().iter().map(|user| user.describe()).collect()
    }

    /// Notes a refusal. If somebody is reading the log just now, it is left out: a worker does not
    /// wait.
    pub(crate) fn note(
        &self,
        now: UnixMillis,
        reason: Reason,
        object: &[u8],
        username: &[u8],
        client_info: Vec<u8>,
    ) {
        if let Ok(mut log) = self.log.try_lock() {
            log.push(now, reason, object, username, client_info);
        }
    }

    /// Works with ACL LOG.
    pub(crate) fn with_log<R>(&self, f: impl FnOnce(&mut Log) -> R) -> R {
        f(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn unrestricted() -> User {
    let user = User::new(DEFAULT_USER.as_bytes());
    match user.with(&[b"on", b"nopass", b"~*", b"&*", b"+@all"]) {
        Ok(user) => user,
        Err(error) => unreachable!("the rules of the default user are right: {error}"),
    }
}

#[cfg(test)]
mod tests;
