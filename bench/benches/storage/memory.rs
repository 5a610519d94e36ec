//! A memory cgroup for each run, so that all places have the same memory in total, the page cache with
//! it, however much the machine has.

use std::io;
use std::path::{Path, PathBuf};

/// Where both versions of cgroups have their controllers.
const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup with a limit, removed in the end.
pub(super) struct Limited {
    directory: PathBuf,
}

/// Megabytes that a cgroup is charged with.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// The process' own and the kernel's for it.
    pub(super) process: f64,
    pub(super) page_cache: f64,
}

impl Limited {
    /// A new one of `bytes`, inside whatever limits hold for this process already.
    ///
    /// # Errors
    /// Of the operating system: no privilege, or no controller for memory.
    pub(super) fn new(bytes: u64) -> io::Result<Self> {
        let mine = std::fs::read_to_string("/proc/self/cgroup")?;
        let (parent, limit) = parent(&mine).ok_or(io::ErrorKind::NotFound)?;
        let directory = parent.join(format!("coney-bench-storage-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let limited = Self { directory };
        std::fs::write(limited.directory.join(limit), bytes.to_string())?;
        Ok(limited)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Whoever was in it has ended.
        if let Err(error) = std::fs::remove_dir(&self.directory) {
            eprintln!("{} stays: {error}", self.directory.display());
        }
    }
}

/// Where a process in the cgroups `mine` (cgroups(7)) makes one with a limit, and the limit's file.
fn parent(mine: &str) -> Option<(PathBuf, &'static str)> {
    mine.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        if controllers.split(',').any(|controller| controller == "memory") {
            return Some((Path::new(ROOT).join("memory").join(path), "memory.limit_in_bytes"));
        }
        // Version 2 allows no group beside processes: the new one is a sibling.
        let own = Path::new(ROOT).join(path);
        let parent = if path.is_empty() { own } else { own.parent()?.to_owned() };
        let enabled = std::fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
        let has_memory =
            controllers.is_empty() && enabled.split(' ').any(|word| word.trim() == "memory");
        has_memory.then_some((parent, "memory.max"))
    })
}

/// Puts this process into the cgroup at `directory`. What it has so far stays charged to the one before.
pub(super) fn enter(directory: &Path) -> io::Result<()> {
    std::fs::write(directory.join("cgroup.procs"), "0")
}

/// What the cgroup at `directory` is charged with now.
pub(super) fn usage(directory: &Path) -> io::Result<Usage> {
    let stat = std::fs::read_to_string(directory.join("memory.stat"))?;
    let megabytes = |text: &str| text.trim().parse::<f64>().unwrap_or(0.0) / f64::from(1 << 20);
    let of = |names: &[&str]| -> f64 {
        let lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(name, _)| names.contains(name)).map(|(_, value)| megabytes(value)).sum()
    };
    // Version 1 has the kernel's part in a file of its own.
    let kernel = std::fs::read_to_string(directory.join("memory.kmem.usage_in_bytes"));
    let kernel = kernel.map_or(0.0, |text| megabytes(&text));
    Ok(Usage {
        process: of(&["rss", "anon", "kernel"]) + kernel,
        page_cache: of(&["cache", "file"]),
    })
}
