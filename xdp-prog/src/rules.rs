//! [`Rules`]: who may connect, and how fast.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::layout::ACCESS_MAX;

/// Whose frames to served endpoints are let in: networks that are allowed and networks that are
/// denied. The network with the longest prefix that contains a source decides. A source that no
/// network contains is let in if no network is allowed, else denied: an empty list is open to all,
/// and allowing some closes it to all others, those of the other IP version included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Whether each network is allowed.
    networks: BTreeMap<IpNet, bool>,
    /// The prefix lengths among `networks`, longest first.
    prefix_lens: Vec<u8>,
    /// What holds for all others.
    admits_others: bool,
}

/// Why networks are no [`AccessList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// The same network is in both lists.
    #[error("{0} is both allowed and denied")]
    Contradiction(IpNet),
    /// More than [`ACCESS_MAX`] networks.
    #[error("no more than {ACCESS_MAX} networks can be allowed and denied, but there are {0}")]
    TooManyNetworks(usize),
}

impl AccessList {
    /// The list of these networks; naming one twice is no error.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Result<Self, RulesError> {
        let mut networks = BTreeMap::new();
        for (list, is_allowed) in [(allow, true), (deny, false)] {
            for network in list {
                let network = network.trunc();
                if networks.insert(network, is_allowed) == Some(!is_allowed) {
                    return Err(RulesError::Contradiction(network));
                }
            }
        }
        if u32::try_from(networks.len()).map_or(true, |count| count > ACCESS_MAX) {
            return Err(RulesError::TooManyNetworks(networks.len()));
        }
        let mut prefix_lens: Vec<u8> = networks.keys().map(IpNet::prefix_len).collect();
        prefix_lens.sort_unstable_by(|a, b| b.cmp(a));
        prefix_lens.dedup();
        Ok(Self { networks, prefix_lens, admits_others: allow.is_empty() })
    }

    /// Whether this source is let in. At most 129 look-ups, however long the list.
    pub fn admits(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.prefix_lens
            .iter()
            .filter_map(|len| IpNet::new(source, *len).ok())
            .find_map(|network| self.networks.get(&network.trunc()).copied())
            .unwrap_or(self.admits_others || self.networks.is_empty())
    }

    /// Every network with whether it is allowed, all others last (as the networks that contain
    /// every address), each once.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (IpNet, bool)> + '_ {
        let everything = ["0.0.0.0/0", "::/0"]
            .map(|text| text.parse::<IpNet>().expect("these are networks"))
            .into_iter()
            .filter(|network| !self.networks.is_empty() && !self.networks.contains_key(network))
            .map(|network| (network, self.admits_others));
        self.networks.iter().map(|(network, is_allowed)| (*network, *is_allowed)).chain(everything)
    }
}

/// What holds for frames to served endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whose frames are let in.
    pub access: AccessList,
    /// SYNs that one source (an IPv4 address, an IPv6 /64) may send a second, as many at once;
    /// 0: no limit. Each CPU that receives counts for itself, so that a source whose connections
    /// spread over n queues gets up to n times as many.
    pub syns_per_source: u32,
    /// SYNs that all sources together may send a second to each CPU that receives; 0: no limit.
    pub syns_global: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn longest_prefix_wins_whatever_the_list() {
        let list = AccessList::new(
            &nets(&["10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32"]),
            &nets(&["10.1.0.0/16", "2001:db8:1::/48"]),
        )
        .unwrap();
        for (source, expected) in [
            ("10.9.9.9", true),
            ("10.1.9.9", false),
            ("10.1.2.9", true),
            ("192.0.2.1", false),
            ("2001:db8::1", true),
            ("2001:db8:1::1", false),
            ("2001:db9::1", false),
            ("::ffff:10.1.2.9", true),
        ] {
            assert_eq!(list.admits(source.parse().unwrap()), expected, "{source}");
        }
    }

    #[test]
    fn without_allowed_networks_all_others_are_let_in() {
        let open = AccessList::default();
        assert!(open.admits("10.0.0.1".parse().unwrap()));
        assert_eq!(open.entries().count(), 0);
        let list = AccessList::new(&[], &nets(&["10.0.0.0/8"])).unwrap();
        assert!(!list.admits("10.0.0.1".parse().unwrap()));
        assert!(list.admits("11.0.0.1".parse().unwrap()));
        assert!(list.admits("::1".parse().unwrap()));
    }

    #[test]
    fn contradictions_and_lists_that_are_too_long_are_refused() {
        let error = AccessList::new(&nets(&["10.0.0.1/32"]), &nets(&["10.0.0.1/32"])).unwrap_err();
        assert_eq!(error.to_string(), "10.0.0.1/32 is both allowed and denied");
        let many: Vec<IpNet> = (0..=ACCESS_MAX)
            .map(|n| IpNet::new(std::net::Ipv4Addr::from(n).into(), 32).unwrap())
            .collect();
        assert!(AccessList::new(&many[1..], &[]).is_ok());
        let error = AccessList::new(&many, &[]).unwrap_err();
        assert!(error.to_string().starts_with("no more than 10000 networks"), "{error}");
    }
}
