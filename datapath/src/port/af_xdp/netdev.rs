//! What the kernel's `netdev` netlink family tells of an interface's driver: its XDP features, and
//! what its queues are linked to. It is asked without touching the device.
//!
//! Source: Documentation/netlink/specs/netdev.yaml and uapi/linux/netdev.h. Linux 6.3 and later
//! tell of features, 6.8 of queues; before, or where netlink is forbidden, the answer is `None`.

use rustix::io::Errno;
use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use crate::netlink::{Message, NLM_F_REQUEST, attribute, find, request};

/// uapi/linux/genetlink.h
const GENERIC_HEADER_LEN: usize = 4;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// uapi/linux/netdev.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_CMD_QUEUE_GET: u8 = 10;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_A_QUEUE_ID: u16 = 1;
const NETDEV_A_QUEUE_IFINDEX: u16 = 2;
const NETDEV_A_QUEUE_TYPE: u16 = 3;
const NETDEV_A_QUEUE_NAPI_ID: u16 = 4;
const NETDEV_QUEUE_TYPE_RX: u32 = 0;
const NETDEV_A_DEV_XSK_FEATURES: u16 = 6;
const NETDEV_XSK_FLAGS_TX_CHECKSUM: u64 = 2;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_REDIRECT: u64 = 2;
const NETDEV_XDP_ACT_XSK_ZEROCOPY: u64 = 8;

/// The longest answer expected here is some hundred bytes.
const ANSWER_BYTES_MAX: usize = 8192;

/// XDP features of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// XDP programs in the driver that may redirect.
    pub(super) native_redirect: bool,
    /// AF_XDP without a copy.
    pub(super) zero_copy: bool,
    /// The device adds up checksums of what AF_XDP sends without a copy (Linux 6.8 and later).
    pub(super) tx_checksum: bool,
}

/// The features of an interface's driver; `None`: the kernel does not tell.
pub(super) fn features(interface_index: u32) -> Option<Features> {
    let attributes = attribute(NETDEV_A_DEV_IFINDEX, &interface_index.to_ne_bytes());
    let answer = ask_netdev(NETDEV_CMD_DEV_GET, &attributes)?;
    let bits = find(&answer, NETDEV_A_DEV_XDP_FEATURES)?;
    let bits = u64::from_ne_bytes(bits.try_into().ok()?);
    let has = |bit| bits & bit != 0;
    let xsk_bits = find(&answer, NETDEV_A_DEV_XSK_FEATURES)
        .and_then(|bits| bits.try_into().ok())
        .map_or(0, u64::from_ne_bytes);
    Some(Features {
        native_redirect: has(NETDEV_XDP_ACT_BASIC) && has(NETDEV_XDP_ACT_REDIRECT),
        zero_copy: has(NETDEV_XDP_ACT_XSK_ZEROCOPY),
        tx_checksum: xsk_bits & NETDEV_XSK_FLAGS_TX_CHECKSUM != 0,
    })
}

/// Whether the driver linked a receive queue to its NAPI instance, without which a socket cannot
/// busy-poll; `None`: the kernel does not tell (also of an interface that is down).
pub(super) fn queue_has_napi(interface_index: u32, queue: u32) -> Option<bool> {
    let attributes = [
        attribute(NETDEV_A_QUEUE_IFINDEX, &interface_index.to_ne_bytes()),
        attribute(NETDEV_A_QUEUE_TYPE, &NETDEV_QUEUE_TYPE_RX.to_ne_bytes()),
        attribute(NETDEV_A_QUEUE_ID, &queue.to_ne_bytes()),
    ];
    let answer = ask_netdev(NETDEV_CMD_QUEUE_GET, &attributes.concat())?;
    Some(find(&answer, NETDEV_A_QUEUE_NAPI_ID).is_some())
}

fn ask_netdev(command: u8, attributes: &[u8]) -> Option<Vec<u8>> {
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    let family = ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name).ok()?;
    let family = find(&family, CTRL_ATTR_FAMILY_ID)?;
    let family = u16::from_ne_bytes(family.try_into().ok()?);
    match ask(family, command, attributes) {
        Ok(answer) => Some(answer),
        Err(errno) => {
            tracing::debug!(%errno, command, "the kernel does not answer about a network device");
            None
        }
    }
}

/// One request of generic netlink; returns the attributes of the answer.
fn ask(family: u16, command: u8, attributes: &[u8]) -> Result<Vec<u8>, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(GENERIC))?;
    let body = [&[command, 1, 0, 0], attributes].concat();
    let request = request(family, NLM_F_REQUEST, 0, &body);
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    // The kernel answers inside the call that sends.
    let (len, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let message = Message::parse(answer.get(..len).unwrap_or_default())?;
    message.body.get(GENERIC_HEADER_LEN..).map(<[u8]>::to_vec).ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_that_does_not_exist_has_no_features() {
        assert_eq!(features(u32::MAX), None);
    }
}
