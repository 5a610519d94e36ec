//! Errors of the file system as Linux's error numbers, from which the C++ side makes the status that
//! RocksDB's own file system would give.

use coney_spdk_env::DeviceError;
use coney_spdk_env::fs::{ChangeError, FsError};

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EMLINK: i32 = 31;
const ENAMETOOLONG: i32 = 36;
const ENOLCK: i32 = 37;
const ENOTEMPTY: i32 = 39;

/// The number of an error, as POSIX file systems use them.
pub(crate) const fn number(error: FsError) -> i32 {
    match error {
        FsError::Change(change) => change_number(change),
        FsError::PathTooDeep => ENAMETOOLONG,
        // A full journal empties as a full disk does: by removing files.
        FsError::NoSpace | FsError::JournalFull | FsError::Device(DeviceError::NoSpace) => ENOSPC,
        FsError::WrongOpen => EBUSY,
        FsError::Locked => ENOLCK,
        FsError::BeyondEnd => EINVAL,
        FsError::Device(DeviceError::Io { code }) if code > 0 => code,
        FsError::Device(_) => EIO,
        FsError::Broken(_) => EROFS,
    }
}

const fn change_number(error: ChangeError) -> i32 {
    match error {
        ChangeError::NotFound => ENOENT,
        ChangeError::Exists => EEXIST,
        ChangeError::NotADirectory => ENOTDIR,
        ChangeError::IsADirectory => EISDIR,
        ChangeError::NotEmpty => ENOTEMPTY,
        ChangeError::Cycle | ChangeError::InvalidName => EINVAL,
        ChangeError::NameTooLong => ENAMETOOLONG,
        ChangeError::TooManyFiles | ChangeError::TooFragmented => ENOSPC,
        ChangeError::TooManyLinks => EMLINK,
        ChangeError::FileTooLong => EFBIG,
        // Nobody asks for more than there is room for.
        ChangeError::Inconsistent | ChangeError::NotFree | ChangeError::TailTooLong => EIO,
    }
}
