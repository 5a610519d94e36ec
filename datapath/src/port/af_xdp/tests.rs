//! The port over a veth between two network namespaces, against the kernel's own sockets.
//!
//! Each test makes its own namespaces. Without the right to, it says so and passes.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use coney_base::Clock;
use coney_xdp_prog::{Mode, Program, Rules, Verdict};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::interface::Interface;
use super::netdev::Features;
use super::{
    AfXdpPort, Answer, BusyPoll, CopyMode, Depth, Error, MTU_BYTES_MAX, Options, Queues, Reason,
    Steering, Step, netdev, open, probe, self_test,
};
use crate::port::Port;
use crate::port::conformance::{self, Peer, SERVED, fold, frame_in, wait_until};
use crate::wire::checksum::Sum;
use netns::{Lab, PEER, PEER_IP, PORT, PORT_IP, RawPeer, ip, say, unless_forbidden};

pub(in crate::port) mod netns;
mod router;

/// Small, so that exhausting them is quick; the ring smaller than the pool, so that it can fill.
const SMALL: Options = Options {
    mode: CopyMode::Copy,
    rx_frames: 256,
    tx_frames: 512,
    tx_ring_entries: 256,
    huge_pages: false,
    raise_tx_budget: true,
    tx_checksum: false,
    busy_poll: None,
};

fn served() -> SocketAddr {
    SERVED.into()
}

/// Opens a server on the lab's veth, or says why not.
fn serve(test: &str, attach: Mode, options: &Options) -> Option<(Program, Vec<AfXdpPort>)> {
    let mut attempts = 0;
    loop {
        match open_as(PORT, Queues::All, attach, options) {
            // Another test's thread just forked a child, which has the program's descriptor too
            // until it executes `ip`: a program dropped meanwhile stays attached as long.
            Err(Error::Program(coney_xdp_prog::Error::AlreadyAttached { .. }))
                if attempts < 1000 =>
            {
                attempts += 1;
                netns::pause();
            }
            result => return unless_forbidden(test, result),
        }
    }
}

/// A server of [`served`].
fn open_as(
    interface: &str,
    queues: Queues,
    attach: Mode,
    options: &Options,
) -> Result<(Program, Vec<AfXdpPort>), Error> {
    let steering = Steering { endpoints: &[served()], rules: &Rules::default() };
    open(interface, queues, &steering, attach, options)
}

fn counters(port: &AfXdpPort) -> BTreeMap<&'static str, u64> {
    let mut counters = BTreeMap::new();
    port.counters(&mut |name, count| {
        counters.insert(name, count);
    });
    counters
}

/// Everything inside the port's namespace, with one queue.
fn with_port(
    test: &str,
    attach: Mode,
    options: &Options,
    body: impl FnOnce(&Lab, &mut AfXdpPort, &mut RawPeer) + Send,
) {
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let mut peer = lab.raw_peer();
    lab.at_port(|| {
        let Some((_program, mut ports)) = serve(test, attach, options) else { return };
        let [port] = &mut ports[..] else { panic!("one port per queue") };
        body(&lab, port, &mut peer);
    });
}

#[test]
fn port_conforms_in_native_mode() {
    with_port("port_conforms_in_native_mode", Mode::Native, &SMALL, |_, port, peer| {
        conformance::run_all(port, peer);
        let counters = counters(port);
        assert_eq!(counters["af_xdp_bad_descriptors"], 0);
        assert_eq!(counters["af_xdp_tx_invalid_descs"], 0);
        assert_eq!(counters["af_xdp_tx_kick_errors"], 0);
        assert_eq!(counters["af_xdp_tx_frames"], counters["af_xdp_tx_completions"]);
    });
}

#[test]
fn port_conforms_in_skb_mode() {
    with_port("port_conforms_in_skb_mode", Mode::Skb, &SMALL, |_, port, peer| {
        conformance::run_all(port, peer);
    });
}

#[test]
fn port_conforms_with_the_kernels_default_transmit_budget() {
    let test = "port_conforms_with_the_kernels_default_transmit_budget";
    let options = Options { raise_tx_budget: false, ..SMALL };
    with_port(test, Mode::Native, &options, |_, port, peer| {
        conformance::run_all(port, peer);
    });
}

