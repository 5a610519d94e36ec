//! The allocator.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::{Counting, LIVE};

fn note(bytes: usize, sign: i64) {
    LIVE.with(|live: &Cell<i64>| {
        live.set(live.get() + sign * i64::try_from(bytes).unwrap_or(0));
    });
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(layout.size(), -1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}
