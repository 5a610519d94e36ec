//! Collections that Redis keeps, and saves, as one string: listpacks, ziplists, intsets.

use super::RdbError;

type Elements = Result<Vec<Vec<u8>>, RdbError>;

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], RdbError> {
    let (taken, tail) = rest.split_first_chunk().ok_or(RdbError::Truncated)?;
    *rest = tail;
    Ok(taken)
}

fn take_len<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], RdbError> {
    let (taken, tail) = rest.split_at_checked(len).ok_or(RdbError::Truncated)?;
    *rest = tail;
    Ok(taken)
}

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn int24(bytes: [u8; 3]) -> i64 {
    let [low, middle, high] = bytes;
    i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
}

fn len32(bytes: u32) -> Result<usize, RdbError> {
    usize::try_from(bytes).map_err(|_too_long| RdbError::Malformed)
}

/// `[width u32][count u32]`, then integers of that width, all little endian. (`intset.c`)
pub(super) fn intset(bytes: &[u8]) -> Elements {
    let mut rest = bytes;
    let width = u32::from_le_bytes(*take(&mut rest)?);
    let count = len32(u32::from_le_bytes(*take(&mut rest)?))?;
    let width = len32(width)?;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width) != Some(rest.len()) {
        return Err(RdbError::Malformed);
    }
    rest.chunks_exact(width)
        .map(|chunk| {
            let mut chunk = chunk;
            Ok(decimal(match width {
                2 => i64::from(i16::from_le_bytes(*take(&mut chunk)?)),
                4 => i64::from(i32::from_le_bytes(*take(&mut chunk)?)),
                _ => i64::from_le_bytes(*take(&mut chunk)?),
            }))
        })
        .collect()
}

/// `[bytes u32][count u16]`, elements, 0xff. An element ends with its length, for walking back.
/// (`listpack.c`)
pub(super) fn listpack(bytes: &[u8]) -> Elements {
    let mut rest = bytes;
    let total = len32(u32::from_le_bytes(*take(&mut rest)?))?;
    let count = u16::from_le_bytes(*take(&mut rest)?);
    if total != bytes.len() {
        return Err(RdbError::Malformed);
    }
    let mut elements = Vec::new();
    loop {
        let before = rest.len();
        let [first] = *take::<1>(&mut rest)?;
        let low = usize::from(first & 0x0f);
        let element = match first {
            0..0x80 => decimal(i64::from(first)),
            0x80..0xc0 => take_len(&mut rest, usize::from(first & 0x3f))?.to_vec(),
            0xc0..0xe0 => {
                let [second] = *take::<1>(&mut rest)?;
                // 13 bits with a sign.
                let number = i16::from_be_bytes([first << 3 | second >> 5, second << 3]) >> 3;
                decimal(i64::from(number))
            }
            0xe0..0xf0 => {
                let [second] = *take::<1>(&mut rest)?;
                take_len(&mut rest, low << 8 | usize::from(second))?.to_vec()
            }
            0xf0 => {
                let len = len32(u32::from_le_bytes(*take(&mut rest)?))?;
                take_len(&mut rest, len)?.to_vec()
            }
            0xf1 => decimal(i64::from(i16::from_le_bytes(*take(&mut rest)?))),
            0xf2 => decimal(int24(*take(&mut rest)?)),
            0xf3 => decimal(i64::from(i32::from_le_bytes(*take(&mut rest)?))),
            0xf4 => decimal(i64::from_le_bytes(*take(&mut rest)?)),
            0xff => break,
            _ => return Err(RdbError::Malformed),
        };
        let back_len = back_len(before - rest.len());
        take_len(&mut rest, back_len)?;
        elements.push(element);
    }
    // The count is not known above 65534.
    let is_counted = count == u16::MAX || usize::from(count) == elements.len();
    if is_counted && rest.is_empty() { Ok(elements) } else { Err(RdbError::Malformed) }
}

/// Bytes of the length at the end of an element of a listpack.
fn back_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// A listpack that is written.
#[derive(Debug, Default)]
pub(super) struct ListpackWriter {
    count: usize,
    elements: Vec<u8>,
}

