//! Why DPDK cannot be used, and what to do about it.

use std::io;

/// Why DPDK cannot be used. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// DPDK refuses it too, but says so only in its own log.
    #[error("EAL arguments --in-memory and --no-huge exclude each other: drop --in-memory")]
    InMemoryWithoutHugePages,
    /// An argument that cannot be handed to C.
    #[error("an EAL argument contains a zero byte")]
    ZeroByte,
    /// DPDK can be started once in a process.
    #[error("DPDK was started in this process before")]
    StartedBefore,
    /// DPDK did not start.
    #[error(
        "DPDK does not start: {source}; its own lines above say why. Without huge pages it needs \
         --no-huge -m 256, without a NIC of its own --no-pci and a --vdev"
    )]
    Start {
        /// What it answered.
        source: io::Error,
    },
    /// DPDK found no device.
    #[error(
        "DPDK found no network device: bind one to vfio-pci (dpdk-devbind.py), or name one with \
         --vdev"
    )]
    NoDevice,
    /// There is no device of this name.
    #[error("DPDK has no device {name:?}; there are {names}")]
    NoSuchDevice {
        /// The name that was asked for.
        name: String,
        /// Those that exist.
        names: String,
    },
    /// There are several, and none was named.
    #[error("DPDK has several devices, {names}: name one with --interface")]
    SeveralDevices {
        /// Their names.
        names: String,
    },
    /// An option outside its limits.
    #[error("{option} is {value}, but must be {min} to {max}")]
    OptionOutOfRange {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: u32,
        /// The least value.
        min: u32,
        /// The largest value.
        max: u32,
    },
    /// The driver cannot keep frames of this endpoint from the kernel.
    #[error(
        "device {device} cannot be shared with the kernel: {reason}; only drivers with rte_flow \
         isolation can (mlx5), others are served without"
    )]
    NotShareable {
        /// The device.
        device: String,
        /// What the driver says.
        reason: String,
    },
    /// Anything else that DPDK or the driver refused.
    #[error("device {device} (driver {driver}): cannot {action}: {source}")]
    Device {
        /// The device.
        device: String,
        /// Its driver; empty if not known yet.
        driver: String,
        /// What was tried.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
}
