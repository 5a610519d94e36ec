//! What the build scripts of the two optional C libraries share, DPDK's here and SPDK's in `spdk-env`: each
//! has a shim in C, bindings from the shim's header, and libraries that pkg-config knows.

use std::path::PathBuf;
use std::process::ExitCode;

/// What the lints say of generated code is of no use to anybody.
const LINTS: &str = r#"#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    dead_code,
    missing_docs,
    missing_debug_implementations,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_qualifications,
    unsafe_op_in_unsafe_fn,
    clippy::allow_attributes_without_reason,
    reason = "generated from C headers"
)]"#;

/// Tells cargo something.
pub(crate) fn report(line: &str) {
    println!("{line}");
}

/// How the script ends, with the reason if it failed.
pub(crate) fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            report(&format!("cargo::error={problem}"));
            ExitCode::FAILURE
        }
    }
}

/// A library as pkg-config knows it, by `config`, or what pkg-config says, in one line. Linking it is left
/// to the caller: the order matters.
pub(crate) fn probe(
    config: &mut pkg_config::Config,
    name: &str,
) -> Result<pkg_config::Library, String> {
    let found = config.cargo_metadata(false).probe(name);
    found.map_err(|error| error.to_string().replace('\n', " "))
}

/// Writes what `builder` makes of `header` to `bindings.rs` in `OUT_DIR`, as a module of that name, and has
/// the script run again when the header or the shim's `source` changes.
pub(crate) fn bindings(
    builder: bindgen::Builder,
    header: &str,
    source: &str,
) -> Result<(), String> {
    report(&format!("cargo::rerun-if-changed={header}"));
    report(&format!("cargo::rerun-if-changed={source}"));
    let builder = builder.header(header).generate_comments(false).layout_tests(true);
    let code = builder.generate().map_err(|error| error.to_string())?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo does not name OUT_DIR")?;
    let module = format!("{LINTS}\nmod bindings {{\n{code}\n}}\n");
    std::fs::write(PathBuf::from(out).join("bindings.rs"), module)
        .map_err(|error| error.to_string())
}
