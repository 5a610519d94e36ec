//! Who may open a connection, and how fast, where no XDP program decides it: on a port that takes all
//! frames of its device.
//!
//! The rules and what they mean are those of the program ([`Rules`]): a source that the access list
//! refuses hears nothing, and SYNs have to find a token in their source's bucket and then in the one
//! that all sources share. The transport asks before TCP sees the segment.
//!
//! Each transport counts for itself, as each CPU does in the program. The sources' buckets lie in
//! a table of fixed size: nothing is allocated and nothing searched, however many sources there are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coney_base::Instant;
use coney_xdp_prog::{Rules, SYN_SOURCES_MAX};
use siphasher::sip::SipHasher13;

#[cfg(test)]
mod tests;

/// Sources with the same hash; of more, the one whose SYN was longest ago is forgotten. Its next SYN
/// finds a full bucket.
const WAYS: usize = 8;
const SETS: usize = SYN_SOURCES_MAX as usize / WAYS;
const _: () = assert!(SETS.is_power_of_two() && SETS * WAYS == SYN_SOURCES_MAX as usize);

/// What one SYN costs: a bucket gains `rate` of these a second, one a nanosecond and token.
const SYN_COST: u64 = 1_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Admit,
    /// The access list refuses its source.
    Denied,
    /// Its source sent too many.
    SourceLimit,
    /// All sources together sent too many.
    GlobalLimit,
}

/// A token bucket that holds the SYNs of one second.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// [`SYN_COST`] for each SYN that may pass.
    credit: u64,
    filled_at: Instant,
}

impl Bucket {
    /// Takes one SYN's worth out; `false`: it is exhausted.
    fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let rate = u64::from(per_second);
        // No product overflows: a rate has 32 bits, and a second of nanoseconds 30.
        let elapsed = now.since(self.filled_at).min(SECOND);
        let gained = u64::from(elapsed.subsec_nanos()) + elapsed.as_secs() * SYN_COST;
        self.credit = (self.credit + gained * rate).min(SYN_COST * rate);
        self.filled_at = self.filled_at.max(now);
        let is_enough = self.credit >= SYN_COST;
        if is_enough {
            self.credit -= SYN_COST;
        }
        is_enough
    }

    fn full(per_second: u32, now: Instant) -> Self {
        Self { credit: SYN_COST * u64::from(per_second), filled_at: now }
    }
}

/// An IPv4 address, or the /64 that an IPv6 host can choose from; `version` 0: a free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Source {
    prefix: [u8; 8],
    version: u8,
}

impl Source {
    fn of(address: IpAddr) -> Self {
        let mut prefix = [0; 8];
        match address {
            IpAddr::V4(v4) => prefix[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => prefix.copy_from_slice(&v6.octets()[..8]),
        }
        Self { prefix, version: if address.is_ipv4() { 4 } else { 6 } }
    }
}

/// The buckets of the sources that were seen last.
struct Sources {
    sets: Box<[[(Source, Bucket); WAYS]]>,
    /// Keyed, so that nobody can choose addresses that share a set with another's.
    hasher: SipHasher13,
}

impl Sources {
    fn take(&mut self, source: Source, per_second: u32, now: Instant) -> bool {
        let mut bytes = [0; 9];
        bytes[..8].copy_from_slice(&source.prefix);
        bytes[8] = source.version;
        let at = usize::try_from(self.hasher.hash(&bytes) % SETS as u64).unwrap_or(0);
        let Some(set) = self.sets.get_mut(at) else { return true };
        if let Some((_, bucket)) = set.iter_mut().find(|(known, _)| *known == source) {
            return bucket.take(per_second, now);
        }
        // Free places were never filled, and so come first.
        let Some(place) = set.iter_mut().min_by_key(|(_, bucket)| bucket.filled_at) else {
            return true;
        };
        *place = (source, Bucket::full(per_second, now));
        place.1.take(per_second, now)
    }
}

impl std::fmt::Debug for Sources {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Counters {
    denied: u64,
    source_limit: u64,
    global_limit: u64,
}

/// See the module page.
#[derive(Debug)]
pub struct Admission {
    rules: Arc<Rules>,
    sources: Sources,
    global: Bucket,
    counters: Counters,
}

impl Admission {
    /// `secret` was drawn at random when the process started.
    pub fn new(rules: Arc<Rules>, secret: [u8; 16]) -> Self {
        let empty = [(Source::default(), Bucket::default()); WAYS];
        let sources =
            Sources { sets: vec![empty; SETS].into(), hasher: SipHasher13::new_with_key(&secret) };
        let global = Bucket::full(rules.syns_global, Instant::ZERO);
        Self { rules, sources, global, counters: Counters::default() }
    }

    /// From now on these rules hold. Buckets keep what is in them, as far as they may hold it.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Decides about a SYN to a served endpoint.
    pub fn on_syn(&mut self, now: Instant, source: IpAddr) -> Verdict {
        if self.is_denied(source) {
            return Verdict::Denied;
        }
        // The source's bucket comes first, so that one source's flood does not use up what all share.
        let Rules { syns_per_source, syns_global, .. } = *self.rules;
        if syns_per_source > 0 && !self.sources.take(Source::of(source), syns_per_source, now) {
            self.counters.source_limit += 1;
            return Verdict::SourceLimit;
        }
        if syns_global > 0 && !self.global.take(syns_global, now) {
            self.counters.global_limit += 1;
            return Verdict::GlobalLimit;
        }
        Verdict::Admit
    }

    /// Whether the access list refuses the source of a segment that belongs to no connection.
    pub fn is_denied(&mut self, source: IpAddr) -> bool {
        let is_denied = !self.rules.access.admits(source);
        self.counters.denied += u64::from(is_denied);
        is_denied
    }

    /// Hands every counter to `visit`.
    pub fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("tcp_drop_denied", self.counters.denied);
        visit("tcp_drop_syn_source", self.counters.source_limit);
        visit("tcp_drop_syn_global", self.counters.global_limit);
    }
}