/// The largest frames of either buffer size. Above 3498 a veth hands the program, which says that
/// it takes them, frames in several parts; the socket puts them together.
#[test]
fn port_conforms_with_the_largest_frames_of_each_buffer_size() {
    let test = "port_conforms_with_the_largest_frames_of_each_buffer_size";
    for (mtu, chunk_bytes) in [(1774, 2048), (1775, 4096), (MTU_BYTES_MAX, 4096)] {
        let Some(lab) = Lab::new(test, 1, mtu) else { return };
        let mut peer = lab.raw_peer();
        lab.at_port(|| {
            let Some((_program, mut ports)) = serve(test, Mode::Native, &SMALL) else { return };
            let [port] = &mut ports[..] else { panic!("one port per queue") };
            assert_eq!(u32::try_from(port.caps().mtu_bytes), Ok(mtu));
            assert_eq!(port.caps().frame_bytes_max, chunk_bytes);
            conformance::run_all(port, &mut peer);
        });
    }
}

#[test]
fn port_conforms_where_the_device_adds_up_checksums() {
    let test = "port_conforms_where_the_device_adds_up_checksums";
    let options = Options { tx_checksum: true, ..SMALL };
    with_port(test, Mode::Native, &options, |_, port, peer| {
        if !port.caps().tx_checksum {
            return say(&format!("SKIPPED: {test}: only Linux 6.11 and later agree to metadata"));
        }
        conformance::run_all(port, peer);
        assert_eq!(counters(port)["af_xdp_tx_invalid_descs"], 0);
    });
}

/// With the veth's offload switched off, the kernel takes the device's place.
#[test]
fn kernel_adds_up_the_checksum_that_is_left_to_it() {
    let test = "kernel_adds_up_the_checksum_that_is_left_to_it";
    let options = Options { tx_checksum: true, ..SMALL };
    with_port(test, Mode::Native, &options, |_, port, peer| {
        if !port.caps().tx_checksum {
            return say(&format!("SKIPPED: {test}: only Linux 6.11 and later agree to metadata"));
        }
        if let Err(reason) = netns::run("ethtool", &format!("-K {PORT} tx off")) {
            return say(&format!("SKIPPED: {test}: {reason}"));
        }
        let kept = port.caps().mtu_bytes;
        // The shortest segment, an odd length, the longest; with and without room in front.
        for (start, segment_len) in [(0, 20), (0, 21), (100, 333), (0, kept - 20)] {
            let segment_at = start + 34;
            let len = 34 + segment_len;
            let mut frame = port.tx_alloc().unwrap();
            let bytes = &mut port.tx_bytes_mut(&mut frame)[start..start + len];
            bytes.iter_mut().zip((1..=251).cycle()).for_each(|(to, from)| *to = from);
            bytes[..12].fill(0xff);
            bytes[12..14].copy_from_slice(&conformance::ETHERTYPE_OUT.to_be_bytes());
            let pseudo = 0x1234_u16;
            bytes[50..52].copy_from_slice(&pseudo.to_be_bytes());
            let mut expected = bytes.to_vec();
            let sum = Sum::default().plus(&expected[34..]).finish();
            expected[50..52].copy_from_slice(&sum.to_be_bytes());
            port.tx_submit_partial(&mut frame, start, len, segment_at).unwrap();
            port.tx_free(frame);
            port.tx_flush();
            let mut arrived = None;
            wait_until(port, peer, "the frame arrives", |_, peer| {
                arrived = peer.recv();
                arrived.is_some()
            });
            // A frame may be padded on its way.
            assert_eq!(arrived.unwrap()[..len], expected, "{segment_len} bytes");
        }
        assert_eq!(counters(port)["af_xdp_tx_checksums_offloaded"], 4);
    });
}

#[test]
fn veth_is_virtual_and_has_no_zero_copy() {
    let test = "veth_is_virtual_and_has_no_zero_copy";
    let options = Options { mode: CopyMode::Auto, huge_pages: true, ..SMALL };
    with_port(test, Mode::Native, &options, |_, port, _| {
        assert!(port.caps().rx_partial_checksum);
        assert!(!port.caps().zero_copy);
        assert_eq!(port.caps().mac, Interface::query(PORT).unwrap().mac);
        // Other tests may take some meanwhile, but none gives any back that it did not have.
        match probe(PORT, Depth::Passive).unwrap().huge_pages_free {
            Some(0) | None => say(&format!("{test}: no huge page is free, ordinary ones are used")),
            Some(free) => assert!(port.huge_pages(), "{free} huge pages are free"),
        }
    });
}

