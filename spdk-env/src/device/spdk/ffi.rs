//! All unsafe code: SPDK, through the C shim in `c/`, behind safe types.
//!
//! SPDK is trusted to keep to its interface. What these types guarantee is that *we* do: everything
//! happens on the thread that started SPDK ([`Started`] cannot leave it), and a request with its
//! buffer stays in place from `submit` until it comes back.

#![allow(unsafe_code, reason = "a C library, and memory shared with devices")]

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::device::{DeviceError, Operation};
use crate::number::to_u64;

// The module `bindings`, from the build script.
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

use bindings::{
    CONEY_SPDK_BAD_CONFIG, CONEY_SPDK_BAD_PCI_ADDRESS, CONEY_SPDK_FLUSH, CONEY_SPDK_FLUSH_DISABLED,
    CONEY_SPDK_FLUSH_IGNORED, CONEY_SPDK_FLUSH_MISSING, CONEY_SPDK_FLUSH_REAL, CONEY_SPDK_NAME_LEN,
    CONEY_SPDK_NO_ENVIRONMENT, CONEY_SPDK_NO_THREAD, CONEY_SPDK_READ, CONEY_SPDK_STARTED,
    CONEY_SPDK_TEXT_LEN, CONEY_SPDK_UNMAP, CONEY_SPDK_WRITE, coney_spdk_device, coney_spdk_options,
    coney_spdk_request,
};

/// Lengths of arrays of C's.
const TEXT_LEN: usize = CONEY_SPDK_TEXT_LEN as usize;
const NAME_LEN: usize = CONEY_SPDK_NAME_LEN as usize;

/// What SPDK is started with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) config: Vec<u8>,
    pub(super) pci: Vec<CString>,
    pub(super) memory_mb: u32,
    pub(super) no_huge: bool,
}

/// Where the start ended, if it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    PciAddress,
    Environment,
    Thread,
    Config,
    Subsystems,
}

/// A failed start: where, the error number, and SPDK's first complaint.
#[derive(Debug)]
pub(super) struct StartError {
    pub(super) step: Step,
    pub(super) code: i32,
    pub(super) said: String,
}

/// What a flush of a bdev does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    Real,
    Missing,
    Ignored,
    Disabled,
    Unknown,
}

/// What a bdev is like.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) block_len: u32,
    pub(super) metadata_len: u32,
    pub(super) block_count: u64,
    pub(super) flush: Flush,
    pub(super) can_unmap: bool,
    pub(super) is_memory: bool,
    pub(super) module: String,
}

