//! What the operating system says of this process and of the host. All of it is read when
//! somebody asks, on threads that may wait.

use std::time::Duration;

use coney_control::info::{CpuRow, MemoryRow};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tikv_jemalloc_ctl::{epoch, stats};

/// Descriptors that the server needs beside those of its clients: tables of the database, logs,
/// listeners.
pub(crate) const FILES_RESERVED: u64 = 512;

/// Name and release of the kernel, and the machine.
pub(crate) fn os() -> String {
    let uname = rustix::system::uname();
    [uname.sysname(), uname.release(), uname.machine()]
        .map(|part| part.to_string_lossy().into_owned())
        .join(" ")
}

/// Release of the kernel, such as `6.1.0-18-amd64`.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Memory of the process; [`MemoryRow::peak`] is left to the caller.
pub(crate) fn memory() -> MemoryRow {
    let bytes = |value: Result<usize, _>| value.map_or(0, |bytes| bytes as u64);
    // jemalloc's figures are those of its last epoch.
    epoch::advance().ok();
    MemoryRow {
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
        rss: resident_bytes(),
        peak: 0,
        system: meminfo("MemTotal"),
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        statm.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    pages.saturating_mul(page_size() as u64)
}

/// A line of `/proc/meminfo`, in bytes (for counts of pages, as it stands); 0 if there is none.
pub(crate) fn meminfo(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut words = line.unwrap_or_default().split_ascii_whitespace();
    let number: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    if words.next() == Some("kB") { number.saturating_mul(1024) } else { number }
}

/// Processor time of the process, from proc(5), `stat`.
pub(crate) fn cpu() -> CpuRow {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may contain anything; fields are counted after it, from the third.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks_per_second = clock_ticks_per_second().max(1);
    let time = |field: usize| {
        let ticks: u64 = fields.get(field - 3).and_then(|word| word.parse().ok()).unwrap_or(0);
        Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second)
    };
    CpuRow { user: time(14), system: time(15), children_user: time(16), children_system: time(17) }
}

/// Soft and hard limit of open files; `None`: unlimited.
pub(crate) fn file_limit() -> Rlimit {
    getrlimit(Resource::Nofile)
}

/// Raises the soft limit of open files to the hard one and returns how many clients that allows.
pub(crate) fn raise_file_limit() -> usize {
    let limit = file_limit();
    // If the kernel refuses, the present limit is what counts.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
    let files = file_limit().current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX)
}

/// Random hexadecimal digits, two for each byte.
///
/// # Errors
/// See [`coney_base::random`].
pub(crate) fn random_hex<const LEN: usize>() -> Result<String, std::io::Error> {
    Ok(coney_base::random::<LEN>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Forty random hexadecimal digits: the id of this run.
///
/// # Errors
/// See [`coney_base::random`].
pub(crate) fn run_id() -> Result<String, std::io::Error> {
    random_hex::<20>()
}
