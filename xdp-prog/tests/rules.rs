//! Access lists and SYN limits through BPF_PROG_TEST_RUN, loaded as in production (aya).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[allow(dead_code, reason = "each test file uses some of them")]
#[path = "support/frames.rs"]
mod frames;
#[path = "support/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use coney_base::Clock;
use coney_xdp_prog::{
    ACCESS_MAX, AccessList, Action, Options, Program, Rules, SYN_SOURCES_MAX, Verdict,
};
use ipnet::IpNet;
use proptest::prelude::*;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The program with both endpoints served and without sockets: what gets in is passed.
fn load(test: &str) -> Option<Program> {
    let options = Options { frame_bytes_max: frames::FRAME_BYTES_MAX, ..Options::default() };
    let mut program = skip::unless_forbidden(test, Program::load(&options))?;
    program.serve("192.0.2.1:6379".parse().unwrap()).unwrap();
    program.serve("[2001:db8::1]:6379".parse().unwrap()).unwrap();
    Some(program)
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn set_access(program: &Program, allow: &[IpNet], deny: &[IpNet]) {
    let access = AccessList::new(allow, deny).unwrap();
    program.set_rules(&Rules { access, ..Rules::default() }).unwrap();
}

fn admits(program: &Program, source: &str) -> bool {
    match program.dry_run(&frames::data_from(source.parse().unwrap())).unwrap() {
        Action::Pass => true,
        Action::Drop => false,
        Action::Redirect => panic!("there is no socket"),
    }
}

/// Buckets are each CPU's own.
fn pin() {
    let mut set = CpuSet::new();
    set.set(0);
    sched_setaffinity(None, &set).unwrap();
}

/// The verdicts of `count` runs on this frame.
fn run_many(program: &Program, frame: &[u8], count: usize) -> BTreeMap<Verdict, u64> {
    let before = program.counters().unwrap();
    for _ in 0..count {
        program.dry_run(frame).unwrap();
    }
    let after = program.counters().unwrap();
    let grown = after.iter().map(|(verdict, count)| (verdict, count - before.get(verdict)));
    grown.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn lists_are_replaced_while_the_program_runs() {
    let test = "lists_are_replaced_while_the_program_runs";
    let Some(program) = load(test) else { return };
    assert!(admits(&program, "10.0.0.1"), "without a list everybody is let in");
    set_access(&program, &[], &nets(&["10.0.0.0/8", "2001:db8:1::/48"]));
    for (source, expected) in
        [("10.0.0.1", false), ("11.0.0.1", true), ("2001:db8:1::7", false), ("2001:db8:2::7", true)]
    {
        assert_eq!(admits(&program, source), expected, "{source}");
    }
    set_access(&program, &nets(&["10.0.0.0/8"]), &nets(&["10.1.0.0/16"]));
    for (source, expected) in
        [("10.0.0.1", true), ("10.1.0.1", false), ("11.0.0.1", false), ("2001:db8:2::7", false)]
    {
        assert_eq!(admits(&program, source), expected, "{source}");
    }
    let denied = program.counters().unwrap().get(Verdict::DropDenied);
    assert_eq!(denied, 2 + 3);
    set_access(&program, &[], &[]);
    for source in ["10.0.0.1", "10.1.0.1", "11.0.0.1", "2001:db8:1::7"] {
        assert!(admits(&program, source), "{source}");
    }
    assert_eq!(program.counters().unwrap().get(Verdict::DropDenied), denied);
}

/// The host's own affairs go on whoever asks: SSH, ARP, ICMP.
#[test]
fn a_list_is_about_served_endpoints_only() {
    let test = "a_list_is_about_served_endpoints_only";
    let Some(program) = load(test) else { return };
    set_access(&program, &[], &nets(&["0.0.0.0/0", "::/0"]));
    for golden in &frames::all() {
        let expected = match golden.verdict {
            Verdict::Steered | Verdict::DropOversize => Action::Drop,
            _ => Action::Pass,
        };
        assert_eq!(program.dry_run(&golden.frame).unwrap(), expected, "{}", golden.name);
    }
}

#[test]
fn the_longest_list_fits() {
    let test = "the_longest_list_fits";
    let Some(program) = load(test) else { return };
    let many: Vec<IpNet> =
        (1..=ACCESS_MAX).map(|n| IpNet::from(IpAddr::from(Ipv4Addr::from(n << 8)))).collect();
    set_access(&program, &many, &[]);
    assert!(admits(&program, "0.0.1.0"));
    assert!(!admits(&program, "0.0.1.1"));
    assert!(!admits(&program, "2001:db8::1"));
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    // Few bits differ, so that networks contain each other and the sources.
    prop_oneof![
        (0_u32..16).prop_map(|n| Ipv4Addr::from(0x0a00_0000 | (n << 22) | (n & 3)).into()),
        (0_u128..16).prop_map(|n| Ipv6Addr::from((0x2001_0db8 << 96) | (n << 62) | (n & 3)).into()),
    ]
}

fn any_networks() -> impl Strategy<Value = Vec<IpNet>> {
    let network = (any_address(), 0_u8..=128).prop_map(|(address, len)| {
        let len = if address.is_ipv4() { len % 33 } else { len };
        IpNet::new(address, len).unwrap().trunc()
    });
    proptest::collection::vec(network, 0..12)
}

/// The kernel's trie and the list that guards kernel sockets decide alike.
#[test]
fn the_program_decides_as_the_list_does() {
    let test = "the_program_decides_as_the_list_does";
    let Some(program) = load(test) else { return };
    let cases = (any_networks(), any_networks(), proptest::collection::vec(any_address(), 20));
    proptest!(ProptestConfig::with_cases(200), |((allow, deny, sources) in cases)| {
        let Ok(access) = AccessList::new(&allow, &deny) else { return Ok(()) };
        program.set_rules(&Rules { access: access.clone(), ..Rules::default() }).unwrap();
        for source in sources {
            prop_assert_eq!(
                admits(&program, &source.to_string()), access.admits(source),
                "{} under {:?} and {:?}", source, allow, deny
            );
        }
    });
}

/// A list is exchanged under traffic: no frame of a source that both lists deny may get in, and
/// none of one that both allow may be dropped.
#[test]
fn no_frame_meets_half_of_a_list() {
    let test = "no_frame_meets_half_of_a_list";
    let Some(program) = load(test) else { return };
    let lists = [nets(&["10.1.0.0/16"]), nets(&["10.1.0.0/16", "10.3.0.0/16"])];
    set_access(&program, &lists[0], &nets(&["10.1.9.0/24"]));
    std::thread::scope(|scope| {
        let exchange = scope.spawn(|| {
            for round in 0..300 {
                set_access(&program, &lists[round % 2], &nets(&["10.1.9.0/24"]));
            }
        });
        while !exchange.is_finished() {
            assert!(admits(&program, "10.1.0.1"));
            assert!(!admits(&program, "10.1.9.1"));
            assert!(!admits(&program, "10.2.0.1"));
        }
    });
}

/// What a bucket for `limit` a second may let through in this time.
fn passed_max(limit: u32, elapsed: Duration) -> u64 {
    u64::from(limit) + u64::try_from(elapsed.as_nanos()).unwrap() * u64::from(limit) / 1_000_000_000
}

#[test]
fn a_source_gets_its_syns_a_second_and_others_theirs() {
    const LIMIT: u32 = 500;
    let test = "a_source_gets_its_syns_a_second_and_others_theirs";
    let Some(program) = load(test) else { return };
    pin();
    let clock = Clock::new();
    let syn = |source: &str| frames::syn_from(source.parse().unwrap());
    for (source, same, other) in [
        ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
    ] {
        program.set_rules(&Rules::default()).unwrap();
        let unlimited = run_many(&program, &syn(source), 2000);
        assert_eq!(unlimited, BTreeMap::from([(Verdict::NoSocket, 2000)]), "no limit is set");

        program.set_rules(&Rules { syns_per_source: LIMIT, ..Rules::default() }).unwrap();
        let start = clock.now();
        let verdicts = run_many(&program, &syn(source), 5000);
        let elapsed = clock.now().since(start);
        let passed = verdicts[&Verdict::NoSocket];
        assert!((u64::from(LIMIT)..=passed_max(LIMIT, elapsed)).contains(&passed), "{verdicts:?}");
        assert_eq!(verdicts[&Verdict::DropSynSource], 5000 - passed);

        // It runs dry, and fills up again: one SYN each two milliseconds.
        // The time counts from before the SYN that found it dry: we may lose the core after it.
        let start = loop {
            let before = clock.now();
            if !run_many(&program, &syn(same), 1).contains_key(&Verdict::NoSocket) {
                break before;
            }
        };
        let mut refilled = 0;
        while refilled < 5 {
            refilled += run_many(&program, &syn(same), 1).get(&Verdict::NoSocket).unwrap_or(&0);
        }
        let elapsed = clock.now().since(start);
        assert!(elapsed >= Duration::from_millis(8), "5 SYNs in {elapsed:?}");

        // Data of the same source, and SYNs of others, are not held up.
        let data = frames::data_from(same.parse().unwrap());
        let verdicts = run_many(&program, &data, 1000);
        assert_eq!(verdicts, BTreeMap::from([(Verdict::NoSocket, 1000)]));
        let verdicts = run_many(&program, &syn(other), 500);
        assert_eq!(verdicts, BTreeMap::from([(Verdict::NoSocket, 500)]));
    }
}

/// A flood from forged sources: each has a bucket of its own, and the table of sources overflows.
#[test]
fn all_sources_together_are_limited_too() {
    const LIMIT: u32 = 300;
    let test = "all_sources_together_are_limited_too";
    let Some(program) = load(test) else { return };
    pin();
    let rules = Rules { syns_per_source: 2, syns_global: LIMIT, ..Rules::default() };
    program.set_rules(&rules).unwrap();
    let clock = Clock::new();
    let start = clock.now();
    for n in 0..2 * SYN_SOURCES_MAX {
        program.dry_run(&frames::syn_from(Ipv4Addr::from(0x0a00_0000 | n).into())).unwrap();
    }
    let elapsed = clock.now().since(start);
    let counters = program.counters().unwrap();
    let passed = counters.get(Verdict::NoSocket);
    assert!((u64::from(LIMIT)..=passed_max(LIMIT, elapsed)).contains(&passed), "{counters:?}");
    let dropped = counters.get(Verdict::DropSynGlobal);
    assert_eq!(dropped, u64::from(2 * SYN_SOURCES_MAX) - passed);
    assert_eq!(counters.get(Verdict::DropSynSource), 0);
    // Off again.
    program.set_rules(&Rules::default()).unwrap();
    let verdicts = run_many(&program, &frames::syn_from(Ipv4Addr::LOCALHOST.into()), 1000);
    assert_eq!(verdicts, BTreeMap::from([(Verdict::NoSocket, 1000)]));
}

/// What one source sends too much does not use up what all share.
#[test]
fn a_flooding_source_leaves_the_common_bucket_to_others() {
    let test = "a_flooding_source_leaves_the_common_bucket_to_others";
    let Some(program) = load(test) else { return };
    pin();
    let rules = Rules { syns_per_source: 10, syns_global: 10_000, ..Rules::default() };
    program.set_rules(&rules).unwrap();
    run_many(&program, &frames::syn_from(Ipv4Addr::new(10, 0, 0, 1).into()), 20_000);
    let verdicts = run_many(&program, &frames::syn_from(Ipv4Addr::new(10, 0, 0, 2).into()), 10);
    assert_eq!(verdicts, BTreeMap::from([(Verdict::NoSocket, 10)]));
}

#[test]
fn the_highest_limit_does_not_overflow() {
    let test = "the_highest_limit_does_not_overflow";
    let Some(program) = load(test) else { return };
    pin();
    let rules = Rules { syns_per_source: u32::MAX, syns_global: u32::MAX, ..Rules::default() };
    program.set_rules(&rules).unwrap();
    let verdicts = run_many(&program, &frames::syn_from(Ipv4Addr::new(10, 0, 0, 1).into()), 5000);
    assert_eq!(verdicts, BTreeMap::from([(Verdict::NoSocket, 5000)]));
}
