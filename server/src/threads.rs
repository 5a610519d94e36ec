//! What every thread of the server has in common: a panic ends the process, and cores.

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Makes a panic of any thread a line in the log and the end of the process. A worker that died
/// alone would leave its clients hanging and the rest of the server looking well.
pub(crate) fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        tracing::error!(
            thread = thread.name().unwrap_or("unnamed"),
            "this is a bug of coney's, and it ends: {panic}\n{}",
            std::backtrace::Backtrace::force_capture()
        );
        std::process::abort();
    }));
}

/// The cores that this process may use.
pub(crate) fn cores() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Binds the calling thread to one core.
///
/// # Errors
/// The kernel's answer; there may be no such core.
pub(crate) fn pin(core: usize) -> Result<(), Errno> {
    if core >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL);
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
}
