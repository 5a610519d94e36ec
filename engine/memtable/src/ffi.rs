//! The calls into C++.

#![allow(unsafe_code, reason = "functions of our own in C++")]

use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

// Links RocksDB, whose symbols the C++ code needs.
use librocksdb_sys::rocksdb_column_family_handle_t;
use rocksdb::{AsColumnFamilyRef, ColumnFamily};

unsafe extern "C" {
    fn coney_memtable_register();
    fn coney_tree_memtable_register();
    fn coney_set_database_option(
        family: *const rocksdb_column_family_handle_t,
        name: *const c_char,
        value: *const c_char,
    ) -> c_int;
    fn coney_set_rate_limit(
        family: *const rocksdb_column_family_handle_t,
        bytes_per_second: i64,
    ) -> c_int;
}

static REGISTERED: Once = Once::new();

/// Makes the memtables known to RocksDB, once in the process.
pub(crate) fn register() {
    REGISTERED.call_once(|| {
        // SAFETY: the function takes nothing, returns nothing and demands nothing; it allocates,
        // and RocksDB is built without exceptions for anything but exhausted memory, which ends
        // the process. `Once` keeps it from running twice.
        unsafe { coney_memtable_register() }
        // SAFETY: as above.
        unsafe { coney_tree_memtable_register() }
    });
}

/// Changes an option of the database that `family` belongs to; `false`: RocksDB refuses it.
pub(crate) fn set_database_option(family: &ColumnFamily, name: &CStr, value: &CStr) -> bool {
    let handle = family.inner();
    // SAFETY: the handle is one of the C API's, and its database is open as long as `family` is
    // borrowed; the function reads the handle's first field, which is RocksDB's handle in the version
    // that Cargo.lock names (db/c.cc), and the two texts, which end with a zero. RocksDB locks what it
    // changes.
    let failed = unsafe { coney_set_database_option(handle, name.as_ptr(), value.as_ptr()) };
    failed == 0
}

/// Changes the rate of the database's rate limiter; `false`: it has none.
pub(crate) fn set_rate_limit(family: &ColumnFamily, bytes_per_second: i64) -> bool {
    assert!(bytes_per_second > 0, "RocksDB's limiter knows no other rates");
    let handle = family.inner();
    // SAFETY: the handle as above; the rate is positive, as the limiter demands, and the limiter locks
    // what it changes.
    let failed = unsafe { coney_set_rate_limit(handle, bytes_per_second) };
    failed == 0
}
