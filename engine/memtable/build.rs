//! Compiles the memtables.

use std::process::ExitCode;

mod rocksdb_cc;

fn main() -> ExitCode {
    rocksdb_cc::compile(&["cpp/hash_memtable.cc", "cpp/tree_memtable.cc"], "coney_memtable")
}
