//! Memory for one device operation.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Zeroed bytes at an address that direct I/O takes. A buffer is moved into a request and comes back
/// in its completion, whatever the result was; its bytes stay where they are meanwhile.
pub struct DeviceBuffer {
    memory: Box<[u8]>,
    start: usize,
    len: usize,
    registration: Option<Registration>,
}

/// Where the kernel knows a buffer from: the ring and the place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) ring: u64,
    pub(crate) index: u16,
}

/// Alignment of every buffer in bytes: a page, which is enough for every device here.
pub const BUFFER_ALIGNMENT: usize = 4096;

/// Longest buffer in bytes; a request is never larger.
pub const BUFFER_LEN_MAX: usize = 1 << 20;

impl DeviceBuffer {
    /// `len` zero bytes.
    ///
    /// # Panics
    /// If `len` is above [`BUFFER_LEN_MAX`]: whoever asks splits its requests.
    pub fn zeroed(len: usize) -> Self {
        assert!(len <= BUFFER_LEN_MAX, "a buffer of {len} bytes; at most {BUFFER_LEN_MAX}");
        let memory = vec![0; len + BUFFER_ALIGNMENT].into_boxed_slice();
        // `align_offset` may answer usize::MAX only in const evaluation.
        let start = memory.as_ptr().align_offset(BUFFER_ALIGNMENT);
        Self { memory, start, len, registration: None }
    }

    pub(crate) const fn registration(&self) -> Option<Registration> {
        self.registration
    }

    /// Notes that the kernel knows this memory; it stays where it is as long as there is this buffer.
    pub(crate) const fn set_registration(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }

    /// Bytes that it was made for.
    pub const fn capacity(&self) -> usize {
        self.memory.len() - BUFFER_ALIGNMENT
    }

    /// Makes it `len` bytes long; the bytes stay what they were.
    ///
    /// # Panics
    /// If `len` is above what it was made for.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "longer than the buffer's memory");
        self.len = len;
    }
}

impl Deref for DeviceBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for DeviceBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}
