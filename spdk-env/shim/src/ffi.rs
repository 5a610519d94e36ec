//! The table of functions that the C++ side calls, one for each kind of device.
//!
//! A panic in any of them ends the process: that is what Rust does at an `extern "C"` boundary.

#![allow(unsafe_code, reason = "C++ calls these functions with addresses")]

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use coney_spdk_env::BlockDevice;
use coney_spdk_env::fs::{FileId, FsError, Kind, PendingRead, ReadAt};
use rocksdb::Env;

use crate::Mounted;
use crate::error::number;

/// A path's bytes, without a zero at the end.
#[repr(C)]
#[derive(Clone, Copy)]
struct Path {
    bytes: *const c_char,
    len: usize,
}

/// One read of several.
#[repr(C)]
struct Read {
    offset: u64,
    out: *mut c_char,
    len: usize,
    got: usize,
    result: i32,
}

/// What is known of a name.
#[repr(C)]
struct Stat {
    inode: u64,
    size: u64,
    links: u64,
    modified_ms: u64,
    is_directory: u32,
}

type Fs = *const c_void;

/// `coney_calls` in `cpp/file_system.cc`.
#[repr(C)]
struct Calls {
    release: unsafe extern "C" fn(Fs),
    open: unsafe extern "C" fn(Fs, Path, i32, *mut u64) -> i32,
    close: unsafe extern "C" fn(Fs, u64, i32) -> i32,
    append: unsafe extern "C" fn(Fs, u64, *const c_char, usize) -> i32,
    preallocate: unsafe extern "C" fn(Fs, u64, u64) -> i32,
    sync: unsafe extern "C" fn(Fs, u64) -> i32,
    commit: unsafe extern "C" fn(Fs) -> i32,
    truncate: unsafe extern "C" fn(Fs, u64, u64) -> i32,
    size: unsafe extern "C" fn(Fs, u64, *mut u64) -> i32,
    read: unsafe extern "C" fn(Fs, u64, *mut Read, usize) -> i32,
    begin_read: unsafe extern "C" fn(Fs, u64, u64, usize, *mut *mut c_void) -> i32,
    end_read: unsafe extern "C" fn(Fs, *mut c_void, *mut c_char, usize, *mut usize) -> i32,
    stat: unsafe extern "C" fn(Fs, Path, *mut Stat) -> i32,
    list: unsafe extern "C" fn(Fs, Path, *mut c_void, EachName) -> i32,
    change: unsafe extern "C" fn(Fs, i32, Path, Path) -> i32,
    lock: unsafe extern "C" fn(Fs, Path, *mut u64) -> i32,
    unlock: unsafe extern "C" fn(Fs, u64),
    space: unsafe extern "C" fn(Fs, *mut u64),
}

// Values of `how` and `what`, as in `cpp/file_system.cc`; what is left over is the last kind.
const OPEN_READ: i32 = 0;
const OPEN_CREATE: i32 = 1;
const CHANGE_UNLINK: i32 = 0;
const CHANGE_RENAME: i32 = 1;
const CHANGE_LINK: i32 = 2;
const CHANGE_CREATE_DIRECTORY: i32 = 3;
const BLOCK_BYTES: u64 = 4096;

type EachName = unsafe extern "C" fn(*mut c_void, *const c_char, usize);

const _: () = {
    assert!(size_of::<Path>() == 16 && size_of::<Read>() == 40 && size_of::<Stat>() == 40);
    assert!(size_of::<Calls>() == 18 * size_of::<usize>());
};

unsafe extern "C" {
    fn coney_env_create(fs: Fs, calls: *const Calls) -> *mut librocksdb_sys::rocksdb_env_t;
}

/// The `Env`, or nothing if the RocksDB that is linked is another than that of the headers.
pub(crate) fn env<D: BlockDevice + Send + 'static>(mounted: Arc<Mounted<D>>) -> Option<Env> {
    let env = raw_env(mounted);
    if env.is_null() {
        return None;
    }
    // SAFETY: `env` is a `rocksdb_env_t` of RocksDB's own layout, checked by its version, and
    // nobody else has it.
    Some(unsafe { Env::from_raw(env) })
}

