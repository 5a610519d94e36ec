//! Up to where a collection is compact: Redis's settings, with Redis's names and defaults.

use std::sync::atomic::{AtomicI64, Ordering};

/// One setting.
#[derive(Debug)]
struct Setting {
    name: &'static str,
    /// The name before Redis 7, if there was another.
    alias: Option<&'static str>,
    /// Smallest and largest value.
    range: (i64, i64),
    value: AtomicI64,
}

impl Setting {
    const fn new(name: &'static str, alias: Option<&'static str>, default: i64) -> Self {
        Self { name, alias, range: (0, i64::MAX), value: AtomicI64::new(default) }
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed).unsigned_abs()
    }
}

/// A setting that cannot have this value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitError {
    /// There is no such setting.
    #[error("unknown setting")]
    Unknown,
    /// The value is out of range: smallest and largest.
    #[error("argument must be between {0} and {1} inclusive")]
    Range(i64, i64),
}

/// The settings. Changing one affects collections when they grow next.
#[derive(Debug)]
pub struct EncodingLimits {
    hash_entries: Setting,
    hash_value: Setting,
    set_intset_entries: Setting,
    set_entries: Setting,
    set_value: Setting,
    zset_entries: Setting,
    zset_value: Setting,
    list_size: Setting,
    stream_node_entries: Setting,
}

impl EncodingLimits {
    /// Redis's defaults.
    pub const fn new() -> Self {
        Self {
            hash_entries: Setting::new(
                "hash-max-listpack-entries",
                Some("hash-max-ziplist-entries"),
                512,
            ),
            hash_value: Setting::new("hash-max-listpack-value", Some("hash-max-ziplist-value"), 64),
            set_intset_entries: Setting::new("set-max-intset-entries", None, 512),
            set_entries: Setting::new("set-max-listpack-entries", None, 128),
            set_value: Setting::new("set-max-listpack-value", None, 64),
            zset_entries: Setting::new(
                "zset-max-listpack-entries",
                Some("zset-max-ziplist-entries"),
                128,
            ),
            zset_value: Setting::new("zset-max-listpack-value", Some("zset-max-ziplist-value"), 64),
            list_size: Setting {
                name: "list-max-listpack-size",
                alias: Some("list-max-ziplist-size"),
                range: (i32::MIN as i64, i32::MAX as i64),
                value: AtomicI64::new(-2),
            },
            stream_node_entries: Setting::new("stream-node-max-entries", None, 100),
        }
    }

    fn all(&self) -> [&Setting; 9] {
        [
            &self.hash_entries,
            &self.hash_value,
            &self.set_intset_entries,
            &self.set_entries,
            &self.set_value,
            &self.zset_entries,
            &self.zset_value,
            &self.list_size,
            &self.stream_node_entries,
        ]
    }

    /// Every name, old ones included, with its value, as CONFIG GET shows them.
    pub fn values(&self) -> Vec<(&'static str, i64)> {
        let of = |setting: &Setting, name| (name, setting.value.load(Ordering::Relaxed));
        self.all()
            .into_iter()
            .flat_map(|setting| {
                let alias = setting.alias.map(|alias| of(setting, alias));
                [Some(of(setting, setting.name)), alias]
            })
            .flatten()
            .collect()
    }

    /// Changes a setting by one of its names, in lower case.
    ///
    /// # Errors
    /// [`LimitError`].
    pub fn set(&self, name: &str, value: i64) -> Result<(), LimitError> {
        let setting = self
            .all()
            .into_iter()
            .find(|setting| setting.name == name || setting.alias == Some(name))
            .ok_or(LimitError::Unknown)?;
        let (min, max) = setting.range;
        if !(min..=max).contains(&value) {
            return Err(LimitError::Range(min, max));
        }
        setting.value.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Fields of a compact hash.
    pub fn hash_entries(&self) -> u64 {
        self.hash_entries.get()
    }

    /// Length of a field or a value of a compact hash.
    pub fn hash_value(&self) -> u64 {
        self.hash_value.get()
    }

    /// Members of a set of integers that is an intset.
    pub fn set_intset_entries(&self) -> u64 {
        // Redis never has more, whatever the setting.
        self.set_intset_entries.get().min(1 << 30)
    }

    /// Members of a compact set.
    pub fn set_entries(&self) -> u64 {
        self.set_entries.get()
    }

    /// Length of a member of a compact set.
    pub fn set_value(&self) -> u64 {
        self.set_value.get()
    }

    /// Members of a compact sorted set.
    pub fn zset_entries(&self) -> u64 {
        self.zset_entries.get()
    }

    /// Length of a member of a compact sorted set.
    pub fn zset_value(&self) -> u64 {
        self.zset_value.get()
    }

    /// `list-max-listpack-size`: elements, or, negative, a class of sizes in bytes.
    pub fn list_size(&self) -> i64 {
        self.list_size.value.load(Ordering::Relaxed)
    }

    /// Entries of a stream that are trimmed together where the limit is approximate.
    pub fn stream_node_entries(&self) -> u64 {
        // Redis calls no limit 0.
        match self.stream_node_entries.get() {
            0 => u64::MAX,
            entries => entries,
        }
    }
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_are_the_same_settings() {
        let limits = EncodingLimits::new();
        assert_eq!(limits.set("hash-max-ziplist-entries", 7), Ok(()));
        assert_eq!(limits.hash_entries(), 7);
        assert_eq!(
            limits.values()[..2],
            [("hash-max-listpack-entries", 7), ("hash-max-ziplist-entries", 7)]
        );
        assert_eq!(
            limits.set("hash-max-listpack-entries", -1),
            Err(LimitError::Range(0, i64::MAX))
        );
        assert_eq!(limits.set("list-max-listpack-size", -5), Ok(()));
        assert_eq!(limits.list_size(), -5);
        assert_eq!(limits.set("nope", 1), Err(LimitError::Unknown));
    }
}
