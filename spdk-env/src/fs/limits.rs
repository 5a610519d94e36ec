//! The file system's limits. Each has an error of its own.

/// Bytes in a block of the file system; the device's blocks may be smaller.
pub const BLOCK_LEN: usize = 4096;
/// The same, for arithmetic on the device.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Longest name of a file or directory in bytes; beyond: `NameTooLong`.
pub const NAME_LEN_MAX: usize = 255;
/// Deepest path in components; beyond: `PathTooDeep`.
pub const PATH_DEPTH_MAX: usize = 64;
/// Files and directories; beyond: `TooManyFiles`.
pub const FILES_MAX: usize = 1 << 20;
/// Longest file in bytes; beyond: `FileTooLong`.
pub const FILE_LEN_MAX: u64 = 1 << 44;
/// Names of one file; beyond: `TooManyLinks`.
pub const LINKS_MAX: u32 = 65_000;
/// Extents of one file; beyond: `TooFragmented`.
pub const EXTENTS_MAX: usize = 65_536;
/// Smallest journal region in blocks; `format` refuses less.
pub const JOURNAL_BLOCKS_MIN: u64 = 16;
/// Largest journal region in blocks (it is read whole when mounted); `format` refuses more.
pub const JOURNAL_BLOCKS_MAX: u64 = 16_384;
/// Payload of the longest journal record. A transaction that would be longer is committed before.
pub(crate) const PAYLOAD_LEN_MAX: usize = 256 << 10;
/// Payload at which an operation ends with a commit nobody asked for.
pub(crate) const PENDING_LEN_MAX: usize = 64 << 10;
/// Payload of a record of a snapshot.
pub(crate) const SNAPSHOT_PAYLOAD_LEN_MAX: usize = 56 << 10;
/// Appended bytes that are kept in memory before they are written out.
pub(crate) const TAIL_LEN_MAX: usize = 256 << 10;
/// Such tails that wait behind a sync of their file; whoever appends more waits for the sync's writes.
pub(crate) const QUEUED_TAILS_MAX: usize = 8;
/// Such tails that are being written; whoever appends more waits for one to end.
pub(crate) const WRITES_IN_FLIGHT_MAX: usize = 8;
/// Longest that a sync gives to the journal; beyond, content is written in place first: then the
/// second write of it costs more than the flush that the journal saves.
pub(crate) const JOURNALED_SYNC_LEN_MAX: usize = 32 << 10;
/// Bytes of one file that only the journal has; beyond: `TailTooLong`, and a sync writes them in place.
pub const JOURNALED_TAIL_LEN_MAX: usize = 256 << 10;
/// Of a journal region, the part that such bytes of all files may take in a snapshot.
pub(crate) const JOURNALED_TAILS_DIVISOR: usize = 16;
/// Bytes of an `Append` in a snapshot, so that its records are filled well.
pub(crate) const SNAPSHOT_APPEND_LEN_MAX: usize = 4096;
/// Queues to the device that are kept for later; more are closed after use.
pub(crate) const IDLE_QUEUES_MAX: usize = 32;
/// Buffers for appended bytes ([`TAIL_LEN_MAX`] each) that are kept for whoever appends next; more are freed.
pub(crate) const IDLE_BUFFERS_MAX: usize = 8;
/// Blocks by which a file grows at least, so that it does not fragment; given back on close.
pub(crate) const GROW_BLOCKS: u64 = 64;