fn raw_env<D: BlockDevice + Send + 'static>(
    mounted: Arc<Mounted<D>>,
) -> *mut librocksdb_sys::rocksdb_env_t {
    let fs: Fs = Arc::into_raw(mounted).cast();
    let calls: &'static Calls = const { &Table::<D>::CALLS };
    // SAFETY: `calls` lives as long as the process and is made for the type behind `fs`; the
    // reference that `fs` stands for becomes the function's, which gives it to `release` in the end.
    unsafe { coney_env_create(fs, std::ptr::from_ref(calls)) }
}

/// What every file operation answers, in `directory` of RocksDB's own file system or of ours.
#[cfg(test)]
pub(crate) fn transcript<D: BlockDevice + Send + 'static>(
    mounted: Option<Arc<Mounted<D>>>,
    directory: &str,
) -> String {
    unsafe extern "C" {
        fn coney_env_transcript(
            env: *mut librocksdb_sys::rocksdb_env_t,
            directory: *const c_char,
            to: *mut c_void,
            give: EachName,
        );
    }
    unsafe extern "C" fn take(to: *mut c_void, text: *const c_char, len: usize) {
        // SAFETY: `len` bytes of the caller's.
        let text = unsafe { slice(text, len) };
        // SAFETY: the vector below, which nobody else uses meanwhile.
        unsafe { &mut *to.cast::<Vec<u8>>() }.extend_from_slice(text);
    }
    let mut text: Vec<u8> = Vec::new();
    let env = match mounted {
        Some(mounted) => raw_env(mounted),
        // SAFETY: it demands nothing.
        None => unsafe { librocksdb_sys::rocksdb_create_default_env() },
    };
    let directory = std::ffi::CString::new(directory).expect("a path without zeros");
    // SAFETY: an `Env` that lives, a string that lives, and the vector that `take` is for.
    unsafe {
        coney_env_transcript(env, directory.as_ptr(), std::ptr::from_mut(&mut text).cast(), take);
    }
    // SAFETY: nobody uses it any more.
    unsafe { librocksdb_sys::rocksdb_env_destroy(env) };
    String::from_utf8(text).expect("a transcript is text")
}

/// RocksDB's own check of every file of a database against its checksums.
#[cfg(test)]
pub(crate) fn verify_checksum<D: BlockDevice + Send + 'static>(
    mounted: Arc<Mounted<D>>,
    path: &str,
) -> Result<(), String> {
    use librocksdb_sys as sys;
    let path = std::ffi::CString::new(path).expect("a path without zeros");
    let mut error: *mut c_char = std::ptr::null_mut();
    let error_at: *mut *mut c_char = &raw mut error;
    let env = raw_env(mounted);
    // SAFETY: it demands nothing.
    let options = unsafe { sys::rocksdb_options_create() };
    // SAFETY: both live until the end of this function.
    unsafe { sys::rocksdb_options_set_env(options, env) };
    // SAFETY: they live, and `error` is null.
    let db = unsafe { sys::rocksdb_open(options, path.as_ptr(), error_at) };
    if error.is_null() {
        // SAFETY: it demands nothing.
        let reads = unsafe { sys::rocksdb_readoptions_create() };
        // SAFETY: the database was opened, and `error` is null.
        unsafe { sys::rocksdb_verify_checksum_with_options(db, reads, error_at) };
        // SAFETY: nobody uses them any more.
        unsafe { sys::rocksdb_readoptions_destroy(reads) };
        // SAFETY: the same.
        unsafe { sys::rocksdb_close(db) };
    }
    // SAFETY: the same.
    unsafe { sys::rocksdb_options_destroy(options) };
    // SAFETY: the same.
    unsafe { sys::rocksdb_env_destroy(env) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: RocksDB gave a string, which stays allocated.
    Err(unsafe { std::ffi::CStr::from_ptr(error) }.to_string_lossy().into_owned())
}

/// The table of a kind of device.
struct Table<D>(std::marker::PhantomData<D>);

impl<D: BlockDevice + Send + 'static> Table<D> {
    const CALLS: Calls = Calls {
        release: release::<D>,
        open: open::<D>,
        close: close::<D>,
        append: append::<D>,
        preallocate: preallocate::<D>,
        sync: sync::<D>,
        commit: commit::<D>,
        truncate: truncate::<D>,
        size: size::<D>,
        read: read::<D>,
        begin_read: begin_read::<D>,
        end_read: end_read::<D>,
        stat: stat::<D>,
        list: list::<D>,
        change: change::<D>,
        lock: lock::<D>,
        unlock: unlock::<D>,
        space: space::<D>,
    };
}

