//! [`Program`]: the loaded program, its maps and its attachment.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Mutex;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::of_maps::ArrayOfMaps;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use rustix::io::Errno;

use crate::error::{Error, classify, errno_of};
use crate::layout::{
    ACCESS_ALLOW, ACCESS_DENY, ACCESS_MAX, AccessData, Limits, QUEUES_MAX, SERVED_MAX, ServedKey,
    Verdict, access_key, served_key,
};
use crate::object::OBJECT;
use crate::rules::{AccessList, Rules};

const PROGRAM: &str = "steer";
/// Ethernet's header: what [`Program::dry_run`] needs at least.
const DRY_RUN_BYTES_MIN: usize = 14;
/// uapi/linux/bpf.h; tries cannot be allocated beforehand.
const BPF_F_NO_PREALLOC: u32 = 1;

/// What is fixed when the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest frame, Ethernet header included, that fits a receive buffer of the AF_XDP sockets.
    /// Longer frames to served endpoints are dropped and counted by the program, because the
    /// socket would drop them without telling them apart from other losses.
    pub frame_bytes_max: u32,
    /// How many endpoints can be served at a time; [`Error::ServedSetFull`] beyond.
    pub served_max: u32,
}

impl Default for Options {
    /// Frames of any length, [`SERVED_MAX`] endpoints.
    fn default() -> Self {
        Self { frame_bytes_max: u32::MAX, served_max: SERVED_MAX }
    }
}

/// Where the program shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver; an error if the driver cannot.
    Native,
    /// In the kernel's receive path, after it built an sk_buff: works with every driver, costs
    /// more. GRO and a veth peer's TSO then make frames too long for a buffer: switch them off.
    Skb,
    /// Native, else skb (with a warning in the log).
    Auto,
}

/// Where the program does run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the kernel's receive path.
    Skb,
}

impl fmt::Display for AttachedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
        })
    }
}

/// What the program told the kernel to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// XDP_PASS: on to the kernel's stack.
    Pass,
    /// XDP_REDIRECT: to the AF_XDP socket.
    Redirect,
    /// XDP_DROP.
    Drop,
}

/// Frames per [`Verdict`], summed over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; Verdict::ALL.len()]);

impl Counters {
    /// How many frames met this verdict.
    pub fn get(&self, verdict: Verdict) -> u64 {
        self.iter().find_map(|(v, count)| (v == verdict).then_some(count)).unwrap_or(0)
    }

    /// Every verdict with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL.into_iter().zip(self.0)
    }
}

/// The loaded program. Dropping it detaches it.
pub struct Program {
    // Before `ebpf`: first no more frames, then no program.
    link: Option<FdLink>,
    served: HashMap<MapData, ServedKey, u8>,
    xsks: XskMap<MapData>,
    verdicts: PerCpuArray<MapData, u64>,
    /// Locked while rules are changed, so that those of two callers do not mix.
    rules: Mutex<RuleMaps>,
    ebpf: Ebpf,
}

struct RuleMaps {
    access: ArrayOfMaps<MapData, AccessTrie>,
    limits: Array<MapData, Limits>,
}

type AccessTrie = LpmTrie<MapData, AccessData, u32>;

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("attached", &self.link.is_some()).finish_non_exhaustive()
    }
}