/// The whole burst leaves in one flush, whether the kernel takes it at once or 32 by 32.
#[test]
fn flush_repeats_the_kick_only_while_the_kernel_stops_at_its_budget() {
    let test = "flush_repeats_the_kick_only_while_the_kernel_stops_at_its_budget";
    for (raise_tx_budget, kicks_expected) in [(true, 1..=1), (false, 4..=8)] {
        let options = Options { raise_tx_budget, ..SMALL };
        with_port(test, Mode::Native, &options, |_, port, peer| {
            let before = counters(port)["af_xdp_tx_kicks"];
            for _ in 0..128 {
                let mut frame = port.tx_alloc().unwrap();
                let bytes = port.tx_bytes_mut(&mut frame);
                bytes[..12].fill(0xff);
                bytes[12..14].copy_from_slice(&conformance::ETHERTYPE_OUT.to_be_bytes());
                port.tx_submit(&mut frame, 0, 60).unwrap();
                port.tx_free(frame);
            }
            port.tx_flush();
            let counters = counters(port);
            let kicks = counters["af_xdp_tx_kicks"] - before;
            assert!(kicks_expected.contains(&kicks), "{counters:?}");
            let mut arrived = 0;
            wait_until(port, peer, "the burst arrives", |_, peer| {
                arrived += std::iter::from_fn(|| peer.recv()).count();
                arrived == 128
            });
            // Nothing to send: no system call.
            let kicks = counters["af_xdp_tx_kicks"];
            port.tx_flush();
            assert_eq!(self::counters(port)["af_xdp_tx_kicks"], kicks);
        });
    }
}

/// What binds and then does not work is found before clients depend on it.
#[test]
fn self_test_names_the_step_that_fails() {
    let test = "self_test_names_the_step_that_fails";
    let Some(lab) = Lab::new(test, 2, 1500) else { return };
    let mut peer = lab.raw_peer();
    lab.at_port(|| {
        let Some((mut program, mut ports)) = serve(test, Mode::Native, &SMALL) else { return };
        let mut run = |program: &mut Program| self_test::run(PORT, program, &mut ports);
        run(&mut program).unwrap();
        assert_eq!(peer.recv(), None, "its frames are of a type of their own");

        program.unset_xsk(1).unwrap();
        let error = run(&mut program).unwrap_err();
        assert!(matches!(error, Error::SelfTest { queue: 1, step: Step::Steering, .. }), "{error}");

        ip(&format!("link set {PORT} down")).unwrap();
        let error = run(&mut program).unwrap_err();
        assert!(matches!(error, Error::SelfTest { queue: 0, step: Step::Transmit, .. }), "{error}");
        let denied = program.counters().unwrap().get(Verdict::PassNotServed);
        assert_eq!(denied, 0);
    });
    drop(peer);
}

#[test]
fn empty_fill_ring_is_counted_and_recovers() {
    let test = "empty_fill_ring_is_counted_and_recovers";
    with_port(test, Mode::Native, &SMALL, |_, port, peer| {
        let mac = port.caps().mac;
        let mut kept = Vec::new();
        for n in 0..256 {
            peer.send(&frame_in(mac, n, 100));
            if n % 64 == 63 {
                wait_until(port, peer, "frames arrive", |port, _| {
                    port.rx_burst(&mut kept, 256);
                    kept.len() > usize::try_from(n).unwrap()
                });
            }
        }
        let before = counters(port);
        assert_eq!(before["af_xdp_rx_held"], 256);
        assert_eq!(before["af_xdp_rx_fill_ring_empty"], 0);
        for n in 0..7 {
            peer.send(&frame_in(mac, n, 100));
        }
        wait_until(port, peer, "the losses are counted", |port, _| {
            assert_eq!(port.rx_burst(&mut kept, 256), 0);
            counters(port)["af_xdp_rx_dropped"] == 7
        });
        let starved = counters(port);
        assert_eq!(starved["af_xdp_rx_fill_ring_empty"], 7);
        assert!(starved["af_xdp_rx_all_held"] > 0);
        for frame in kept.drain(..) {
            port.rx_release(frame);
        }
        peer.send(&frame_in(mac, 1, 100));
        wait_until(port, peer, "frames arrive again", |port, _| port.rx_burst(&mut kept, 1) == 1);
        assert_eq!(counters(port)["af_xdp_rx_dropped"], 7);
    });
}

