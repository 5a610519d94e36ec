//! The program on golden frames through BPF_PROG_TEST_RUN, loaded as in production (aya).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[allow(dead_code, reason = "each test file uses some of them")]
#[path = "support/frames.rs"]
mod frames;
#[path = "support/skip.rs"]
mod skip;

use std::os::fd::{AsFd, OwnedFd};

use coney_xdp_prog::{Action, Error, Mode, Options, Program, SERVED_MAX, Verdict};
use frames::{Golden, action};
use rustix::net::{AddressFamily, SocketType};

const SERVED_V4: &str = "192.0.2.1:6379";
const SERVED_V6: &str = "[2001:db8::1]:6379";

/// The program with both endpoints served. Without `xsk`, no queue has a socket.
fn load(test: &str, xsk: Option<&OwnedFd>) -> Option<Program> {
    let options = Options { frame_bytes_max: frames::FRAME_BYTES_MAX, ..Options::default() };
    let mut program = skip::unless_forbidden(test, Program::load(&options))?;
    program.serve(SERVED_V4.parse().unwrap()).unwrap();
    program.serve(SERVED_V6.parse().unwrap()).unwrap();
    if let Some(xsk) = xsk {
        program.set_xsk(0, xsk.as_fd()).unwrap();
    }
    Some(program)
}

/// An AF_XDP socket that is bound to nothing: enough for the map, and so for the verdict.
fn xsk(test: &str) -> Option<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None::<_>);
    let permitted = socket.map_err(|errno| match errno {
        rustix::io::Errno::PERM => {
            Error::NoPermission { action: "open an AF_XDP socket", missing: "CAP_NET_RAW".into() }
        }
        _ => Error::Other { action: "open an AF_XDP socket", source: Box::new(errno) },
    });
    skip::unless_forbidden(test, permitted)
}

/// Runs one frame and checks action and counter.
fn check(program: &Program, golden: &Golden) {
    let before = program.counters().unwrap();
    let action = program.dry_run(&golden.frame).unwrap();
    let after = program.counters().unwrap();
    let counted: Vec<Verdict> = after
        .iter()
        .flat_map(|(verdict, count)| (before.get(verdict)..count).map(move |_| verdict))
        .collect();
    assert_eq!(counted, [golden.verdict], "{}", golden.name);
    assert_eq!(action, frames::action(golden.verdict), "{}", golden.name);
}

#[test]
fn golden_frames_meet_their_verdict() {
    let test = "golden_frames_meet_their_verdict";
    let Some(xsk) = xsk(test) else { return };
    let Some(program) = load(test, Some(&xsk)) else {
        return;
    };
    for golden in &frames::all() {
        check(&program, golden);
    }
}

#[test]
fn served_frame_is_passed_when_its_queue_has_no_socket() {
    let test = "served_frame_is_passed_when_its_queue_has_no_socket";
    let Some(xsk) = xsk(test) else { return };
    let Some(mut program) = load(test, None) else {
        return;
    };
    let [golden, ..] = &frames::steered()[..] else { panic!("no frame") };
    let no_socket = Golden { verdict: Verdict::NoSocket, frame: golden.frame.clone(), ..*golden };
    check(&program, &no_socket);

    program.set_xsk(1, xsk.as_fd()).unwrap(); // another queue's
    check(&program, &no_socket);

    program.set_xsk(0, xsk.as_fd()).unwrap();
    check(&program, golden);

    program.unset_xsk(0).unwrap();
    program.unset_xsk(0).unwrap();
    check(&program, &no_socket);

    program.set_xsk(0, xsk.as_fd()).unwrap();
    drop(xsk); // the kernel takes a closed socket out of the map
    check(&program, &no_socket);
}

#[test]
fn endpoint_is_steered_only_while_served() {
    let test = "endpoint_is_steered_only_while_served";
    let Some(xsk) = xsk(test) else { return };
    let Some(mut program) = load(test, Some(&xsk)) else {
        return;
    };
    let endpoint = SERVED_V4.parse().unwrap();
    let [golden, ..] = &frames::steered()[..] else { panic!("no frame") };
    program.serve(endpoint).unwrap(); // twice is no error
    check(&program, golden);
    program.unserve(endpoint).unwrap();
    program.unserve(endpoint).unwrap(); // nor is this
    let unserved =
        Golden { verdict: Verdict::PassNotServed, frame: golden.frame.clone(), ..*golden };
    check(&program, &unserved);
    program.serve(endpoint).unwrap();
    check(&program, golden);
}

#[test]
fn truncated_frames_are_passed() {
    let test = "truncated_frames_are_passed";
    let Some(xsk) = xsk(test) else { return };
    let Some(program) = load(test, Some(&xsk)) else {
        return;
    };
    for golden in &frames::all() {
        // Everything of interest happens in the headers; one long frame's payload is enough.
        let len = golden.frame.len().min(200);
        for cut in 14..len {
            let action = program.dry_run(&golden.frame[..cut]).unwrap();
            // What padding alone is cut from is whole.
            let allowed = if golden.name.contains("padded") && cut >= 54 {
                Action::Redirect
            } else {
                Action::Pass
            };
            assert_eq!(action, allowed, "{} cut to {cut} bytes", golden.name);
        }
    }
    let counters = program.counters().unwrap();
    assert!(counters.get(Verdict::PassMalformed) > 1000);
}

#[test]
fn limits_are_errors_that_name_them() {
    let test = "limits_are_errors_that_name_them";
    let Some(xsk) = xsk(test) else { return };
    let Some(mut program) = load(test, None) else {
        return;
    };
    let error = program.set_xsk(1024, xsk.as_fd()).unwrap_err();
    assert!(matches!(error, Error::QueueOutOfRange { queue: 1024 }), "{error}");
    program.set_xsk(1023, xsk.as_fd()).unwrap();
    let error = program.set_xsk(0, std::io::stdin().as_fd()).unwrap_err();
    assert!(matches!(error, Error::Other { .. }), "{error}");

    let mut served = 2;
    let error = loop {
        let [high, low] = u16::try_from(served).unwrap().to_be_bytes();
        match program.serve(([10, 0, high, low], 1).into()) {
            Ok(()) => served += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::ServedSetFull), "{error}");
    assert_eq!(served, SERVED_MAX);
}

#[test]
fn interface_that_does_not_exist_is_named() {
    let test = "interface_that_does_not_exist_is_named";
    let Some(mut program) = load(test, None) else {
        return;
    };
    for name in ["coney-none", "", "with\0nul", "a name that is longer than any interface's"] {
        let error = program.attach(name, Mode::Auto).unwrap_err();
        assert!(matches!(&error, Error::NoSuchInterface { interface } if interface == name));
    }
    assert!(!program.is_attached());
}

#[test]
fn frames_shorter_than_an_ethernet_header_are_refused_by_dry_run() {
    let test = "frames_shorter_than_an_ethernet_header_are_refused_by_dry_run";
    let Some(program) = load(test, None) else {
        return;
    };
    assert!(program.dry_run(&[0; 13]).is_err());
    assert_eq!(program.dry_run(&[0; 14]).unwrap(), action(Verdict::PassNotIp));
}
