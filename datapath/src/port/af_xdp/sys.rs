//! All unsafe code of the AF_XDP port, behind safe types.
//!
//! - [`mapping`]: memory from mmap, unmapped when dropped.
//! - [`chunks`]: the frame buffers (UMEM); hands out bytes only of chunks that the program owns.
//! - [`ring_memory`]: indices and slots of one ring shared with the kernel.
//! - [`calls`]: socket options and ioctls that rustix does not have.
//!
//! The kernel is trusted to keep to the AF_XDP protocol: it touches a chunk only between the
//! moment when the chunk's address was published in a ring and the moment when it comes back in
//! another. What these types guarantee is that *we* keep to it.

#![allow(unsafe_code, reason = "memory shared with the kernel, and calls that rustix lacks")]

pub(super) mod calls;
pub(super) mod chunks;
pub(super) mod mapping;
#[cfg(test)]
pub(super) mod packet_socket;
pub(super) mod ring_memory;
