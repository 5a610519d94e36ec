//! The Rust mirror of `bpf/steer.h`: map keys, counter indices, limits.

use std::net::{IpAddr, SocketAddr};

use aya::maps::lpm_trie::Key;
use ipnet::IpNet;

/// How many endpoints can be served at a time if [`crate::Options::served_max`] says no other number.
pub const SERVED_MAX: u32 = 1024;

/// Receive queues with an index below this can have an AF_XDP socket.
pub const QUEUES_MAX: u32 = 1024;

/// Networks in both access lists together; [`crate::RulesError::TooManyNetworks`] beyond.
pub const ACCESS_MAX: u32 = 10_000;

/// Sources whose SYNs are counted; beyond it the least recently seen one is forgotten.
pub const SYN_SOURCES_MAX: u32 = 16_384;

/// `struct served_key`: address (16 bytes), port (2, big-endian), IP version (1), zero (1).
pub(crate) type ServedKey = [u8; 20];

pub(crate) fn served_key(endpoint: SocketAddr) -> ServedKey {
    let mut key = ServedKey::default();
    let (addr, rest) = key.split_at_mut(16);
    let version = match endpoint.ip() {
        IpAddr::V4(ip) => {
            addr[..4].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            addr.copy_from_slice(&ip.octets());
            6
        }
    };
    let [port_high, port_low] = endpoint.port().to_be_bytes();
    rest.copy_from_slice(&[port_high, port_low, version, 0]);
    key
}

/// `struct access_key` behind its prefix length: IP version (1), zeros (3), address (16).
pub(crate) type AccessData = [u8; 20];

/// Bits of the IP version, which leads the prefix.
const ACCESS_VERSION_BITS: u32 = 32;
/// Values of the access list.
pub(crate) const ACCESS_ALLOW: u32 = 1;
pub(crate) const ACCESS_DENY: u32 = 2;

/// A network as the access list has it.
pub(crate) fn access_key(network: IpNet) -> Key<AccessData> {
    let mut data = AccessData::default();
    let (version, addr) = data.split_at_mut(4);
    match network.network() {
        IpAddr::V4(ip) => {
            version[0] = 4;
            addr[..4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            version[0] = 6;
            addr.copy_from_slice(&ip.octets());
        }
    }
    Key::new(ACCESS_VERSION_BITS + u32::from(network.prefix_len()), data)
}

/// `struct limits`: SYNs a second, per source and of all sources.
pub(crate) type Limits = [u32; 2];

/// What became of a frame: `enum verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Verdict {
    /// To the AF_XDP socket of its queue.
    Steered = 0,
    /// For a served endpoint, but its queue has no AF_XDP socket: passed to the kernel.
    NoSocket = 1,
    /// For a served endpoint, but longer than [`crate::Options::frame_bytes_max`]: dropped.
    DropOversize = 2,
    /// Neither IPv4 nor IPv6 (ARP, two VLAN tags and so on): passed.
    PassNotIp = 3,
    /// IP but not TCP (IPv6 extension headers included): passed.
    PassNotTcp = 4,
    /// TCP to an endpoint that is not served: passed.
    PassNotServed = 5,
    /// IP in an Ethernet broadcast or multicast frame: passed.
    PassGroupMac = 6,
    /// First or later fragment of a datagram: passed.
    PassFragment = 7,
    /// Truncated, or a length field contradicts the frame: passed.
    PassMalformed = 8,
    /// ICMP tells that a packet of a served endpoint was too big for a link: to the AF_XDP socket
    /// of its queue.
    SteeredTooBig = 9,
    /// For a served endpoint, but the access list refuses the source: dropped.
    DropDenied = 10,
    /// A SYN beyond [`crate::Rules::syns_per_source`]: dropped.
    DropSynSource = 11,
    /// A SYN beyond [`crate::Rules::syns_global`]: dropped.
    DropSynGlobal = 12,
}

impl Verdict {
    /// Every verdict, in the order of its index.
    pub const ALL: [Self; 13] = [
        Self::Steered,
        Self::NoSocket,
        Self::DropOversize,
        Self::PassNotIp,
        Self::PassNotTcp,
        Self::PassNotServed,
        Self::PassGroupMac,
        Self::PassFragment,
        Self::PassMalformed,
        Self::SteeredTooBig,
        Self::DropDenied,
        Self::DropSynSource,
        Self::DropSynGlobal,
    ];

    /// Index into the `verdicts` map and into [`Self::ALL`].
    pub(crate) const fn index(self) -> u32 {
        self as u32
    }

    /// Name of the metric that counts it.
    pub const fn metric_name(self) -> &'static str {
        match self {
            Self::Steered => "xdp_steered",
            Self::NoSocket => "xdp_no_socket",
            Self::DropOversize => "xdp_drop_oversize",
            Self::PassNotIp => "xdp_pass_not_ip",
            Self::PassNotTcp => "xdp_pass_not_tcp",
            Self::PassNotServed => "xdp_pass_not_served",
            Self::PassGroupMac => "xdp_pass_group_mac",
            Self::PassFragment => "xdp_pass_fragment",
            Self::PassMalformed => "xdp_pass_malformed",
            Self::SteeredTooBig => "xdp_steered_too_big",
            Self::DropDenied => "xdp_drop_denied",
            Self::DropSynSource => "xdp_drop_syn_source",
            Self::DropSynGlobal => "xdp_drop_syn_global",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C header is the truth; this mirror is checked against its text.
    const HEADER: &str = include_str!("../bpf/steer.h");

    #[test]
    fn verdicts_are_those_of_the_c_header_in_the_same_order() {
        let from_c: Vec<String> = HEADER
            .lines()
            .filter_map(|line| line.trim().strip_prefix("VERDICT_"))
            .map(|line| line.split(',').next().unwrap().to_lowercase())
            .collect();
        let from_rust: Vec<String> = Verdict::ALL
            .iter()
            .map(|verdict| verdict.metric_name().strip_prefix("xdp_").unwrap().to_owned())
            .collect();
        assert_eq!(from_c, from_rust);
        for (position, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(usize::try_from(verdict.index()), Ok(position));
        }
    }

    #[test]
    fn limits_are_those_of_the_c_header() {
        assert!(HEADER.contains(&format!("#define SERVED_MAX {SERVED_MAX}\n")));
        assert!(HEADER.contains(&format!("#define QUEUES_MAX {QUEUES_MAX}\n")));
        assert!(HEADER.contains(&format!("#define ACCESS_MAX {ACCESS_MAX}\n")));
        assert!(HEADER.contains(&format!("#define SYN_SOURCES_MAX {SYN_SOURCES_MAX}\n")));
    }

    #[test]
    fn served_key_puts_address_port_and_version_where_the_program_looks() {
        let v4 = served_key("192.0.2.7:6379".parse().unwrap());
        assert_eq!(v4[..5], [192, 0, 2, 7, 0]);
        assert_eq!(v4[16..], [0x18, 0xeb, 4, 0]);
        let v6 = served_key("[2001:db8::9]:6379".parse().unwrap());
        assert_eq!(v6[..4], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(v6[15..], [9, 0x18, 0xeb, 6, 0]);
    }
}
