use super::sys::BUFFERS;
use super::*;
use crate::transport::conformance::{Bench, Notes, conformance};
use crate::transport::kernel::bench::{self, Kernel};

fn bench() -> Kernel<UringTransport> {
    Kernel::new(|listeners, options| UringTransport::new(listeners, options).unwrap())
}

/// Containers may forbid it; the epoll transport passes the same tests there.
#[expect(clippy::print_stderr, reason = "what was not tested must be seen")]
fn skip(reason: Unavailable) {
    eprintln!("skipped: {reason}");
}

conformance!(match probe() {
    Ok(()) => bench(),
    Err(reason) => return skip(reason),
});

#[test]
fn who_sleeps_is_woken_by_what_comes() {
    if let Err(reason) = probe() {
        return skip(reason);
    }
    bench::who_sleeps_is_woken_by_what_comes(bench());
}

#[test]
fn the_linger_time_of_a_closed_connection_is_a_deadline() {
    if let Err(reason) = probe() {
        return skip(reason);
    }
    bench::the_linger_time_of_a_closed_connection_is_a_deadline(bench());
}

fn counter(transport: &UringTransport, wanted: &str) -> u64 {
    let mut found = None;
    transport.counters(&mut |name, value| {
        if name == wanted {
            found = Some(value);
        }
    });
    found.unwrap()
}

#[test]
fn when_buffers_run_out_receiving_goes_on_later() {
    if let Err(reason) = probe() {
        return skip(reason);
    }
    let mut bench = bench();
    let mut app = Notes::default();
    let peers: Vec<usize> = (0..usize::from(BUFFERS) + 50)
        .map(|_| {
            let peer = bench.dial().unwrap();
            // So that the backlog of the listener is enough.
            bench.step(&mut app);
            peer
        })
        .collect();
    while app.accepted.len() < peers.len() {
        bench.step(&mut app);
    }
    for &peer in &peers {
        assert_eq!(bench.peer_write(peer, b"x"), 1);
    }
    while app.received.len() < peers.len() {
        bench.step(&mut app);
    }
    assert!(counter(&bench.transport, "uring_out_of_buffers") > 0);
}

#[test]
fn dropping_it_ends_what_is_under_way_and_closes() {
    if let Err(reason) = probe() {
        return skip(reason);
    }
    let mut bench = bench();
    let mut app = Notes::default();
    let peer = bench.dial().unwrap();
    while app.accepted.is_empty() {
        bench.step(&mut app);
    }
    // More than the peer's and our own socket take: a send waits in the kernel.
    let chunk = vec![7; SEND_LEN_MAX];
    let mut rounds_without_room = 0;
    while rounds_without_room < 100 {
        let now = bench.now;
        let taken = bench.transport.send(now, app.accepted[0], &chunk);
        rounds_without_room = if taken == 0 { rounds_without_room + 1 } else { 0 };
        bench.step(&mut app);
    }
    let Kernel { transport, mut peers, .. } = bench;
    drop(transport);
    let mut received = Vec::new();
    let stream = peers[peer].as_mut().unwrap();
    stream.set_nonblocking(false).unwrap();
    // It ends: with a FIN, or with a reset.
    std::io::Read::read_to_end(stream, &mut received).ok();
    assert!(received.len() >= SEND_LEN_MAX);
}
