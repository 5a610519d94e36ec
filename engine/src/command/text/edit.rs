//! Changing parts of a string: SETRANGE, APPEND, SETBIT, BITFIELD.
//!
//! [`Context::edit_text`] latches the key and loads what will be touched, which is the whole value of
//! a short string and a few chunks of a long one; [`TextEdit::read`] and [`TextEdit::write`] work on
//! that; [`Context::finish_text`] writes what has changed. A string that grows beyond
//! [`chunk::INLINE_LEN_MAX`] is put into chunks.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Text, string_of};
use crate::batch::Family;
use crate::chunk;
use crate::command::{Context, Old, Stop};
use crate::element;
use crate::meta::Header;

/// A string that is being changed.
#[derive(Debug)]
pub(crate) struct TextEdit {
    old: Old,
    old_len: u64,
    len: u64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Inline(Vec<u8>),
    Chunked {
        /// `None`: it gets a new one, because it was not in chunks.
        version: Option<u64>,
        chunks: BTreeMap<u32, Chunk>,
    },
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    is_changed: bool,
}

impl TextEdit {
    /// Whether there was a string.
    pub(crate) fn is_there(&self) -> bool {
        self.old.live.is_some()
    }

    /// Bytes of the string, changes included.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Copies what is there from byte `at` on to `out`, zeros beyond the end. It must have been
    /// announced to [`Context::edit_text`].
    pub(crate) fn read(&self, at: u64, out: &mut [u8]) {
        out.fill(0);
        match &self.form {
            Form::Inline(value) => {
                let there = usize::try_from(at).ok().and_then(|at| value.get(at..));
                copy(there.unwrap_or_default(), out);
            }
            Form::Chunked { chunks, .. } => {
                for (number, inside, outside) in parts(at, out.len()) {
                    let Some(chunk) = chunks.get(&number) else { continue };
                    let there = chunk.bytes.get(inside.start..).unwrap_or_default();
                    copy(there, &mut out[outside]);
                }
            }
        }
    }

    /// Overwrites what is there from byte `at` on; the string becomes as long as that needs. It must
    /// have been announced to [`Context::edit_text`].
    pub(crate) fn write(&mut self, at: u64, patch: &[u8]) {
        self.grow(at + patch.len() as u64);
        match &mut self.form {
            Form::Inline(value) => {
                let at = usize::try_from(at).expect("within a short string");
                value[at..at + patch.len()].copy_from_slice(patch);
            }
            Form::Chunked { chunks, .. } => {
                for (number, inside, outside) in parts(at, patch.len()) {
                    let chunk = chunks.entry(number).or_default();
                    if chunk.bytes.len() < inside.end {
                        chunk.bytes.resize(inside.end, 0);
                    }
                    chunk.bytes[inside].copy_from_slice(&patch[outside]);
                    chunk.is_changed = true;
                }
            }
        }
    }

    /// Makes the string at least so long; what is new is zero.
    pub(crate) fn grow(&mut self, len: u64) {
        if len <= self.len {
            return;
        }
        self.len = len;
        if let Form::Inline(value) = &mut self.form {
            value.resize(usize::try_from(len).expect("a short string"), 0);
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
}

/// The chunks that `len` bytes from `at` on lie in: number, place in the chunk, place in the bytes.
fn parts(at: u64, len: usize) -> impl Iterator<Item = (u32, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (number, inside) = chunk::place(at + done as u64);
        let part = (len - done).min(chunk::LEN - inside);
        let outside = done..done + part;
        done += part;
        (part > 0).then_some((number, inside..inside + part, outside))
    })
}

