//! Compiles C++ against the headers of the RocksDB that is linked: for the build scripts of this crate and
//! of the shim of spdk-env, because what librocksdb-sys sets must be the same for both.

use std::path::PathBuf;
use std::process::ExitCode;

/// Makes `sources` the static library `library`. A failure is told to Cargo.
pub(crate) fn compile(sources: &[&str], library: &str) -> ExitCode {
    // Told by the build script of librocksdb-sys.
    let Some(package) = std::env::var_os("DEP_ROCKSDB_CARGO_MANIFEST_DIR") else {
        report("cargo::error=librocksdb-sys does not tell where RocksDB's headers are");
        return ExitCode::FAILURE;
    };
    let rocksdb = PathBuf::from(package).join("rocksdb");
    // What librocksdb-sys itself sets, as far as it changes the meaning of headers.
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .files(sources)
        .include(rocksdb.join("include"))
        .include(&rocksdb)
        .define("NDEBUG", "1")
        .define("HAVE_ALIGNED_NEW", None)
        .define("HAVE_UINT128_EXTENSION", None)
        .define("ROCKSDB_PLATFORM_POSIX", None)
        .define("ROCKSDB_LIB_IO_POSIX", None)
        .define("OS_LINUX", None)
        .flag("-fno-rtti")
        .flag("-Wall")
        .flag("-Wno-unused-parameter")
        .opt_level(3)
        .compile(library);
    // The sources and what they include.
    report("cargo::rerun-if-changed=cpp");
    ExitCode::SUCCESS
}

fn report(line: &str) {
    println!("{line}");
}
