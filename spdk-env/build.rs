//! With the feature `spdk`: bindings to the C shim, and the shim compiled against the installed SPDK.

#[cfg(feature = "spdk")]
#[path = "../datapath/dpdk/shim_build.rs"]
mod shim_build;

use std::process::ExitCode;

#[cfg(not(feature = "spdk"))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(feature = "spdk")]
fn main() -> ExitCode {
    shim_build::finish(spdk::run())
}

#[cfg(feature = "spdk")]
mod spdk {
    use std::path::PathBuf;

    use crate::shim_build::{bindings, probe, report};

    const HEADER: &str = "c/spdk_shim.h";
    const SOURCE: &str = "c/spdk_shim.c";
    /// Set, only the Rust code is compiled, which needs no SPDK: for checks. It cannot be linked.
    const CHECK_ONLY: &str = "CONEY_SPDK_CHECK_ONLY";
    /// What the shim calls, and the kinds of bdev that it knows.
    const NEEDED: [&str; 6] = [
        "spdk_event_bdev",
        "spdk_bdev_malloc",
        "spdk_bdev_aio",
        "spdk_bdev_nvme",
        "spdk_env_dpdk",
        "spdk_syslibs",
    ];
    /// Kinds of bdev that SPDK may have been built without.
    const OPTIONAL: [&str; 4] =
        ["spdk_bdev_uring", "spdk_bdev_null", "spdk_bdev_raid", "spdk_bdev_error"];

    pub(super) fn run() -> Result<(), String> {
        report(&format!("cargo::rerun-if-env-changed={CHECK_ONLY}"));
        let builder = bindgen::Builder::default()
            .allowlist_item("(coney|CONEY)_(spdk|SPDK)_.*")
            .prepend_enum_name(false);
        bindings(builder, HEADER, SOURCE)?;
        if std::env::var_os(CHECK_ONLY).is_some() {
            return Ok(());
        }
        link()
    }

    fn link() -> Result<(), String> {
        let probe_static = |name| probe(pkg_config::Config::new().statik(true), name);
        let mut libraries = Vec::new();
        for name in NEEDED {
            libraries.push(probe_static(name).map_err(|said| {
                format!(
                    "the feature spdk needs an SPDK that pkg-config finds (PKG_CONFIG_PATH), or \
                     build without the feature; pkg-config says: {said}"
                )
            })?);
        }
        libraries.push(probe(&mut pkg_config::Config::new(), "libdpdk")?);
        libraries.extend(OPTIONAL.iter().filter_map(|name| probe_static(name).ok()));

        let mut shim = cc::Build::new();
        shim.file(SOURCE).opt_level(3).flag("-Wall").flag("-Wextra").flag("-Wno-unused-parameter");
        for library in &libraries {
            shim.includes(&library.include_paths);
        }
        shim.try_compile("coney_spdk_shim").map_err(|error| error.to_string())?;

        let mut said = Vec::new();
        let mut say = |line: String| {
            if !said.contains(&line) {
                report(&line);
                said.push(line);
            }
        };
        let paths: Vec<&PathBuf> =
            libraries.iter().flat_map(|library| &library.link_paths).collect();
        for path in &paths {
            say(format!("cargo::rustc-link-search=native={}", path.display()));
        }
        let exists = |file: String| paths.iter().any(|path| path.join(&file).exists());
        // Kinds of bdev and subsystems register themselves before main, and nothing names them: all
        // of SPDK's archives go in whole. What they need of DPDK and the system comes after them.
        let all = libraries.iter().flat_map(|library| &library.libs);
        let (own, others): (Vec<_>, Vec<_>) = all.partition(|name| name.starts_with("spdk_"));
        for name in own {
            say(format!("cargo::rustc-link-lib=static:+whole-archive,-bundle={name}"));
        }
        for name in others {
            if !name.starts_with("rte_") || exists(format!("lib{name}.so")) {
                say(format!("cargo::rustc-link-lib=dylib={name}"));
            } else if exists(format!("lib{name}.a")) {
                say(format!("cargo::rustc-link-lib=static:+whole-archive,-bundle={name}"));
            }
            // SPDK names libraries of every DPDK that it knows; older ones lack some.
        }
        Ok(())
    }
}
