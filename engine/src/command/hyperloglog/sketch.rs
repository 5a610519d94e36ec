//! The bytes of a HyperLogLog, as Redis defines them (`hyperloglog.c`).
//!
//! ```text
//! "HYLL" [encoding u8][0 0 0][count u64, little endian; its highest bit: not valid][registers]
//! ```
//! Dense: 16384 registers of 6 bits, the lowest bits of a byte first. Sparse: runs of registers,
//!
//! ```text
//! 00xxxxxx            ZERO   x+1 registers are 0
//! 01xxxxxx yyyyyyyy   XZERO  xy+1 registers are 0
//! 1vvvvvxx            VAL    x+1 registers are v+1
//! ```
//! A sparse one becomes dense when a register exceeds 32 or the string 3000 bytes.

/// Registers of every sketch.
pub(super) const REGISTERS: usize = 1 << P;
/// Bits of a hash that choose the register.
const P: u32 = 14;
const HEADER_LEN: usize = 16;
const DENSE_LEN: usize = HEADER_LEN + REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Longest sparse sketch. (`hll-sparse-max-bytes` of Redis, its default.)
const SPARSE_LEN_MAX: usize = 3000;
/// The highest register of a sparse sketch.
const SPARSE_VALUE_MAX: u8 = 32;
/// Byte of the cached count that has the bit which says that it is not valid.
const CACHE_FLAG_AT: usize = 15;
const CACHE_INVALID: u8 = 0x80;
/// The longest runs.
const ZERO_LEN_MAX: usize = 64;
const VALUE_LEN_MAX: usize = 4;
/// Runs that are looked at for merging after a change.
const MERGE_SCAN: usize = 5;

/// Registers have 6 bits.
pub(super) const HISTOGRAM_LEN: usize = 64;
/// How many registers have each value.
pub(super) type Histogram = [u32; HISTOGRAM_LEN];

/// Runs that do not add up to all registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Corrupted;

/// Whether a string has the header of a sketch, and if dense, its length.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    match bytes.get(..HEADER_LEN) {
        Some([b'H', b'Y', b'L', b'L', DENSE, ..]) => bytes.len() == DENSE_LEN,
        Some([b'H', b'Y', b'L', b'L', SPARSE, ..]) => true,
        Some(_) | None => false,
    }
}

pub(super) fn is_dense(bytes: &[u8]) -> bool {
    bytes.get(4) == Some(&DENSE)
}

/// The count in the header, if it is valid.
pub(super) fn cached_count(bytes: &[u8]) -> Option<i64> {
    let (_, tail) = bytes.split_at_checked(8)?;
    let count = i64::from_le_bytes(*tail.first_chunk::<8>()?);
    (count >= 0).then_some(count)
}

/// The register of an element, and the value that it asks for: the place of the lowest set bit in
/// the rest of its hash, from 1.
fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash_64a(element, 0xadc8_3b19);
    let rest = hash >> P | 1 << (64 - P);
    let index = usize::try_from(hash).unwrap_or(usize::MAX) % REGISTERS;
    (index, u8::try_from(rest.trailing_zeros() + 1).expect("at most 51"))
}

/// MurmurHash64A by Austin Appleby; the hash of every sketch, so it never changes.
fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

/// A run of a sparse sketch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    /// 0 for ZERO and XZERO.
    value: u8,
    /// Registers.
    len: usize,
    /// Bytes that it takes.
    width: usize,
}

impl Run {
    /// The run at the start of `bytes`; a second byte that is missing counts as 0.
    fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        Some(match first >> 6 {
            0 => Self { value: 0, len: usize::from(first) + 1, width: 1 },
            1 => {
                let second = bytes.get(1).copied().unwrap_or(0);
                let len = usize::from(first & 0x3f) << 8 | usize::from(second);
                Self { value: 0, len: len + 1, width: 2 }
            }
            _ => Self { value: (first >> 2 & 0x1f) + 1, len: usize::from(first & 3) + 1, width: 1 },
        })
    }

    /// Appends a run as short as it can be; none if it is empty. At most 4 registers with a value.
    fn write(out: &mut Vec<u8>, value: u8, len: usize) {
        let Some(last) = len.checked_sub(1) else { return };
        let [.., high, low] = last.to_be_bytes();
        if value > 0 {
            out.push(0x80 | (value - 1) << 2 | low & 3);
        } else if len > ZERO_LEN_MAX {
            out.extend_from_slice(&[0x40 | high, low]);
        } else {
            out.push(low);
        }
    }
}

