//! Fields of hashes: what is stored for one, and when it ends. Byte by byte in
//! `docs/storage-format.md`.
//!
//! ```text
//! value     [flags u8]([deadline u64])[value]
//! deadline  [deadline u64][field] -> nothing        in `score`, of large hashes only
//! ```
//! A field has ended as soon as the clock shows its deadline: no command sees it any more. It is
//! removed, and no longer counted by HLEN, when the hash is due in the expiry index
//! ([`crate::expiry`]), where it stands with a moment that no deadline of a field is before
//! ([`crate::meta::Header::fields_expire_at`]). The deadlines of a large hash are kept once more in
//! their order, so that those which are due are found without a walk over all fields.

use coney_base::UnixMillis;

use crate::meta::MetaError;

/// The value has a deadline.
const FLAG_EXPIRES: u8 = 0x01;

/// The last moment that a deadline may be: Redis's `HFE_MAX_ABS_TIME_MSEC`.
pub const DEADLINE_MAX: UnixMillis = UnixMillis(0xffff_ffff_ffff >> 2);

/// The value of a field and its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldValue<'a> {
    /// When the field ends; `None`: with its hash.
    pub expire_at: Option<UnixMillis>,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> FieldValue<'a> {
    /// A value without a deadline.
    pub fn new(value: &'a [u8]) -> Self {
        Self { expire_at: None, value }
    }

    /// Takes what is stored apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(stored: &'a [u8]) -> Result<Self, MetaError> {
        match stored {
            [0, value @ ..] => Ok(Self::new(value)),
            [FLAG_EXPIRES, rest @ ..] => {
                let (deadline, value) = rest.split_first_chunk::<8>().ok_or(MetaError::Body)?;
                Ok(Self { expire_at: Some(UnixMillis(u64::from_be_bytes(*deadline))), value })
            }
            _ => Err(MetaError::Body),
        }
    }

    /// What is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(9 + self.value.len());
        match self.expire_at {
            None => stored.push(0),
            Some(at) => {
                stored.push(FLAG_EXPIRES);
                stored.extend_from_slice(&at.0.to_be_bytes());
            }
        }
        stored.extend_from_slice(self.value);
        stored
    }

    /// Whether the field has ended.
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expire_at.is_some_and(|at| at <= now)
    }

    /// The same, or nothing if the field has ended.
    pub fn live(self, now: UnixMillis) -> Option<Self> {
        (!self.is_expired(now)).then_some(self)
    }
}

/// The deadline in what is stored for a field.
///
/// # Errors
/// [`MetaError`] for bytes that this version cannot have written.
pub fn deadline(stored: &[u8]) -> Result<Option<UnixMillis>, MetaError> {
    Ok(FieldValue::parse(stored)?.expire_at)
}

/// Bytes of a stored value that are not the value.
pub fn overhead(stored: &[u8]) -> usize {
    if stored.first() == Some(&FLAG_EXPIRES) { 9 } else { 1 }
}

/// Writes the element of `score` for a field with a deadline; replaces what `out` held.
pub fn write_deadline(out: &mut Vec<u8>, at: UnixMillis, field: &[u8]) {
    out.clear();
    out.extend_from_slice(&at.0.to_be_bytes());
    out.extend_from_slice(field);
}

/// Takes an element of `score` apart: deadline and field.
pub fn parse_deadline(element: &[u8]) -> Option<(UnixMillis, &[u8])> {
    let (at, field) = element.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*at)), field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        assert_eq!(FieldValue::new(b"v").to_bytes(), *b"\0v");
        let value = FieldValue { expire_at: Some(UnixMillis(0x0102)), value: b"v" };
        assert_eq!(value.to_bytes(), *b"\x01\0\0\0\0\0\0\x01\x02v");
        assert_eq!(overhead(&value.to_bytes()), 9);
        let mut element = Vec::new();
        write_deadline(&mut element, UnixMillis(0x0102), b"f");
        assert_eq!(element, *b"\0\0\0\0\0\0\x01\x02f");
        assert_eq!(parse_deadline(&element), Some((UnixMillis(0x0102), &b"f"[..])));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for stored in [&b""[..], b"\x01", b"\x01\0\0\0\0\0\0\0", b"\x02v", b"\xff"] {
            assert_eq!(FieldValue::parse(stored), Err(MetaError::Body), "{stored:?}");
        }
        assert_eq!(parse_deadline(b"1234567"), None);
    }

    proptest! {
        #[test]
        fn a_value_reads_back(at: Option<u64>, value: Vec<u8>, now: u64) {
            let field = FieldValue { expire_at: at.map(UnixMillis), value: &value };
            let stored = field.to_bytes();
            prop_assert_eq!(FieldValue::parse(&stored), Ok(field));
            prop_assert_eq!(overhead(&stored), stored.len() - value.len());
            let has_ended = at.is_some_and(|at| at <= now);
            prop_assert_eq!(field.live(UnixMillis(now)).is_none(), has_ended);
        }
    }
}
