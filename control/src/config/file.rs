//! The TOML file: keys of [`super::keys`] at its top level, nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Form, Key};
use super::{Config, SettingError};

/// Why a file is no configuration: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct FileError {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is no TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// An unknown key, or a value that its key does not take.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A value of a type that no key takes.
    #[error("{key}: a value of type {found} is not possible here; {expected} is expected")]
    Type {
        /// The key.
        key: String,
        /// What TOML calls it.
        found: &'static str,
        /// What the key takes.
        expected: &'static str,
    },
}

/// Reads the text of a configuration file over `config`.
///
/// # Errors
/// [`FileError`]; `config` is then partly changed and to be thrown away.
pub fn read(config: &mut Config, file: &str, text: &str) -> Result<(), FileError> {
    let error = |span: Option<Range<usize>>, problem| {
        let (line, column) = position(text, span.map_or(0, |span| span.start));
        FileError { file: file.to_owned(), line, column, problem }
    };
    let table = DeTable::parse(text)
        .map_err(|found| error(found.span(), Problem::Syntax(found.message().to_owned())))?;
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        if let ("storage", DeValue::Table(storage)) = (name.get_ref().as_ref(), value.get_ref()) {
            read_storage(config, storage).map_err(|(span, problem)| error(Some(span), problem))?;
            continue;
        }
        let Some(key) = keys::of_file(name.get_ref()) else {
            let unknown = config.set(name.get_ref(), "").err();
            let unknown = unknown.expect("a key that the table does not have cannot be set");
            return Err(error(Some(name.span()), unknown.into()));
        };
        let text = text_of(key, value).map_err(|problem| error(Some(value.span()), problem))?;
        config.set(key.name, &text).map_err(|problem| error(Some(value.span()), problem.into()))?;
    }
    Ok(())
}

/// The storage settings as one table: what each of its keys is called at the top level.
const STORAGE: [(&str, &str); 6] = [
    ("kind", "storage"),
    ("path", "dir"),
    ("device", "device"),
    ("size", "device-size"),
    ("bdev", "device"),
    ("config", "spdk-config"),
];

fn read_storage(config: &mut Config, table: &DeTable<'_>) -> Result<(), (Range<usize>, Problem)> {
    for (name, value) in table {
        let known = STORAGE.iter().find(|(short, _)| *short == name.get_ref().as_ref());
        let key = known.and_then(|(_, long)| keys::of_file(long)).ok_or_else(|| {
            let unknown = format!("storage.{}", name.get_ref());
            let unknown = config.set(&unknown, "").err();
            (name.span(), unknown.expect("no key has a dot in its name").into())
        })?;
        let text = text_of(key, value).map_err(|problem| (value.span(), problem))?;
        config.set(key.name, &text).map_err(|problem| (value.span(), problem.into()))?;
    }
    Ok(())
}

