//! Two network namespaces with a veth between them, and the kernel's own raw socket as peer.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::port::af_xdp::interface::Interface;
use crate::port::af_xdp::sys::packet_socket;
use crate::port::conformance::{ETHERTYPE_OUT, Peer};

/// The port's end of the veth.
pub(in crate::port) const PORT: &str = "xsk0";
/// The other end.
pub(in crate::port) const PEER: &str = "peer0";
/// Addresses of both ends.
pub(in crate::port) const PORT_IP: [u8; 4] = [192, 0, 2, 1];
pub(in crate::port) const PEER_IP: [u8; 4] = [192, 0, 2, 2];

/// The namespaces, removed when dropped, also by a failing test.
#[derive(Debug)]
pub(in crate::port) struct Lab {
    port_namespace: String,
    peer_namespace: String,
    client_namespace: Option<String>,
}

impl Lab {
    /// A veth with `queues` queue pairs at both ends. `None` after saying on standard error why
    /// the test is skipped: no right to make namespaces, or no `ip` command.
    pub(in crate::port) fn new(test: &str, queues: u32, mtu: u32) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return skip(test, "making network namespaces needs root");
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("coney-xsk-{}-{count}", std::process::id());
        let lab = Self {
            port_namespace: format!("{prefix}-port"),
            peer_namespace: format!("{prefix}-peer"),
            client_namespace: None,
        };
        for namespace in [&lab.port_namespace, &lab.peer_namespace] {
            if let Err(reason) = ip(&format!("netns add {namespace}")) {
                return skip(test, &format!("cannot make a network namespace: {reason}"));
            }
        }
        let Self { port_namespace: port, peer_namespace: peer, .. } = &lab;
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        for command in [
            format!(
                "-n {port} link add {PORT} mtu {mtu} {queues} type veth peer name {PEER} \
                 mtu {mtu} {queues} netns {peer}"
            ),
            format!("-n {port} link set {PORT} addrgenmode none"),
            format!("-n {peer} link set {PEER} addrgenmode none"),
            format!("-n {port} addr add 192.0.2.1/24 dev {PORT}"),
            format!("-n {peer} addr add 192.0.2.2/24 dev {PEER}"),
            format!("-n {port} link set {PORT} up"),
            format!("-n {peer} link set {PEER} up"),
        ] {
            ip(&command).unwrap_or_else(|reason| panic!("ip {command}: {reason}"));
        }
        Some(lab)
    }

    /// Runs `f` on a thread of its own inside the port's namespace.
    pub(in crate::port) fn at_port<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        inside(&self.port_namespace, f)
    }

    /// Runs `f` on a thread of its own inside the peer's namespace.
    pub(in crate::port) fn at_peer<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        inside(&self.peer_namespace, f)
    }

    /// Makes the peer a router, with a network behind it and a client there. The port's side has
    /// a route to it.
    pub(in crate::port) fn with_router(mut self) -> Self {
        let client = self.peer_namespace.replace("-peer", "-client");
        let Self { port_namespace: port, peer_namespace: peer, .. } = &self;
        for command in [
            format!("netns add {client}"),
            format!("-n {peer} link add inner0 type veth peer name client0 netns {client}"),
            format!("-n {peer} addr add 198.51.100.1/24 dev inner0"),
            format!("-n {peer} link set inner0 up"),
            format!("-n {client} addr add 198.51.100.2/24 dev client0"),
            format!("-n {client} link set client0 up"),
            format!("-n {client} route add default via 198.51.100.1"),
            format!("-n {port} route add 198.51.100.0/24 via 192.0.2.2"),
        ] {
            ip(&command).unwrap_or_else(|reason| panic!("ip {command}: {reason}"));
        }
        self.at_peer(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        self.client_namespace = Some(client);
        self
    }

    /// Runs `f` on a thread of its own inside the namespace of the client behind the router.
    pub(in crate::port) fn at_client<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        inside(self.client_namespace.as_ref().expect("there is a router"), f)
    }

    /// A raw socket on the peer's end.
    pub(in crate::port) fn raw_peer(&self) -> RawPeer {
        self.at_peer(|| {
            let interface = Interface::query(PEER).unwrap();
            let receiver = packet_socket::open(interface.index, ETHERTYPE_OUT).unwrap();
            sockopt::set_socket_recv_buffer_size_force(&receiver, 16 << 20).unwrap();
            // Of no type of its own, so that the kernel parses each frame and hashes its flow.
            let sender = packet_socket::open(interface.index, 0).unwrap();
            RawPeer { sender, receiver, mac: interface.mac, buffer: vec![0; 16 << 10] }
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let namespaces = [&self.port_namespace, &self.peer_namespace];
        for namespace in namespaces.into_iter().chain(&self.client_namespace) {
            // May not exist if it could not be made.
            if let Err(reason) = ip(&format!("netns del {namespace}")) {
                say(&format!("cannot remove {namespace}: {reason}"));
            }
        }
    }
}

/// AF_PACKET sockets that send to the port and receive its frames of [`ETHERTYPE_OUT`].
#[derive(Debug)]
pub(in crate::port) struct RawPeer {
    sender: OwnedFd,
    receiver: OwnedFd,
    pub(in crate::port) mac: [u8; 6],
    buffer: Vec<u8>,
}

impl Peer for RawPeer {
    fn send(&mut self, frame: &[u8]) {
        let sent = send(&self.sender, frame, SendFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }

    fn recv(&mut self) -> Option<Vec<u8>> {
        let (len, _) = recv(&self.receiver, &mut self.buffer[..], RecvFlags::empty()).ok()?;
        Some(self.buffer[..len].to_vec())
    }

    /// Until a frame is here, at most a millisecond.
    fn pass_time(&mut self) {
        let mut fds = [PollFd::from_borrowed_fd(self.receiver.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&MILLISECOND)).unwrap();
    }
}

const MILLISECOND: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Between two attempts at what another thread must allow first.
pub(in crate::port) fn pause() {
    poll(&mut [], Some(&MILLISECOND)).unwrap();
}

fn inside<R: Send>(namespace: &str, f: impl FnOnce() -> R + Send) -> R {
    let namespace = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let kind = LinkNameSpaceType::Network;
            move_into_link_name_space(namespace.as_fd(), Some(kind)).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `ip` and returns its output; the error is what it complains about.
pub(in crate::port) fn ip(arguments: &str) -> Result<String, String> {
    run("ip", arguments)
}

/// Runs a program, as [`ip`] does.
pub(in crate::port) fn run(program: &str, arguments: &str) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn skip<T>(test: &str, reason: &str) -> Option<T> {
    say(&format!("SKIPPED: {test}: {reason}"));
    None
}

/// The value, or `None` after saying why the test is skipped: AF_XDP or BPF is not permitted.
pub(in crate::port) fn unless_forbidden<T>(
    test: &str,
    result: Result<T, crate::port::af_xdp::Error>,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_forbidden() => skip(test, &error.to_string()),
        Err(error) => panic!("{test}: {error}"),
    }
}

/// One line past the test harness, which swallows the output of tests that pass.
pub(in crate::port) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error is open");
}
