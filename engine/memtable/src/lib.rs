//! What of RocksDB the bindings lack, in C++: two memtables, and options of an open database.
//!
//! The memtables: a hash table for point reads and writes, and a B+tree for ranges too. How
//! they work and what they demand of a family stands at the heads of `cpp/hash_memtable.cc` and
//! `cpp/tree_memtable.cc`.
//!
//! RocksDB finds them by name, in an options string: [`with_hash_memtable`], [`with_tree_memtable`].

use std::ffi::CString;

use rocksdb::{ColumnFamily, Error, Options};

mod ffi;
#[cfg(test)]
mod tests;

/// `options` with a hash table as memtable, of about `buckets` hash buckets (one for each expected entry is
/// right; eight bytes each).
///
/// The family must have a bytewise comparator and keys whose first eight bytes are as good as a hash.
///
/// # Errors
/// RocksDB's words if it does not take the option, which a test rules out.
pub fn with_hash_memtable(mut options: Options, buckets: usize) -> Result<Options, Error> {
    ffi::register();
    options.get_options_from_string(format!("memtable_factory=ConeyHashMemtable:{buckets}"))
}

/// `options` with a B+tree as memtable.
///
/// The family must have a bytewise comparator.
///
/// # Errors
/// RocksDB's words if it does not take the option, which a test rules out.
pub fn with_tree_memtable(mut options: Options) -> Result<Options, Error> {
    ffi::register();
    options.get_options_from_string("memtable_factory=ConeyTreeMemtable")
}

/// What [`set_rate_limit`] takes for no limit: more than any disk does, and little enough that what the limiter
/// has handed out before it is lowered can be taken back.
pub const NO_RATE_LIMIT: i64 = 16 << 30;

/// Changes an option of the open database as a whole, such as `max_background_jobs`, by any of its
/// families. Waits for RocksDB's lock, and writes its file of options. `false`: RocksDB does not know the
/// option, cannot change it now, or does not take the value.
pub fn set_database_option(family: &ColumnFamily, name: &str, value: &str) -> bool {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else { return false };
    ffi::set_database_option(family, &name, &value)
}

/// Changes how many bytes a second flushes and compactions may write, together; `false`: the database was
/// opened without a rate limiter. Waits for some tenths of a second if it is fewer than before.
///
/// # Panics
/// If the rate is not positive.
pub fn set_rate_limit(family: &ColumnFamily, bytes_per_second: i64) -> bool {
    ffi::set_rate_limit(family, bytes_per_second)
}
