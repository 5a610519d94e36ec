//! Any device, as the tools (`mkfs`, `fsck`, `fs`) open it.

use std::path::Path;

use coney_spdk_env::device::file::FileDevice;
#[cfg(feature = "spdk")]
use coney_spdk_env::device::spdk::SpdkDevice;
use coney_spdk_env::device::{BlockDevice, Completion, DeviceError, Geometry, QueueFull, Request};

use super::StorageError;
use crate::cli::SpdkArgs;

/// A device of any kind.
#[derive(Debug)]
pub(crate) enum ToolDevice {
    File(FileDevice),
    #[cfg(feature = "spdk")]
    Spdk(Box<SpdkDevice>),
}

/// The device at `path`; with arguments for SPDK, the bdev of that name.
pub(crate) fn open_for_tool(path: &Path, spdk: &SpdkArgs) -> Result<ToolDevice, StorageError> {
    if !spdk.is_given() {
        return super::open_file(path).map(ToolDevice::File);
    }
    #[cfg(feature = "spdk")]
    return super::spdk::open(&super::spdk::Source {
        bdev: path,
        config: spdk.config(),
        pci: &spdk.pci(),
        memory: 0,
        no_huge: spdk.no_huge(),
    })
    .map(|(device, _)| ToolDevice::Spdk(Box::new(device)));
    #[cfg(not(feature = "spdk"))]
    Err(StorageError::NoSpdk)
}

impl BlockDevice for ToolDevice {
    fn geometry(&self) -> Geometry {
        match self {
            Self::File(device) => device.geometry(),
            #[cfg(feature = "spdk")]
            Self::Spdk(device) => device.geometry(),
        }
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        match self {
            Self::File(device) => device.queue().map(Self::File),
            #[cfg(feature = "spdk")]
            Self::Spdk(device) => device.queue().map(|queue| Self::Spdk(Box::new(queue))),
        }
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        match self {
            Self::File(device) => device.submit(request),
            #[cfg(feature = "spdk")]
            Self::Spdk(device) => device.submit(request),
        }
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        match self {
            Self::File(device) => device.poll(completions),
            #[cfg(feature = "spdk")]
            Self::Spdk(device) => device.poll(completions),
        }
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) -> usize {
        match self {
            Self::File(device) => device.wait(completions),
            #[cfg(feature = "spdk")]
            Self::Spdk(device) => device.wait(completions),
        }
    }
}