/// Calls `f` with the first register and each run, up to a run with a value that would leave the
/// registers.
fn for_each_run(mut runs: &[u8], mut f: impl FnMut(usize, Run)) -> Result<(), Corrupted> {
    let mut first = 0_usize;
    while let Some(run) = Run::read(runs) {
        // What follows the last register is passed over, as Redis does.
        if run.value > 0 && first.saturating_add(run.len) > REGISTERS {
            break;
        }
        f(first, run);
        first = first.saturating_add(run.len);
        runs = runs.get(run.width..).unwrap_or_default();
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// The bytes and the shift of a dense register.
fn dense_place(index: usize) -> (usize, usize) {
    (HEADER_LEN + index * 6 / 8, index * 6 % 8)
}

fn dense_get(bytes: &[u8], index: usize) -> u8 {
    let (at, shift) = dense_place(index);
    let low = bytes.get(at).copied().unwrap_or(0);
    let high = bytes.get(at + 1).copied().unwrap_or(0);
    let [value, _] = (u16::from_le_bytes([low, high]) >> shift & 0x3f).to_le_bytes();
    value
}

fn dense_put(bytes: &mut [u8], index: usize, value: u8) {
    let (at, shift) = dense_place(index);
    let [low_mask, high_mask] = (0x3f_u16 << shift).to_le_bytes();
    let [low, high] = (u16::from(value) << shift).to_le_bytes();
    for (at, mask, part) in [(at, low_mask, low), (at + 1, high_mask, high)] {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = *byte & !mask | part;
        }
    }
}

/// All registers, one byte each.
#[derive(Clone, Debug)]
pub(super) struct Registers(Vec<u8>);

impl Registers {
    pub(super) fn new() -> Self {
        Self(vec![0; REGISTERS])
    }

    pub(super) fn values(&self) -> &[u8] {
        &self.0
    }

    /// Raises each register to that of a sketch, if that is higher.
    pub(super) fn raise(&mut self, bytes: &[u8]) -> Result<(), Corrupted> {
        if is_dense(bytes) {
            for (index, register) in self.0.iter_mut().enumerate() {
                *register = (*register).max(dense_get(bytes, index));
            }
            return Ok(());
        }
        let runs = bytes.get(HEADER_LEN..).unwrap_or_default();
        for_each_run(runs, |first, run| {
            let covered = self.0.get_mut(first..first + run.len).unwrap_or_default();
            for register in covered {
                *register = (*register).max(run.value);
            }
        })
    }

    pub(super) fn histogram(&self) -> Histogram {
        let mut histogram = [0; HISTOGRAM_LEN];
        for register in &self.0 {
            histogram[usize::from(register & 0x3f)] += 1;
        }
        histogram
    }
}

/// A sketch that is being changed.
#[derive(Clone, Debug)]
pub(super) struct Sketch(Vec<u8>);

impl Sketch {
    /// An empty one: sparse, and without elements for sure.
    pub(super) fn new() -> Self {
        let mut bytes = b"HYLL\x01".to_vec();
        bytes.resize(HEADER_LEN, 0);
        Run::write(&mut bytes, 0, REGISTERS);
        Self(bytes)
    }

    /// From a string that [`is_one`].
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn invalidate(&mut self) {
        if let Some(byte) = self.0.get_mut(CACHE_FLAG_AT) {
            *byte |= CACHE_INVALID;
        }
    }

    pub(super) fn cache_count(&mut self, count: i64) {
        if let Some(field) = self.0.get_mut(8..HEADER_LEN) {
            field.copy_from_slice(&count.to_le_bytes());
        }
    }

    fn runs(&self) -> &[u8] {
        self.0.get(HEADER_LEN..).unwrap_or_default()
    }

    pub(super) fn histogram(&self) -> Result<Histogram, Corrupted> {
        let mut registers = Registers::new();
        registers.raise(&self.0)?;
        Ok(registers.histogram())
    }

    /// Adds an element; whether a register changed.
    pub(super) fn add(&mut self, element: &[u8]) -> Result<bool, Corrupted> {
        let (index, value) = register_of(element);
        self.set(index, value)
    }

    /// Raises every register to those given.
    pub(super) fn set_all(&mut self, registers: &Registers) -> Result<(), Corrupted> {
        for (index, value) in registers.values().iter().enumerate() {
            if *value > 0 {
                self.set(index, *value)?;
            }
        }
        Ok(())
    }

    /// Raises a register; whether it changed.
    fn set(&mut self, index: usize, value: u8) -> Result<bool, Corrupted> {
        if !is_dense(&self.0) {
            return self.set_sparse(index, value);
        }
        let is_higher = value > dense_get(&self.0, index);
        if is_higher {
            dense_put(&mut self.0, index, value);
        }
        Ok(is_higher)
    }

    pub(super) fn make_dense(&mut self) -> Result<(), Corrupted> {
        if is_dense(&self.0) {
            return Ok(());
        }
        let mut dense = self.0.get(..HEADER_LEN).unwrap_or_default().to_vec();
        dense.resize(DENSE_LEN, 0);
        dense[4] = DENSE;
        for_each_run(self.runs(), |first, run| {
            if run.value > 0 {
                for index in first..first + run.len {
                    dense_put(&mut dense, index, run.value);
                }
            }
        })?;
        self.0 = dense;
        Ok(())
    }

    /// `hllSparseSet` of Redis: which runs there are after a change is part of the format.
    fn set_sparse(&mut self, index: usize, value: u8) -> Result<bool, Corrupted> {
        if value > SPARSE_VALUE_MAX {
            self.make_dense()?;
            return self.set(index, value);
        }
        let (mut at, mut previous, mut first) = (HEADER_LEN, HEADER_LEN, 0);
        let run = loop {
            let run = Run::read(self.0.get(at..).unwrap_or_default()).ok_or(Corrupted)?;
            if index < first + run.len {
                break run;
            }
            (previous, at, first) = (at, at + run.width, first + run.len);
        };
        if run.value >= value {
            return Ok(false);
        }
        let mut new = Vec::with_capacity(5);
        Run::write(&mut new, run.value, index - first);
        Run::write(&mut new, value, 1);
        Run::write(&mut new, run.value, first + run.len - 1 - index);
        let end = (at + run.width).min(self.0.len());
        let new_len = self.0.len() - (end - at) + new.len();
        if new.len() > run.width && new_len > SPARSE_LEN_MAX {
            self.make_dense()?;
            return self.set(index, value);
        }
        self.0.splice(at..end, new);
        self.merge(previous);
        self.invalidate();
        Ok(true)
    }

    /// Joins runs of the same value, among the few from `at` on.
    fn merge(&mut self, mut at: usize) {
        for _ in 0..MERGE_SCAN {
            let Some(run) = Run::read(self.0.get(at..).unwrap_or_default()) else { return };
            let next = Run::read(self.0.get(at + run.width..).unwrap_or_default());
            match next {
                Some(next)
                    if run.value > 0
                        && run.value == next.value
                        && run.len + next.len <= VALUE_LEN_MAX =>
                {
                    let mut joined = Vec::with_capacity(1);
                    Run::write(&mut joined, run.value, run.len + next.len);
                    self.0.splice(at..at + 2, joined);
                }
                Some(_) | None => at += run.width,
            }
        }
    }

    /// The runs as text, as PFDEBUG DECODE shows them.
    pub(super) fn describe(&self) -> String {
        let mut parts = Vec::new();
        let mut runs = self.runs();
        while let Some(run) = Run::read(runs) {
            parts.push(match (run.value, run.width) {
                (0, 1) => format!("z:{}", run.len),
                (0, _) => format!("Z:{}", run.len),
                (value, _) => format!("v:{value},{}", run.len),
            });
            runs = runs.get(run.width..).unwrap_or_default();
        }
        parts.join(" ")
    }
}
