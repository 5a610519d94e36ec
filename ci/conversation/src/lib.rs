//! Conversations: text files that say what a client sends and what it must be answered.
//!
//! The same files are run against the engine alone, against the server over each transport, and
//! against Redis itself, which proves that what they expect is what Redis does.
//!
//! ```text
//! # a comment
//! == GET of a missing key is nil            starts a case: an empty database, new connections
//! > GET missing                             a command, quoted as in redis-cli
//! < nil
//! > SET k "two words"
//! < +OK
//! @client B                                 goes on as another client
//! >> "PING\r\n"                             raw bytes
//! < +PONG
//! @blocked 2                                until so many clients wait in blocking commands
//! @advance 1500                             moves the server's clock by milliseconds
//! ```
//!
//! Expected replies, one line for each RESP element; elements of an aggregate follow it:
//!
//! ```text
//! +text  -text  :1  "bulk"  nil  nilarray  *2  %1  ~2  >2  ,1.5  #t  =txt:text
//! ?                any one reply, with all its elements
//! glob "pattern"   a string, simple string or error whose text matches
//! closed           the server closes the connection
//! ```
//!
//! - [`script`]: reads a file. [`value`]: RESP values, parsed and compared.
//! - [`run`]: carries a script out against a [`Peer`]. [`tcp`]: a peer at a TCP address.

pub mod run;
pub mod script;
pub mod tcp;
pub mod value;

pub use run::{Failure, Peer, Summary, run_all};
pub use script::{Case, ParseError, Script, Step};
pub use value::{Expected, Value};
