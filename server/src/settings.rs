//! The configuration from its three sources: defaults, the file, the command line.

use std::path::{Path, PathBuf};

use coney_control::config::{Config, FileError, SettingError, file};
use coney_engine::Engine;
use coney_xdp_prog::RulesError;

use crate::access;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// The command line is wrong.
    #[error("{flag}: {source}")]
    Flag {
        /// The flag.
        flag: String,
        /// What is wrong.
        source: SettingError,
    },
    /// The access lists contradict each other or are too long.
    #[error("access-list-allow and access-list-deny: {0}")]
    Access(#[from] RulesError),
    /// `--set` without `=`.
    #[error("--set {0}: key=value is expected, such as --set hot-cache=1gb")]
    NoEquals(String),
}

/// One setting from the command line.
#[derive(Debug)]
pub(crate) struct Flag {
    /// As the user wrote it.
    pub(crate) flag: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Tells the engine what may change while it runs.
pub(crate) fn apply(config: &Config, engine: &Engine) {
    let password = config.requirepass.as_bytes();
    engine.acl().set_requirepass((!password.is_empty()).then(|| password.to_vec()));
    engine.set_value_len_max(config.proto_max_bulk_len.into());
    engine.set_tracked_keys_max(config.tracking_table_max_keys);
    engine.set_notified(&config.notify_keyspace_events);
    for (name, value) in config.encoding_limits.named() {
        let set = engine.encoding_limits().set(name, value);
        assert!(set.is_ok(), "the configuration knows the limits of {name}: {set:?}");
    }
}

/// Reads the file, if there is one, and applies the flags.
pub(crate) fn load(path: Option<&Path>, flags: &[Flag]) -> Result<Config, SettingsError> {
    let mut config = Config::default();
    if let Some(path) = path {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        file::read(&mut config, &path.display().to_string(), &text)?;
    }
    for Flag { flag, key, value } in flags {
        config
            .set(key, value)
            .map_err(|source| SettingsError::Flag { flag: flag.clone(), source })?;
    }
    access::rules(&config)?;
    Ok(config)
}
