//! What handlers of strings share: a string as one value, whether it lies in its meta entry or in
//! chunks ([`crate::chunk`]).
//!
//! **Reading.** [`string_of`] tells the two forms apart. [`Context::text`] is the whole value,
//! [`Context::pieces`] a range of a chunked one, piece by piece. Long ranges are for the pool
//! ([`Context::spend_text`]).
//!
//! **Writing.** [`Context::put_text`] writes a string as a whole; [`edit`] changes parts of it.

use std::ops::Range;

use super::{CommandError, Context, Old, SlowContext, Stop};
use crate::batch::Family;
use crate::chunk;
use crate::command::collection::ElementRange;
use crate::compact::Encoding;
use crate::element::{self, LargeBody};
use crate::meta::{Header, Kind, MetaError};
use crate::store;

pub(crate) mod edit;

/// A string as it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Text<'a> {
    /// All of it.
    Inline(&'a [u8]),
    /// It lies in chunks.
    Chunked(Chunked),
}

/// A string in chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunked {
    /// Its bytes.
    pub(crate) len: u64,
    version: u64,
}

impl Text<'_> {
    /// Its bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline(body) => body.len() as u64,
            Self::Chunked(chunked) => chunked.len,
        }
    }
}

/// The string that was found; an error for any other kind.
pub(crate) fn string_of(found: Option<(Header, &[u8])>) -> Result<Option<Text<'_>>, CommandError> {
    let Some((header, body)) = found else { return Ok(None) };
    match (header.kind, header.version) {
        (Kind::String, None) => Ok(Some(Text::Inline(body))),
        (Kind::String, Some(version)) => {
            Ok(Some(Text::Chunked(Chunked { len: chunk::parse_len(body)?, version })))
        }
        (Kind::Hash | Kind::List | Kind::Set | Kind::ZSet | Kind::Stream, _) => {
            Err(CommandError::WrongType)
        }
    }
}

/// Zeros, for chunks that are not there.
static ZEROS: [u8; chunk::LEN] = [0; chunk::LEN];

/// Hands a range of a string to `visit`, piece by piece and without gaps, as long as it wants more.
/// Chunks are put in with [`Pieces::chunk`] in the order of their numbers.
struct Pieces<'v> {
    /// What is still to come.
    rest: Range<u64>,
    visit: &'v mut dyn FnMut(u64, &[u8]) -> bool,
}

impl Pieces<'_> {
    /// Whether to go on.
    fn chunk(&mut self, number: u32, bytes: &[u8]) -> bool {
        let span = chunk::span(number);
        if !self.zeros(span.start) {
            return false;
        }
        let (_, at) = chunk::place(self.rest.start);
        let bytes = bytes.get(at..).unwrap_or_default();
        let wanted = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(wanted)];
        self.hand_over(bytes) && self.zeros(span.end)
    }

    fn zeros(&mut self, until: u64) -> bool {
        while self.rest.start < self.rest.end.min(until) {
            let missing = self.rest.end.min(until) - self.rest.start;
            let len = usize::try_from(missing).unwrap_or(usize::MAX).min(ZEROS.len());
            if !self.hand_over(&ZEROS[..len]) {
                return false;
            }
        }
        self.rest.start < self.rest.end
    }

    fn hand_over(&mut self, bytes: &[u8]) -> bool {
        let at = self.rest.start;
        self.rest.start += bytes.len() as u64;
        bytes.is_empty() || (self.visit)(at, bytes)
    }
}

/// The chunks that hold a range of bytes.
fn chunks_of(range: &Range<u64>) -> ElementRange {
    let (first, _) = chunk::place(range.start);
    let (last, _) = chunk::place(range.end.saturating_sub(1));
    ElementRange {
        begin: chunk::element(first).to_vec(),
        end: last.checked_add(1).map(|end| chunk::element(end).to_vec()),
        is_reverse: false,
    }
}