/// A zero-terminated string in an array of C's.
fn text(array: &[c_char]) -> String {
    let bytes: Vec<u8> =
        array.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// SPDK, running in this process, for the thread that started it.
#[derive(Debug)]
pub(super) struct Started(PhantomData<Rc<()>>);

impl Started {
    /// Starts SPDK; once in a process, which the caller sees to.
    pub(super) fn new(start: &Start) -> Result<Self, StartError> {
        let pci: Vec<*const c_char> = start.pci.iter().map(|address| address.as_ptr()).collect();
        let options = coney_spdk_options {
            config: start.config.as_ptr().cast(),
            config_len: start.config.len(),
            pci: pci.as_ptr(),
            pci_count: pci.len(),
            memory_mb: start.memory_mb,
            no_huge: u8::from(start.no_huge),
        };
        let mut code = 0;
        let mut said = [0 as c_char; TEXT_LEN];
        // SAFETY: `options` and what it points to live during the call, with the lengths that it
        // names; `code` and `said` are writable, and `said` has the length that the header demands.
        let step = unsafe {
            bindings::coney_spdk_start(&raw const options, &raw mut code, said.as_mut_ptr())
        };
        let step = match step {
            CONEY_SPDK_STARTED => return Ok(Self(PhantomData)),
            CONEY_SPDK_BAD_PCI_ADDRESS => Step::PciAddress,
            CONEY_SPDK_NO_ENVIRONMENT => Step::Environment,
            CONEY_SPDK_NO_THREAD => Step::Thread,
            CONEY_SPDK_BAD_CONFIG => Step::Config,
            _ => Step::Subsystems,
        };
        Err(StartError { step, code: -code, said: text(&said) })
    }

    /// Opens a bdev; the error is a number of the operating system.
    pub(super) fn open<W>(&self, name: &CStr) -> Result<(Bdev<W>, Shape), i32> {
        let mut device: *mut coney_spdk_device = std::ptr::null_mut();
        let mut shape = std::mem::MaybeUninit::<bindings::coney_spdk_shape>::zeroed();
        // SAFETY: the name is terminated, and both results are writable and of the right type; this
        // is the thread that started SPDK, which `Started` cannot leave.
        let result = unsafe {
            bindings::coney_spdk_open(name.as_ptr(), &raw mut device, shape.as_mut_ptr())
        };
        let Some(device) = NonNull::new(device).filter(|_| result == 0) else {
            return Err(-result);
        };
        // SAFETY: a structure of integers and arrays of them, zeroed and then filled.
        let shape = unsafe { shape.assume_init() };
        let shape = Shape {
            block_len: shape.block_len,
            metadata_len: shape.metadata_len,
            block_count: shape.block_count,
            flush: match shape.flush {
                CONEY_SPDK_FLUSH_REAL => Flush::Real,
                CONEY_SPDK_FLUSH_MISSING => Flush::Missing,
                CONEY_SPDK_FLUSH_IGNORED => Flush::Ignored,
                CONEY_SPDK_FLUSH_DISABLED => Flush::Disabled,
                _ => Flush::Unknown,
            },
            can_unmap: shape.can_unmap != 0,
            is_memory: shape.is_memory != 0,
            module: text(&shape.module),
        };
        Ok((Bdev { device, in_flight: 0, here: PhantomData }, shape))
    }

    /// The names of all bdevs.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut name = [0 as c_char; NAME_LEN];
        loop {
            let mut next = [0 as c_char; NAME_LEN];
            // SAFETY: `name` is terminated, `next` is writable and has the length that the header
            // demands; this is the thread that started SPDK.
            let found = unsafe { bindings::coney_spdk_next_name(name.as_ptr(), next.as_mut_ptr()) };
            if found == 0 {
                return names;
            }
            names.push(text(&next));
            name = next;
        }
    }

    /// Lets SPDK work; whether it found any.
    pub(super) fn poll(&self) -> bool {
        // SAFETY: this is the thread that started SPDK.
        unsafe { bindings::coney_spdk_poll() != 0 }
    }

    /// Ends SPDK. All bdevs must have been dropped.
    pub(super) fn stop(self) {
        // SAFETY: this is the thread that started SPDK, and nobody can use it afterwards.
        unsafe { bindings::coney_spdk_stop() };
    }
}

/// SPDK's version.
pub(super) fn version() -> String {
    // SAFETY: takes nothing, and returns a constant.
    let version = unsafe { bindings::coney_spdk_version() };
    // SAFETY: a terminated constant.
    unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
}

/// An operation and whoever waits for it, on its way through SPDK.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Flight<W> {
    // The first, so that a pointer to it is one to the whole.
    raw: coney_spdk_request,
    /// What is done.
    pub(super) operation: Operation,
    /// Whoever waits.
    pub(super) waiter: W,
}

// SAFETY: the pointers in `raw` mean something only between `submit` and `ended`, and in between
// nobody but SPDK's thread has the request; buffer and waiter are `Send` themselves.
unsafe impl<W: Send> Send for Flight<W> {}

/// What became of a request that was handed over.
#[derive(Debug)]
pub(super) enum Submitted<W> {
    /// It comes back from [`Bdev::ended`].
    Taken,
    /// SPDK has no room; later.
    Later(Box<Flight<W>>),
    /// It failed at once.
    Failed(Box<Flight<W>>, DeviceError),
}

impl<W> Flight<W> {
    pub(super) fn new(operation: Operation, waiter: W) -> Box<Self> {
        let raw = coney_spdk_request {
            operation: 0,
            buffer: std::ptr::null_mut(),
            block: 0,
            count: 0,
            status: 0,
            device: std::ptr::null_mut(),
            bounce: std::ptr::null_mut(),
            next: std::ptr::null_mut(),
        };
        Box::new(Self { raw, operation, waiter })
    }

