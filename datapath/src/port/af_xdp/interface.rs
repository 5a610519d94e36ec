//! [`Interface`]: what the kernel says about a network interface.
//!
//! Asked by ioctl, not read from /sys: a mounted sysfs shows the network namespace in which it was
//! mounted, which need not be the caller's.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::error::{Error, classify};
use super::sys::calls::{self, QueueCounts};

/// Drivers whose frames may come from a sender on the same host that left the TCP checksum to be
/// filled in by hardware that is not there. Names as `ethtool -i` shows them.
const VIRTUAL_DRIVERS: [&str; 13] = [
    "bonding",
    "bridge",
    "dummy",
    "ifb",
    "ipvlan",
    "macvlan",
    "macvtap",
    "netkit",
    "tun",
    "veth",
    "vif",
    "virtio_net",
    "vmxnet3",
];

/// A network interface of the calling thread's namespace.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mtu_bytes: u32,
    pub(super) mac: [u8; 6],
    pub(super) is_up: bool,
    /// `None`: the device has no driver that tells its name (lo).
    pub(super) driver: Option<String>,
    /// `None`: the driver does not tell.
    pub(super) queues: Option<QueueCounts>,
}

impl Interface {
    /// Asks the kernel.
    ///
    /// # Errors
    /// [`Error::NoSuchInterface`], [`Error::Other`].
    pub(super) fn query(name: &str) -> Result<Self, Error> {
        const ACTION: &str = "ask for the properties of a network interface";
        let socket: OwnedFd =
            socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .map_err(|errno| classify(ACTION, errno))?;
        let socket = socket.as_fd();
        let failed = |errno| match errno {
            Errno::NODEV | Errno::NXIO => Error::NoSuchInterface { interface: name.to_owned() },
            _ => classify(ACTION, errno),
        };
        // First, because it refuses names that are none.
        let mtu_bytes = calls::mtu(socket, name).map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            index: netdevice::name_to_index(socket, name).map_err(failed)?,
            mtu_bytes,
            mac: calls::mac(socket, name).map_err(failed)?,
            is_up: calls::is_up(socket, name).map_err(failed)?,
            driver: optional(calls::driver(socket, name)).map_err(failed)?,
            queues: optional(calls::queue_counts(socket, name)).map_err(failed)?,
        })
    }

    /// Whether received frames may carry only a partial checksum
    /// ([`crate::port::PortCaps::rx_partial_checksum`]).
    pub(super) fn is_virtual(&self) -> bool {
        self.driver.as_deref().is_none_or(|driver| VIRTUAL_DRIVERS.contains(&driver))
    }

    /// The driver's name for messages.
    pub(super) fn driver_name(&self) -> &str {
        self.driver.as_deref().unwrap_or("unknown")
    }
}

/// What a driver need not answer. Any other refusal is an error: an unknown driver counts as
/// virtual, and taking a NIC for a virtual device would let corrupt frames pass.
fn optional<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::OPNOTSUPP | Errno::NOTTY) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_virtual_and_has_its_mtu() {
        let lo = Interface::query("lo").unwrap();
        assert!(lo.is_virtual());
        assert!(lo.mtu_bytes >= 1280);
        assert_eq!(lo.mac, [0; 6]);
    }

    #[test]
    fn interface_that_does_not_exist_is_named() {
        for name in ["coney-none", "", "nul\0nul", "a name that is longer than any interface's"] {
            let error = Interface::query(name).unwrap_err();
            assert!(
                matches!(&error, Error::NoSuchInterface { interface } if interface == name),
                "{error}"
            );
        }
    }
}