#[test]
fn every_queue_has_its_port() {
    let test = "every_queue_has_its_port";
    let Some(lab) = Lab::new(test, 2, 1500) else { return };
    let mut peer = lab.raw_peer();
    lab.at_port(|| {
        let Some((_program, mut ports)) = serve(test, Mode::Native, &SMALL) else { return };
        assert_eq!(ports.len(), 2);
        let mac = ports[0].caps().mac;
        // The sender hashes 64 flows to its two transmit queues, which are our receive queues.
        for n in 0..64 {
            peer.send(&frame_in(mac, n, 100));
        }
        let mut numbers = [Vec::new(), Vec::new()];
        for _ in 0..1000 {
            for (port, numbers) in ports.iter_mut().zip(&mut numbers) {
                let mut frames = Vec::new();
                port.rx_burst(&mut frames, 64);
                for frame in frames {
                    numbers.push(conformance::number_of(port.rx_bytes(&frame)));
                    port.rx_release(frame);
                }
            }
            if numbers[0].len() + numbers[1].len() == 64 {
                break;
            }
            peer.pass_time();
        }
        assert!(!numbers[0].is_empty() && !numbers[1].is_empty(), "{numbers:?}");
        let mut all = numbers.concat();
        all.sort_unstable();
        assert_eq!(all, (0..64).collect::<Vec<_>>());
        // Both can send.
        for port in &mut ports {
            conformance::submit_one(port, 1);
            wait_until(port, &mut peer, "a frame arrives", |_, peer| peer.recv().is_some());
        }
    });
}

#[test]
fn fewer_queues_than_the_interface_has_can_be_served() {
    let test = "fewer_queues_than_the_interface_has_can_be_served";
    let Some(lab) = Lab::new(test, 2, 1500) else { return };
    lab.at_port(|| {
        let result = open_as(PORT, Queues::First(1), Mode::Native, &SMALL);
        let Some((_program, ports)) = unless_forbidden(test, result) else { return };
        assert_eq!(ports.len(), 1);
        let error = open_as(PORT, Queues::First(3), Mode::Native, &SMALL).unwrap_err();
        assert!(matches!(error, Error::QueueOutOfRange { queue: 2, queues: Some(2), .. }));
        let error = AfXdpPort::open(PORT, 2, &SMALL).unwrap_err();
        assert!(matches!(error, Error::QueueOutOfRange { queue: 2, queues: Some(2), .. }));
    });
}

#[test]
fn second_socket_on_a_queue_is_refused_by_name() {
    let test = "second_socket_on_a_queue_is_refused_by_name";
    with_port(test, Mode::Native, &SMALL, |_, _, _| {
        let error = AfXdpPort::open(PORT, 0, &SMALL).unwrap_err();
        assert!(matches!(&error, Error::QueueTaken { interface, queue: 0 } if interface == PORT));
        assert!(error.to_string().contains("queue 0 of xsk0 is taken"), "{error}");
    });
}

#[test]
fn port_can_be_opened_again_at_once() {
    let test = "port_can_be_opened_again_at_once";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    lab.at_port(|| {
        for _ in 0..5 {
            let Some(port) = unless_forbidden(test, AfXdpPort::open(PORT, 0, &SMALL)) else {
                return;
            };
            drop(port);
        }
    });
}

#[test]
fn zero_copy_that_the_driver_lacks_is_refused_by_name() {
    let test = "zero_copy_that_the_driver_lacks_is_refused_by_name";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    lab.at_port(|| {
        let options = Options { mode: CopyMode::ZeroCopy, ..SMALL };
        match AfXdpPort::open(PORT, 0, &options) {
            Err(Error::ZeroCopyUnsupported { driver, .. }) => assert_eq!(driver, "veth"),
            other => drop(unless_forbidden(test, other).map(|port| panic!("{port:?}"))),
        }
    });
}

#[test]
fn mtu_beyond_a_buffer_is_refused_with_the_cure() {
    let test = "mtu_beyond_a_buffer_is_refused_with_the_cure";
    let Some(lab) = Lab::new(test, 1, 9000) else { return };
    lab.at_port(|| {
        let error = AfXdpPort::open(PORT, 0, &SMALL).unwrap_err();
        assert!(matches!(error, Error::MtuTooBig { mtu_bytes: 9000, .. }), "{error}");
        assert!(error.to_string().contains("ip link set dev xsk0 mtu 3822"), "{error}");
        let error = open_as(PORT, Queues::All, Mode::Native, &SMALL).unwrap_err();
        assert!(matches!(error, Error::MtuTooBig { mtu_bytes: 9000, .. }), "{error}");
    });
}

#[test]
fn interface_that_does_not_exist_is_refused_by_name() {
    let error = AfXdpPort::open("coney-none", 0, &SMALL).unwrap_err();
    assert!(error.to_string().contains("no network interface \"coney-none\""), "{error}");
    let error = open_as("coney-none", Queues::All, Mode::Auto, &SMALL).unwrap_err();
    assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
}

