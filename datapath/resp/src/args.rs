//! The arguments of one command.

use std::ops::Index;

/// Where one argument lies in its buffer. Buffers are below 4 GiB (see [`crate::Limits`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Borrowed arguments; index 0 is the command's name.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// Arguments that lie in `buf` at `ranges`.
    pub fn new(buf: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        Self { buf, ranges }
    }

    /// How many arguments there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is not even a name.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Argument `index`, if there are that many.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        let start = range.start as usize;
        self.buf.get(start..start + range.len as usize)
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let buf = self.buf;
        self.ranges.iter().map(move |range| {
            let start = range.start as usize;
            &buf[start..start + range.len as usize]
        })
    }

    /// The arguments from `first` on; empty if there are fewer.
    pub fn skip(&self, first: usize) -> Self {
        Self { buf: self.buf, ranges: self.ranges.get(first..).unwrap_or_default() }
    }

    /// Bytes of all arguments together.
    pub fn bytes_len(&self) -> usize {
        self.ranges.iter().map(|range| range.len as usize).sum()
    }

    /// Bytes of the request that these arguments came in, as an array of bulk strings.
    pub fn request_len(&self) -> usize {
        let prefixed = |len: usize| len.checked_ilog10().map_or(1, |log| log as usize + 1) + 3;
        let bulks = self.ranges.iter().map(|range| range.len as usize);
        prefixed(self.len()) + bulks.map(|len| prefixed(len) + len + 2).sum::<usize>()
    }

    /// Copies the arguments out, for a command that outlives its receive buffer.
    pub fn to_owned(&self) -> OwnedArgs {
        let mut buf = Vec::with_capacity(self.bytes_len());
        let ranges = self
            .iter()
            .map(|arg| {
                let range = ArgRange { start: len_u32(buf.len()), len: len_u32(arg.len()) };
                buf.extend_from_slice(arg);
                range
            })
            .collect();
        OwnedArgs { buf: buf.into_boxed_slice(), ranges }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// # Panics
    /// If there is no such argument: handlers index only below the arity that was checked.
    fn index(&self, index: usize) -> &[u8] {
        self.get(index).expect("handlers index below the checked arity")
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// Arguments with their own buffer.
#[derive(Clone)]
pub struct OwnedArgs {
    buf: Box<[u8]>,
    ranges: Box<[ArgRange]>,
}

impl OwnedArgs {
    /// Arguments made of `parts`.
    pub fn from_parts<T: AsRef<[u8]>>(parts: &[T]) -> Self {
        let mut buf = Vec::new();
        let mut ranges = Vec::with_capacity(parts.len());
        for part in parts {
            let part = part.as_ref();
            ranges.push(ArgRange { start: len_u32(buf.len()), len: len_u32(part.len()) });
            buf.extend_from_slice(part);
        }
        Self { buf: buf.into_boxed_slice(), ranges: ranges.into_boxed_slice() }
    }

    /// Borrows the arguments.
    pub fn as_args(&self) -> Args<'_> {
        Args { buf: &self.buf, ranges: &self.ranges }
    }

    /// Heap bytes that these arguments hold.
    pub fn heap_bytes(&self) -> usize {
        self.buf.len() + size_of_val::<[ArgRange]>(&self.ranges)
    }
}

impl std::fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_args().fmt(f)
    }
}

/// A length inside a request buffer as `u32`.
///
/// # Panics
/// If the buffer outgrew 4 GiB, which [`crate::Limits`] does not let happen.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("request buffers are limited below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_request_is_that_of_its_bytes() {
        for parts in [vec!["client", "list"], vec![""], vec!["set", "k", "a value of 20 bytes "]] {
            let mut request = format!("*{}\r\n", parts.len());
            for part in &parts {
                request += &format!("${}\r\n{part}\r\n", part.len());
            }
            assert_eq!(OwnedArgs::from_parts(&parts).as_args().request_len(), request.len());
        }
    }
}
