//! Compiles the memtables, and what changes options.

use std::process::ExitCode;

mod rocksdb_cc;

fn main() -> ExitCode {
    rocksdb_cc::compile(
        &["cpp/hash_memtable.cc", "cpp/tree_memtable.cc", "cpp/live_options.cc"],
        "coney_memtable",
    )
}
