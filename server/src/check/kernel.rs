//! The kernel and what it lets this process do.

use coney_datapath::transport::uring::{self, Unavailable};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{Finding, Status, read};
use crate::host;

/// Bit numbers of linux/capability.h.
const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
const CAP_SYS_ADMIN: u32 = 21;

pub(super) fn findings() -> Vec<Finding> {
    vec![kernel(), cores(), privileges(), bpf(), af_xdp(), io_uring()]
}

fn kernel() -> Finding {
    let release = host::kernel_release();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    let is_old = matches!(version, (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (5, 15));
    if is_old {
        Finding::new("kernel", Status::Fair, release)
            .cure("kernel sockets work; for AF_XDP use 5.15 or newer")
    } else {
        Finding::new("kernel", Status::Good, release)
    }
}

fn cores() -> Finding {
    let cores = crate::threads::cores();
    Finding::new("cores", Status::Fact, format!("{} for this process", cores.len()))
}

fn effective_capabilities() -> u64 {
    let status = read("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(line.unwrap_or_default().trim(), 16).unwrap_or(0)
}

fn has(capabilities: u64, bit: u32) -> bool {
    capabilities >> bit & 1 == 1
}

fn privileges() -> Finding {
    let capabilities = effective_capabilities();
    let missing: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| !has(capabilities, *bit) && !has(capabilities, CAP_SYS_ADMIN))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Finding::new("privileges", Status::Good, "what AF_XDP needs is there");
    }
    Finding::new("privileges", Status::Missing, format!("no {}", missing.join(", "))).cure(
        "only AF_XDP needs them: run as root, or once: setcap \
         cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep on the coney binary",
    )
}

fn bpf() -> Finding {
    let capabilities = effective_capabilities();
    if has(capabilities, 39) || has(capabilities, CAP_SYS_ADMIN) {
        return Finding::new("BPF", Status::Good, "this process may load programs");
    }
    let disabled = read("/proc/sys/kernel/unprivileged_bpf_disabled");
    match disabled.as_deref() {
        None => Finding::new("BPF", Status::Missing, "the kernel has none")
            .cure("use a kernel with CONFIG_BPF_SYSCALL"),
        Some(_) => Finding::new("BPF", Status::Missing, "not permitted to this process")
            .cure("run as root or with CAP_BPF"),
    }
}

fn af_xdp() -> Finding {
    let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None);
    match socket {
        Ok(_) => Finding::new("AF_XDP", Status::Good, "sockets can be made"),
        Err(Errno::PERM | Errno::ACCESS) => {
            Finding::new("AF_XDP", Status::Missing, "not permitted to this process")
                .cure("run as root or with CAP_NET_RAW")
        }
        Err(Errno::AFNOSUPPORT) => Finding::new("AF_XDP", Status::Missing, "the kernel has none")
            .cure("use a kernel with CONFIG_XDP_SOCKETS"),
        Err(errno) => Finding::new("AF_XDP", Status::Missing, errno.to_string()),
    }
}

fn io_uring() -> Finding {
    match uring::probe() {
        Ok(()) => Finding::new("io_uring", Status::Good, "works: kernel-transport can use it"),
        Err(Unavailable::Forbidden) => {
            let setting = read("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            let found =
                format!("forbidden (kernel.io_uring_disabled = {setting}, or a seccomp filter)");
            Finding::new("io_uring", Status::Missing, found)
                .cure("epoll is used; sysctl -w kernel.io_uring_disabled=0 allows it")
        }
        Err(problem) => {
            Finding::new("io_uring", Status::Missing, problem.to_string()).cure("epoll is used")
        }
    }
}
