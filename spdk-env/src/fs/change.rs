//! Changes of metadata: what journal records are made of.

use super::wire::Fields;

/// What an inode is. The numbers are the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    File = 1,
    /// Names.
    Directory = 2,
}

/// Consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block.
    pub start: u64,
    /// Blocks, at least one.
    pub count: u64,
}

/// One change of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A new inode without a name.
    Inode { inode: u64, kind: Kind },
    /// A name for an inode.
    Link { parent: u64, name: Vec<u8>, inode: u64 },
    /// A name goes; a directory goes with it and must be empty.
    Unlink { parent: u64, name: Vec<u8> },
    /// A name moves, in place of whatever file had the new name.
    Rename { parent: u64, name: Vec<u8>, to_parent: u64, to_name: Vec<u8> },
    /// A file without a name goes, with its blocks.
    Free { inode: u64 },
    /// A file gets blocks at its end.
    Extend { inode: u64, extent: Extent },
    /// A file keeps its first `blocks` only.
    Shrink { inode: u64, blocks: u64 },
    /// A file's length in bytes, and when it was changed.
    Size { inode: u64, size: u64, modified_ms: u64 },
    /// A file grows by bytes that stand only here, until a `Size` says that its content is in place.
    Append { inode: u64, modified_ms: u64, bytes: Vec<u8> },
}

impl Change {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |code: u8, numbers: &[u64]| {
            out.push(code);
            for number in numbers {
                out.extend_from_slice(&number.to_le_bytes());
            }
        };
        match self {
            Self::Inode { inode, kind } => {
                put(1, &[*inode]);
                out.push(match kind {
                    Kind::File => 1,
                    Kind::Directory => 2,
                });
            }
            Self::Link { parent, name, inode } => {
                put(2, &[*parent, *inode]);
                put_name(out, name);
            }
            Self::Unlink { parent, name } => {
                put(3, &[*parent]);
                put_name(out, name);
            }
            Self::Rename { parent, name, to_parent, to_name } => {
                put(4, &[*parent, *to_parent]);
                put_name(out, name);
                put_name(out, to_name);
            }
            Self::Free { inode } => put(5, &[*inode]),
            Self::Extend { inode, extent } => put(6, &[*inode, extent.start, extent.count]),
            Self::Shrink { inode, blocks } => put(7, &[*inode, *blocks]),
            Self::Size { inode, size, modified_ms } => put(8, &[*inode, *size, *modified_ms]),
            Self::Append { inode, modified_ms, bytes } => {
                put(9, &[*inode, *modified_ms]);
                let len = u32::try_from(bytes.len()).expect("at most JOURNALED_SYNC_LEN_MAX");
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }

    /// The next change, or `None` if the bytes are none.
    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(match fields.u8()? {
            1 => Self::Inode {
                inode: fields.u64()?,
                kind: match fields.u8()? {
                    1 => Kind::File,
                    2 => Kind::Directory,
                    _ => return None,
                },
            },
            2 => {
                let (parent, inode) = (fields.u64()?, fields.u64()?);
                Self::Link { parent, name: take_name(fields)?, inode }
            }
            3 => Self::Unlink { parent: fields.u64()?, name: take_name(fields)? },
            4 => {
                let (parent, to_parent) = (fields.u64()?, fields.u64()?);
                let (name, to_name) = (take_name(fields)?, take_name(fields)?);
                Self::Rename { parent, name, to_parent, to_name }
            }
            5 => Self::Free { inode: fields.u64()? },
            6 => Self::Extend {
                inode: fields.u64()?,
                extent: Extent { start: fields.u64()?, count: fields.u64()? },
            },
            7 => Self::Shrink { inode: fields.u64()?, blocks: fields.u64()? },
            8 => {
                Self::Size { inode: fields.u64()?, size: fields.u64()?, modified_ms: fields.u64()? }
            }
            9 => {
                let (inode, modified_ms) = (fields.u64()?, fields.u64()?);
                let len = usize::try_from(fields.u32()?).ok()?;
                Self::Append { inode, modified_ms, bytes: fields.bytes(len)?.to_vec() }
            }
            _ => return None,
        })
    }
}

/// Bytes that an inode takes in a snapshot: `Inode` and `Size`.
pub(super) const INODE_LEN: usize = 10 + 25;
/// Bytes that an extent takes in a snapshot.
pub(super) const EXTENT_LEN: usize = 25;
/// Bytes that a name takes in a snapshot, without the name itself.
pub(super) const LINK_LEN: usize = 18;
/// Bytes that an `Append` takes, without the bytes themselves.
pub(super) const APPEND_LEN: usize = 21;

fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(u8::try_from(name.len()).expect("names are checked when a path is parsed"));
    out.extend_from_slice(name);
}

fn take_name(fields: &mut Fields<'_>) -> Option<Vec<u8>> {
    let len = usize::from(fields.u8()?);
    fields.bytes(len).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Numbers and order of fields are the format's: docs/spdk-env-format.md.
    #[test]
    fn changes_have_the_bytes_of_the_format() {
        let file = Change::Inode { inode: 2, kind: Kind::File };
        let directory = Change::Inode { inode: 3, kind: Kind::Directory };
        let extent = Extent { start: 34, count: 64 };
        let goldens = [
            (file, "01 0200000000000000 01"),
            (directory, "01 0300000000000000 02"),
            (
                Change::Link { parent: 1, name: b"a".to_vec(), inode: 2 },
                "02 0100000000000000 0200000000000000 01 61",
            ),
            (Change::Unlink { parent: 1, name: b"ab".to_vec() }, "03 0100000000000000 02 6162"),
            (
                Change::Rename {
                    parent: 1,
                    name: b"a".to_vec(),
                    to_parent: 3,
                    to_name: b"b".to_vec(),
                },
                "04 0100000000000000 0300000000000000 01 61 01 62",
            ),
            (Change::Free { inode: 2 }, "05 0200000000000000"),
            (
                Change::Extend { inode: 2, extent },
                "06 0200000000000000 2200000000000000 4000000000000000",
            ),
            (Change::Shrink { inode: 2, blocks: 1 }, "07 0200000000000000 0100000000000000"),
            (
                Change::Size { inode: 2, size: 3, modified_ms: 258 },
                "08 0200000000000000 0300000000000000 0201000000000000",
            ),
            (
                Change::Append { inode: 2, modified_ms: 258, bytes: b"ab".to_vec() },
                "09 0200000000000000 0201000000000000 02000000 6162",
            ),
        ];
        for (change, golden) in goldens {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""), "{change:?}");
            let mut fields = Fields(&bytes);
            assert_eq!(Change::decode(&mut fields), Some(change));
            assert!(fields.0.is_empty());
            for len in 0..bytes.len() {
                assert_eq!(Change::decode(&mut Fields(&bytes[..len])), None, "cut short");
            }
        }
    }
}
