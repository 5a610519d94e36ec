//! The byte service that both servers offer, without I/O: values are put, fetched and echoed.
//!
//! A request is one letter, the length of a value in four bytes, and for `P` and `E` the value.
//! `P` is answered with a hash of the value, `G` with the beginning of a text that both ends know,
//! `E` with the value.

use std::sync::LazyLock;

use coney_datapath::port::sim::Rng;

/// What values are made of.
pub(crate) static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::new(0x0c0e);
    (0..VALUE_LEN_MAX / 8).flat_map(|_| rng.next_u64().to_be_bytes()).collect()
});
pub(crate) const VALUE_LEN_MAX: usize = 1 << 20;
pub(crate) const PUT: u8 = b'P';
pub(crate) const GET: u8 = b'G';
pub(crate) const ECHO: u8 = b'E';
const HEADER_LEN: usize = 5;

/// FNV-1a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) fn plus(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

/// The header of a request.
pub(crate) fn request(operation: u8, len: usize) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = u32::try_from(len).expect("a short value").to_be_bytes();
    [operation, a, b, c, d]
}

/// One connection's side of the service.
#[derive(Debug, Default)]
pub(crate) struct Service {
    header: Vec<u8>,
    /// Bytes of the value that are still to come.
    missing: usize,
    hash: Hash,
    output: Vec<u8>,
    written: usize,
}

impl Service {
    /// Takes what arrived.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.missing == 0 {
                self.header.push(*first);
                bytes = rest;
                self.begin();
                continue;
            }
            let (value, rest) = bytes.split_at(bytes.len().min(self.missing));
            self.missing -= value.len();
            bytes = rest;
            self.on_value(value);
        }
    }

    fn begin(&mut self) {
        let [operation, a, b, c, d] = self.header[..] else { return };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        assert!(len <= VALUE_LEN_MAX, "the peer is ours and asks for no more");
        match operation {
            GET => {
                self.output.extend_from_slice(&TEXT[..len]);
                self.header.clear();
            }
            PUT | ECHO => self.missing = len,
            _ => panic!("damaged: {:?}", self.header),
        }
    }

    fn on_value(&mut self, value: &[u8]) {
        if self.header[0] == ECHO {
            self.output.extend_from_slice(value);
        } else {
            self.hash = self.hash.plus(value);
        }
        if self.missing == 0 {
            if self.header[0] == PUT {
                let hash = std::mem::take(&mut self.hash);
                self.output.extend_from_slice(&hash.to_bytes());
            }
            self.header.clear();
        }
    }

    /// What is to be sent.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// The first `len` bytes of the output were sent.
    pub(crate) fn consume(&mut self, len: usize) {
        self.written += len;
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }
}