impl ListpackWriter {
    /// Bytes of the elements.
    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// Appends an element: as a number if it is one, as Redis does.
    pub(super) fn word(&mut self, word: &[u8]) {
        if let Some(number) = coney_resp::number::parse_i64(word) {
            return self.number(number);
        }
        let start = self.elements.len();
        let len = u32::try_from(word.len()).expect("a request is below 4 GiB");
        let [low, middle, ..] = len.to_le_bytes();
        match len {
            0..0x40 => self.elements.push(0x80 | low),
            0x40..0x1000 => self.elements.extend_from_slice(&[0xe0 | middle, low]),
            _ => {
                self.elements.push(0xf0);
                self.elements.extend_from_slice(&len.to_le_bytes());
            }
        }
        self.elements.extend_from_slice(word);
        self.end_element(start);
    }

    /// Appends a number.
    pub(super) fn number(&mut self, number: i64) {
        let start = self.elements.len();
        let bytes = number.to_le_bytes();
        let [low, high, ..] = bytes;
        let (tag, len) = match number {
            0..=127 => (None, 1),
            -4096..=4095 => {
                self.elements.extend_from_slice(&[0xc0 | (high & 0x1f), low]);
                (None, 0)
            }
            -0x8000..=0x7fff => (Some(0xf1), 2),
            -0x80_0000..=0x7f_ffff => (Some(0xf2), 3),
            -0x8000_0000..=0x7fff_ffff => (Some(0xf3), 4),
            _ => (Some(0xf4), 8),
        };
        self.elements.extend(tag);
        self.elements.extend(bytes.into_iter().take(len));
        self.end_element(start);
    }

    fn end_element(&mut self, start: usize) {
        let len = self.elements.len() - start;
        let groups = back_len(len);
        for group in (0..groups).rev() {
            // Read from the end: all groups but the first one say that another comes before.
            let [bits, ..] = (len >> (7 * group) & 0x7f).to_le_bytes();
            let is_first = group == groups - 1;
            self.elements.push(if is_first { bits } else { bits | 0x80 });
        }
        self.count += 1;
    }

    /// The whole listpack, of these elements and then those of `rest`.
    pub(super) fn finish(&self, rest: &Self) -> Vec<u8> {
        let total = 4 + 2 + self.elements.len() + rest.elements.len() + 1;
        let total = u32::try_from(total).expect("a listpack is below 4 GiB");
        // 65535 stands for more than can be said.
        let count = u16::try_from(self.count + rest.count).unwrap_or(u16::MAX);
        let mut out = total.to_le_bytes().to_vec();
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.elements);
        out.extend_from_slice(&rest.elements);
        out.push(0xff);
        out
    }
}

/// `[bytes u32][last u32][count u16]`, elements, 0xff. An element begins with the length of the one
/// before. (`ziplist.c`)
pub(super) fn ziplist(bytes: &[u8]) -> Elements {
    let mut rest = bytes;
    let total = len32(u32::from_le_bytes(*take(&mut rest)?))?;
    let _last: &[u8; 4] = take(&mut rest)?;
    let count = u16::from_le_bytes(*take(&mut rest)?);
    if total != bytes.len() {
        return Err(RdbError::Malformed);
    }
    let mut elements = Vec::new();
    loop {
        match *take::<1>(&mut rest)? {
            [0xff] => break,
            [0xfe] => {
                let _len_before: &[u8; 4] = take(&mut rest)?;
            }
            [_] => {}
        }
        let [first] = *take::<1>(&mut rest)?;
        elements.push(match first {
            0..0x40 => take_len(&mut rest, usize::from(first))?.to_vec(),
            0x40..0x80 => {
                let [second] = *take::<1>(&mut rest)?;
                let len = usize::from(first & 0x3f) << 8 | usize::from(second);
                take_len(&mut rest, len)?.to_vec()
            }
            0x80 => {
                let len = len32(u32::from_be_bytes(*take(&mut rest)?))?;
                take_len(&mut rest, len)?.to_vec()
            }
            0xc0 => decimal(i64::from(i16::from_le_bytes(*take(&mut rest)?))),
            0xd0 => decimal(i64::from(i32::from_le_bytes(*take(&mut rest)?))),
            0xe0 => decimal(i64::from_le_bytes(*take(&mut rest)?)),
            0xf0 => decimal(int24(*take(&mut rest)?)),
            0xfe => decimal(i64::from(i8::from_le_bytes(*take(&mut rest)?))),
            0xf1..=0xfd => decimal(i64::from(first & 0x0f) - 1),
            _ => return Err(RdbError::Malformed),
        });
    }
    let is_counted = count == u16::MAX || usize::from(count) == elements.len();
    if is_counted && rest.is_empty() { Ok(elements) } else { Err(RdbError::Malformed) }
}
