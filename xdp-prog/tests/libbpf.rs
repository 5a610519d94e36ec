//! The same object under libbpf, the kernel developers' loader: what it takes, every tool takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[allow(dead_code, reason = "each test file uses some of them")]
#[path = "support/frames.rs"]
mod frames;
#[path = "support/skip.rs"]
mod skip;

use coney_xdp_prog::{Action, OBJECT, Options, Program, Verdict};
use std::os::fd::{AsFd as _, AsRawFd as _};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, ObjectBuilder, ProgramInput};

#[test]
fn libbpf_takes_the_object_and_reaches_the_same_verdicts() {
    let test = "libbpf_takes_the_object_and_reaches_the_same_verdicts";
    // The production loader decides whether BPF is permitted here.
    if skip::unless_forbidden(test, Program::load(&Options::default())).is_none() {
        return;
    }
    let mut open = ObjectBuilder::default().open_memory(OBJECT).unwrap();
    // libbpf puts the object's name before the section's.
    let rodata = open.maps_mut().find(|map| map.name().to_string_lossy().ends_with(".rodata"));
    let mut rodata = rodata.expect("the program has constants");
    rodata.set_initial_value(&frames::FRAME_BYTES_MAX.to_ne_bytes()).unwrap();
    let object = open.load().unwrap();
    let served = object.maps().find(|map| map.name() == "served").unwrap();
    // Written out by hand, as a second opinion on the key's layout.
    let mut key_v4 = [0; 20];
    key_v4[..4].copy_from_slice(&[192, 0, 2, 1]);
    key_v4[16..].copy_from_slice(&[0x18, 0xeb, 4, 0]);
    let mut key_v6 = [0; 20];
    key_v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    key_v6[15..].copy_from_slice(&[1, 0x18, 0xeb, 6, 0]);
    served.update(&key_v4, &[1], MapFlags::ANY).unwrap();
    served.update(&key_v6, &[1], MapFlags::ANY).unwrap();

    let program = object.progs_mut().find(|program| program.name() == "steer").unwrap();
    for golden in &frames::all() {
        let input = ProgramInput { data_in: Some(&golden.frame), ..ProgramInput::default() };
        let output = program.test_run(input).unwrap();
        let expected = match frames::action(golden.verdict) {
            Action::Drop => 1,
            // No queue has a socket here.
            Action::Pass | Action::Redirect => 2,
        };
        assert_eq!(output.return_value, expected, "{}", golden.name);
    }

    let verdicts = object.maps().find(|map| map.name() == "verdicts").unwrap();
    let key = (Verdict::NoSocket as u32).to_ne_bytes();
    let per_cpu = verdicts.lookup_percpu(&key, MapFlags::ANY).unwrap().unwrap();
    let no_socket: u64 =
        per_cpu.iter().map(|value| u64::from_ne_bytes(value[..8].try_into().unwrap())).sum();
    let served = |golden: &&frames::Golden| {
        matches!(golden.verdict, Verdict::Steered | Verdict::SteeredTooBig)
    };
    assert_eq!(usize::try_from(no_socket), Ok(frames::all().iter().filter(served).count()));
}

/// Lists and limits, written by hand as a second opinion on their layout.
#[test]
fn libbpf_sets_rules_that_the_program_follows() {
    let test = "libbpf_sets_rules_that_the_program_follows";
    if skip::unless_forbidden(test, Program::load(&Options::default())).is_none() {
        return;
    }
    let object = ObjectBuilder::default().open_memory(OBJECT).unwrap().load().unwrap();
    let map = |name: &str| object.maps().find(|map| map.name() == name).unwrap();
    let mut key_v4 = [0; 20];
    key_v4[..4].copy_from_slice(&[192, 0, 2, 1]);
    key_v4[16..].copy_from_slice(&[0x18, 0xeb, 4, 0]);
    map("served").update(&key_v4, &[1], MapFlags::ANY).unwrap();
    let program = object.progs_mut().find(|program| program.name() == "steer").unwrap();
    let verdicts = || -> Vec<u64> {
        let count = |index: u32| {
            let key = index.to_ne_bytes();
            let per_cpu = map("verdicts").lookup_percpu(&key, MapFlags::ANY).unwrap().unwrap();
            per_cpu.iter().map(|value| u64::from_ne_bytes(value[..8].try_into().unwrap())).sum()
        };
        (0..13).map(count).collect()
    };
    let run = |source: [u8; 4], repeat| {
        let frame = frames::syn_from(source.into());
        let input = ProgramInput { data_in: Some(&frame), repeat, ..ProgramInput::default() };
        program.test_run(input).unwrap().return_value
    };
    const PASS: u32 = 2;
    const DROP: u32 = 1;

    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>().try_into().unwrap(),
        map_flags: 1, // BPF_F_NO_PREALLOC
        ..Default::default()
    };
    let list =
        MapHandle::create(MapType::LpmTrie, Some("access"), 24, 4, 10_002, &options).unwrap();
    let mut net = [0; 24];
    net[..4].copy_from_slice(&(32_u32 + 8).to_ne_bytes());
    net[4] = 4;
    net[8] = 10;
    list.update(&net, &2_u32.to_ne_bytes(), MapFlags::ANY).unwrap();
    let list_fd = list.as_fd().as_raw_fd().to_ne_bytes();
    map("access").update(&0_u32.to_ne_bytes(), &list_fd, MapFlags::ANY).unwrap();
    assert_eq!(run([10, 0, 0, 1], 1), DROP);
    assert_eq!(run([11, 0, 0, 1], 1), PASS);
    assert_eq!(verdicts()[Verdict::DropDenied as usize], 1);

    let limits = [[100_u32.to_ne_bytes(), 1000_u32.to_ne_bytes()]].concat().concat();
    map("limits").update(&0_u32.to_ne_bytes(), &limits, MapFlags::ANY).unwrap();
    // One system call runs it so often on one CPU, with the time going on meanwhile.
    run([12, 0, 0, 1], 5000);
    let counted = verdicts();
    let dropped = counted[Verdict::DropSynSource as usize];
    assert!((4000..=4900).contains(&dropped), "{counted:?}");
    assert_eq!(counted[Verdict::DropSynGlobal as usize], 0);
}
