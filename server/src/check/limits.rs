//! Limits of the process, and memory.

use rustix::process::{Resource, getrlimit};

use super::{Finding, Status, read};
use crate::host;

/// What `maxclients` needs with its default.
const FILES_WANTED: u64 = 10_000 + host::FILES_RESERVED;
/// Memory of one worker's AF_XDP buffers, about.
const MEMLOCK_WANTED: u64 = 64 << 20;

pub(super) fn findings() -> Vec<Finding> {
    vec![open_files(), memlock(), huge_pages(), backlog()]
}

fn show(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

fn open_files() -> Finding {
    let limit = host::file_limit();
    let found = format!("{}, may be raised to {}", show(limit.current), show(limit.maximum));
    if limit.maximum.is_none_or(|maximum| maximum >= FILES_WANTED) {
        Finding::new("open files", Status::Good, found)
    } else {
        Finding::new("open files", Status::Fair, found).cure(format!(
            "maxclients will be lowered; raise the limit: ulimit -n {FILES_WANTED}, or \
             LimitNOFILE= of the systemd unit"
        ))
    }
}

fn memlock() -> Finding {
    let limit = getrlimit(Resource::Memlock);
    let found = match limit.current {
        None => "unlimited".to_owned(),
        Some(bytes) => format!("{} KiB", bytes >> 10),
    };
    if limit.current.is_none_or(|bytes| bytes >= MEMLOCK_WANTED) {
        Finding::new("locked memory", Status::Good, found)
    } else {
        Finding::new("locked memory", Status::Fair, found)
            .cure("too little for AF_XDP without CAP_IPC_LOCK: ulimit -l unlimited")
    }
}

fn huge_pages() -> Finding {
    let (total, free) = (host::meminfo("HugePages_Total"), host::meminfo("HugePages_Free"));
    let size_kib = host::meminfo("Hugepagesize") >> 10;
    let found = format!("{free} of {total} free, {size_kib} KiB each");
    if total > 0 {
        Finding::new("huge pages", Status::Good, found)
    } else {
        Finding::new("huge pages", Status::Missing, found)
            .cure("nothing needs them; SPDK and DPDK would: sysctl -w vm.nr_hugepages=512")
    }
}

fn backlog() -> Finding {
    let somaxconn = read("/proc/sys/net/core/somaxconn").unwrap_or_default();
    match somaxconn.parse::<u32>() {
        Ok(limit) if limit < 511 => {
            Finding::new("listen backlog", Status::Fair, format!("at most {limit}"))
                .cure("sysctl -w net.core.somaxconn=4096")
        }
        _ => Finding::new("listen backlog", Status::Good, format!("at most {somaxconn}")),
    }
}