/// Capabilities belong to a thread: this one gives up its own and no other's.
#[test]
fn missing_capability_is_named() {
    let thread = std::thread::spawn(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        let error = AfXdpPort::open("lo", 0, &SMALL).unwrap_err();
        let forbidden = error.is_forbidden();
        (error, forbidden)
    });
    let (error, forbidden) = thread.join().unwrap();
    // lo's MTU is 64 KiB, which is refused before anything is tried.
    assert!(matches!(error, Error::MtuTooBig { .. }) && !forbidden, "{error}");

    let test = "missing_capability_is_named";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    lab.at_port(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        let error = AfXdpPort::open(PORT, 0, &SMALL).unwrap_err();
        assert!(matches!(error, Error::NoPermission { .. }), "{error}");
        assert!(error.is_forbidden());
        let text = error.to_string();
        assert!(text.contains("CAP_NET_RAW missing") && text.contains("setcap"), "{text}");
    });
}

/// A server gives its privileges up after set-up.
#[test]
fn open_port_needs_no_capability() {
    let test = "open_port_needs_no_capability";
    with_port(test, Mode::Native, &SMALL, |_, port, peer| {
        let held = capabilities(None).unwrap();
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        assert_ne!(held.effective, none.effective);
        set_capabilities(None, none).unwrap();
        assert_eq!(conformance::echo(port, peer, 100, 200, 64), 200);
        assert!(counters(port).contains_key("af_xdp_rx_dropped"), "the kernel's statistics too");
    });
}

