//! Two network namespaces, each with a TAP device: a Linux client, and a Linux server to compare
//! with.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys;

/// Where our TCP serves.
pub(crate) const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 6379);
/// Where the kernel's serves.
pub(crate) const LINUX: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), 6379);
/// The hardware address of our end.
pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// One end: last byte of its address and of its hardware address.
const CLIENT: u8 = 2;
const SERVER: u8 = 3;
const TAP: &str = "tap0";

/// The namespaces, removed when dropped, also by a failing test.
#[derive(Debug)]
pub(crate) struct Lab {
    client: String,
    server: String,
}

impl Lab {
    /// Makes the namespaces and the frames' ends of both devices, client first. `None` after saying
    /// on standard error why the test is skipped.
    pub(crate) fn new(test: &str) -> Option<(Self, [OwnedFd; 2])> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return skip(test, "making network namespaces needs root");
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("tcpd-{}-{count}", std::process::id());
        let lab = Self { client: format!("{prefix}-client"), server: format!("{prefix}-server") };
        let mut taps = Vec::new();
        for (namespace, at) in [(&lab.client, CLIENT), (&lab.server, SERVER)] {
            if let Err(reason) = ip(&format!("netns add {namespace}")) {
                return skip(test, &format!("cannot make a network namespace: {reason}"));
            }
            match inside(namespace, open_tap) {
                Ok(tap) => taps.push(tap),
                Err(error) => return skip(test, &format!("cannot make a TAP device: {error}")),
            }
            lab.configure(namespace, at);
        }
        Some((lab, taps.try_into().expect("two of them")))
    }

    /// Addresses, and neighbours that need not be asked for; nothing is learnt from one connection
    /// for the next.
    fn configure(&self, namespace: &str, at: u8) {
        for command in [
            format!("link set {TAP} address 02:00:00:00:00:{at:02x} addrgenmode none"),
            format!("addr add 192.0.2.{at}/24 dev {TAP}"),
            format!("link set {TAP} up"),
        ] {
            must(&format!("-n {namespace} {command}"));
        }
        for other in [1, CLIENT, SERVER].into_iter().filter(|other| *other != at) {
            must(&format!(
                "-n {namespace} neigh add 192.0.2.{other} lladdr 02:00:00:00:00:{other:02x} \
                 dev {TAP} nud permanent"
            ));
        }
        inside(namespace, || {
            std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1").unwrap();
        });
    }

    /// Runs `f` on a thread of its own where the client is.
    pub(crate) fn at_client<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        inside(&self.client, f)
    }

    /// Runs `f` on a thread of its own where the kernel's server is.
    pub(crate) fn at_server<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        inside(&self.server, f)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.server] {
            // May not exist if it could not be made.
            if let Err(reason) = ip(&format!("netns del {namespace}")) {
                say(&format!("cannot remove {namespace}: {reason}"));
            }
        }
    }
}

fn open_tap() -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let tap = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    sys::attach(tap.as_fd(), TAP)?;
    Ok(tap)
}

fn inside<R: Send>(namespace: &str, f: impl FnOnce() -> R + Send) -> R {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let kind = LinkNameSpaceType::Network;
            move_into_link_name_space(namespace.as_fd(), Some(kind)).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn must(arguments: &str) {
    ip(arguments).unwrap_or_else(|reason| panic!("ip {arguments}: {reason}"));
}

/// Runs `ip`; the error is what it complains about.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| format!("cannot run `ip`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn skip<T>(test: &str, reason: &str) -> Option<T> {
    say(&format!("SKIPPED: {test}: {reason}"));
    None
}

/// One line past the test harness, which swallows the output of tests that pass.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error is open");
}
