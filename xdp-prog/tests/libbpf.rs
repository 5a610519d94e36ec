//! The same object under libbpf, the kernel developers' loader: what it takes, every tool takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/frames.rs"]
mod frames;
#[path = "support/skip.rs"]
mod skip;

use coney_xdp_prog::{Action, OBJECT, Options, Program, Verdict};
use libbpf_rs::{MapCore, MapFlags, ObjectBuilder, ProgramInput};

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
    for golden in frames::steered().iter().chain(&frames::not_steered()) {
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
    assert_eq!(usize::try_from(no_socket), Ok(frames::steered().len()));
}