/// RLIMIT_MEMLOCK counts only without CAP_IPC_LOCK; both belong to a child process here, which is
/// this test program once more.
#[test]
fn locked_memory_limit_is_named() {
    const CHILD: &str = "CONEY_XSK_TEST_MEMLOCK_NAMESPACE";
    let test = "locked_memory_limit_is_named";
    if std::env::var_os(CHILD).is_some() {
        let error = AfXdpPort::open(PORT, 0, &SMALL).unwrap_err();
        assert!(matches!(error, Error::Memlock { .. }), "{error}");
        assert!(error.to_string().contains("ulimit -l"), "{error}");
        return;
    }
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let output = lab.at_port(|| {
        std::process::Command::new("setpriv")
            .args(["--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock"])
            .args(["prlimit", "--memlock=65536:65536"])
            .arg(std::env::current_exe().unwrap())
            .args([test, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
    });
    let Ok(output) = output else {
        return say(&format!("SKIPPED: {test}: no setpriv command"));
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{text}");
}

/// What TCP over this port must know: a kernel sender leaves the checksum to "hardware".
#[test]
fn kernel_sender_leaves_a_partial_tcp_checksum() {
    let test = "kernel_sender_leaves_a_partial_tcp_checksum";
    with_port(test, Mode::Native, &SMALL, |lab, port, peer| {
        let client = lab.at_peer(|| {
            let flags = SocketFlags::NONBLOCK;
            let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
            let client = client.unwrap();
            assert_eq!(connect(&client, &served()), Err(Errno::INPROGRESS));
            client
        });
        let mut frames = Vec::new();
        wait_until(port, peer, "the SYN arrives", |port, _| port.rx_burst(&mut frames, 1) == 1);
        let syn = port.rx_bytes(&frames[0]);
        assert_eq!(syn[47] & 0x3f, 0x02, "SYN");
        let tcp_len = u16::try_from(syn.len() - 34).unwrap();
        let mut pseudo_header = [PEER_IP, PORT_IP].concat();
        pseudo_header.extend_from_slice(&[0, 6]);
        pseudo_header.extend_from_slice(&tcp_len.to_be_bytes());
        assert_eq!(syn[50..52], fold(&pseudo_header).to_be_bytes(), "only the pseudo-header's sum");
        drop(client);
    });
}

#[test]
fn kernel_udp_socket_receives_what_the_port_sends() {
    let test = "kernel_udp_socket_receives_what_the_port_sends";
    with_port(test, Mode::Native, &SMALL, |lab, port, peer| {
        let socket = lab.at_peer(|| UdpSocket::bind(SocketAddr::from((PEER_IP, 0))).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = socket.local_addr().unwrap().port();
        let mut frame = port.tx_alloc().unwrap();
        let datagram = udp_frame(peer.mac, port.caps().mac, to, b"from the port");
        port.tx_bytes_mut(&mut frame)[..datagram.len()].copy_from_slice(&datagram);
        port.tx_submit(&mut frame, 0, datagram.len()).unwrap();
        port.tx_free(frame);
        port.tx_flush();
        let mut buffer = [0; 100];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"from the port");
        assert_eq!(from, SocketAddr::from((PORT_IP, 7)));
    });
}

fn udp_frame(dst: [u8; 6], src: [u8; 6], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&dst[..], &src[..], &[0x08, 0x00]].concat();
    let udp_len = u16::try_from(8 + payload.len()).unwrap();
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&(20 + udp_len).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend_from_slice(&PORT_IP);
    frame.extend_from_slice(&PEER_IP);
    let checksum = !fold(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&7_u16.to_be_bytes());
    frame.extend_from_slice(&port.to_be_bytes());
    frame.extend_from_slice(&udp_len.to_be_bytes());
    frame.extend_from_slice(&[0, 0]); // no checksum (RFC 768)
    frame.extend_from_slice(payload);
    frame
}

/// The kernel's listener on the same endpoint takes over when a port or the program goes.
#[test]
fn dropping_ports_or_program_gives_the_traffic_back_to_the_kernel() {
    let test = "dropping_ports_or_program_gives_the_traffic_back_to_the_kernel";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let listener = lab.at_port(|| TcpListener::bind(served()).unwrap());
    let try_connect =
        |timeout: Duration| lab.at_peer(|| TcpStream::connect_timeout(&served(), timeout).is_ok());
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(10));
    lab.at_port(|| {
        assert!(try_connect(long), "the kernel serves at first");
        let Some((program, ports)) = serve(test, Mode::Native, &SMALL) else { return };
        assert!(!try_connect(short), "the port has the frames now");
        drop(ports);
        assert!(program.is_attached());
        assert!(try_connect(long), "no port: the kernel serves");
        let (second, ports) = {
            drop(program);
            serve(test, Mode::Native, &SMALL).unwrap()
        };
        assert!(!try_connect(short), "the port has the frames again");
        drop(second);
        assert!(try_connect(long), "no program: the kernel serves");
        drop(ports);
    });
    drop(listener);
}

#[test]
fn auto_mode_attaches_natively_on_veth() {
    let test = "auto_mode_attaches_natively_on_veth";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    lab.at_port(|| {
        let Some((_program, _ports)) = serve(test, Mode::Auto, &SMALL) else { return };
        let link = ip(&format!("link show {PORT}")).unwrap();
        assert!(link.contains("prog/xdp") && !link.contains("xdpgeneric"), "{link}");
    });
}

/// A link that is down swallows nothing: frames wait in the ring and the kick says why.
#[test]
fn link_down_is_counted_and_frames_leave_when_it_is_up() {
    let test = "link_down_is_counted_and_frames_leave_when_it_is_up";
    with_port(test, Mode::Native, &SMALL, |_, port, peer| {
        ip(&format!("link set {PORT} down")).unwrap();
        conformance::submit_one(port, 3);
        port.tx_flush();
        assert!(counters(port)["af_xdp_tx_link_down"] > 0);
        assert_eq!(port.tx_available(), 511, "still in flight");
        ip(&format!("link set {PORT} up")).unwrap();
        let mut arrived = None;
        wait_until(port, peer, "the frame arrives", |_, peer| {
            arrived = peer.recv();
            arrived.is_some()
        });
        assert_eq!(conformance::number_of(&arrived.unwrap()), 3);
    });
}

#[test]
fn thousands_of_frames_are_echoed_without_loss() {
    const COUNT: u32 = 50_000;
    let test = "thousands_of_frames_are_echoed_without_loss";
    for (len, attach) in [(64, Mode::Native), (1514, Mode::Native), (64, Mode::Skb)] {
        with_port(test, attach, &Options::default(), |_, port, peer| {
            let clock = Clock::new();
            let start = clock.now();
            let echoed = conformance::echo(port, peer, len, COUNT, 64);
            let elapsed = clock.now().since(start);
            let counters = counters(port);
            assert_eq!(echoed, COUNT, "{counters:?}");
            assert_eq!(counters["af_xdp_rx_dropped"], 0);
            let rate = u128::from(COUNT) * 1_000_000 / elapsed.as_micros().max(1);
            say(&format!(
                "echo over veth, {len}-byte frames, {attach:?} mode, one thread for both ends: \
                 {rate} frames/s, {} kicks",
                counters["af_xdp_tx_kicks"]
            ));
        });
    }
}

#[test]
fn port_can_move_to_a_worker_thread_and_its_descriptor_tells_of_frames() {
    let test = "port_can_move_to_a_worker_thread_and_its_descriptor_tells_of_frames";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let mut peer = lab.raw_peer();
    let opened = lab.at_port(|| serve(test, Mode::Native, &SMALL));
    let Some((_program, mut ports)) = opened else { return };
    let mut port = ports.pop().unwrap();
    let mac = port.caps().mac;
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let ten_seconds = Timespec { tv_sec: 10, tv_nsec: 0 };
            let fd = port.wait_fd().unwrap();
            let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&ten_seconds));
            assert_eq!(ready, Ok(1), "readable when a frame is there");
            port.rx_burst(&mut Vec::new(), 10)
        });
        peer.send(&frame_in(mac, 0, 100));
        assert_eq!(worker.join().unwrap(), 1);
    });
}

