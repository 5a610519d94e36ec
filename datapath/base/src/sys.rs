//! Hints to the CPU.

#![allow(unsafe_code, reason = "the prefetch instruction")]

/// Bytes that a CPU moves together.
const CACHE_LINE: usize = 64;

/// Lets the CPU fetch all of `value` into its caches without waiting for it; what is behind
/// pointers in it is not followed. Does nothing on architectures without a stable way to say so.
#[inline]
pub fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    let first = start.wrapping_sub(start.addr() % CACHE_LINE);
    let end = start.addr() + size_of::<T>();
    let mut line = first;
    while line.addr() < end {
        prefetch_line(line);
        line = line.wrapping_add(CACHE_LINE);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line(line: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch accesses nothing and never faults, whatever the address; SSE is part of
    // every x86-64 CPU.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch_line(_line: *const i8) {}
