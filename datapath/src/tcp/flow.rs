//! The 4-tuple that names a connection, and its keyed hash.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use siphasher::sip::SipHasher13;

/// Bytes of a [`FlowKey`] as hashed.
const KEY_LEN: usize = 36;
/// How an IPv4-mapped IPv6 address begins (RFC 4291 §2.5.5.2).
const V4_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Both ends of a connection. IPv4 addresses are kept as IPv4-mapped IPv6 addresses, which never
/// come in from outside (the parser refuses them).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowKey {
    bytes: [u8; KEY_LEN],
}

impl FlowKey {
    /// The flow between our end `local` and the peer's `remote`.
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let mut bytes = [0; KEY_LEN];
        let parts = [
            (0, &mapped(local.ip())[..]),
            (16, &mapped(remote.ip())),
            (32, &local.port().to_be_bytes()),
            (34, &remote.port().to_be_bytes()),
        ];
        for (at, part) in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        Self { bytes }
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.end(0, 32)
    }

    /// The peer's end.
    pub fn remote(&self) -> SocketAddr {
        self.end(16, 34)
    }

    /// Whether the flow runs over IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.remote().is_ipv4()
    }

    fn end(&self, ip_at: usize, port_at: usize) -> SocketAddr {
        let mut ip = [0; 16];
        ip.copy_from_slice(&self.bytes[ip_at..ip_at + 16]);
        let port = u16::from_be_bytes([self.bytes[port_at], self.bytes[port_at + 1]]);
        SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
    }
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => Ipv4Addr::to_ipv6_mapped(&v4).octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Keyed hash of flows: a peer that does not know the key cannot choose its ports so that they
/// collide, nor guess sequence numbers.
#[derive(Clone)]
pub struct FlowHasher {
    table: SipHasher13,
    isn: SipHasher13,
    timestamps: SipHasher13,
    cookies: SipHasher13,
}

impl std::fmt::Debug for FlowHasher {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowHasher").finish_non_exhaustive()
    }
}

impl FlowHasher {
    /// A hasher with a secret key, which the caller draws at random when the process starts.
    pub fn new(secret: [u8; 16]) -> Self {
        let derive = |use_of: u8| {
            let mut key = secret;
            key[0] ^= use_of;
            SipHasher13::new_with_key(&key)
        };
        Self { table: derive(0), isn: derive(1), timestamps: derive(2), cookies: derive(3) }
    }

    /// The hash under which tables keep the flow.
    pub fn table_hash(&self, key: &FlowKey) -> u32 {
        let bytes = &key.bytes;
        if bytes[..12] == V4_PREFIX && bytes[16..28] == V4_PREFIX {
            // Two words instead of five.
            let mut short = [0; 12];
            short[..4].copy_from_slice(&bytes[12..16]);
            short[4..].copy_from_slice(&bytes[28..]);
            return low_half(self.table.hash(&short));
        }
        low_half(self.table.hash(bytes))
    }

    /// RFC 6528 §3, the function F: what is added to the clock for the initial sequence number.
    pub fn isn_offset(&self, key: &FlowKey) -> u32 {
        low_half(self.isn.hash(&key.bytes))
    }

    /// What is added to our timestamps clock, so that it tells a peer nothing about the host's
    /// uptime or about other connections (RFC 7323 §7.1).
    pub fn timestamps_offset(&self, key: &FlowKey) -> u32 {
        low_half(self.timestamps.hash(&key.bytes))
    }

    /// A keyed hash of the flow and what a SYN cookie must vouch for.
    pub fn cookie(&self, key: &FlowKey, irs: u32, what: u64) -> u32 {
        let mut bytes = [0; KEY_LEN + 12];
        bytes[..KEY_LEN].copy_from_slice(&key.bytes);
        bytes[KEY_LEN..KEY_LEN + 4].copy_from_slice(&irs.to_be_bytes());
        bytes[KEY_LEN + 4..].copy_from_slice(&what.to_be_bytes());
        low_half(self.cookies.hash(&bytes))
    }

    /// An unpredictable number for `round`, for limits that a peer must not be able to count out.
    pub fn noise(&self, round: u64) -> u32 {
        low_half(self.isn.hash(&round.to_be_bytes()))
    }
}

fn low_half(hash: u64) -> u32 {
    u32::try_from(hash & 0xffff_ffff).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_read_back() {
        for (local, remote) in [("10.0.0.1:6379", "10.0.0.2:40000"), ("[fd00::1]:1", "[fd00::2]:2")]
        {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let key = FlowKey::new(local, remote);
            assert_eq!((key.local(), key.remote()), (local, remote));
            assert_eq!(key.is_ipv4(), local.is_ipv4());
        }
    }

    #[test]
    fn every_field_and_the_key_change_every_hash() {
        let base = ("10.0.0.1:1", "10.0.0.2:2");
        let others = [
            ("10.0.0.3:1", "10.0.0.2:2"),
            ("10.0.0.1:3", "10.0.0.2:2"),
            ("10.0.0.1:1", "10.0.0.3:2"),
            ("10.0.0.1:1", "10.0.0.2:3"),
        ];
        let key = |(local, remote): (&str, &str)| {
            FlowKey::new(local.parse().unwrap(), remote.parse().unwrap())
        };
        let all = |hasher: &FlowHasher, key| {
            [hasher.table_hash(&key), hasher.isn_offset(&key), hasher.timestamps_offset(&key)]
        };
        let hasher = FlowHasher::new([7; 16]);
        let hashes = all(&hasher, key(base));
        assert_ne!(hashes[0], hashes[1]);
        for other in others {
            let others = all(&hasher, key(other));
            assert!(hashes.iter().zip(others).all(|(a, b)| *a != b), "{other:?}");
        }
        let rekeyed = all(&FlowHasher::new([8; 16]), key(base));
        assert!(hashes.iter().zip(rekeyed).all(|(a, b)| *a != b));
    }
}
