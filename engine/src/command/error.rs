//! What commands reply when they fail. Texts are those of Redis 7.2.

use coney_resp::Reply;

use crate::meta::MetaError;
use crate::store::StoreError;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// No such command; carries the text that quotes it.
    Unknown(Vec<u8>),
    /// No such subcommand; carries it and the command's name.
    UnknownSubcommand(Vec<u8>, &'static str),
    /// Too few or too many arguments.
    WrongArity,
    /// The client must authenticate first.
    NoAuth,
    /// AUTH with a wrong user or password.
    WrongPass,
    /// AUTH although there is no password.
    NoPasswordSet,
    /// HELLO with an unknown version.
    NoProto,
    /// Arguments that do not fit together.
    Syntax,
    /// Not an integer, or out of range.
    NotInteger,
    /// Not a number.
    NotFloat,
    /// The key holds another type.
    WrongType,
    /// The result leaves 64 bits.
    Overflow,
    /// DECRBY of the smallest integer.
    DecrementOverflow,
    /// INCRBYFLOAT beyond what a double holds.
    NotFinite,
    /// A string would exceed `proto-max-bulk-len`.
    StringTooLong,
    /// SETRANGE before the beginning.
    OffsetOutOfRange,
    /// A deadline that is no moment.
    InvalidExpire,
    /// RENAME of nothing.
    NoSuchKey,
    /// SELECT of a table that does not exist.
    DbIndex,
    /// COPY or MOVE of a key to itself.
    SameObject,
    /// SCAN with a cursor that is no number.
    InvalidCursor,
    /// The device or RocksDB failed while reading.
    Store(StoreError),
    /// Bytes in the database are not what this version writes.
    Damaged(MetaError),
    /// Anything else: the whole text, code included.
    Text(&'static str),
    /// The same with a text made up at run time.
    Owned(String),
}

impl CommandError {
    /// Writes the error; `command` is the full name of the command, in lower case.
    pub(crate) fn write(&self, reply: &mut Reply<'_>, command: &str) {
        match self {
            Self::Unknown(text) => reply.error_bytes(text),
            Self::UnknownSubcommand(name, container) => {
                let mut text = b"ERR unknown subcommand '".to_vec();
                text.extend_from_slice(name.get(..128).unwrap_or(name));
                let container = container.to_ascii_uppercase();
                text.extend_from_slice(format!("'. Try {container} HELP.").as_bytes());
                reply.error_bytes(&text);
            }
            Self::WrongArity => {
                reply.error(&format!("ERR wrong number of arguments for '{command}' command"));
            }
            Self::InvalidExpire => {
                reply.error(&format!("ERR invalid expire time in '{command}' command"));
            }
            Self::Store(error) => reply.error(&format!(
                "ERR Coney cannot read its database: {error}. See the server's log"
            )),
            Self::Damaged(error) => {
                reply.error(&format!("ERR the key's value is damaged on disk: {error}"));
            }
            Self::Owned(text) => reply.error(text),
            other => reply.error(other.text()),
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::NoAuth => "NOAUTH Authentication required.",
            Self::WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
            Self::NoPasswordSet => {
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?"
            }
            Self::NoProto => "NOPROTO unsupported protocol version",
            Self::Syntax => "ERR syntax error",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::DecrementOverflow => "ERR decrement would overflow",
            Self::NotFinite => "ERR increment would produce NaN or Infinity",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::OffsetOutOfRange => "ERR offset is out of range",
            Self::NoSuchKey => "ERR no such key",
            Self::DbIndex => "ERR DB index is out of range",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::Text(text) => text,
            Self::Unknown(_)
            | Self::UnknownSubcommand(..)
            | Self::WrongArity
            | Self::InvalidExpire
            | Self::Store(_)
            | Self::Damaged(_)
            | Self::Owned(_) => unreachable!("written with their own details"),
        }
    }
}
