//! The data directory: its file system and the space on it.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs};

use super::{Finding, Status};

/// Below this, compactions have no room.
const FREE_WANTED: u64 = 1 << 30;

pub(super) fn findings(dir: &Path) -> Vec<Finding> {
    let Some(existing) = existing_parent(dir) else {
        return vec![
            Finding::new("data directory", Status::Missing, format!("{}", dir.display()))
                .cure("choose a directory that exists with --dir"),
        ];
    };
    vec![writable(dir, &existing), file_system(&existing)]
}

/// The directory itself, or the first one above it that exists.
fn existing_parent(dir: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(dir).ok()?;
    absolute.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

fn writable(dir: &Path, existing: &Path) -> Finding {
    let shown = dir.display();
    if access(existing, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::new(
            "data directory",
            Status::Missing,
            format!("{shown}: no permission to write in {}", existing.display()),
        )
        .cure("choose another one with --dir, or change its owner");
    }
    let state = if dir.exists() { "exists" } else { "will be created" };
    Finding::new("data directory", Status::Good, format!("{shown}: {state}"))
}

fn file_system(existing: &Path) -> Finding {
    let Ok(found) = statfs(existing) else {
        return Finding::new("file system", Status::Fact, "unknown");
    };
    let block_bytes = u64::try_from(found.f_bsize).unwrap_or(0);
    let free = found.f_bavail.saturating_mul(block_bytes);
    let name = name(found.f_type);
    let text = format!("{name}, {} MiB free", free >> 20);
    match name {
        "tmpfs" => Finding::new("file system", Status::Fair, text)
            .cure("data in memory is lost when the host stops: choose a disk with --dir"),
        "nfs" | "cifs" | "fuse" => Finding::new("file system", Status::Fair, text)
            .cure("a network file system may not keep what it says it synced: prefer a local disk"),
        _ if free < FREE_WANTED => Finding::new("file system", Status::Fair, text)
            .cure("less than 1 GiB is free: make room or choose another directory with --dir"),
        _ => Finding::new("file system", Status::Good, text),
    }
}

/// Names of linux/magic.h.
fn name(magic: rustix::fs::FsWord) -> &'static str {
    match magic & 0xffff_ffff {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x6573_5546 => "fuse",
        _ => "another file system",
    }
}
