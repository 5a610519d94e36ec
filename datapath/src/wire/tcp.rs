//! The TCP header (RFC 9293 §3.1) and the options that we speak: MSS, window scale and timestamps
//! (RFC 7323), SACK (RFC 2018).

use std::fmt;
use std::ops::BitOr;

use crate::tcp::seq::Seq;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Most bytes that options can take.
pub const OPTIONS_LEN_MAX: usize = 40;
/// SACK blocks that fit a header.
pub const SACK_BLOCKS_MAX: usize = 4;
/// Bytes of a timestamps option with the padding that aligns it.
pub const TIMESTAMPS_LEN: usize = 12;
/// RFC 7323 §2.3: a larger shift is taken as this one.
pub const WINDOW_SCALE_MAX: u8 = 14;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;
const KIND_TIMESTAMPS: u8 = 8;

/// Control bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field counts.
    pub const ACK: Self = Self(0x10);
    /// A marked packet arrived (RFC 3168 §6.1).
    pub const ECE: Self = Self(0x40);
    /// The window was reduced, because of [`Self::ECE`].
    pub const CWR: Self = Self(0x80);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a segment with these flags asks for a connection.
    pub const fn is_first_syn(self) -> bool {
        self.has(Self::SYN) && !self.has(Self::ACK)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl fmt::Debug for Flags {
    /// As tcpdump: `S.` is SYN with ACK.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (Self::SYN, 'S'),
            (Self::FIN, 'F'),
            (Self::RST, 'R'),
            (Self::PSH, 'P'),
            (Self::ECE, 'E'),
            (Self::CWR, 'W'),
        ];
        for (flag, letter) in letters {
            if self.has(flag) {
                write!(f, "{letter}")?;
            }
        }
        if self.has(Self::ACK) { write!(f, ".") } else { Ok(()) }
    }
}

/// A timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the receiver's clock, given back.
    pub echo: u32,
}

/// Received blocks above the cumulative acknowledgement (RFC 2018 §3), most recent first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SackBlocks {
    blocks: [(Seq, Seq); SACK_BLOCKS_MAX],
    len: u8,
}

impl SackBlocks {
    /// Adds the block `[start, end)`; without effect when full.
    pub fn push(&mut self, start: Seq, end: Seq) {
        if let Some(slot) = self.blocks.get_mut(usize::from(self.len)) {
            *slot = (start, end);
            self.len += 1;
        }
    }

    /// The blocks.
    pub fn as_slice(&self) -> &[(Seq, Seq)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Drops all but the first `count` blocks.
    pub fn truncate(&mut self, count: usize) {
        self.len = self.len.min(u8::try_from(count).unwrap_or(u8::MAX));
    }

    /// Bytes of the option with its padding; 0 without blocks.
    pub fn option_len(&self) -> usize {
        if self.len == 0 { 0 } else { 4 + 8 * usize::from(self.len) }
    }
}

/// The options of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Largest segment that the sender takes, in bytes of payload and options.
    pub mss: Option<u16>,
    /// Shift of the sender's window field, at most [`WINDOW_SCALE_MAX`].
    pub window_scale: Option<u8>,
    /// The sender can process SACK blocks.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks.
    pub sack: SackBlocks,
}

impl Options {
    /// Reads options until the first that is malformed: what came before it counts, as in Linux.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let Some((&kind, rest)) = bytes.split_first() {
            if kind == KIND_END {
                break;
            }
            if kind == KIND_NOP {
                bytes = rest;
                continue;
            }
            let len = rest.first().copied().map_or(0, usize::from);
            let Some(body) = bytes.get(2..len) else { break };
            options.take(kind, body);
            bytes = bytes.get(len..).unwrap_or_default();
        }
        options
    }

    /// An option of an unknown kind, or of a known kind with a wrong length, is ignored.
    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (KIND_MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (KIND_WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(WINDOW_SCALE_MAX)),
            (KIND_SACK_PERMITTED, []) => self.sack_permitted = true,
            (KIND_TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                let value = u32::from_be_bytes([a, b, c, d]);
                let echo = u32::from_be_bytes([e, f, g, h]);
                self.timestamps = Some(Timestamps { value, echo });
            }
            (KIND_SACK, blocks) if blocks.len() % 8 == 0 => {
                for block in blocks.chunks_exact(8) {
                    if let &[a, b, c, d, e, f, g, h] = block {
                        let start = Seq(u32::from_be_bytes([a, b, c, d]));
                        let end = Seq(u32::from_be_bytes([e, f, g, h]));
                        self.sack.push(start, end);
                    }
                }
            }
            _ => {}
        }
    }

    /// Bytes that [`Self::write`] produces: a multiple of 4.
    pub fn len(&self) -> usize {
        usize::from(self.mss.is_some()) * 4
            + usize::from(self.window_scale.is_some()) * 4
            + usize::from(self.sack_permitted) * 4
            + usize::from(self.timestamps.is_some()) * TIMESTAMPS_LEN
            + self.sack.option_len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the options, each padded in front to a multiple of 4; `None` if `out` is not
    /// [`Self::len`] bytes long.
    fn write(&self, mut out: &mut [u8]) -> Option<()> {
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            out = put(out, [KIND_MSS, 4, a, b])?;
        }
        if let Some(shift) = self.window_scale {
            out = put(out, [KIND_NOP, KIND_WINDOW_SCALE, 3, shift])?;
        }
        if self.sack_permitted {
            out = put(out, [KIND_NOP, KIND_NOP, KIND_SACK_PERMITTED, 2])?;
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            out = put(out, [KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10])?;
            out = put(out, value.to_be_bytes())?;
            out = put(out, echo.to_be_bytes())?;
        }
        let blocks = self.sack.as_slice();
        if !blocks.is_empty() {
            let len = u8::try_from(2 + 8 * blocks.len()).ok()?;
            out = put(out, [KIND_NOP, KIND_NOP, KIND_SACK, len])?;
            for (start, end) in blocks {
                out = put(out, start.0.to_be_bytes())?;
                out = put(out, end.0.to_be_bytes())?;
            }
        }
        out.is_empty().then_some(())
    }
}

