//! Why a port could not be opened, and what to do about it.

use std::io;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use super::limits::MTU_BYTES_MAX;
use super::self_test::Step;

/// Why an AF_XDP port cannot be opened. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no interface of this name in the network namespace.
    #[error("there is no network interface {interface:?}; `ip link` lists those that exist")]
    NoSuchInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The driver refuses because the interface is down.
    #[error("{interface} is down; bring it up (ip link set dev {interface} up)")]
    InterfaceDown {
        /// The interface.
        interface: String,
    },
    /// The process lacks a capability (or has it only inside a user namespace).
    #[error(
        "no permission to {action}: {missing}; run as root, or give the binary the capabilities \
         (setcap cap_bpf,cap_net_admin,cap_net_raw+ep); in a container they must be granted to it"
    )]
    NoPermission {
        /// What was tried.
        action: &'static str,
        /// Which capability the process lacks.
        missing: String,
    },
    /// The kernel has no AF_XDP, or one that is too old.
    #[error(
        "this kernel ({release}) cannot {action}: {source}; Linux 5.18 or newer with \
         CONFIG_XDP_SOCKETS is needed: use kernel sockets instead"
    )]
    KernelUnsupported {
        /// What was tried.
        action: &'static str,
        /// The running kernel.
        release: String,
        /// What it answered.
        source: io::Error,
    },
    /// Zero-copy was demanded and the driver cannot.
    #[error(
        "zero-copy AF_XDP is not possible on queue {queue} of {interface} (driver {driver}): \
         {source}; use copy mode (\"copy\" or \"auto\")"
    )]
    ZeroCopyUnsupported {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The driver's name.
        driver: String,
        /// The driver's answer.
        source: io::Error,
    },
    /// The interface has fewer queues.
    #[error(
        "{interface} has no receive queue {queue}: it has {}, counted from 0; use fewer workers \
         or give it more queues (ethtool -L {interface}; a veth gets them when it is made: ip \
         link add ... numrxqueues N numtxqueues N)",
        queues.map_or_else(|| "fewer".to_owned(), |queues| queues.to_string())
    )]
    QueueOutOfRange {
        /// The interface.
        interface: String,
        /// The queue that was asked for.
        queue: u32,
        /// How many there are, if the driver tells.
        queues: Option<u32>,
    },
    /// Another AF_XDP socket is bound to the queue.
    #[error(
        "queue {queue} of {interface} is taken by another AF_XDP socket; stop the program that \
         has it (another Coney, DPDK's af_xdp driver), or use another queue"
    )]
    QueueTaken {
        /// The interface.
        interface: String,
        /// The queue that was asked for.
        queue: u32,
    },
    /// A frame of this MTU does not fit a packet buffer of one page.
    #[error(
        "the MTU of {interface} is {mtu_bytes}, but a frame must fit one packet buffer, which \
         allows {MTU_BYTES_MAX}; lower it (ip link set dev {interface} mtu {MTU_BYTES_MAX}; some \
         drivers allow less with XDP), or use kernel sockets"
    )]
    MtuTooBig {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu_bytes: u32,
    },
    /// RLIMIT_MEMLOCK is below the packet memory.
    #[error(
        "the locked-memory limit is too low for {bytes} bytes of packet buffers per queue; raise \
         it (ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit), give the binary \
         cap_ipc_lock, or use fewer frames"
    )]
    Memlock {
        /// What is needed.
        bytes: usize,
    },
    /// No memory.
    #[error("no memory to {action} ({bytes} bytes); use fewer frames or fewer queues")]
    OutOfMemory {
        /// What was tried.
        action: &'static str,
        /// How much it takes.
        bytes: usize,
    },
    /// An option is outside its limits.
    #[error("{option} is {value}, but must be {min} to {max}")]
    OptionOutOfRange {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: u32,
        /// The least value.
        min: u32,
        /// The largest value.
        max: u32,
    },
    /// The kernel refuses busy polling.
    #[error(
        "busy polling cannot be switched on: {source}; it needs Linux 5.11 and cap_net_admin: \
         switch the option off otherwise"
    )]
    BusyPoll {
        /// What it answered.
        source: io::Error,
    },
    /// The XDP program could not be loaded, attached or configured.
    #[error(transparent)]
    Program(#[from] coney_xdp_prog::Error),
    /// Everything could be opened, and does not work.
    #[error("the self-test of queue {queue} of {interface} failed: {step}; use kernel sockets")]
    SelfTest {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What does not work.
        step: Step,
    },
    /// Anything else the operating system refused.
    #[error("cannot {action}: {source}")]
    Other {
        /// What was tried.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the environment forbids AF_XDP altogether, whatever the interface.
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::NoPermission { .. } | Self::KernelUnsupported { .. } => true,
            Self::Program(error) => matches!(
                error,
                coney_xdp_prog::Error::NoPermission { .. }
                    | coney_xdp_prog::Error::KernelUnsupported { .. }
                    | coney_xdp_prog::Error::Memlock { .. }
            ),
            _ => false,
        }
    }
}

/// Sorts an answer whose meaning does not depend on the call.
pub(super) fn classify(action: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::PERM | Errno::ACCESS => Error::NoPermission { action, missing: missing() },
        Errno::AFNOSUPPORT | Errno::NOSYS | Errno::NOPROTOOPT | Errno::PROTONOSUPPORT => {
            let release = rustix::system::uname().release().to_string_lossy().into_owned();
            Error::KernelUnsupported { action, release, source: errno.into() }
        }
        _ => Error::Other { action, source: errno.into() },
    }
}

fn missing() -> String {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if held.contains(CapabilitySet::NET_RAW) {
        "CAP_NET_RAW is there, so a seccomp filter or a security module forbids it".to_owned()
    } else {
        "CAP_NET_RAW missing".to_owned()
    }
}