impl Context<'_> {
    /// Latches a key of the client's table and opens its string for changes; an absent one is empty.
    /// `touched` gets its length, and tells which bytes will be read or written, which may lie beyond
    /// the end; chunks that are wholly inside are only written.
    pub(crate) fn edit_text(
        &mut self,
        key: &[u8],
        touched: impl FnOnce(u64) -> Range<u64>,
    ) -> Result<TextEdit, Stop> {
        self.edit_text_parts(key, |len| vec![touched(len)])
    }

    /// The same for any number of ranges.
    pub(crate) fn edit_text_parts(
        &mut self,
        key: &[u8],
        touched: impl FnOnce(u64) -> Vec<Range<u64>>,
    ) -> Result<TextEdit, Stop> {
        let old = self.load_for_write(key)?;
        let found = old.live.map(|header| (header, &self.exec.value[..]));
        let (len, chunked) = match string_of(found)? {
            None => (0, None),
            Some(Text::Inline(body)) => (body.len() as u64, None),
            Some(Text::Chunked(chunked)) => (chunked.len, Some(chunked)),
        };
        let touched = touched(len);
        let end = touched.iter().map(|range| range.end).max().unwrap_or(0);
        let form = match chunked {
            None if end <= chunk::INLINE_LEN_MAX as u64 => {
                Form::Inline(std::mem::take(&mut self.exec.value))
            }
            None => {
                let chunks = chunk::split(&self.exec.value);
                let chunks = chunks.map(|(number, bytes)| {
                    (number, Chunk { bytes: bytes.to_vec(), is_changed: true })
                });
                Form::Chunked { version: None, chunks: chunks.collect() }
            }
            Some(chunked) => {
                let mut prefix = Vec::new();
                element::write_prefix(&mut prefix, &self.exec.meta_key, chunked.version);
                let mut chunks = BTreeMap::new();
                for range in &touched {
                    self.load_chunks(&prefix, range, len, &mut chunks)?;
                }
                Form::Chunked { version: Some(chunked.version), chunks }
            }
        };
        Ok(TextEdit { old, old_len: len, len, form })
    }

    /// Loads the chunks that a range touches, of a string of so many bytes, but those that are wholly
    /// inside of it.
    fn load_chunks(
        &mut self,
        prefix: &[u8],
        touched: &Range<u64>,
        len: u64,
        chunks: &mut BTreeMap<u32, Chunk>,
    ) -> Result<(), Stop> {
        if touched.is_empty() {
            return Ok(());
        }
        let ((first, _), (last, _)) = (chunk::place(touched.start), chunk::place(touched.end - 1));
        for number in first..=last {
            let span = chunk::span(number);
            if span.start >= len {
                break;
            }
            let is_overwritten = touched.start <= span.start && span.end <= touched.end;
            if is_overwritten || chunks.contains_key(&number) {
                continue;
            }
            let element = chunk::element(number);
            let bytes = self.element(Family::Data, prefix, &element, |found| {
                found.map(<[u8]>::to_vec).unwrap_or_default()
            })?;
            chunks.insert(number, Chunk { bytes, is_changed: false });
        }
        Ok(())
    }

    /// Writes what the changes made of the key.
    pub(crate) fn finish_text(&mut self, key: &[u8], edit: TextEdit) {
        let TextEdit { old, old_len, len, form } = edit;
        let header = old.live.unwrap_or(Header::STRING);
        match form {
            Form::Inline(value) => {
                self.exec.value = value;
                let table = self.table();
                self.put_loaded(table, key, old, &header, b"");
            }
            Form::Chunked { version, chunks } => {
                self.exec.look_at(self.client.table, key);
                let is_new = version.is_none();
                let version = version.unwrap_or_else(|| self.exec.new_version());
                let mut prefix = Vec::new();
                element::write_prefix(&mut prefix, &self.exec.meta_key, version);
                for (number, chunk) in chunks.iter().filter(|(_, chunk)| chunk.is_changed) {
                    let element = chunk::element(*number);
                    self.exec.batch.put_element(Family::Data, &prefix, &element, &chunk.bytes);
                }
                if is_new || len != old_len {
                    self.put_chunked_meta(key, old, &header, version, len);
                }
            }
        }
    }

    /// Gives back what [`Context::edit_text`] took, if nothing changes.
    pub(crate) fn drop_text(&mut self, edit: TextEdit) {
        if let Form::Inline(value) = edit.form {
            self.exec.value = value;
        }
    }
}
