//! DPDK's environment abstraction layer: started once, never ended before the process.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::ffi;

static STARTED: AtomicBool = AtomicBool::new(false);

/// Proof that DPDK runs.
#[derive(Clone, Copy, Debug)]
pub struct Eal(());

impl Eal {
    /// Starts DPDK with these arguments, separated by white space, as every DPDK program takes
    /// them. Without a choice of cores it gets one, because workers are threads of their own;
    /// without a file prefix one of this process, so that several servers can run on a host.
    ///
    /// The calling thread keeps its affinity.
    ///
    /// # Errors
    /// See [`Error`]. DPDK tells more on standard error.
    pub fn start(arguments: &str) -> Result<Self, Error> {
        let arguments = complete(arguments)?;
        if STARTED.swap(true, Ordering::Relaxed) {
            return Err(Error::StartedBefore);
        }
        // DPDK binds the thread that starts it to a core.
        let affinity = rustix::thread::sched_getaffinity(None);
        let result = ffi::start(arguments);
        if let Ok(affinity) = affinity {
            rustix::thread::sched_setaffinity(None, &affinity).ok();
        }
        result.map(|()| Self(())).map_err(|source| Error::Start { source })
    }

    /// The names of all devices.
    pub fn device_names(self) -> Vec<String> {
        ffi::ports().into_iter().map(|(_, name)| name).collect()
    }
}

/// The arguments as DPDK gets them, the program's name first.
fn complete(text: &str) -> Result<Vec<CString>, Error> {
    let given: Vec<&str> = text.split_whitespace().collect();
    let has = |names: &[&str]| {
        given.iter().any(|argument| names.contains(&argument.split('=').next().unwrap_or_default()))
    };
    if has(&["--in-memory"]) && has(&["--no-huge"]) {
        return Err(Error::InMemoryWithoutHugePages);
    }
    let short = |letter: &str| {
        given.iter().any(|argument| argument.starts_with(letter) && !argument.starts_with("--"))
    };
    let mut all = vec!["coney".to_owned()];
    if !short("-l") && !short("-c") && !has(&["--lcores"]) {
        all.extend(["-l".to_owned(), first_core().to_string()]);
    }
    if !has(&["--file-prefix", "--in-memory"]) {
        all.push(format!("--file-prefix=coney-{}", std::process::id()));
    }
    all.extend(given.iter().map(|argument| (*argument).to_owned()));
    let to_c = |argument: String| CString::new(argument).map_err(|_zero| Error::ZeroByte);
    all.into_iter().map(to_c).collect()
}

fn first_core() -> usize {
    let allowed = rustix::thread::sched_getaffinity(None).ok();
    let is_allowed = |core: &usize| allowed.as_ref().is_some_and(|set| set.is_set(*core));
    (0..rustix::thread::CpuSet::MAX_CPU).find(is_allowed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str) -> Vec<String> {
        let arguments = complete(text).unwrap();
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn cores_and_file_prefix_are_added_unless_given() {
        let own = format!("--file-prefix=coney-{}", std::process::id());
        let core = first_core().to_string();
        assert_eq!(completed(""), ["coney", "-l", &core, &own]);
        for given in ["-l 1", "-l1", "-c 3", "--lcores=0@1", "--lcores 0"] {
            assert_eq!(completed(given)[1], own, "{given}");
        }
        assert!(!completed("--file-prefix x").contains(&own));
        assert!(!completed("--in-memory").contains(&own));
    }

    #[test]
    fn what_dpdk_would_refuse_in_its_log_only_is_refused_with_a_reason() {
        let refused = complete("--no-huge -m 256 --in-memory").unwrap_err();
        assert!(matches!(refused, Error::InMemoryWithoutHugePages));
        assert!(matches!(complete("a\0b").unwrap_err(), Error::ZeroByte));
    }
}
