//! A bdev of SPDK's as the device.

use std::path::{Path, PathBuf};

use coney_spdk_env::device::spdk::{FIRST_NVME, Spdk, SpdkDevice, SpdkOptions};
use tracing::info;

use super::StorageError;

const MEGABYTE: u64 = 1 << 20;

/// Where the bdev comes from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// Its name; empty for the first NVMe device of `pci`.
    pub(crate) bdev: &'a Path,
    pub(crate) config: &'a Path,
    pub(crate) pci: &'a str,
    pub(crate) memory: u64,
    pub(crate) no_huge: bool,
}

/// Starts SPDK, and opens the bdev; with its name.
pub(crate) fn open(source: &Source<'_>) -> Result<(SpdkDevice, PathBuf), StorageError> {
    let pci: Vec<String> = source.pci.split_whitespace().map(str::to_owned).collect();
    let has_config = !source.config.as_os_str().is_empty();
    if !has_config && pci.is_empty() {
        return Err(StorageError::NoBdevs);
    }
    let config = if has_config {
        std::fs::read(source.config).map_err(|error| StorageError::SpdkConfig {
            path: source.config.to_owned(),
            source: error,
        })?
    } else {
        Vec::new()
    };
    let bdev = match source.bdev.to_str() {
        Some("") if !has_config => FIRST_NVME,
        Some("") | None => return Err(StorageError::NoDevice("spdk")),
        Some(name) => name,
    };
    let memory_mb = u32::try_from(source.memory / MEGABYTE).unwrap_or(u32::MAX);
    let options = SpdkOptions { config, pci, memory_mb, no_huge: source.no_huge };
    let device = Spdk::start(&options).and_then(|spdk| spdk.open(bdev));
    let device = device.map_err(|error| StorageError::Spdk(error.to_string()))?;
    info!("{}: the bdev {bdev}, of kind {}", Spdk::version(), device.module());
    Ok((device, bdev.into()))
}
