//! Our TCP against Linux's: a kernel client talks through a lossy network with our server and with
//! the kernel's. Every byte must arrive, and ours must not be much slower.
//!
//! Needs the right to make network namespaces and TAP devices; without it one line says that the
//! test is skipped. More rounds, or other seeds:
//! `CONEY_TCP_ROUNDS=100 CONEY_TCP_SEED=7 cargo test --release -p coney-datapath --test linux`.
//! `CONEY_TCP_DUPLICATE_PPM=0` leaves the duplicates out: Linux takes one that the network made for
//! proof that it sent something again in vain (DSACK), and calls off reductions that were right.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail it")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coney_base::time::Clock;
use coney_datapath::port::sim::{Faults, Link};
use rustix::net::sockopt;

mod lab;
mod network;
mod server;
mod service;
mod sys;

use lab::{LINUX, Lab, OURS, say};
use network::{End, Report};
use server::Server;
use service::{ECHO, GET, Hash, PUT, Service, TEXT};

/// 1 % of the frames are lost, 5 % arrive behind others, 1 % twice; a round trip takes 4 ms.
const FAULTS: Faults = Faults {
    delay: Duration::from_millis(2),
    jitter: Duration::from_micros(100),
    loss_ppm: 10_000,
    duplicate_ppm: 10_000,
    reorder_ppm: 50_000,
    reorder_delay: Duration::from_millis(1),
    ..Faults::NONE
};
/// Our goodput as a part of Linux's, at least: of all operations together, and of the short values,
/// which take a few round trips and so differ less from round to round. A single operation with long
/// values needs hundreds of rounds until its ratio says something.
const GOODPUT_MIN: f64 = 0.8;
const SHORT: usize = 0;
const OPERATIONS: [u8; 3] = [PUT, GET, ECHO];
const LENS: [usize; 2] = [64 << 10, 1 << 20];
const PATIENCE: Duration = Duration::from_secs(30);

/// How long each operation took with each length.
type Times = [[Duration; LENS.len()]; OPERATIONS.len()];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// One operation, checked to the last byte.
fn operate(stream: &TcpStream, operation: u8, len: usize) {
    let value = &TEXT[..len];
    let (mut input, mut output) = (stream, stream);
    let mut reply = vec![0; if operation == PUT { 8 } else { len }];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            output.write_all(&service::request(operation, len)).unwrap();
            if operation != GET {
                output.write_all(value).unwrap();
            }
        });
        input.read_exact(&mut reply).unwrap();
    });
    if operation == PUT {
        assert_eq!(reply, Hash::default().plus(value).to_bytes());
    } else {
        assert!(reply == value, "a byte of {len} differs");
    }
}

fn client(lab: &Lab, server: SocketAddr) -> Times {
    let stream = lab.at_client(|| TcpStream::connect_timeout(&server, PATIENCE).unwrap());
    // Whatever the host's default is: as ours.
    sockopt::set_tcp_congestion(&stream, "cubic").unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let clock = Clock::new();
    OPERATIONS.map(|operation| {
        LENS.map(|len| {
            let begin = clock.now();
            operate(&stream, operation, len);
            clock.now().since(begin)
        })
    })
}

/// The kernel's server, for one connection.
fn serve(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut service = Service::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = stream.read(&mut buffer).unwrap();
        if len == 0 {
            return;
        }
        service.take(&buffer[..len]);
        stream.write_all(service.output()).unwrap();
        service.consume(service.output().len());
    }
}

/// All operations over one connection, through a network that `seed` determines.
fn measure(
    (lab, taps): (&Lab, &[OwnedFd; 2]),
    faults: Faults,
    is_ours: bool,
    seed: u64,
) -> (Times, Report) {
    let [near, far] = taps;
    let far = if is_ours { End::Ours(Box::new(Server::new())) } else { End::Tap(far) };
    let stop = AtomicBool::new(false);
    let link = Link::new(faults, seed);
    std::thread::scope(|scope| {
        let network = scope.spawn(|| network::run([End::Tap(near), far], link, &stop));
        let times = if is_ours {
            client(lab, OURS)
        } else {
            let listener = lab.at_server(|| TcpListener::bind(LINUX).unwrap());
            sockopt::set_tcp_congestion(&listener, "cubic").unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| serve(&listener));
                client(lab, LINUX)
            })
        };
        stop.store(true, Ordering::Relaxed);
        (times, network.join().unwrap())
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn linux_client_is_served_byte_exactly_and_about_as_fast_as_by_linux() {
    let test = "linux_client_is_served_byte_exactly_and_about_as_fast_as_by_linux";
    let Some((lab, taps)) = Lab::new(test) else { return };
    // What is measured are a few milliseconds: on a busy machine others would be in it.
    if let Err(error) = sys::run_first() {
        say(&format!("linux: not at real-time priority: {error}"));
    }
    let rounds = setting("CONEY_TCP_ROUNDS", 30);
    let first = setting("CONEY_TCP_SEED", 1);
    let duplicate_ppm = setting("CONEY_TCP_DUPLICATE_PPM", FAULTS.duplicate_ppm.into());
    let duplicate_ppm = u32::try_from(duplicate_ppm).expect("at most a million");
    let faults = Faults { duplicate_ppm, ..FAULTS };
    let mut all: [Vec<Times>; 2] = [Vec::new(), Vec::new()];
    for seed in first..first + rounds {
        for (all, is_ours) in all.iter_mut().zip([true, false]) {
            let (times, report) = measure((&lab, &taps), faults, is_ours, seed);
            assert!(report.link.lost > 0 && report.link.reordered > 0, "{report:?}");
            assert_eq!(report.refused, 0, "{report:?}");
            all.push(times);
        }
    }
    let medians = all.each_ref().map(|all| {
        std::array::from_fn(|kind| {
            std::array::from_fn(|size| median(all.iter().map(|times| times[kind][size]).collect()))
        })
    });
    let [ours, linux]: [Times; 2] = medians;
    for (kind, operation) in OPERATIONS.into_iter().enumerate() {
        for (size, len) in LENS.into_iter().enumerate() {
            let [ours, linux] = [ours, linux].map(|times| times[kind][size].as_secs_f64());
            say(&format!(
                "linux: {} of {len} bytes in {:.1} ms, Linux {:.1} ms (medians): {:.2} of its goodput",
                char::from(operation),
                ours * 1e3,
                linux * 1e3,
                linux / ours,
            ));
        }
    }
    let of_short =
        [ours, linux].map(|times| times.map(|times| times[SHORT]).iter().sum::<Duration>());
    let of_all = all.map(|all| all.iter().flatten().flatten().sum::<Duration>());
    for (what, [ours, linux]) in [("short values", of_short), ("all", of_all)] {
        let goodput = linux.as_secs_f64() / ours.as_secs_f64();
        say(&format!("linux: {goodput:.2} of its goodput with {what}, {rounds} rounds"));
        assert!(goodput >= GOODPUT_MIN, "{what}: {ours:?}, Linux {linux:?}");
    }
}
