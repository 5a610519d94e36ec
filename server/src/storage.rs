//! Where the database lives: an ordinary directory, or a file system of our own on a block device.

#[cfg(feature = "spdk")]
mod spdk;
mod tool;

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "spdk")]
use coney_control::config::Datapath;
use coney_control::config::{Config, Storage};
use coney_engine::Device;
use coney_spdk_env::BlockDevice;
use coney_spdk_env::device::FlushGuarantee;
use coney_spdk_env::device::file::{FileDevice, OpenError};
use coney_spdk_env::device::uring::UringDevice;
use coney_spdk_env::fs::{FormatError, FormatOptions, MountError, format};
use coney_spdk_env_shim::{Mounted, VersionMismatch};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tracing::info;

pub(crate) use tool::{ToolDevice, open_for_tool};

/// Why a device cannot be used. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("storage = \"{0}\" needs a device: name it with --device")]
    NoDevice(&'static str),
    #[error(
        "{}: no such file: make a file system on it with `coney mkfs`, or set device-size to have \
         the file made", .0.display()
    )]
    Missing(PathBuf),
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: OpenError },
    #[error(
        "{}: io_uring with direct I/O cannot be used here: {source}: set storage = \"pread\"",
        path.display()
    )]
    NoRing { path: PathBuf, source: io::Error },
    #[error("{}: cannot be made: {source}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Format { path: PathBuf, source: FormatError },
    #[error("{}: {source}: see `coney mkfs` and `coney fsck`", path.display())]
    Mount { path: PathBuf, source: MountError },
    #[error("{}: {why}, so that nothing is durable, which sync = \"{sync}\" promises: set sync = \"off\"", path.display())]
    FlushIsNothing { path: PathBuf, why: &'static str, sync: &'static str },
    #[cfg(not(feature = "spdk"))]
    #[error(
        "storage spdk: this binary was built without SPDK; build it with `cargo build --release \
         --features coney-server/spdk` (an installed SPDK is needed), or use the storage uring"
    )]
    NoSpdk,
    #[cfg(feature = "spdk")]
    #[error(
        "storage spdk: set spdk-config to a file that makes bdevs, or spdk-pci to the address of an NVMe device"
    )]
    NoBdevs,
    #[cfg(feature = "spdk")]
    #[error("spdk-config {}: {source}", path.display())]
    SpdkConfig { path: PathBuf, source: io::Error },
    #[cfg(feature = "spdk")]
    #[error("storage spdk: {0}")]
    Spdk(String),
    #[cfg(feature = "spdk")]
    #[error(
        "storage spdk and datapath dpdk cannot be used together: each starts DPDK in its own way"
    )]
    TwoEnvironments,
    #[error(transparent)]
    Version(#[from] VersionMismatch),
}

/// The device that the database is on.
pub(crate) struct Opened {
    pub(crate) device: Device,
    /// What it is called.
    pub(crate) path: PathBuf,
    /// Why its flush makes nothing durable, if so: `sync` must be "off".
    pub(crate) flush_problem: Option<&'static str>,
}

/// The device that the configuration names; `None` if the database is in a directory.
pub(crate) fn open(config: &Config) -> Result<Option<Opened>, StorageError> {
    let word = match config.storage {
        Storage::Posix => return Ok(None),
        Storage::Uring => "uring",
        Storage::Pread => "pread",
        #[cfg(feature = "spdk")]
        Storage::Spdk => return open_bdev(config).map(Some),
        #[cfg(not(feature = "spdk"))]
        Storage::Spdk => return Err(StorageError::NoSpdk),
    };
    let path = config.device.as_path();
    if path.as_os_str().is_empty() {
        return Err(StorageError::NoDevice(word));
    }
    if !path.exists() {
        if config.device_size == 0 {
            return Err(StorageError::Missing(path.to_owned()));
        }
        make(path, config.device_size)?;
        let device = open_file(path)?;
        drop(make_file_system(device, path, false)?);
        info!("made a file system of {} bytes in {}", config.device_size, path.display());
    }
    let opened = match config.storage {
        Storage::Pread => mount(open_file(path)?, path, None, config)?,
        Storage::Uring | Storage::Spdk | Storage::Posix => {
            let device = open_uring(path)?;
            if device.is_polled() {
                info!("{}: its queues are polled", path.display());
            }
            mount(device, path, None, config)?
        }
    };
    Ok(Some(opened))
}

