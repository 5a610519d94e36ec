//! Why the program could not be loaded, attached or configured, and what to do about it.

use std::error::Error as StdError;
use std::io;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use crate::layout::QUEUES_MAX;

/// `xdp.frags` programs exist since this kernel; so do all other things used here.
const KERNEL_VERSION_MIN: (u32, u32) = (5, 18);
/// Since this kernel BPF memory is charged to the cgroup, before to RLIMIT_MEMLOCK.
const KERNEL_VERSION_WITHOUT_MEMLOCK: (u32, u32) = (5, 11);

/// Why an operation on a [`crate::Program`] failed. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process lacks a capability (or has it only inside a user namespace).
    #[error(
        "no permission to {action}: {missing}; run as root, or give the binary the capabilities \
         (setcap cap_bpf,cap_net_admin,cap_net_raw+ep); in a container they must be capabilities \
         of the host"
    )]
    NoPermission {
        /// What was tried.
        action: &'static str,
        /// Which capabilities the process lacks.
        missing: String,
    },
    /// A kernel before 5.11 charges BPF maps to RLIMIT_MEMLOCK, and the limit is too low.
    #[error(
        "the locked-memory limit is too low to {action}; raise it (ulimit -l unlimited, or \
         LimitMEMLOCK=infinity in the systemd unit)"
    )]
    Memlock {
        /// What was tried.
        action: &'static str,
    },
    /// The kernel lacks what the program needs.
    #[error(
        "this kernel ({release}) cannot {action}: {source}; Linux 5.18 or newer with \
         CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS is needed"
    )]
    KernelUnsupported {
        /// What was tried.
        action: &'static str,
        /// The running kernel.
        release: String,
        /// What it answered.
        source: io::Error,
    },
    /// There is no interface of this name in the network namespace.
    #[error("there is no network interface {interface:?}; `ip link` lists those that exist")]
    NoSuchInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The driver has no native XDP.
    #[error(
        "the driver of {interface} has no native XDP support; use generic mode (\"skb\" or \
         \"auto\") or kernel sockets"
    )]
    NativeUnsupported {
        /// The interface.
        interface: String,
    },
    /// The driver has native XDP but refuses it as the interface is set up now.
    #[error(
        "the driver of {interface} refuses native XDP as the interface is set up now: {source}; \
         usual reasons are an MTU above the driver's limit (ip link set dev {interface} mtu 1500), \
         LRO (ethtool -K {interface} lro off) or too few queues (ethtool -L {interface}; a veth \
         needs as many receive queues as its peer has transmit queues); `dmesg` may say more"
    )]
    NativeRefused {
        /// The interface.
        interface: String,
        /// The driver's answer.
        source: io::Error,
    },
    /// Another XDP program is attached.
    #[error(
        "another XDP program is attached to {interface}; `ip -details link show dev {interface}` \
         names it: stop its owner, or remove it (ip link set dev {interface} xdp off)"
    )]
    AlreadyAttached {
        /// The interface.
        interface: String,
    },
    /// [`crate::Options::served_max`] endpoints are served already.
    #[error("no more endpoints can be served: serve fewer addresses")]
    ServedSetFull,
    /// The queue's index is [`crate::QUEUES_MAX`] or larger.
    #[error(
        "queue {queue} cannot have an AF_XDP socket: queues 0 to {} can; lower the interface's \
         number of queues (ethtool -L)", QUEUES_MAX - 1
    )]
    QueueOutOfRange {
        /// The queue that was asked for.
        queue: u32,
    },
    /// The kernel's verifier rejects the program: a bug of ours or of the kernel.
    #[error("the kernel's verifier rejects the XDP program; please report this: {source}")]
    Rejected {
        /// The verifier's log.
        source: aya::programs::ProgramError,
    },
    /// The embedded object does not contain what this loader expects: a broken build.
    #[error("the embedded XDP program has no {part:?}; rebuild with a supported clang (19)")]
    BrokenObject {
        /// The missing or misshapen part.
        part: &'static str,
    },
    /// Anything else the operating system refused.
    #[error("cannot {action}: {source}")]
    Other {
        /// What was tried.
        action: &'static str,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// The operating system's error number at the root of a chain of errors.
pub(crate) fn errno_of(error: &(dyn StdError + 'static)) -> Option<Errno> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            return Errno::from_io_error(io_error);
        }
        link = error.source();
    }
    None
}

/// Sorts an error of aya whose cause does not depend on the interface.
pub(crate) fn classify<E>(action: &'static str, error: E) -> Error
where
    E: StdError + Send + Sync + 'static,
{
    let errno = errno_of(&error);
    let kernel = kernel_version();
    match errno {
        Some(Errno::PERM) => {
            let missing = missing_capabilities();
            if missing.is_empty() && kernel < KERNEL_VERSION_WITHOUT_MEMLOCK {
                return Error::Memlock { action };
            }
            let missing = if missing.is_empty() {
                "the capabilities are there, so a user namespace, a seccomp filter or kernel \
                 lockdown forbids it"
                    .to_owned()
            } else {
                format!("{} missing", missing.join(" and "))
            };
            Error::NoPermission { action, missing }
        }
        Some(errno @ Errno::NOSYS) => unsupported(action, errno),
        Some(errno @ (Errno::INVAL | Errno::OPNOTSUPP)) if kernel < KERNEL_VERSION_MIN => {
            unsupported(action, errno)
        }
        _ => Error::Other { action, source: Box::new(error) },
    }
}

fn unsupported(action: &'static str, errno: Errno) -> Error {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Error::KernelUnsupported { action, release, source: errno.into() }
}

/// CAP_SYS_ADMIN includes both, as it did before Linux 5.8 split them off.
fn missing_capabilities() -> Vec<&'static str> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if held.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    let needed = [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN")];
    needed.into_iter().filter(|(bit, _)| !held.contains(*bit)).map(|(_, name)| name).collect()
}

/// Major and minor number; (0, 0) if the kernel's release does not begin with them.
fn kernel_version() -> (u32, u32) {
    parse_release(&rustix::system::uname().release().to_string_lossy()).unwrap_or((0, 0))
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_parsed() {
        assert_eq!(parse_release("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(parse_release("5.4.0-1-amd64"), Some((5, 4)));
        assert_eq!(parse_release("6.1-rc3"), Some((6, 1)));
        assert_eq!(parse_release("unknown"), None);
    }

    #[test]
    fn errno_is_found_below_wrapping_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let refused = Outer(Errno::PERM.into());
        assert_eq!(errno_of(&refused), Some(Errno::PERM));
        assert_eq!(errno_of(&Outer(io::Error::other("no number"))), None);
    }
}
