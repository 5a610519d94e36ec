//! RESP2 and RESP3 framing: requests in, replies out. A leaf crate: no sockets, no commands.
//!
//! - [`parse`]: the incremental request parser. Arguments are ranges of the caller's buffer, so a
//!   command that lies in one segment is never copied.
//! - [`inline`]: commands typed by a person (`telnet`), with quotes.
//! - [`args`]: the arguments of one command, borrowed or owned.
//! - [`reply`]: writes replies in the protocol version that the client negotiated.
//! - [`number`]: numbers as Redis reads and writes them.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>

pub mod args;
pub mod fuzz;
pub mod inline;
pub mod number;
pub mod parse;
pub mod reply;

pub use args::{Args, OwnedArgs};
pub use parse::{Limits, Parser, ProtocolError, Scratch, Step};
pub use reply::{Protocol, Reply, Sink};

/// The version of Redis whose commands, replies and error texts Coney follows; HELLO and INFO show
/// it, and clients choose their features by it.
pub const REDIS_VERSION: &str = "7.2.0";
