//! Two RocksDB memtables: a hash table for point reads and writes, and a B+tree for ranges too. How
//! they work and what they demand of a family stands at the heads of `cpp/hash_memtable.cc` and
//! `cpp/tree_memtable.cc`.
//!
//! RocksDB finds them by name, in an options string: [`with_hash_memtable`], [`with_tree_memtable`].

use rocksdb::{Error, Options};

mod ffi;
#[cfg(test)]
mod tests;

/// `options` with a hash table as memtable, of about `buckets` hash buckets (one for each expected entry is
/// right; eight bytes each).
///
/// The database must be opened with `allow_concurrent_memtable_write = false`, and the family must
/// have a bytewise comparator and keys whose first eight bytes are as good as a hash.
///
/// # Errors
/// RocksDB's words if it does not take the option, which a test rules out.
pub fn with_hash_memtable(mut options: Options, buckets: usize) -> Result<Options, Error> {
    ffi::register();
    options.get_options_from_string(format!("memtable_factory=ConeyHashMemtable:{buckets}"))
}

/// `options` with a B+tree as memtable.
///
/// The database must be opened with `allow_concurrent_memtable_write = false`, and the family must
/// have a bytewise comparator.
///
/// # Errors
/// RocksDB's words if it does not take the option, which a test rules out.
pub fn with_tree_memtable(mut options: Options) -> Result<Options, Error> {
    ffi::register();
    options.get_options_from_string("memtable_factory=ConeyTreeMemtable")
}
