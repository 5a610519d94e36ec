//! The calls into C++.

#![allow(unsafe_code, reason = "functions of our own in C++")]

use std::sync::Once;

// Links RocksDB, whose symbols the C++ code needs.
use librocksdb_sys as _;

unsafe extern "C" {
    fn coney_memtable_register();
    fn coney_tree_memtable_register();
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