impl Program {
    /// Loads the embedded program into the kernel; it sees no traffic before [`Self::attach`].
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Memlock`], [`Error::KernelUnsupported`],
    /// [`Error::Rejected`], [`Error::BrokenObject`].
    pub fn load(options: &Options) -> Result<Self, Error> {
        const ACTION: &str = "load the XDP program";
        let mut ebpf = EbpfLoader::new()
            .override_global("frame_bytes_max", &options.frame_bytes_max, true)
            .map_max_entries("served", options.served_max)
            .load(OBJECT)
            .map_err(|error| classify(ACTION, error))?;
        let served = HashMap::try_from(take_map(&mut ebpf, "served")?)
            .map_err(|error| misshapen("served", &error))?;
        let xsks = XskMap::try_from(take_map(&mut ebpf, "xsks")?)
            .map_err(|error| misshapen("xsks", &error))?;
        let verdicts = PerCpuArray::try_from(take_map(&mut ebpf, "verdicts")?)
            .map_err(|error| misshapen("verdicts", &error))?;
        let rules = Mutex::new(RuleMaps {
            access: ArrayOfMaps::try_from(take_map(&mut ebpf, "access")?)
                .map_err(|error| misshapen("access", &error))?,
            limits: Array::try_from(take_map(&mut ebpf, "limits")?)
                .map_err(|error| misshapen("limits", &error))?,
        });
        if usize::try_from(verdicts.len()) != Ok(Verdict::ALL.len()) {
            return Err(Error::BrokenObject { part: "verdicts" });
        }
        xdp_mut(&mut ebpf)?.load().map_err(|error| match &error {
            // The verifier's answers; EPERM and the like are not its own.
            ProgramError::LoadError { io_error, .. }
                if matches!(
                    Errno::from_io_error(io_error),
                    Some(Errno::ACCESS | Errno::TOOBIG | Errno::NOSPC)
                ) =>
            {
                Error::Rejected { source: error }
            }
            _ => classify(ACTION, error),
        })?;
        Ok(Self { link: None, served, xsks, verdicts, rules, ebpf })
    }

    /// Attaches the program to an interface of the calling thread's network namespace. From now on
    /// it sees every frame that arrives there. Attached already, it moves.
    ///
    /// Native mode makes a real NIC's driver rebuild its queues: the link may be down for a
    /// moment. A veth's peer loses TSO as long as the program is attached, so that frames arrive
    /// one by one, at most as long as the MTU.
    ///
    /// # Errors
    /// [`Error::NoSuchInterface`], [`Error::NativeUnsupported`], [`Error::NativeRefused`],
    /// [`Error::AlreadyAttached`], [`Error::NoPermission`], [`Error::KernelUnsupported`].
    pub fn attach(&mut self, interface: &str, mode: Mode) -> Result<AttachedMode, Error> {
        self.detach();
        let native_error = match mode {
            Mode::Skb => None,
            Mode::Native | Mode::Auto => match self.attach_as(interface, AttachedMode::Native) {
                Ok(()) => return Ok(AttachedMode::Native),
                Err(error) => Some(error),
            },
        };
        match native_error {
            None => {}
            Some(error @ (Error::NativeUnsupported { .. } | Error::NativeRefused { .. }))
                if mode == Mode::Auto =>
            {
                tracing::warn!(interface, %error, "attaching in skb mode instead");
            }
            Some(error) => return Err(error),
        }
        self.attach_as(interface, AttachedMode::Skb)?;
        Ok(AttachedMode::Skb)
    }

    fn attach_as(&mut self, interface: &str, mode: AttachedMode) -> Result<(), Error> {
        const ACTION: &str = "attach the XDP program";
        // Resolved here because aya panics at a name with a NUL byte.
        let index = interface_index(interface)?;
        let aya_mode = match mode {
            AttachedMode::Native => XdpMode::Driver,
            AttachedMode::Skb => XdpMode::Skb,
        };
        let xdp = xdp_mut(&mut self.ebpf)?;
        let link_id = xdp
            .attach_to_if_index(index, aya_mode)
            .map_err(|error| attach_error(ACTION, interface, mode, error))?;
        let link = xdp.take_link(link_id).map_err(|error| classify(ACTION, error))?;
        // Where bpf_link is refused, aya attaches by netlink, and that attachment would outlive a
        // killed process and swallow its traffic: `link`, dropped by this error, undoes it.
        let link = FdLink::try_from(link).map_err(|error| classify(ACTION, error))?;
        self.link = Some(link);
        Ok(())
    }

    /// Detaches the program: all traffic goes to the kernel. The maps keep their content.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// Whether the program is attached to an interface.
    pub const fn is_attached(&self) -> bool {
        self.link.is_some()
    }

    /// Steers TCP to this address and port. Addresses are compared literally: there is no
    /// wildcard, an unspecified address matches nothing. Serving an endpoint twice is no error.
    ///
    /// # Errors
    /// [`Error::ServedSetFull`].
    pub fn serve(&mut self, endpoint: SocketAddr) -> Result<(), Error> {
        self.served.insert(served_key(endpoint), 1, 0).map_err(|error| {
            // A full BPF hash map answers E2BIG.
            match errno_of(&error) {
                Some(Errno::TOOBIG) => Error::ServedSetFull,
                _ => classify("add a served endpoint", error),
            }
        })
    }

    /// Passes TCP to this address and port to the kernel again. No error if it was not served.
    ///
    /// # Errors
    /// [`Error::Other`] only.
    pub fn unserve(&mut self, endpoint: SocketAddr) -> Result<(), Error> {
        match self.served.remove(&served_key(endpoint)) {
            Err(error) if !is_absent(&error) => Err(classify("remove a served endpoint", error)),
            _ => Ok(()),
        }
    }

    /// Steers served frames that arrive at `queue` to this AF_XDP socket, which must be bound to
    /// the same interface and queue (the kernel drops the frames otherwise). Frames of a queue
    /// without a socket are passed to the kernel; closing the socket has the same effect.
    ///
    /// # Errors
    /// [`Error::QueueOutOfRange`]; [`Error::Other`] if `xsk` is not an AF_XDP socket.
    pub fn set_xsk(&mut self, queue: u32, xsk: BorrowedFd<'_>) -> Result<(), Error> {
        check_queue(queue)?;
        self.xsks
            .set(queue, xsk.as_raw_fd(), 0)
            .map_err(|error| classify("put the AF_XDP socket into the program's map", error))
    }

    /// Takes the AF_XDP socket of `queue` out of the program's map: its frames are passed.
    ///
    /// # Errors
    /// [`Error::QueueOutOfRange`], [`Error::Other`].
    pub fn unset_xsk(&mut self, queue: u32) -> Result<(), Error> {
        check_queue(queue)?;
        match self.xsks.unset(queue) {
            Err(error) if !is_absent(&error) => {
                Err(classify("take the AF_XDP socket out of the program's map", error))
            }
            _ => Ok(()),
        }
    }

    /// Sets who may connect, and how fast; without, everybody may. The access list takes effect as
    /// a whole, without a moment in which none or half of it holds. A new list is a new map, which
    /// needs CAP_BPF again.
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Memlock`], [`Error::Other`]; the list that held before
    /// holds on.
    pub fn set_rules(&self, rules: &Rules) -> Result<(), Error> {
        let list = access_trie(&rules.access)?;
        let mut maps = self.rules.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        maps.access.set(0, &list, 0).map_err(|error| classify("set the access list", error))?;
        maps.limits
            .set(0, [rules.syns_per_source, rules.syns_global], 0)
            .map_err(|error| classify("set the limits for SYNs", error))
    }

    /// How many frames met which verdict since the program was loaded.
    ///
    /// # Errors
    /// [`Error::Other`] only.
    pub fn counters(&self) -> Result<Counters, Error> {
        let mut counters = Counters::default();
        for (verdict, sum) in Verdict::ALL.into_iter().zip(&mut counters.0) {
            let per_cpu = self
                .verdicts
                .get(&verdict.index(), 0)
                .map_err(|error| classify("read the program's counters", error))?;
            *sum = per_cpu.iter().fold(0, |sum, count| sum.wrapping_add(*count));
        }
        Ok(counters)
    }

    /// Runs the program on a frame without any interface (BPF_PROG_TEST_RUN), as if it had arrived
    /// at queue 0. Counted like a real frame; a redirect delivers nothing.
    ///
    /// # Errors
    /// [`Error::Other`]; frames below 14 bytes, which no NIC delivers, are refused.
    pub fn dry_run(&self, frame: &[u8]) -> Result<Action, Error> {
        self.test_run(frame, None)
    }

    /// [`Self::dry_run`] as if the frame had arrived at this queue of this interface.
    ///
    /// # Errors
    /// [`Error::NoSuchInterface`], [`Error::Other`].
    pub fn dry_run_at(&self, frame: &[u8], interface: &str, queue: u32) -> Result<Action, Error> {
        self.test_run(frame, Some([interface_index(interface)?, queue]))
    }

    fn test_run(&self, frame: &[u8], at: Option<[u32; 2]>) -> Result<Action, Error> {
        const ACTION: &str = "dry-run the XDP program";
        if frame.len() < DRY_RUN_BYTES_MIN {
            return Err(classify(ACTION, std::io::Error::from(Errno::INVAL)));
        }
        let Some(aya::programs::Program::Xdp(xdp)) = self.ebpf.program(PROGRAM) else {
            return Err(Error::BrokenObject { part: PROGRAM });
        };
        let frame_len = u32::try_from(frame.len())
            .map_err(|_too_long| classify(ACTION, std::io::Error::from(Errno::MSGSIZE)))?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
        let context: Option<Vec<u8>> = at.map(|[interface, queue]| {
            [0, frame_len, 0, interface, queue, 0].iter().flat_map(|n| n.to_ne_bytes()).collect()
        });
        let run = xdp
            .test_run(TestRunOptions {
                data_in: Some(frame),
                ctx_in: context.as_deref(),
                ..TestRunOptions::default()
            })
            .map_err(|error| classify(ACTION, error))?;
        match run.return_value {
            // enum xdp_action of linux/bpf.h
            1 => Ok(Action::Drop),
            2 => Ok(Action::Pass),
            4 => Ok(Action::Redirect),
            _ => Err(Error::BrokenObject { part: PROGRAM }),
        }
    }
}