fn put<const N: usize>(out: &mut [u8], bytes: [u8; N]) -> Option<&mut [u8]> {
    let (head, rest) = out.split_first_chunk_mut::<N>()?;
    *head = bytes;
    Some(rest)
}

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// Position of the first byte, or of SYN.
    pub seq: Seq,
    /// The next byte that the sender expects; counts only with [`Flags::ACK`].
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// The window field, unscaled.
    pub window: u16,
    /// Options.
    pub options: Options,
}

impl Header {
    /// The header and the payload; the checksum is not looked at. `None`: truncated, or a data
    /// offset that no segment can have. The urgent pointer is ignored (RFC 6093 §6).
    pub fn parse(segment: &[u8]) -> Option<(Self, &[u8])> {
        let &[s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = segment
        else {
            return None;
        };
        let header_len = usize::from(offset >> 4) * 4;
        let options = segment.get(HEADER_LEN..header_len)?;
        let header = Self {
            src_port: u16::from_be_bytes([s0, s1]),
            dst_port: u16::from_be_bytes([d0, d1]),
            seq: Seq(u32::from_be_bytes([q0, q1, q2, q3])),
            ack: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
            flags: Flags(flags),
            window: u16::from_be_bytes([w0, w1]),
            options: Options::parse(options),
        };
        Some((header, segment.get(header_len..)?))
    }

    /// Bytes of the header with its options.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Never: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Sequence numbers that the segment takes: payload, SYN and FIN.
    pub fn seq_len(&self, payload_len: u32) -> u32 {
        payload_len
            .wrapping_add(u32::from(self.flags.has(Flags::SYN)))
            .wrapping_add(u32::from(self.flags.has(Flags::FIN)))
    }

    /// Writes the header with a checksum field of 0 into `out`, which is [`Self::len`] bytes long;
    /// `None` if it is not, or if there are more options than a header can have.
    pub fn write(&self, out: &mut [u8]) -> Option<()> {
        let len = self.len();
        if out.len() != len || len > HEADER_LEN + OPTIONS_LEN_MAX {
            return None;
        }
        let offset = u8::try_from(len / 4).ok()? << 4;
        let out = put(out, self.src_port.to_be_bytes())?;
        let out = put(out, self.dst_port.to_be_bytes())?;
        let out = put(out, self.seq.0.to_be_bytes())?;
        let out = put(out, self.ack.0.to_be_bytes())?;
        let [w0, w1] = self.window.to_be_bytes();
        let out = put(out, [offset, self.flags.0, w0, w1, 0, 0, 0, 0])?;
        self.options.write(out)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> impl Strategy<Value = Options> {
        let blocks = proptest::collection::vec(any::<(u32, u32)>(), 0..=3);
        let window_scale = proptest::option::of(0..=WINDOW_SCALE_MAX);
        let timestamps = proptest::option::of(any::<(u32, u32)>());
        (any::<Option<u16>>(), window_scale, any::<bool>(), timestamps, blocks).prop_map(
            |(mss, window_scale, sack_permitted, timestamps, blocks)| {
                let timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
                let mut sack = SackBlocks::default();
                // A SYN has the first three, other segments the last; both never fill 40 bytes.
                if mss.is_none() && window_scale.is_none() && !sack_permitted {
                    for (start, end) in blocks {
                        sack.push(Seq(start), Seq(end));
                    }
                }
                Options { mss, window_scale, sack_permitted, timestamps, sack }
            },
        )
    }

    pub(crate) fn header() -> impl Strategy<Value = Header> {
        let fields = any::<(u16, u16, u32, u32, u8, u16)>();
        (fields, options()).prop_map(|((src_port, dst_port, seq, ack, flags, window), options)| {
            Header {
                src_port,
                dst_port,
                seq: Seq(seq),
                ack: Seq(ack),
                flags: Flags(flags),
                window,
                options,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            header in header(),
            payload in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut segment = vec![0xa5; header.len()];
            header.write(&mut segment).unwrap();
            segment.extend(&payload);
            prop_assert_eq!(Header::parse(&segment), Some((header, &payload[..])));
            prop_assert_eq!(Header::parse(&segment[..header.len() - 1]), None);
        }

        #[test]
        fn any_option_bytes_end_somewhere(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            Options::parse(&bytes);
        }
    }

    #[test]
    fn options_count_until_the_first_malformed_one() {
        let mss = [2, 4, 5, 180];
        for tail in [&[3, 0][..], &[3, 1], &[3], &[8, 10, 0, 0], &[5, 255]] {
            let bytes = [&mss, tail].concat();
            let expected = Options { mss: Some(1460), ..Options::default() };
            assert_eq!(Options::parse(&bytes), expected, "{tail:?}");
        }
    }

    #[test]
    fn a_known_kind_with_a_wrong_length_is_skipped() {
        let options = Options::parse(&[2, 3, 1, 8, 3, 0, 5, 5, 1, 2, 3, 3, 3, 20]);
        assert_eq!(options, Options { window_scale: Some(WINDOW_SCALE_MAX), ..Options::default() });
    }
}
