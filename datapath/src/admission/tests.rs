use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use coney_xdp_prog::AccessList;
use proptest::prelude::*;

use super::*;

fn admission(syns_per_source: u32, syns_global: u32) -> Admission {
    let rules = Rules { syns_per_source, syns_global, ..Rules::default() };
    Admission::new(Arc::new(rules), [7; 16])
}

fn at_ms(ms: u64) -> Instant {
    Instant::from_millis(5000 + ms)
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

fn counters(admission: &Admission) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    admission.counters(&mut |name, count| {
        all.insert(name, count);
    });
    all
}

#[test]
fn a_second_s_worth_passes_at_once_and_then_the_rate() {
    let mut admission = admission(10, 0);
    let mut admitted_of = |ms: u64, count: usize| {
        (0..count).filter(|_| admission.on_syn(at_ms(ms), v4(1)) == Verdict::Admit).count()
    };
    assert_eq!(admitted_of(0, 30), 10);
    assert_eq!(admitted_of(99, 5), 0);
    assert_eq!(admitted_of(100, 5), 1);
    assert_eq!(admitted_of(350, 5), 2, "100 ms for each, half of one is kept");
    assert_eq!(admitted_of(400, 5), 1);
    // However long nothing came.
    assert_eq!(admitted_of(1_000_000, 30), 10);
    assert_eq!(counters(&admission)["tcp_drop_syn_source"], 20 + 5 + 4 + 3 + 4 + 20);
}

#[test]
fn sources_have_buckets_of_their_own_and_a_v6_source_is_its_64() {
    let mut admission = admission(1, 0);
    let v6 = |text: &str| IpAddr::V6(text.parse::<Ipv6Addr>().unwrap());
    for (source, expected) in [
        (v4(1), Verdict::Admit),
        (v4(2), Verdict::Admit),
        (v4(1), Verdict::SourceLimit),
        (v6("2001:db8::1"), Verdict::Admit),
        (v6("2001:db8::ffff:2"), Verdict::SourceLimit),
        (v6("2001:db8:0:1::1"), Verdict::Admit),
        // The first bytes of an IPv4 address above.
        (v6("0a00:0001::1"), Verdict::Admit),
    ] {
        assert_eq!(admission.on_syn(at_ms(0), source), expected, "{source}");
    }
}

#[test]
fn one_source_s_flood_does_not_use_up_what_all_share() {
    let mut admission = admission(5, 20);
    for _ in 0..1000 {
        admission.on_syn(at_ms(0), v4(1));
    }
    let others = (2..100).filter(|n| admission.on_syn(at_ms(0), v4(*n)) == Verdict::Admit).count();
    assert_eq!(others, 15);
    assert_eq!(counters(&admission)["tcp_drop_syn_global"], 98 - 15);
}

#[test]
fn under_a_flood_from_forged_sources_only_silent_ones_are_forgotten() {
    let mut admission = admission(1, 0);
    let mut now_us = 5_000_000;
    let mut syn = |source: u32| {
        now_us += 1;
        admission.on_syn(Instant::from_nanos(now_us * 1000), v4(source))
    };
    assert_eq!(syn(1), Verdict::Admit);
    assert_eq!(syn(2), Verdict::Admit);
    for round in 1..=1000_u32 {
        for n in 0..160 {
            assert_eq!(syn(round * 1000 + n), Verdict::Admit);
        }
        assert_eq!(syn(1), Verdict::SourceLimit, "round {round}");
    }
    assert_eq!(syn(2), Verdict::Admit);
}

#[test]
fn rules_change_at_once_and_a_refused_source_has_no_say() {
    let mut admission = admission(0, 0);
    assert!((0..100_000).all(|_| admission.on_syn(at_ms(0), v4(1)) == Verdict::Admit));
    let access = AccessList::new(&[], &["10.0.0.1/32".parse().unwrap()]).unwrap();
    admission.set_rules(Arc::new(Rules { access, syns_per_source: 1, syns_global: 2 }));
    assert_eq!(admission.on_syn(at_ms(1), v4(1)), Verdict::Denied);
    assert!(admission.is_denied(v4(1)) && !admission.is_denied(v4(2)));
    assert_eq!(admission.on_syn(at_ms(1), v4(2)), Verdict::Admit);
    assert_eq!(admission.on_syn(at_ms(1), v4(2)), Verdict::SourceLimit);
    assert_eq!(admission.on_syn(at_ms(1), v4(3)), Verdict::Admit);
    assert_eq!(admission.on_syn(at_ms(1), v4(4)), Verdict::GlobalLimit);
    assert_eq!(counters(&admission)["tcp_drop_denied"], 2);
}

/// What the buckets stand for, computed in whole numbers of SYNs times nanoseconds.
#[derive(Default)]
struct Model(BTreeMap<IpAddr, (u128, u64)>);

impl Model {
    fn admits(&mut self, now_ns: u64, source: IpAddr, rate: u32) -> bool {
        let full = u128::from(rate) * 1_000_000_000;
        let (credit, at) = self.0.entry(source).or_insert((full, now_ns));
        *credit = (*credit + u128::from(now_ns - *at) * u128::from(rate)).min(full);
        *at = now_ns;
        let is_enough = *credit >= 1_000_000_000;
        *credit -= if is_enough { 1_000_000_000 } else { 0 };
        is_enough
    }
}

proptest! {
    /// As few sources as never share a set: the table is as good as one without a limit.
    #[test]
    fn buckets_count_as_the_model_does(
        rate in prop_oneof![1_u32..50, Just(u32::MAX)],
        syns in prop::collection::vec((0_u64..400_000_000, 0_u32..8), 1..400),
    ) {
        let mut admission = admission(rate, 0);
        let mut model = Model::default();
        let mut now_ns = 1_000_000_000;
        for (pause_ns, source) in syns {
            now_ns += pause_ns;
            let admitted =
                admission.on_syn(Instant::from_nanos(now_ns), v4(source)) == Verdict::Admit;
            prop_assert_eq!(admitted, model.admits(now_ns, v4(source), rate));
        }
    }

    /// Whatever comes, and if the clock went back: never more than one second's worth and the rate.
    #[test]
    fn no_source_and_not_all_of_them_exceed_their_rates(
        syns in prop::collection::vec((0_u64..5_000_000_000, any::<u32>()), 1..600),
    ) {
        let mut admission = admission(3, 20);
        let (mut first, mut last, mut admitted) = (u64::MAX, 0, 0);
        for (now_ns, source) in syns {
            (first, last) = (first.min(now_ns), last.max(now_ns));
            let source = v4(source % 32);
            let verdict = admission.on_syn(Instant::from_nanos(now_ns), source);
            admitted += u64::from(verdict == Verdict::Admit);
        }
        let secs = (last - first) as f64 / 1e9;
        prop_assert!(admitted as f64 <= 20.0 * (1.0 + secs), "{admitted} in {secs} s");
    }
}