    /// Describes to SPDK what is to be done: the operation, or a flush in its place.
    fn describe(&mut self, block_len: u32, as_flush: bool) {
        let blocks = |len: usize| to_u64(len) / u64::from(block_len);
        let (operation, buffer, block, count) = match &mut self.operation {
            Operation::Flush => flush(),
            _ if as_flush => flush(),
            Operation::Read { block, buffer } => {
                let count = blocks(buffer.len());
                (CONEY_SPDK_READ, buffer.as_mut_ptr().cast(), *block, count)
            }
            Operation::Write { block, buffer, .. } => {
                let count = blocks(buffer.len());
                (CONEY_SPDK_WRITE, buffer.as_mut_ptr().cast(), *block, count)
            }
            Operation::Unmap { block, count } => {
                let nothing = std::ptr::null_mut();
                (CONEY_SPDK_UNMAP, nothing, *block, *count)
            }
        };
        self.raw.operation = operation;
        self.raw.buffer = buffer;
        self.raw.block = block;
        self.raw.count = count;
    }

    /// Whether the last that was done was a flush.
    pub(super) fn was_flush(&self) -> bool {
        self.raw.operation == CONEY_SPDK_FLUSH
    }

    /// How it ended.
    pub(super) fn result(&self) -> Result<(), DeviceError> {
        match self.raw.status {
            0 => Ok(()),
            status => Err(fault(status)),
        }
    }
}

fn flush() -> (u32, *mut std::ffi::c_void, u64, u64) {
    (CONEY_SPDK_FLUSH, std::ptr::null_mut(), 0, 0)
}

/// Linux's error numbers that this file knows.
const ENOMEM: i32 = 12;
const ENOSPC: i32 = 28;

/// What a negative error number of SPDK's means.
fn fault(status: i32) -> DeviceError {
    if status == -ENOSPC {
        DeviceError::NoSpace
    } else {
        DeviceError::Io { code: status.saturating_neg() }
    }
}

/// An open bdev and its I/O channel, for the thread that started SPDK. Of all its requests the waiter
/// is a `W`.
#[derive(Debug)]
pub(super) struct Bdev<W> {
    device: NonNull<coney_spdk_device>,
    in_flight: usize,
    here: PhantomData<Rc<W>>,
}

impl<W> Bdev<W> {
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Hands over a request inside the bdev, or a flush in its place.
    pub(super) fn submit(
        &mut self,
        mut flight: Box<Flight<W>>,
        block_len: u32,
        as_flush: bool,
    ) -> Submitted<W> {
        flight.describe(block_len, as_flush);
        let flight = Box::into_raw(flight);
        // SAFETY: the device is open. The request stays at its address, and its buffer with it,
        // until `ended` returns it: nobody else has a pointer to the box any more. The buffer has
        // `count` blocks.
        let result = unsafe { bindings::coney_spdk_submit(self.device.as_ptr(), flight.cast()) };
        if result == 0 {
            self.in_flight += 1;
            return Submitted::Taken;
        }
        // SAFETY: SPDK did not take it, so it is ours again; it was a box.
        let flight = unsafe { Box::from_raw(flight) };
        if result == -ENOMEM {
            return Submitted::Later(flight);
        }
        Submitted::Failed(flight, fault(result))
    }

    /// A request that has ended.
    pub(super) fn ended(&mut self) -> Option<Box<Flight<W>>> {
        // SAFETY: the device is open.
        let request = unsafe { bindings::coney_spdk_ended(self.device.as_ptr()) };
        if request.is_null() {
            return None;
        }
        self.in_flight -= 1;
        // SAFETY: only `submit` hands requests over, each the first field of a boxed `Flight<W>`
        // whose pointer covers the whole, and the shim has let go of this one.
        Some(unsafe { Box::from_raw(request.cast()) })
    }
}

impl<W> Drop for Bdev<W> {
    fn drop(&mut self) {
        assert!(self.in_flight == 0, "a bdev is closed after its requests have come back");
        // SAFETY: opened by `Started::open`, closed once, and nothing is in flight.
        unsafe { bindings::coney_spdk_close(self.device.as_ptr()) };
    }
}