/// The bdev that the configuration names.
#[cfg(feature = "spdk")]
fn open_bdev(config: &Config) -> Result<Opened, StorageError> {
    if config.datapath == Datapath::Dpdk {
        return Err(StorageError::TwoEnvironments);
    }
    let (mut device, bdev) = spdk::open(&spdk::Source {
        bdev: &config.device,
        config: &config.spdk_config,
        pci: &config.spdk_pci,
        memory: config.spdk_memory,
        no_huge: config.spdk_no_huge,
    })?;
    let flush_problem = device.flush_problem();
    if device.is_memory() {
        // Made a moment ago by SPDK, so nothing can be in it.
        device = make_file_system(device, &bdev, false)?;
        info!("made a file system in the memory of {}", bdev.display());
    }
    mount(device, &bdev, flush_problem, config)
}

/// The device by plain reads and writes, for this process alone.
pub(crate) fn open_file(path: &Path) -> Result<FileDevice, StorageError> {
    FileDevice::open(path).map_err(|source| open_error(path, source))
}

fn open_uring(path: &Path) -> Result<UringDevice, StorageError> {
    UringDevice::open(path).map_err(|source| match source {
        // Forbidden, not in this kernel, or no direct I/O on this file system.
        OpenError::Io(source)
            if [Errno::PERM, Errno::NOSYS, Errno::INVAL]
                .iter()
                .any(|errno| source.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            StorageError::NoRing { path: path.to_owned(), source }
        }
        source => open_error(path, source),
    })
}

/// Makes a file of `size` bytes whose space is reserved.
pub(crate) fn make(path: &Path, size: u64) -> Result<(), StorageError> {
    let failed = |source| StorageError::Make { path: path.to_owned(), source };
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    let reserved = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size);
    reserved.or_else(|_no_fallocate| file.set_len(size)).map_err(|error| {
        std::fs::remove_file(path).ok();
        failed(error)
    })
}

/// Makes a file system on a device.
pub(crate) fn make_file_system<D: BlockDevice>(
    device: D,
    path: &Path,
    force: bool,
) -> Result<D, StorageError> {
    let uuid = coney_base::random()
        .map_err(|source| StorageError::Make { path: path.to_owned(), source })?;
    let options = FormatOptions { uuid, journal_blocks: None, force };
    format(device, &options)
        .map_err(|source| StorageError::Format { path: path.to_owned(), source })
}

fn open_error(path: &Path, source: OpenError) -> StorageError {
    StorageError::Open { path: path.to_owned(), source }
}

fn mount<D: BlockDevice + Send + std::fmt::Debug + 'static>(
    device: D,
    path: &Path,
    flush_problem: Option<&'static str>,
    config: &Config,
) -> Result<Opened, StorageError> {
    let sync = match config.sync {
        coney_control::config::Sync::Off => None,
        coney_control::config::Sync::EverySec => Some("everysec"),
        coney_control::config::Sync::Always => Some("always"),
    };
    let flush_problem = match device.geometry().flush {
        FlushGuarantee::Durable => None,
        FlushGuarantee::None => Some(flush_problem.unwrap_or("its flush does nothing")),
    };
    if let (Some(sync), Some(why)) = (sync, flush_problem) {
        return Err(StorageError::FlushIsNothing { path: path.to_owned(), why, sync });
    }
    let mounted = Mounted::observed(device)
        .map_err(|source| StorageError::Mount { path: path.to_owned(), source })?;
    let mounted = Arc::new(mounted);
    let env = coney_spdk_env_shim::env(&mounted)?;
    Ok(Opened { device: Device::new(path, env, mounted), path: path.to_owned(), flush_problem })
}