/// The list in the form that the program searches.
fn access_trie(list: &AccessList) -> Result<AccessTrie, Error> {
    const ACTION: &str = "make an access list for the XDP program";
    let mut trie = AccessTrie::create(ACCESS_MAX + 2, BPF_F_NO_PREALLOC)
        .map_err(|error| classify(ACTION, error))?;
    for (network, is_allowed) in list.entries() {
        let access = if is_allowed { ACCESS_ALLOW } else { ACCESS_DENY };
        trie.insert(&access_key(network), access, 0).map_err(|error| classify(ACTION, error))?;
    }
    Ok(trie)
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::BrokenObject { part: name })
}

fn misshapen(part: &'static str, error: &MapError) -> Error {
    tracing::error!(part, %error, "the embedded XDP program has an unexpected map");
    Error::BrokenObject { part }
}

fn xdp_mut(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    match ebpf.program_mut(PROGRAM) {
        Some(aya::programs::Program::Xdp(xdp)) => Ok(xdp),
        _ => Err(Error::BrokenObject { part: PROGRAM }),
    }
}

fn interface_index(interface: &str) -> Result<u32, Error> {
    const ACTION: &str = "look up a network interface";
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
            .map_err(|errno| classify(ACTION, std::io::Error::from(errno)))?;
    // Any refusal (ENODEV, a name that is too long) means that there is none of this name.
    rustix::net::netdevice::name_to_index(socket, interface)
        .map_err(|_errno| Error::NoSuchInterface { interface: interface.to_owned() })
}

fn check_queue(queue: u32) -> Result<(), Error> {
    if queue < QUEUES_MAX { Ok(()) } else { Err(Error::QueueOutOfRange { queue }) }
}

fn is_absent(error: &MapError) -> bool {
    matches!(error, MapError::KeyNotFound | MapError::ElementNotFound)
        || errno_of(error) == Some(Errno::NOENT)
}

fn attach_error(
    action: &'static str,
    interface: &str,
    mode: AttachedMode,
    error: ProgramError,
) -> Error {
    let interface = interface.to_owned();
    match (errno_of(&error), mode) {
        (Some(Errno::NODEV), _) => Error::NoSuchInterface { interface },
        // EBUSY: attached in the same mode; EEXIST: in the other one.
        (Some(Errno::BUSY | Errno::EXIST), _) => Error::AlreadyAttached { interface },
        (Some(Errno::OPNOTSUPP), AttachedMode::Native) => Error::NativeUnsupported { interface },
        (Some(Errno::PERM | Errno::NOSYS) | None, _) | (_, AttachedMode::Skb) => {
            classify(action, error)
        }
        (Some(errno), AttachedMode::Native) => {
            Error::NativeRefused { interface, source: errno.into() }
        }
    }
}