#[test]
fn interface_properties_are_those_of_the_namespace() {
    let test = "interface_properties_are_those_of_the_namespace";
    let Some(lab) = Lab::new(test, 3, 1400) else { return };
    let peer = lab.at_peer(|| Interface::query(PEER).unwrap());
    assert_eq!(peer.mtu_bytes, 1400);
    assert_eq!(peer.driver.as_deref(), Some("veth"));
    assert_eq!(peer.queues.map(|queues| (queues.rx, queues.tx)), Some((3, 3)));
    assert!(peer.is_up && peer.is_virtual());
    lab.at_port(|| assert!(Interface::query(PEER).is_err(), "the other namespace's"));
}

#[test]
fn probe_tells_what_a_veth_can() {
    let test = "probe_tells_what_a_veth_can";
    let Some(lab) = Lab::new(test, 2, 1500) else { return };
    lab.at_port(|| {
        let Some(port) = unless_forbidden(test, AfXdpPort::open(PORT, 0, &SMALL)) else { return };
        drop(port);
        for depth in [Depth::Passive, Depth::Active] {
            let report = probe(PORT, depth).unwrap();
            let text = report.to_string();
            assert_eq!((report.rx_queues, report.tx_queues), (Some(2), Some(2)));
            assert!(matches!(report.program, Answer::Yes), "{text}");
            assert!(matches!(report.native, Answer::Yes), "{text}");
            assert!(matches!(report.copy, Answer::Yes), "{text}");
            let refused = matches!(report.zero_copy, Answer::No(Reason::Refused(_)));
            let lacking = matches!(report.zero_copy, Answer::No(Reason::DriverLacksIt));
            assert!(if depth == Depth::Active { refused } else { lacking }, "{text}");
            assert!(!matches!(report.busy_poll, Answer::Yes), "{text}");
            assert!(report.is_up && report.rx_partial_checksum);
            say(&format!("{depth:?} probe of a veth:\n{text}"));
        }
        // Nothing stays attached or bound.
        let Some((_program, ports)) = serve(test, Mode::Native, &SMALL) else { return };
        assert_eq!(ports.len(), 2);
        let report = probe(PORT, Depth::Passive).unwrap();
        let text = report.to_string();
        assert!(matches!(&report.copy, Answer::No(Reason::Refused(Error::QueueTaken { .. }))));
        assert!(text.contains("copy:                 no: queue 0 of xsk0 is taken"), "{text}");
    });
}

/// A probe of an interface in use: frames keep arriving at the port that has the queue.
#[test]
fn passive_probe_takes_no_frames_from_a_port() {
    let test = "passive_probe_takes_no_frames_from_a_port";
    with_port(test, Mode::Native, &SMALL, |_, port, peer| {
        let mac = port.caps().mac;
        for n in 0..5 {
            peer.send(&frame_in(mac, n, 100));
            probe(PORT, Depth::Passive).unwrap();
        }
        let mut frames = Vec::new();
        wait_until(port, peer, "all frames arrive", |port, _| {
            port.rx_burst(&mut frames, 5);
            frames.len() == 5
        });
    });
}

#[test]
fn netdev_family_tells_the_features_of_veth() {
    let test = "netdev_family_tells_the_features_of_veth";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    lab.at_port(|| {
        let interface = Interface::query(PORT).unwrap();
        let Some(features) = netdev::features(interface.index) else {
            return say(&format!("SKIPPED: {test}: this kernel does not tell (Linux 6.3 does)"));
        };
        assert_eq!(
            features,
            Features { native_redirect: true, zero_copy: false, tx_checksum: false }
        );
    });
}