/// # Safety
/// `fs` is what `env` made of a `Mounted<D>`, and not released yet.
unsafe fn mounted<'a, D: BlockDevice>(fs: Fs) -> &'a Mounted<D> {
    // SAFETY: the caller's promise; the C++ side keeps its reference while it is in a call.
    unsafe { &*fs.cast::<Mounted<D>>() }
}

/// # Safety
/// `len` bytes at `bytes` can be read and do not change as long as the result is used.
unsafe fn slice<'a>(bytes: *const c_char, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(bytes.cast(), len) }
}

/// # Safety
/// `len` bytes at `bytes` can be written, and nobody else uses them as long as the result is used.
unsafe fn slice_mut<'a>(bytes: *mut c_char, len: usize) -> &'a mut [u8] {
    if len == 0 {
        return &mut [];
    }
    // SAFETY: the caller's promise. RocksDB's buffers may be uninitialised memory, which is only
    // written to.
    unsafe { std::slice::from_raw_parts_mut(bytes.cast(), len) }
}

/// # Safety
/// As [`slice`].
unsafe fn path<'a>(path: Path) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice(path.bytes, path.len) }
}

fn code(result: Result<(), FsError>) -> i32 {
    result.map_or_else(number, |()| 0)
}

/// Writes a result's value to `out`, which can be written to.
///
/// # Safety
/// `out` points to a `T`, of which nobody else knows.
unsafe fn give<T>(result: Result<T, FsError>, out: *mut T) -> i32 {
    match result {
        Ok(value) => {
            // SAFETY: the caller's promise.
            unsafe { out.write(value) };
            0
        }
        Err(error) => number(error),
    }
}

unsafe extern "C" fn release<D: BlockDevice>(fs: Fs) {
    // SAFETY: `fs` came from `Arc::into_raw` in `env`, and the C++ side releases it once.
    drop(unsafe { Arc::from_raw(fs.cast::<Mounted<D>>()) });
}

unsafe extern "C" fn open<D: BlockDevice>(fs: Fs, name: Path, how: i32, file: *mut u64) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: a string of the caller's, who waits.
    let name = unsafe { path(name) };
    let opened = match how {
        OPEN_READ => fs.open_read(name),
        OPEN_CREATE => fs.create(name),
        _ => match fs.open_append(name) {
            Err(FsError::Change(coney_spdk_env::fs::ChangeError::NotFound)) => fs.create(name),
            opened => opened,
        },
    };
    // SAFETY: a variable of the caller's.
    unsafe { give(opened.map(FileId::number), file) }
}

unsafe extern "C" fn close<D: BlockDevice>(fs: Fs, file: u64, writer: i32) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let mounted = unsafe { mounted::<D>(fs) };
    let now_ms = mounted.clock.unix_now().0;
    code(mounted.fs.close(FileId::from_number(file), writer != 0, now_ms))
}

unsafe extern "C" fn append<D: BlockDevice>(
    fs: Fs,
    file: u64,
    bytes: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: the caller's bytes, who waits.
    let bytes = unsafe { slice(bytes, len) };
    code(fs.append(FileId::from_number(file), bytes))
}

unsafe extern "C" fn preallocate<D: BlockDevice>(fs: Fs, file: u64, size: u64) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    code(fs.preallocate(FileId::from_number(file), size))
}

unsafe extern "C" fn sync<D: BlockDevice>(fs: Fs, file: u64) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let mounted = unsafe { mounted::<D>(fs) };
    let now_ms = mounted.clock.unix_now().0;
    code(mounted.timed(|| mounted.fs.sync(&[FileId::from_number(file)], now_ms)))
}

unsafe extern "C" fn commit<D: BlockDevice>(fs: Fs) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let mounted = unsafe { mounted::<D>(fs) };
    code(mounted.timed(|| mounted.fs.commit()))
}

unsafe extern "C" fn truncate<D: BlockDevice>(fs: Fs, file: u64, size: u64) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let mounted = unsafe { mounted::<D>(fs) };
    let now_ms = mounted.clock.unix_now().0;
    code(mounted.fs.truncate(FileId::from_number(file), size, now_ms))
}

unsafe extern "C" fn size<D: BlockDevice>(fs: Fs, file: u64, size: *mut u64) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: a variable of the caller's.
    unsafe { give(fs.size(FileId::from_number(file)), size) }
}

