//! Lengths and counts in as few bytes as they need: seven bits a byte, lowest first, the high bit
//! set on all but the last (LEB128, as RocksDB writes them).

/// Appends `value` to `out`.
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a number at the start of `bytes`: the number and what follows it. `None`: there is none,
/// or it has more than 64 bits.
pub fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(at * 7).ok()?;
        if shift > 63 || shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// Reads bytes with their length in front: the bytes and what follows them.
pub fn read_slice(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = read(bytes)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

/// Appends bytes with their length in front.
pub fn write_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_numbers() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(read(bytes), Some((value, &b""[..])));
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), None);
        assert_eq!(read(&[255; 11]), None);
    }

    proptest! {
        #[test]
        fn slices_read_back(bytes: Vec<u8>, rest: Vec<u8>) {
            let mut out = Vec::new();
            write_slice(&mut out, &bytes);
            out.extend_from_slice(&rest);
            prop_assert_eq!(read_slice(&out), Some((&bytes[..], &rest[..])));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _outcome = read_slice(&bytes);
        }
    }
}