/// Another driver than veth: no XDP of its own, so only skb mode and copying.
#[test]
fn driver_without_native_xdp_is_named_and_served_in_skb_mode() {
    let test = "driver_without_native_xdp_is_named_and_served_in_skb_mode";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    lab.at_port(|| {
        if let Err(reason) = ip("link add coney-dev type dummy")
            .or_else(|_lacking| ip("link add coney-dev type ifb"))
        {
            return say(&format!("SKIPPED: {test}: no dummy and no ifb device: {reason}"));
        }
        ip("link set coney-dev up").unwrap();
        let name = "coney-dev";
        let open_dev =
            |attach, mode| open_as(name, Queues::All, attach, &Options { mode, ..SMALL });
        let Some(_) = unless_forbidden(test, open_dev(Mode::Skb, CopyMode::Copy)) else { return };
        let error = open_dev(Mode::Native, CopyMode::Copy).unwrap_err();
        assert!(
            matches!(error, Error::Program(coney_xdp_prog::Error::NativeUnsupported { .. })),
            "{error}"
        );
        let error = open_dev(Mode::Auto, CopyMode::ZeroCopy).unwrap_err();
        assert!(matches!(error, Error::ZeroCopyUnsupported { .. }), "{error}");
        let (_program, ports) = open_dev(Mode::Auto, CopyMode::Auto).unwrap();
        assert!(ports.iter().all(|port| !port.caps().zero_copy && port.caps().rx_partial_checksum));
        let report = probe(name, Depth::Passive).unwrap();
        assert!(matches!(report.native, Answer::No(Reason::DriverLacksIt)), "{report}");
    });
}

/// What TCP will do: a worker thread that polls, while the kernel delivers on another CPU. What
/// could break: whatever only a race between both shows, such as a chunk given back before the
/// kernel published that it took its slot of the fill ring.
#[test]
fn worker_thread_echoes_what_another_thread_sends() {
    const COUNT: u32 = 50_000;
    const WINDOW: u32 = 64;
    let test = "worker_thread_echoes_what_another_thread_sends";
    let Some(lab) = Lab::new(test, 1, 1500) else { return };
    let mut peer = lab.raw_peer();
    let Some((_program, mut ports)) = lab.at_port(|| serve(test, Mode::Native, &SMALL)) else {
        return;
    };
    let mut port = ports.pop().unwrap();
    let mac = port.caps().mac;
    // Gone when the peer's side is through, or has failed.
    let peer_lives = Arc::new(());
    let peer_seen = Arc::downgrade(&peer_lives);
    let clock = Clock::new();
    let start = clock.now();
    std::thread::scope(move |scope| {
        let worker = scope.spawn(move || {
            while peer_seen.strong_count() > 0 {
                if conformance::echo_burst(&mut port, 100) == 0 {
                    std::thread::yield_now();
                }
            }
            counters(&port)
        });
        let (mut sent, mut echoed, mut rounds) = (0, 0, 0);
        while echoed < COUNT {
            while sent < COUNT && sent - echoed < WINDOW {
                peer.send(&frame_in(mac, sent, 100));
                sent += 1;
            }
            match peer.recv() {
                Some(frame) => {
                    assert_eq!(conformance::number_of(&frame), echoed, "frames keep their order");
                    echoed += 1;
                    rounds = 0;
                }
                None => {
                    peer.pass_time();
                    rounds += 1;
                    assert!(rounds < 10_000, "{echoed} of {sent} frames came back");
                }
            }
        }
        let elapsed = clock.now().since(start);
        drop(peer_lives);
        let counters = worker.join().unwrap();
        assert_eq!(counters["af_xdp_rx_dropped"], 0);
        assert_eq!(counters["af_xdp_bad_descriptors"], 0);
        let rate = u128::from(COUNT) * 1_000_000 / elapsed.as_micros().max(1);
        say(&format!(
            "echo over veth, 100-byte frames, a worker thread and a peer thread: {rate} frames/s, \
             {} kicks",
            counters["af_xdp_tx_kicks"]
        ));
    });
}

/// Asked for and impossible: told in the log, and no system call is wasted on it.
#[test]
fn busy_polling_without_napi_is_given_up() {
    let test = "busy_polling_without_napi_is_given_up";
    let options = Options { busy_poll: Some(BusyPoll { usecs: 20, budget: 64 }), ..SMALL };
    with_port(test, Mode::Native, &options, |_, port, _| {
        for _ in 0..10 {
            port.rx_burst(&mut Vec::new(), 10);
        }
        let wakeups = counters(port)["af_xdp_rx_wakeups"];
        let interface = Interface::query(PORT).unwrap();
        match netdev::queue_has_napi(interface.index, 0) {
            Some(false) => assert_eq!(wakeups, 0),
            Some(true) | None => assert_eq!(wakeups, 10),
        }
    });
}
