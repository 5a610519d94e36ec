//! Lengths and strings of RDB.

use super::RdbError;

/// What is left of a value.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    string_len_max: u64,
}

/// A length, or how a string without one is written.
enum Len {
    Count(u64),
    Special(u8),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], string_len_max: u64) -> Self {
        Self { rest: bytes, string_len_max }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], RdbError> {
        let len = usize::try_from(len).map_err(|_too_long| RdbError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RdbError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(RdbError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, RdbError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn any_len(&mut self) -> Result<Len, RdbError> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Ok(match (first >> 6, first) {
            (0, _) => Len::Count(low),
            (1, _) => Len::Count(low << 8 | u64::from(self.byte()?)),
            (2, 0x80) => Len::Count(u64::from(u32::from_be_bytes(self.array()?))),
            (2, 0x81) => Len::Count(u64::from_be_bytes(self.array()?)),
            (3, _) => Len::Special(first & 0x3f),
            _ => return Err(RdbError::Malformed),
        })
    }

    /// A length or count.
    pub(super) fn len(&mut self) -> Result<u64, RdbError> {
        match self.any_len()? {
            Len::Count(count) => Ok(count),
            Len::Special(_) => Err(RdbError::Malformed),
        }
    }

    /// A number of fixed length, little endian.
    pub(super) fn u64(&mut self) -> Result<u64, RdbError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An IEEE 754 number, little endian.
    pub(super) fn double(&mut self) -> Result<f64, RdbError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A number as text with its length in front, or one of three lengths that stand for what has no
    /// digits.
    pub(super) fn text_double(&mut self) -> Result<f64, RdbError> {
        match self.byte()? {
            253 => Ok(f64::NAN),
            254 => Ok(f64::INFINITY),
            255 => Ok(f64::NEG_INFINITY),
            len => parse_double(self.take(u64::from(len))?),
        }
    }

    /// A string in any encoding.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, RdbError> {
        let number = match self.any_len()? {
            Len::Count(len) if len > self.string_len_max => return Err(RdbError::Malformed),
            Len::Count(len) => return Ok(self.take(len)?.to_vec()),
            Len::Special(0) => i32::from(i8::from_le_bytes(self.array()?)),
            Len::Special(1) => i32::from(i16::from_le_bytes(self.array()?)),
            Len::Special(2) => i32::from_le_bytes(self.array()?),
            Len::Special(3) => {
                let (packed, len) = (self.len()?, self.len()?);
                if len > self.string_len_max {
                    return Err(RdbError::Malformed);
                }
                let packed = self.take(packed)?;
                let len = usize::try_from(len).map_err(|_too_long| RdbError::Malformed)?;
                return decompress(packed, len);
            }
            Len::Special(_) => return Err(RdbError::Malformed),
        };
        Ok(number.to_string().into_bytes())
    }
}

/// A score as `strtod` reads it.
pub(super) fn parse_double(text: &[u8]) -> Result<f64, RdbError> {
    let text = std::str::from_utf8(text).map_err(|_not_text| RdbError::Malformed)?;
    text.parse().map_err(|_no_number| RdbError::Malformed)
}

/// Unpacks LZF: `000lllll` is l+1 bytes as they are; `lllooooo oooooooo` l+2 bytes from o+1 back,
/// where l of 7 is followed by a byte to add to it. (LibLZF by Marc Lehmann.)
fn decompress(packed: &[u8], len: usize) -> Result<Vec<u8>, RdbError> {
    let mut out = Vec::new();
    let mut bytes = packed.iter().copied();
    let mut next = move || bytes.next().ok_or(RdbError::Truncated);
    while out.len() < len {
        let control = usize::from(next()?);
        if control < 0x20 {
            for _ in 0..=control {
                out.push(next()?);
            }
            continue;
        }
        let mut count = control >> 5;
        if count == 7 {
            count += usize::from(next()?);
        }
        let back = (control & 0x1f) << 8 | usize::from(next()?);
        let start = out.len().checked_sub(back + 1).ok_or(RdbError::Malformed)?;
        for at in start..start + count + 2 {
            let byte = *out.get(at).ok_or(RdbError::Malformed)?;
            out.push(byte);
        }
    }
    if out.len() == len && next().is_err() { Ok(out) } else { Err(RdbError::Malformed) }
}
