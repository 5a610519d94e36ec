//! Compiles the XDP program with clang for the `bpf` target; `src/object.rs` embeds the result.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const SOURCE: &str = "bpf/steer.bpf.c";
const CURE: &str = "cure: apt-get install clang-19 libbpf-dev";
/// In order of preference.
const COMPILERS: [&str; 2] = ["clang-19", "clang"];

fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            report(&format!("cargo::error={message}"));
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    for path in [SOURCE, "bpf/steer.h", "build.rs"] {
        report(&format!("cargo::rerun-if-changed={path}"));
    }
    let out_dir = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?;
    let object = Path::new(&out_dir).join("steer.bpf.o");
    let compiler =
        COMPILERS.into_iter().find(|compiler| is_runnable(compiler)).ok_or_else(|| {
            format!("the XDP program needs clang, and none of {COMPILERS:?} runs; {CURE}")
        })?;
    let output = Command::new(compiler)
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g"])
        .args(["-Wall", "-Wextra", "-Werror"])
        // BTF and line numbers name source files: keep the build machine's paths out of them.
        .args(["-fdebug-compilation-dir=.", "-c", SOURCE, "-o"])
        .arg(&object)
        .args(arch_include_dir().iter().flat_map(|dir| ["-I".as_ref(), dir.as_os_str()]))
        .output()
        .map_err(|error| format!("{compiler} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if let Some(line) = stderr.lines().find(|line| line.contains("file not found")) {
        return Err(format!("a header of the XDP program is missing ({}); {CURE}", line.trim()));
    }
    Err(format!("{compiler} rejects {SOURCE}: {}", stderr.trim().replace('\n', " | ")))
}

fn is_runnable(compiler: &str) -> bool {
    let version = Command::new(compiler).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Debian keeps `asm/types.h` in a directory per architecture, which `-target bpf` does not search.
fn arch_include_dir() -> Option<PathBuf> {
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let dir = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    dir.is_dir().then_some(dir)
}

fn report(line: &str) {
    println!("{line}");
}
