//! Compiles the file system.

use std::process::ExitCode;

#[path = "../../engine/memtable/rocksdb_cc.rs"]
mod rocksdb_cc;

fn main() -> ExitCode {
    rocksdb_cc::compile(&["cpp/file_system.cc", "cpp/transcript.cc"], "coney_spdk_env_shim")
}
