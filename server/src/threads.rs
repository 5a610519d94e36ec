//! What every thread of the server has in common: a panic ends the process, and cores.

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sys;

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

/// Keeps the calling thread, and those that it starts from now on, off the cores that workers are pinned
/// to, as far as there are others: compactions and reads of the device then take no time from workers.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn keep_off(pinned: &[Option<usize>], cores: &[usize]) -> Result<(), Errno> {
    let others = cores_of_others(pinned, cores);
    if others.is_empty() || others.len() == cores.len() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    others.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    sched_setaffinity(None, &set)
}

fn cores_of_others(pinned: &[Option<usize>], cores: &[usize]) -> Vec<usize> {
    cores.iter().copied().filter(|core| !pinned.contains(&Some(*core))).collect()
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

/// The turn of a worker on a core that it shares: much shorter than those of others (the kernel's are above a
/// millisecond), so that it goes before compactions and I/O threads when several of them wait.
const WORKER_SLICE: Duration = Duration::from_micros(100);

/// Lets the calling thread, a worker, go before others that wait for its core. It does not get more of it.
///
/// # Errors
/// The kernel's answer; a sandbox may forbid the call. The worker works without.
pub(crate) fn go_first() -> Result<(), Errno> {
    sys::set_slice(WORKER_SLICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_stay_off_the_cores_of_workers_if_there_are_more() {
        assert_eq!(cores_of_others(&[Some(0), None], &[0, 1, 2]), [1, 2]);
        assert_eq!(cores_of_others(&[Some(0), Some(1)], &[0, 1]), [0_usize; 0]);
        assert_eq!(cores_of_others(&[None], &[0, 1]), [0, 1]);
    }

    #[test]
    fn threads_started_later_stay_off_too() {
        let cores = cores();
        let Some((first, rest)) = cores.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            return;
        };
        // A thread of its own, so that other tests keep their cores.
        let seen = std::thread::spawn({
            let (pinned, cores) = ([Some(*first)], cores.clone());
            move || {
                keep_off(&pinned, &cores).unwrap();
                std::thread::spawn(super::cores).join().unwrap()
            }
        });
        assert_eq!(seen.join().unwrap(), rest);
    }
}
