//! Meta values: the header of a key, and for strings the value itself. Byte by byte in
//! `docs/storage-format.md`.
//!
//! ```text
//! [kind u8][flags u8]([expire_ms u64])([version u64])([fields_expire_ms u64])[body]
//! ```

use coney_base::UnixMillis;

/// What a key holds. The numbers are on disk: explicit, and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A string whose value is the body.
    String = 1,
    /// Fields with values.
    Hash = 2,
    /// Values in the order of their insertion.
    List = 3,
    /// Members.
    Set = 4,
    /// Members with scores, in the order of these.
    ZSet = 5,
    /// Entries with ids, and consumer groups.
    Stream = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::String),
            2 => Some(Self::Hash),
            3 => Some(Self::List),
            4 => Some(Self::Set),
            5 => Some(Self::ZSet),
            6 => Some(Self::Stream),
            _ => None,
        }
    }

    /// The name that TYPE replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::ZSet => "zset",
            Self::Stream => "stream",
        }
    }
}

/// The header has a deadline.
const FLAG_EXPIRES: u8 = 0x01;
/// The header has the version that the key's elements carry.
const FLAG_VERSIONED: u8 = 0x02;
/// The header has a moment that no deadline of a field is before.
const FLAG_FIELDS_EXPIRE: u8 = 0x04;
const FLAGS_KNOWN: u8 = FLAG_EXPIRES | FLAG_VERSIONED | FLAG_FIELDS_EXPIRE;

/// Longest header in bytes.
pub const HEADER_LEN_MAX: usize = 26;

/// The header of a meta value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the key holds.
    pub kind: Kind,
    /// When the key ends; `None`: never.
    pub expire_at: Option<UnixMillis>,
    /// Which elements belong to the key, for kinds that keep them elsewhere.
    pub version: Option<u64>,
    /// Of a hash: no field of it ends before this moment; `None`: no field has a deadline.
    pub fields_expire_at: Option<UnixMillis>,
}

/// Bytes that are no meta value of this format: the disk or a bug of ours corrupted them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetaError {
    /// It ends inside the header.
    #[error("meta value of {0} bytes ends inside its header")]
    Truncated(usize),
    /// An unknown kind.
    #[error("meta value of unknown kind {0}")]
    UnknownKind(u8),
    /// An unknown flag.
    #[error("meta value with unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// The body of a collection ends too early, or says what no version writes.
    #[error("the collection's elements are not what this version writes")]
    Body,
}

impl Header {
    /// A string without a deadline.
    pub const STRING: Self = Self::new(Kind::String);

    /// A value of this kind in its meta entry, without deadlines.
    pub const fn new(kind: Kind) -> Self {
        Self { kind, expire_at: None, version: None, fields_expire_at: None }
    }

    /// Takes a meta value apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(value: &[u8]) -> Result<(Self, &[u8]), MetaError> {
        let truncated = MetaError::Truncated(value.len());
        let [kind, flags, rest @ ..] = value else { return Err(truncated) };
        let kind = Kind::from_byte(*kind).ok_or(MetaError::UnknownKind(*kind))?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(MetaError::UnknownFlags(*flags));
        }
        let mut rest = rest;
        let mut take_u64 = |flag: u8| {
            if flags & flag == 0 {
                return Ok(None);
            }
            let (number, tail) = rest.split_first_chunk::<8>().ok_or(truncated)?;
            rest = tail;
            Ok(Some(u64::from_be_bytes(*number)))
        };
        let expire_at = take_u64(FLAG_EXPIRES)?.map(UnixMillis);
        let version = take_u64(FLAG_VERSIONED)?;
        let fields_expire_at = take_u64(FLAG_FIELDS_EXPIRE)?.map(UnixMillis);
        Ok((Self { kind, expire_at, version, fields_expire_at }, rest))
    }

    /// Appends the header to `out`; the body follows.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (bytes, len) = self.to_bytes();
        out.extend_from_slice(&bytes[..len]);
    }

    /// The header's bytes and how many they are.
    pub fn to_bytes(&self) -> ([u8; HEADER_LEN_MAX], usize) {
        let mut bytes = [0; HEADER_LEN_MAX];
        let mut len = 2;
        bytes[0] = self.kind as u8;
        for (flag, number) in [
            (FLAG_EXPIRES, self.expire_at.map(|at| at.0)),
            (FLAG_VERSIONED, self.version),
            (FLAG_FIELDS_EXPIRE, self.fields_expire_at.map(|at| at.0)),
        ] {
            if let Some(number) = number {
                bytes[1] |= flag;
                bytes[len..len + 8].copy_from_slice(&number.to_be_bytes());
                len += 8;
            }
        }
        (bytes, len)
    }

    /// Whether the key has ended at `now`: it is absent for every command.
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expire_at.is_some_and(|at| at <= now)
    }

    /// When the key stands in the expiry index: its end, or that of its first field.
    pub fn due_at(&self) -> Option<UnixMillis> {
        match (self.expire_at, self.fields_expire_at) {
            (Some(key), Some(field)) => Some(key.min(field)),
            (key, field) => key.or(field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_headers() {
        let mut out = Vec::new();
        Header::STRING.write(&mut out);
        assert_eq!(out, [1, 0]);
        out.clear();
        let header =
            Header { expire_at: Some(UnixMillis(0x0102)), version: Some(3), ..Header::STRING };
        header.write(&mut out);
        assert_eq!(out, [1, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        out.extend_from_slice(b"body");
        assert_eq!(Header::parse(&out), Ok((header, &b"body"[..])));
        let hash = Header { fields_expire_at: Some(UnixMillis(0x0405)), ..Header::new(Kind::Hash) };
        out.clear();
        hash.write(&mut out);
        assert_eq!(out, [2, 4, 0, 0, 0, 0, 0, 0, 4, 5]);
        assert_eq!(Header::parse(&out), Ok((hash, &b""[..])));
    }

    #[test]
    fn foreign_bytes_are_refused_by_name() {
        assert_eq!(Header::parse(&[]), Err(MetaError::Truncated(0)));
        assert_eq!(Header::parse(&[1]), Err(MetaError::Truncated(1)));
        assert_eq!(Header::parse(&[1, 1, 0]), Err(MetaError::Truncated(3)));
        assert_eq!(Header::parse(&[0, 0]), Err(MetaError::UnknownKind(0)));
        assert_eq!(Header::parse(&[1, 8]), Err(MetaError::UnknownFlags(8)));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _outcome = Header::parse(&bytes);
        }

        #[test]
        fn a_header_reads_back(
            expire: Option<u64>,
            version: Option<u64>,
            fields: Option<u64>,
            body: Vec<u8>,
        ) {
            let header = Header {
                expire_at: expire.map(UnixMillis),
                version,
                fields_expire_at: fields.map(UnixMillis),
                ..Header::new(Kind::Hash)
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            bytes.extend_from_slice(&body);
            prop_assert_eq!(Header::parse(&bytes), Ok((header, &body[..])));
        }
    }
}
