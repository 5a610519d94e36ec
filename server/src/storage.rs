//! Where the database lives: an ordinary directory, or a file system of our own on a block device.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    #[error("{}: its flush makes nothing durable, which sync = \"{sync}\" promises: set sync = \"off\"", path.display())]
    FlushIsNothing { path: PathBuf, sync: &'static str },
    #[error(transparent)]
    Version(#[from] VersionMismatch),
}

/// The device that the configuration names; `None` if the database is in a directory.
pub(crate) fn open(config: &Config) -> Result<Option<Device>, StorageError> {
    let word = match config.storage {
        Storage::Posix => return Ok(None),
        Storage::Uring => "uring",
        Storage::Pread => "pread",
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
        make_file_system(device, path, false)?;
        info!("made a file system of {} bytes in {}", config.device_size, path.display());
    }
    let device = match config.storage {
        Storage::Pread => mount(open_file(path)?, path, config)?,
        Storage::Uring | Storage::Posix => mount(open_uring(path)?, path, config)?,
    };
    Ok(Some(device))
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
pub(crate) fn make_file_system(
    device: FileDevice,
    path: &Path,
    force: bool,
) -> Result<(), StorageError> {
    let uuid = coney_base::random()
        .map_err(|source| StorageError::Make { path: path.to_owned(), source })?;
    let options = FormatOptions { uuid, journal_blocks: None, force };
    format(device, &options)
        .map(drop)
        .map_err(|source| StorageError::Format { path: path.to_owned(), source })
}

fn open_error(path: &Path, source: OpenError) -> StorageError {
    StorageError::Open { path: path.to_owned(), source }
}

fn mount<D: BlockDevice + Send + std::fmt::Debug + 'static>(
    device: D,
    path: &Path,
    config: &Config,
) -> Result<Device, StorageError> {
    let sync = match config.sync {
        coney_control::config::Sync::Off => None,
        coney_control::config::Sync::EverySec => Some("everysec"),
        coney_control::config::Sync::Always => Some("always"),
    };
    if let (Some(sync), FlushGuarantee::None) = (sync, device.geometry().flush) {
        return Err(StorageError::FlushIsNothing { path: path.to_owned(), sync });
    }
    let mounted = Mounted::observed(device)
        .map_err(|source| StorageError::Mount { path: path.to_owned(), source })?;
    let mounted = Arc::new(mounted);
    let env = coney_spdk_env_shim::env(&mounted)?;
    Ok(Device::new(path, env, mounted))
}