impl Context<'_> {
    /// Hands the whole value of a string to `f`, or `None` if the key is absent; counts a hit or a
    /// miss.
    pub(crate) fn text<R>(
        &mut self,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        self.text_part(key, |len| 0..len, |found| f(found.map(|(_, bytes)| bytes)))
    }

    /// Hands a part of a string to `f`, and the length of all of it; `None` if the key is absent.
    /// Counts a hit or a miss. `part` gets the length, and must stay within it.
    pub(crate) fn text_part<R>(
        &mut self,
        key: &[u8],
        part: impl FnOnce(u64) -> Range<u64>,
        f: impl FnOnce(Option<(u64, &[u8])>) -> R,
    ) -> Result<R, Stop> {
        enum Step<R, P, F> {
            Done(R),
            Chunked(P, F, Chunked),
        }
        let step = self.read(key, |found| {
            Ok::<_, CommandError>(match string_of(found)? {
                None => Step::Done(f(None)),
                Some(Text::Inline(body)) => {
                    let len = body.len() as u64;
                    let part = part(len);
                    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                    let bytes = body.get(index(part.start)..index(part.end));
                    Step::Done(f(Some((len, bytes.unwrap_or_default()))))
                }
                Some(Text::Chunked(chunked)) => Step::Chunked(part, f, chunked),
            })
        })??;
        match step {
            Step::Done(result) => Ok(result),
            Step::Chunked(part, f, chunked) => {
                let mut bytes = Vec::new();
                self.pieces(chunked, part(chunked.len), &mut |_, piece| {
                    bytes.extend_from_slice(piece);
                    true
                })?;
                Ok(f(Some((chunked.len, &bytes))))
            }
        }
    }

    /// Hands a range of the chunked string that was looked at last to `visit`: where a piece begins,
    /// and its bytes, without gaps, as long as it wants more.
    pub(crate) fn pieces(
        &mut self,
        chunked: Chunked,
        range: Range<u64>,
        visit: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Stop> {
        let range = range.start..range.end.min(chunked.len);
        if range.is_empty() {
            return Ok(());
        }
        self.spend_text(range.end - range.start)?;
        let mut prefix = Vec::new();
        element::write_prefix(&mut prefix, &self.exec.meta_key, chunked.version);
        let chunks = chunks_of(&range);
        let mut pieces = Pieces { rest: range, visit };
        let mut goes_on = true;
        self.walk_unbounded(Family::Data, &prefix, &chunks, &mut |element, bytes| {
            let number = chunk::parse_element(element).ok_or(MetaError::Body)?;
            goes_on = pieces.chunk(number, bytes);
            Ok(goes_on)
        })?;
        if goes_on {
            pieces.zeros(u64::MAX);
        }
        Ok(())
    }

    /// Writes a string of the client's table as a whole, in place of what a latched key holds.
    pub(crate) fn put_text(&mut self, key: &[u8], old: Old, new: &Header, value: &[u8]) {
        if value.len() <= chunk::INLINE_LEN_MAX {
            self.put(key, old, &Header { version: None, ..*new }, &[value]);
            return;
        }
        self.exec.look_at(self.client.table, key);
        let version = self.exec.new_version();
        let mut prefix = Vec::new();
        element::write_prefix(&mut prefix, &self.exec.meta_key, version);
        for (number, bytes) in chunk::split(value) {
            self.exec.batch.put_element(Family::Data, &prefix, &chunk::element(number), bytes);
        }
        self.put_chunked_meta(key, old, new, version, value.len() as u64);
    }

    fn put_chunked_meta(&mut self, key: &[u8], old: Old, new: &Header, version: u64, len: u64) {
        let mut body = Vec::new();
        LargeBody { encoding: Encoding::Raw, count: len, extra: Vec::new() }.write(&mut body);
        self.put(key, old, &Header { version: Some(version), ..*new }, &[&body]);
    }
}

impl SlowContext<'_> {
    /// The value of a string; empty if the key is absent.
    pub(crate) fn text(&self, key: &[u8]) -> Result<Vec<u8>, CommandError> {
        let frozen = self.engine.store.freeze();
        let mut meta_key = Vec::new();
        crate::key::write_meta_key(&mut meta_key, self.table, key);
        let Some(value) = frozen.get(Family::Meta, &meta_key)? else { return Ok(Vec::new()) };
        let (header, body) = Header::parse(&value)?;
        if header.is_expired(self.now) {
            return Ok(Vec::new());
        }
        let chunked = match string_of(Some((header, body)))? {
            None => return Ok(Vec::new()),
            Some(Text::Inline(body)) => return Ok(body.to_vec()),
            Some(Text::Chunked(chunked)) => chunked,
        };
        let mut prefix = Vec::new();
        element::write_prefix(&mut prefix, &meta_key, chunked.version);
        let mut text = Vec::new();
        let mut visit = |_: u64, piece: &[u8]| {
            text.extend_from_slice(piece);
            true
        };
        let mut pieces = Pieces { rest: 0..chunked.len, visit: &mut visit };
        let mut iter = frozen.range(Family::Data, &prefix, &element::prefix_end(&prefix));
        iter.seek_to_first();
        while let Some((element_key, bytes)) = iter.item() {
            let element = element_key.get(prefix.len()..).unwrap_or_default();
            pieces.chunk(chunk::parse_element(element).ok_or(MetaError::Body)?, bytes);
            iter.next();
        }
        store::is_at_end(&iter)?;
        pieces.zeros(u64::MAX);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // What could break: the seams between chunks, chunks that are missing or short, and parts
        // that begin or end inside of one.
        #[test]
        fn pieces_are_the_part_that_was_asked_for(
            len in 0_usize..5 * chunk::LEN,
            seed: u64,
            begin in 0_usize..5 * chunk::LEN,
            part in 0_usize..5 * chunk::LEN,
        ) {
            let byte = |at: usize| match seed.rotate_left(u32::try_from(at / chunk::LEN).unwrap_or(0)) % 3 {
                0 => 0,
                _ => u8::try_from((at * 7 + 1) % 256).unwrap_or(0),
            };
            let value: Vec<u8> = (0..len).map(byte).collect();
            let (begin, end) = (begin.min(len), (begin + part).min(len));
            let mut seen = Vec::new();
            let mut visit = |at: u64, piece: &[u8]| {
                assert_eq!(at, (begin + seen.len()) as u64);
                seen.extend_from_slice(piece);
                true
            };
            let mut pieces = Pieces { rest: begin as u64..end as u64, visit: &mut visit };
            for (number, bytes) in chunk::split(&value) {
                if chunk::span(number).end > begin as u64 && chunk::start(number) < end as u64 {
                    // The end of a chunk may be missing if it is zero.
                    let kept = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    pieces.chunk(number, &bytes[..kept]);
                }
            }
            pieces.zeros(u64::MAX);
            prop_assert_eq!(&seen, &value[begin..end]);
        }
    }
}