/// A TOML value in the form that [`Config::set`] takes.
fn text_of(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<String, Problem> {
    let wrong_type = |found| Problem::Type {
        key: key.name.to_owned(),
        found,
        expected: match key.form {
            Form::Number => "a number, or a text such as \"64mb\" for a number of bytes",
            Form::Bool => "true or false",
            Form::Text => "a text in quotes",
            Form::List => "an array of texts",
        },
    };
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Array(elements) => elements
            .iter()
            .map(|element| match element.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                DeValue::Integer(number) => Ok(number.as_str().to_owned()),
                other => Err(wrong_type(other.type_str())),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|words| words.join(" ")),
        other => Err(wrong_type(other.type_str())),
    }
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

/// CONFIG REWRITE: the file's text with the values of `config`. Comments and order stay; keys that
/// the file lacks are added at its end if they differ from their defaults.
///
/// # Errors
/// [`FileError`]: the file is no TOML any more.
pub fn rewrite(config: &Config, file: &str, text: &str) -> Result<String, FileError> {
    let mut written = Config::default();
    read(&mut written, file, text)?;
    let table = DeTable::parse(text).map_err(|found| {
        let (line, column) = position(text, found.span().map_or(0, |span| span.start));
        let problem = Problem::Syntax(found.message().to_owned());
        FileError { file: file.to_owned(), line, column, problem }
    })?;
    let spans: BTreeMap<&str, Range<usize>> = table
        .get_ref()
        .iter()
        .map(|(name, value)| (name.get_ref().as_ref(), value.span()))
        .collect();
    let mut changed = Vec::new();
    let mut added = String::new();
    for key in keys::KEYS.iter().filter(|key| key.in_file) {
        let now = (key.get)(config);
        if now == (key.get)(&written) {
            continue;
        }
        match spans.get(key.name) {
            Some(span) => changed.push((span.clone(), literal(key.form, &now))),
            None => writeln!(added, "{} = {}", key.name, literal(key.form, &now))
                .expect("writing to a string cannot fail"),
        }
    }
    changed.sort_by_key(|(span, _)| span.start);
    let mut out = String::new();
    let mut at = 0;
    for (span, literal) in changed {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(&literal);
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    if !added.is_empty() {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str("\n# Written by CONFIG REWRITE.\n");
        out.push_str(&added);
    }
    Ok(out)
}

/// A value, as CONFIG GET shows it, in TOML.
fn literal(form: Form, text: &str) -> String {
    match form {
        Form::Number => text.to_owned(),
        Form::Bool => if text == "yes" { "true" } else { "false" }.to_owned(),
        Form::Text => quoted(text),
        Form::List => {
            let words: Vec<String> = text.split_ascii_whitespace().map(quoted).collect();
            format!("[{}]", words.join(", "))
        }
    }
}

/// A TOML basic string. Source: <https://toml.io/en/v1.0.0#string>
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control.is_control() => {
                write!(out, "\\u{:04X}", u32::from(control))
                    .expect("writing to a string cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE_FILE;

    fn parsed(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        read(&mut config, "coney.toml", text).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_example_file_has_every_key_with_its_default() {
        assert_eq!(parsed(EXAMPLE_FILE), Ok(Config::default()));
        let table = DeTable::parse(EXAMPLE_FILE).unwrap();
        for key in keys::KEYS.iter().filter(|key| key.in_file) {
            assert!(table.get_ref().contains_key(key.name), "{} is missing", key.name);
        }
    }

    #[test]
    fn values_are_read_in_the_forms_that_toml_has() {
        let config = parsed(
            "port = 7000\nbind = [\"0.0.0.0\"]\nprotected-mode = false\nhot-cache = \"64mb\"\n\
             sync = \"always\"\npin-cores = [0, 1]\n",
        )
        .unwrap();
        assert_eq!(config.port, 7000);
        assert_eq!(config.hot_cache, 64 << 20);
        assert_eq!(config.sync, crate::config::Sync::Always);
        assert_eq!(config.pin_cores, crate::config::PinCores::List(vec![0, 1]));
        assert!(!config.protected_mode);
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        for (text, expected) in [
            (
                "# a comment\nprot = 1\n",
                "coney.toml:2:1: unknown key `prot`, did you mean `port`?; `coney config` prints \
                 all keys",
            ),
            (
                "port = 1\ntimeout = -3",
                "coney.toml:2:11: timeout = \"-3\": the value must be between 0 and 2147483647 \
                 inclusive",
            ),
            (
                "sync = \"often\"",
                "coney.toml:1:8: sync = \"often\": the value must be one of the following: off, \
                 everysec, always",
            ),
            (
                "port = 1.5",
                "coney.toml:1:8: port: a value of type float is not possible here; a number, or a \
                 text such as \"64mb\" for a number of bytes is expected",
            ),
            (
                "[network]\nport = 1",
                "coney.toml:1:2: unknown key `network`; `coney config` prints all keys",
            ),
        ] {
            assert_eq!(parsed(text).unwrap_err(), expected);
        }
        assert!(parsed("port =").unwrap_err().starts_with("coney.toml:1:"));
        assert!(parsed("port = 1\nport = 2").unwrap_err().starts_with("coney.toml:2:"));
    }

    #[test]
    fn a_rewrite_keeps_comments_and_reads_back() {
        let text = "# mine\nport = 7000 # the port\nbind = [\"::1\"]";
        let mut config = parsed(text).unwrap();
        config.set("port", "7001").unwrap();
        config.set("requirepass", "a\"b\\c\n").unwrap();
        config.set("bind", "127.0.0.1 -::1").unwrap();
        let rewritten = rewrite(&config, "coney.toml", text).unwrap();
        assert!(rewritten.starts_with("# mine\nport = 7001 # the port\nbind = [\"127.0.0.1\", "));
        assert_eq!(parsed(&rewritten), Ok(config.clone()));
        assert_eq!(rewrite(&config, "coney.toml", &rewritten), Ok(rewritten), "nothing more to do");
    }
}
