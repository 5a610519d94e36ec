//! A RocksDB memtable for point reads and writes; how it works and what it demands of a family
//! stands at the head of `cpp/hash_memtable.cc`.
//!
//! RocksDB finds it by name, in an options string: [`with_hash_memtable`].

use rocksdb::{Error, Options};

mod ffi;
#[cfg(test)]
mod tests;

/// `options` with this memtable, of about `buckets` hash buckets (one for each expected entry is
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
