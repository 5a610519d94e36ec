//! CONFIG GET and CONFIG SET, in Redis's words.

use coney_base::glob;

use super::keys::{self, Change, KEYS};
use super::{BadValue, Config};

/// Why CONFIG SET changed nothing. Displayed as the error that the client reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No such setting.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// It cannot be changed while the server runs.
    #[error(
        "ERR CONFIG SET failed (possibly related to argument '{0}') - can't set immutable config"
    )]
    Immutable(String),
    /// The same of a setting that Redis does not have, where we can say what to do.
    #[error(
        "ERR CONFIG SET failed (possibly related to argument '{0}') - can't set immutable config: \
         change it in the configuration file and restart the server"
    )]
    Restart(String),
    /// It is named twice.
    #[error("ERR CONFIG SET failed (possibly related to argument '{0}') - duplicate parameter")]
    Duplicate(String),
    /// It does not go together with the others.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {problem}")]
    Conflict {
        /// The setting.
        name: String,
        /// Why not.
        problem: String,
    },
    /// It does not take the value.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {}", redis_words(bad))]
    Bad {
        /// The setting.
        name: String,
        /// Why not.
        bad: BadValue,
    },
}

/// Settings that Redis has, too, and that cannot be changed while we run: refused in its words.
const REDIS_IMMUTABLE: &[&str] =
    &["aclfile", "bind", "databases", "dir", "io-threads", "port", "tcp-backlog", "tcp-keepalive"];

fn redis_words(bad: &BadValue) -> String {
    match bad {
        BadValue::NotOneOf(_) => format!("argument(s) {bad}"),
        BadValue::NotPercentage => format!("percentage argument {bad}"),
        _ => format!("argument {bad}"),
    }
}

/// Names and values of the settings that match one of the patterns.
pub fn get(config: &Config, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
    let wanted =
        |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true));
    let own = KEYS.iter().filter(|key| wanted(key.name)).map(|key| (key.name, (key.get)(config)));
    let echoed = config.echoed.iter().filter(|(name, _)| wanted(name)).cloned();
    own.chain(echoed).collect()
}

/// The configuration after CONFIG SET of these names and values: all of them, or none.
///
/// # Errors
/// [`SetError`].
pub fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<Config, SetError> {
    // As in Redis, all names are looked at before any value.
    for (at, (name, text)) in pairs.iter().enumerate() {
        let owned = || (*name).to_owned();
        let key = keys::of_command(name);
        let echoed = config.echoed.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        // What it is already is no change: whoever sets what CONFIG GET said gets no error.
        let is_immutable = match (key, echoed) {
            (Some(key), _) => key.change == Change::Restart && (key.get)(config) != *text,
            (None, Some((known, value))) => keys::ECHOED_IMMUTABLE.contains(known) && value != text,
            (None, None) => return Err(SetError::Unknown(owned())),
        };
        if is_immutable {
            let is_redis_s = key.is_none_or(|key| REDIS_IMMUTABLE.contains(&key.name));
            return Err(if is_redis_s { SetError::Immutable } else { SetError::Restart }(owned()));
        }
        if pairs.iter().take(at).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(SetError::Duplicate(owned()));
        }
    }
    let mut new = config.clone();
    for (name, text) in pairs {
        let bad = |bad| SetError::Bad { name: (*name).to_owned(), bad };
        if let Some(key) = keys::of_command(name) {
            if key.change != Change::Restart {
                (key.set)(&mut new, text).map_err(bad)?;
            }
        } else if let Some((known, value)) =
            new.echoed.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name))
            && value != text
        {
            *value = keys::echoed_value(known, text).map_err(bad)?;
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(pairs: &[(&str, &str)]) -> String {
        set(&Config::default(), pairs).unwrap_err().to_string()
    }

    #[test]
    fn get_matches_patterns_and_shows_redis_formats() {
        let config = Config::default();
        let values = get(&config, &[b"proto-*", b"SAVE", b"appendfsync", b"bind"]);
        assert_eq!(
            values,
            [
                ("bind", "127.0.0.1 -::1".to_owned()),
                ("proto-max-bulk-len", "536870912".to_owned()),
                ("appendfsync", "everysec".to_owned()),
                ("save", String::new()),
            ]
        );
        assert_eq!(get(&config, &[b"nothing"]), []);
    }

    #[test]
    fn set_changes_all_or_nothing() {
        let config = set(
            &Config::default(),
            &[("MaxClients", "5"), ("appendfsync", "always"), ("maxmemory-policy", "allkeys-lru")],
        )
        .unwrap();
        assert_eq!(config.maxclients, 5);
        assert_eq!(set(&config, &[("databases", "16"), ("daemonize", "no")]), Ok(config.clone()));
        assert_eq!(config.sync, crate::config::Sync::Always);
        assert_eq!(
            get(&config, &[b"maxmemory-policy"]),
            [("maxmemory-policy", "allkeys-lru".to_owned())]
        );
        assert!(set(&config, &[("timeout", "1"), ("maxclients", "0")]).is_err());
        let config = set(&config, &[("maxmemory", "100mb"), ("maxmemory-clients", "5%")]).unwrap();
        assert_eq!(
            get(&config, &[b"maxmemory", b"maxmemory-clients"]),
            [("maxmemory", "104857600".to_owned()), ("maxmemory-clients", "5%".to_owned())]
        );
        let config = set(&config, &[("maxmemory", "0")]).unwrap();
        assert_eq!(get(&config, &[b"maxmemory"]), [("maxmemory", "0".to_owned())]);
    }

    #[test]
    fn errors_have_the_texts_of_redis() {
        assert_eq!(
            error(&[("nope", "1")]),
            "ERR Unknown option or number of arguments for CONFIG SET - 'nope'"
        );
        let failed = |name: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - ")
        };
        for name in ["databases", "daemonize"] {
            assert_eq!(error(&[(name, "1")]), failed(name) + "can't set immutable config");
        }
        assert_eq!(
            error(&[("block-size", "8kb")]),
            failed("block-size")
                + "can't set immutable config: change it in the configuration file and restart the \
                   server"
        );
        assert_eq!(
            error(&[("maxclients", "x")]),
            failed("maxclients") + "argument couldn't be parsed into an integer"
        );
        assert_eq!(
            error(&[("maxclients", "0")]),
            failed("maxclients") + "argument must be between 1 and 4294967295 inclusive"
        );
        assert_eq!(
            error(&[("protected-mode", "maybe")]),
            failed("protected-mode") + "argument must be 'yes' or 'no'"
        );
        assert_eq!(
            error(&[("appendfsync", "maybe")]),
            failed("appendfsync")
                + "argument(s) must be one of the following: no, everysec, always"
        );
        assert_eq!(
            error(&[("timeout", "1"), ("TIMEOUT", "2")]),
            failed("TIMEOUT") + "duplicate parameter"
        );
        for (name, value, wrong) in [
            ("maxmemory", "bla", "argument must be a memory value"),
            ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
            ("rdbcompression", "maybe", "argument must be 'yes' or 'no'"),
            ("hz", "ten", "argument couldn't be parsed into an integer"),
        ] {
            assert_eq!(error(&[(name, value)]), failed(name) + wrong);
        }
        assert_eq!(
            error(&[("maxclients", "x"), ("nope", "1")]),
            "ERR Unknown option or number of arguments for CONFIG SET - 'nope'",
            "names before values"
        );
    }
}
