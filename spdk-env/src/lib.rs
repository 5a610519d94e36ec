//! A file system for RocksDB on a raw block device.
//!
//! * [`device`]: what a block device is to us ([`BlockDevice`]: submit and poll, buffers by value),
//!   and its backends: [`device::sim`] with faults from a seed, [`device::uring`] over io_uring,
//!   [`device::file`] over `pread` and `pwrite`, and with the feature `spdk` one over SPDK.
//! * [`fs`]: the file system over any of them; its bytes on the device are in
//!   `docs/spdk-env-format.md`.
//!
//! Nothing here sleeps: whoever waits for the device polls it. Nothing here knows RocksDB.

pub mod buffer;
pub mod device;
pub mod fs;
mod number;
pub mod seed;

pub use buffer::DeviceBuffer;
pub use device::{BlockDevice, Completion, DeviceError, Geometry, Operation, Request};