unsafe extern "C" fn read<D: BlockDevice>(
    fs: Fs,
    file: u64,
    reads: *mut Read,
    count: usize,
) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    if count == 0 {
        return 0;
    }
    // SAFETY: an array of the caller's, who waits.
    let reads = unsafe { std::slice::from_raw_parts_mut(reads, count) };
    let asked = reads.iter().map(|read| {
        // SAFETY: a buffer of the caller's, another for each read.
        let out = unsafe { slice_mut(read.out, read.len) };
        ReadAt { offset: read.offset, out, result: Ok(0) }
    });
    let mut asked: Vec<ReadAt<'_>> = asked.collect();
    let result = fs.read_many(FileId::from_number(file), &mut asked);
    for (read, asked) in reads.iter_mut().zip(asked) {
        match asked.result {
            Ok(got) => read.got = got,
            Err(error) => read.result = number(error),
        }
    }
    code(result)
}

unsafe extern "C" fn begin_read<D: BlockDevice>(
    fs: Fs,
    file: u64,
    offset: u64,
    len: usize,
    pending: *mut *mut c_void,
) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    let begun = fs.begin_read(FileId::from_number(file), offset, len);
    // SAFETY: a variable of the caller's.
    unsafe { give(begun.map(|read| Box::into_raw(Box::new(read)).cast()), pending) }
}

unsafe extern "C" fn end_read<D: BlockDevice>(
    fs: Fs,
    pending: *mut c_void,
    out: *mut c_char,
    len: usize,
    got: *mut usize,
) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: `begin_read` made it for the same device, and the C++ side ends it once.
    let pending = *unsafe { Box::from_raw(pending.cast::<PendingRead<D>>()) };
    // SAFETY: RocksDB's buffer, which is the read's until its callback.
    let out = unsafe { slice_mut(out, len) };
    // SAFETY: a variable of the caller's.
    unsafe { give(fs.end_read(pending, out), got) }
}

unsafe extern "C" fn stat<D: BlockDevice>(fs: Fs, name: Path, out: *mut Stat) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: a string of the caller's, who waits.
    let name = unsafe { path(name) };
    let found = fs.metadata(name).map(|found| Stat {
        inode: found.inode,
        size: found.size,
        links: found.links.into(),
        modified_ms: found.modified_ms,
        is_directory: (found.kind == Kind::Directory).into(),
    });
    // SAFETY: a variable of the caller's.
    unsafe { give(found, out) }
}

unsafe extern "C" fn list<D: BlockDevice>(
    fs: Fs,
    name: Path,
    names: *mut c_void,
    each: EachName,
) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: a string of the caller's, who waits.
    let name = unsafe { path(name) };
    let found = fs.list(name).map(|found| {
        for name in found {
            // SAFETY: `each` copies the bytes into `names`, both the caller's, and does not throw.
            unsafe { each(names, name.as_ptr().cast(), name.len()) };
        }
    });
    code(found)
}

unsafe extern "C" fn change<D: BlockDevice>(fs: Fs, what: i32, name: Path, other: Path) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: a string of the caller's, who waits.
    let name = unsafe { path(name) };
    // SAFETY: the same.
    let other = unsafe { path(other) };
    code(match what {
        CHANGE_UNLINK => fs.unlink(name),
        CHANGE_RENAME => fs.rename(name, other),
        CHANGE_LINK => fs.link(name, other),
        CHANGE_CREATE_DIRECTORY => fs.create_directory(name),
        _ => fs.remove_directory(name),
    })
}

unsafe extern "C" fn lock<D: BlockDevice>(fs: Fs, name: Path, file: *mut u64) -> i32 {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    // SAFETY: a string of the caller's, who waits.
    let name = unsafe { path(name) };
    // SAFETY: a variable of the caller's.
    unsafe { give(fs.lock(name).map(FileId::number), file) }
}

unsafe extern "C" fn unlock<D: BlockDevice>(fs: Fs, file: u64) {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    fs.unlock(FileId::from_number(file));
}

unsafe extern "C" fn space<D: BlockDevice>(fs: Fs, free: *mut u64) {
    // SAFETY: the C++ side passes what it was given.
    let fs = unsafe { mounted::<D>(fs) }.fs();
    let space = fs.space();
    // SAFETY: a variable of the caller's.
    unsafe { free.write((space.free + space.held) * BLOCK_BYTES) };
}
