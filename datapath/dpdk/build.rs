//! With the feature `link`: bindings from the headers of the installed libdpdk, and the C shim.

#[cfg(feature = "link")]
mod shim_build;

use std::process::ExitCode;

#[cfg(not(feature = "link"))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(feature = "link")]
fn main() -> ExitCode {
    shim_build::finish(link::run())
}

#[cfg(feature = "link")]
mod link {
    use crate::shim_build::{bindings, probe, report};

    const HEADER: &str = "c/shim.h";
    const SOURCE: &str = "c/shim.c";
    /// The only version that was tried.
    const VERSION: &str = "22.11";

    pub(super) fn run() -> Result<(), String> {
        let library = probe(pkg_config::Config::new().atleast_version(VERSION), "libdpdk");
        let library = library.map_err(|said| {
            format!(
                "the feature dpdk needs DPDK {VERSION} or newer: apt-get install libdpdk-dev, or \
                 build without the feature; pkg-config says: {said}"
            )
        })?;
        for path in &library.link_paths {
            report(&format!("cargo::rustc-link-search=native={}", path.display()));
        }
        let mut shim = cc::Build::new();
        shim.file(SOURCE).includes(&library.include_paths).opt_level(3);
        // What DPDK's own headers need: the SSE level of its pkg-config file, and their warnings.
        for flag in [
            "-march=corei7",
            "-include",
            "rte_config.h",
            "-Wall",
            "-Wextra",
            "-Wno-deprecated-declarations",
        ] {
            shim.flag(flag);
        }
        shim.define("ALLOW_EXPERIMENTAL_API", None);
        shim.try_compile("coney_dpdk_shim").map_err(|error| error.to_string())?;
        // After the shim, which needs them. Drivers are plug-ins that DPDK loads itself.
        for name in ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"] {
            report(&format!("cargo::rustc-link-lib={name}"));
        }
        let include = library.include_paths.iter().map(|path| format!("-I{}", path.display()));
        let builder = bindgen::Builder::default()
            .clang_args(include)
            .clang_args(["-march=corei7", "-include", "rte_config.h", "-DALLOW_EXPERIMENTAL_API"])
            .allowlist_function("coney_dpdk_.*")
            .allowlist_function("rte_eal_(init|cleanup)")
            .allowlist_function("rte_eth_(dev_(start|stop|close|get_mtu|count_avail|get_name_by_port|socket_id|get_port_by_name)|find_next|macaddr_get|tx_done_cleanup|allmulticast_enable)")
            .allowlist_function("rte_strerror")
            .allowlist_function("rte_mempool_free")
            .allowlist_var("RTE_MAX_ETHPORTS")
            .allowlist_type("coney_dpdk_.*")
            .opaque_type("rte_mbuf")
            .opaque_type("rte_mempool")
            .opaque_type("rte_ether_addr");
        bindings(builder, HEADER, SOURCE)
    }
}
