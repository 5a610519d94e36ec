//! Scheduling attributes of a thread, which no library sets: `sched_setattr(2)`.

#![allow(unsafe_code, reason = "system calls without a safe interface")]

use std::time::Duration;

use rustix::io::Errno;

/// Bytes of the first version of the kernel's structure, which every kernel takes.
const ATTR_LEN: u32 = 48;
const _: () = assert!(size_of::<libc::sched_attr>() == ATTR_LEN as usize);

/// Asks for turns of this length for the calling thread. Whoever is content with shorter turns than others
/// gets the core sooner when it has something to do, and as much of it in all (EEVDF, Linux 6.12). Older
/// kernels ignore it; so do threads with real-time priority, which are left as they are.
///
/// # Errors
/// The kernel's answer; a sandbox may forbid the call.
pub(crate) fn set_slice(slice: Duration) -> Result<(), Errno> {
    let mut attr = libc::sched_attr {
        size: ATTR_LEN,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let place = &raw mut attr;
    // SAFETY: 0 is the calling thread; the kernel writes at most `ATTR_LEN` bytes to `place`, which are
    // all of `attr` (asserted above), and keeps no address.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, place, ATTR_LEN, 0) };
    check(got)?;
    if !is_shared(attr.sched_policy) {
        return Ok(());
    }
    // The kernel takes 0.1 to 100 ms, and brings others there.
    attr.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: 0 is the calling thread; the kernel reads `attr.size` bytes of `attr`, which are all of it,
    // and keeps no address.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) })
}

/// Whether threads of this policy share a core by turns.
fn is_shared(policy: u32) -> bool {
    [libc::SCHED_OTHER, libc::SCHED_BATCH].iter().any(|shared| u32::try_from(*shared) == Ok(policy))
}

fn check(result: libc::c_long) -> Result<(), Errno> {
    if result == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel tells of this thread; nothing, if it was built without that.
    fn row(name: &str) -> Option<String> {
        let text = std::fs::read_to_string("/proc/thread-self/sched").ok()?;
        let row = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        row.split_whitespace().last().map(str::to_owned)
    }

    #[test]
    fn a_thread_gets_short_turns_and_keeps_its_policy_and_niceness() {
        let test = || {
            let before = (row("policy"), row("prio"));
            set_slice(Duration::from_micros(200)).unwrap();
            assert_eq!((row("policy"), row("prio")), before);
            assert!(row("se.slice").is_none_or(|slice| slice == "200000"));
        };
        // A thread of its own, so that other tests keep their turns.
        std::thread::spawn(test).join().unwrap();
    }
}
