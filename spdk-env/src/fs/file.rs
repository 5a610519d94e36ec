//! The content of open files: appended bytes on their way to the device, and reads.
//!
//! ```text
//! 0 ........ start ............................ size
//!  on the device   queued (full buffers), tail
//!  or in flight
//! ```
//! Appending never waits for a flush, and for writes only when many are behind. What is little and was
//! synced into the journal stays in memory as if it were not synced, until it is written in place. After
//! a crash it is found in the journal, and readers get it from there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, TryLockError};

use super::change::{Change, EXTENT_LEN, Extent};
use super::io::{Piece, ReadQueue, WriteQueue};
use super::limits::{
    BLOCK_BYTES, BLOCK_LEN, FILE_LEN_MAX, GROW_BLOCKS, JOURNALED_SYNC_LEN_MAX, PENDING_LEN_MAX,
    QUEUED_TAILS_MAX, TAIL_LEN_MAX, WRITES_IN_FLIGHT_MAX,
};
use super::queues::Queues;
use super::state::ChangeError;
use super::{FileId, FileSystem, FsError, count, lock};
use crate::buffer::DeviceBuffer;
use crate::device::{BlockDevice, DeviceError};
use crate::number::{to_u64, to_usize};

/// One read of several.
#[derive(Debug)]
pub struct ReadAt<'a> {
    /// First byte in the file.
    pub offset: u64,
    /// Where the bytes go.
    pub out: &'a mut [u8],
    /// How many there were; fewer than asked for only at the file's end.
    pub result: Result<usize, FsError>,
}

/// A read that was begun and not ended.
#[derive(Debug)]
pub struct PendingRead<D> {
    len: usize,
    queue: Option<ReadQueue<D>>,
    /// The bytes, if they are known already.
    bytes: Vec<u8>,
}

/// A file that is open, once for all its handles.
#[derive(Debug)]
pub(super) struct Open<D> {
    pub(super) inode: u64,
    /// Length with what is not synced. Changes under the content's lock.
    size: AtomicU64,
    /// There is a writer, or was one that failed: bytes may be in memory.
    writing: AtomicBool,
    /// Writes may be in flight. Becomes true under both locks, and false under that of `writes`.
    in_flight: AtomicBool,
    /// Counts truncations. Changes under the metadata's lock.
    cuts: AtomicU64,
    content: Mutex<Content>,
    writes: Mutex<Writes<D>>,
    /// Where the content is, as long as there is no writer.
    extents: RwLock<Option<Arc<Extents>>>,
}

#[derive(Debug, Default)]
struct Content {
    writer: bool,
    /// Offset of the first byte in `queued` or `tail`: a whole number of blocks.
    start: u64,
    /// Full buffers of [`TAIL_LEN_MAX`].
    queued: VecDeque<DeviceBuffer>,
    tail: Option<DeviceBuffer>,
    /// Bytes in `tail`.
    fill: usize,
    /// Some bytes in `tail` were never given to the device.
    dirty: bool,
    /// Blocks that the file has.
    blocks: u64,
}

#[derive(Debug)]
struct Writes<D> {
    queue: Option<WriteQueue<D>>,
    /// Something was written since the count of completed writes last went up for this file.
    uncounted: bool,
}

/// Where a file's content is.
#[derive(Debug)]
struct Extents {
    /// Each with its first block in the file.
    places: Vec<(u64, Extent)>,
    /// Bytes that only the journal has, from here on to the file's end. As long as there is a writer,
    /// the writer has them in memory, and there are none here.
    tail_start: u64,
    tail: Vec<u8>,
}

/// A file's length at the moment when everything up to it was written.
#[derive(Clone, Copy, Debug)]
struct Mark {
    size: u64,
    cuts: u64,
}

impl<D: BlockDevice> Open<D> {
    pub(super) fn new(inode: u64, size: u64) -> Self {
        Self {
            inode,
            size: AtomicU64::new(size),
            writing: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            content: Mutex::new(Content::all_written()),
            writes: Mutex::new(Writes { queue: None, uncounted: false }),
            extents: RwLock::new(None),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Under the metadata's lock: from now on extents change.
    pub(super) fn writer_comes(&self) {
        self.writing.store(true, Ordering::SeqCst);
        *self.extents.write().expect("no thread panics with it") = None;
    }

    fn extents(&self) -> Option<Arc<Extents>> {
        self.extents.read().expect("no thread panics with it").clone()
    }
}

impl Content {
    /// That of a file without a writer: nothing is in memory.
    fn all_written() -> Self {
        Self { start: u64::MAX, ..Self::default() }
    }

    /// The file has `size` bytes, of which `end` are the last, from the start of a block on. The
    /// device has them all, unless they are `dirty`.
    fn restart<D: BlockDevice>(&mut self, size: u64, end: &[u8], dirty: bool, queues: &Queues<D>) {
        self.queued.clear();
        self.tail = None;
        self.fill = 0;
        self.start = size - to_u64(end.len());
        self.blocks = size.div_ceil(BLOCK_BYTES);
        self.push(end, queues);
        self.dirty = dirty;
    }

    fn push<D: BlockDevice>(&mut self, mut bytes: &[u8], queues: &Queues<D>) {
        while !bytes.is_empty() {
            let tail = self.tail.get_or_insert_with(|| queues.buffer());
            let (now, later) = bytes.split_at(bytes.len().min(TAIL_LEN_MAX - self.fill));
            tail[self.fill..self.fill + now.len()].copy_from_slice(now);
            self.fill += now.len();
            self.dirty = true;
            bytes = later;
            if self.fill == TAIL_LEN_MAX {
                self.queued.extend(self.tail.take());
                self.fill = 0;
                self.dirty = false;
            }
        }
    }

    /// The first full buffer and its offset.
    fn take_queued(&mut self) -> Option<(u64, DeviceBuffer)> {
        let buffer = self.queued.pop_front()?;
        let offset = self.start;
        self.start += to_u64(buffer.len());
        Some((offset, buffer))
    }

    /// What is left when nothing is queued, filled up to a whole block with zeros. The bytes of a
    /// block that is not whole stay, to be written again with more.
    fn take_tail<D: BlockDevice>(&mut self, queues: &Queues<D>) -> Option<(u64, DeviceBuffer)> {
        if !self.dirty {
            return None;
        }
        let mut buffer = self.tail.take()?;
        let partial = self.fill % BLOCK_LEN;
        let whole = self.fill - partial;
        let offset = self.start;
        if partial > 0 {
            let mut tail = queues.buffer();
            tail[..partial].copy_from_slice(&buffer[whole..self.fill]);
            self.tail = Some(tail);
        }
        let len = self.fill.next_multiple_of(BLOCK_LEN);
        buffer.set_len(len);
        buffer[self.fill..].fill(0);
        self.start += to_u64(whole);
        self.fill = partial;
        self.dirty = false;
        Some((offset, buffer))
    }

    /// Copies what of `offset ..` is in memory to the end of `out`; how many bytes before it are not.
    fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let on_device = to_usize(self.start.saturating_sub(offset)).min(out.len());
        let mut at = to_usize((offset + to_u64(on_device)).saturating_sub(self.start));
        let mut rest = &mut out[on_device..];
        while !rest.is_empty() {
            let buffer = self.queued.get(at / TAIL_LEN_MAX).or(self.tail.as_ref());
            let bytes = buffer.and_then(|buffer| buffer.get(at % TAIL_LEN_MAX..)).unwrap_or(&[]);
            let len = rest.len().min(bytes.len());
            assert!(len > 0, "bytes up to the file's length are on the device or in memory");
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&bytes[..len]);
            rest = later;
            at += len;
        }
        on_device
    }
}

impl Extents {
    /// Where `count` blocks from `first` on are.
    fn places(&self, first: u64, count: u64) -> Result<Vec<Extent>, ChangeError> {
        let mut places = Vec::new();
        let (mut block, end) = (first, first + count);
        let from = self.places.partition_point(|(start, extent)| start + extent.count <= first);
        for (start, extent) in self.places.iter().skip(from) {
            if block >= end {
                break;
            }
            let skip = block - start;
            let count = (extent.count - skip).min(end - block);
            places.push(Extent { start: extent.start + skip, count });
            block += count;
        }
        if block < end { Err(ChangeError::Inconsistent) } else { Ok(places) }
    }

    /// Of a file without a writer.
    fn size(&self) -> u64 {
        self.tail_start + to_u64(self.tail.len())
    }

    /// Copies what of `offset ..` only the journal has to the end of `out`; how many bytes before it
    /// are on the device.
    fn read_tail(&self, offset: u64, out: &mut [u8]) -> usize {
        let on_device = to_usize(self.tail_start.saturating_sub(offset)).min(out.len());
        let at = to_usize((offset + to_u64(on_device)).saturating_sub(self.tail_start));
        let out = &mut out[on_device..];
        if let Some(bytes) = self.tail.get(at..).and_then(|bytes| bytes.get(..out.len())) {
            out.copy_from_slice(bytes);
        }
        on_device
    }
}

impl<D: BlockDevice> FileSystem<D> {
    /// Appends `bytes`, all or none.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn append(&self, file: FileId, bytes: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let open = self.open(file)?;
        let mut content = lock(&open.content);
        if !content.writer {
            return Err(FsError::WrongOpen);
        }
        let size = open.size().checked_add(to_u64(bytes.len()));
        let size = size.filter(|size| *size <= FILE_LEN_MAX).ok_or(ChangeError::FileTooLong)?;
        self.reserve(&open, &mut content, size)?;
        content.push(bytes, &self.queues);
        open.size.store(size, Ordering::Release);
        let queued = content.queued.len();
        drop(content);
        match queued {
            0 => Ok(()),
            _ => self.write_queued(&open, queued > QUEUED_TAILS_MAX),
        }
    }

    /// Takes blocks for a file of `size` bytes now; those beyond its end go back on close.
    ///
    /// # Errors
    /// [`FsError`]; `NoSpace` takes nothing if the blocks are not there at all.
    pub fn preallocate(&self, file: FileId, size: u64) -> Result<(), FsError> {
        self.usable()?;
        let open = self.open(file)?;
        let mut content = lock(&open.content);
        if !content.writer {
            return Err(FsError::WrongOpen);
        }
        if size > FILE_LEN_MAX {
            return Err(ChangeError::FileTooLong.into());
        }
        let missing = size.div_ceil(BLOCK_BYTES).saturating_sub(content.blocks);
        if missing > lock(&self.meta).state.allocator.free() {
            return Err(FsError::NoSpace);
        }
        self.reserve(&open, &mut content, size)
    }

    /// Makes the content of `files` durable, and all changes of names so far. Syncs of several
    /// threads share a flush and a journal record.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn sync(&self, files: &[FileId], now_ms: u64) -> Result<(), FsError> {
        self.usable()?;
        let mut written = Vec::new();
        for file in files {
            let open = self.open(*file)?;
            if !self.journal_end(&open, now_ms)? {
                let mark = self.write_all(&open)?;
                written.push((open, mark));
            }
        }
        if !written.is_empty() {
            self.flush()?;
            let mut meta = lock(&self.meta);
            for (open, mark) in written {
                let inode = open.inode;
                let file = meta.state.file(inode)?;
                // A later sync may have been faster.
                let is_news =
                    file.size < mark.size || (file.size == mark.size && !file.tail.is_empty());
                if open.cuts.load(Ordering::Relaxed) == mark.cuts && is_news {
                    meta.apply(Change::Size { inode, size: mark.size, modified_ms: now_ms })?;
                }
            }
        }
        self.commit()
    }

    /// Has the next commit make durable what of a file is not, if that is little: one write and no
    /// flush. False if it is too much, or on its way to its place already.
    fn journal_end(&self, open: &Open<D>, now_ms: u64) -> Result<bool, FsError> {
        loop {
            let content = lock(&open.content);
            if !content.writer {
                return Err(FsError::WrongOpen);
            }
            let mut meta = lock(&self.meta);
            let inode = open.inode;
            let synced = meta.state.file(inode)?.size;
            let len = to_usize(open.size().saturating_sub(synced));
            if len == 0 {
                return Ok(true);
            }
            if len > JOURNALED_SYNC_LEN_MAX
                || content.start > synced
                || !meta.state.has_room_in_tail(inode, len)
            {
                return Ok(false);
            }
            if meta.pending.len() < PENDING_LEN_MAX {
                let mut bytes = vec![0; len];
                let on_device = content.read(synced, &mut bytes);
                assert_eq!(on_device, 0, "what starts at {synced} is in memory");
                meta.apply(Change::Append { inode, modified_ms: now_ms, bytes })?;
                return Ok(true);
            }
            drop(meta);
            drop(content);
            self.commit()?;
        }
    }

    /// The writer starts at `size`. `end` are the file's last bytes from the start of a block on, of
    /// which the last `journaled` are not in place.
    pub(super) fn begin_writing(&self, open: &Open<D>, size: u64, end: &[u8], journaled: usize) {
        let mut content = lock(&open.content);
        *content = Content { writer: true, ..Content::default() };
        content.restart(size, end, journaled > 0, &self.queues);
        open.size.store(size, Ordering::Release);
        // From here on readers ask the writer for what they got from the journal.
        let _meta = lock(&self.meta);
        open.writer_comes();
    }

    /// Cuts a file at `size` bytes, durably. Its writer goes on there.
    ///
    /// # Errors
    /// [`FsError`]; `BeyondEnd` if the file is shorter.
    pub fn truncate(&self, file: FileId, size: u64, now_ms: u64) -> Result<(), FsError> {
        self.usable()?;
        let open = self.open(file)?;
        loop {
            self.write_all(&open)?;
            self.flush()?;
            // Kept to the end, so that nothing is appended before the cut is durable: it would
            // overwrite what is durable now.
            let _writes = lock(&open.writes);
            let mut content = lock(&open.content);
            if content.dirty || !content.queued.is_empty() {
                continue;
            }
            if size > open.size() {
                return Err(FsError::BeyondEnd);
            }
            let inode = open.inode;
            let mut meta = lock(&self.meta);
            meta.apply(Change::Size { inode, size, modified_ms: now_ms })?;
            meta.apply(Change::Shrink { inode, blocks: size.div_ceil(BLOCK_BYTES) })?;
            open.cuts.fetch_add(1, Ordering::Relaxed);
            drop(meta);
            // Everything was written in place above.
            let tail = self.last_block(&open, size)?;
            content.restart(size, &tail, false, &self.queues);
            open.size.store(size, Ordering::Release);
            return self.commit();
        }
    }

    /// Reads at `offset` and returns how many bytes there were: fewer than asked for only at the
    /// file's end.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn read(&self, file: FileId, offset: u64, out: &mut [u8]) -> Result<usize, FsError> {
        let mut reads = [ReadAt { offset, out, result: Ok(0) }];
        self.read_many(file, &mut reads)?;
        let [ReadAt { result, .. }] = reads;
        result
    }

    /// Does all `reads` at once; each has its own result.
    ///
    /// # Errors
    /// [`FsError`] if nothing could be read at all.
    pub fn read_many(&self, file: FileId, reads: &mut [ReadAt<'_>]) -> Result<(), FsError> {
        let open = self.open(file)?;
        let mut results = Vec::with_capacity(reads.len());
        let mut pieces = Vec::new();
        // In this order: a file that nobody writes has all bytes up to a length seen before.
        let size = open.size();
        let settled = self.settled_extents(&open)?;
        let size = settled.as_ref().map_or(size, |extents| size.min(extents.size()));
        for (request, read) in reads.iter_mut().enumerate() {
            let len = to_usize(size.saturating_sub(read.offset)).min(read.out.len());
            results.push(Ok(len));
            let mut out = &mut read.out[..len];
            if let Some(extents) = &settled {
                let on_device = extents.read_tail(read.offset, out);
                out = &mut out[..on_device];
            } else {
                let on_device = lock(&open.content).read(read.offset, out);
                out = &mut out[..on_device];
                if !out.is_empty() {
                    self.await_writes(&open)?;
                }
            }
            if out.is_empty() {
                continue;
            }
            let first = read.offset / BLOCK_BYTES;
            let mut skip = to_usize(read.offset % BLOCK_BYTES);
            let count = to_u64((skip + out.len()).div_ceil(BLOCK_LEN));
            let places = match &settled {
                Some(extents) => extents.places(first, count)?,
                None => self.places(&open, first, count)?,
            };
            for place in places {
                let room = to_usize(place.count) * BLOCK_LEN - skip;
                let (now, later) = out.split_at_mut(out.len().min(room));
                pieces.push(Piece { block: place.start, skip, out: now, request });
                out = later;
                skip = 0;
            }
        }
        if !pieces.is_empty() {
            self.queues.with(|io| {
                io.read_pieces(pieces, |request, error| {
                    count(&self.counting.device_errors);
                    if let Some(result) = results.get_mut(request) {
                        *result = Err(FsError::Device(error));
                    }
                });
            })?;
        }
        for (read, result) in reads.iter_mut().zip(results) {
            read.result = result;
        }
        Ok(())
    }

    /// Begins to read `len` bytes at `offset`; [`FileSystem::end_read`] waits for them.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn begin_read(
        &self,
        file: FileId,
        offset: u64,
        len: usize,
    ) -> Result<PendingRead<D>, FsError> {
        let open = self.open(file)?;
        let len = to_usize(open.size().saturating_sub(offset)).min(len);
        let settled = self.settled_extents(&open)?;
        let end = offset.saturating_add(to_u64(len));
        let Some(extents) = settled.filter(|extents| end <= extents.tail_start) else {
            // Partly in memory: nothing to wait for long.
            let mut bytes = vec![0; len];
            let got = self.read(file, offset, &mut bytes)?;
            bytes.truncate(got);
            return Ok(PendingRead { len: got, queue: None, bytes });
        };
        if len == 0 {
            return Ok(PendingRead { len, queue: None, bytes: Vec::new() });
        }
        let mut skip = to_usize(offset % BLOCK_BYTES);
        let count = to_u64((skip + len).div_ceil(BLOCK_LEN));
        let places = extents.places(offset / BLOCK_BYTES, count)?;
        let mut queue = ReadQueue::new(self.queues.take()?);
        let mut at = 0;
        for place in places {
            let end = len.min(at + to_usize(place.count) * BLOCK_LEN - skip);
            queue.start(place.start, skip, at..end);
            (at, skip) = (end, 0);
        }
        queue.kick();
        Ok(PendingRead { len, queue: Some(queue), bytes: Vec::new() })
    }

    /// Waits for a read; as many bytes as there were are in `out`.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn end_read(&self, read: PendingRead<D>, out: &mut [u8]) -> Result<usize, FsError> {
        let PendingRead { len, queue, bytes } = read;
        let len = len.min(out.len());
        match queue {
            Some(queue) => {
                let (io, result) = queue.finish(out);
                self.queues.give(io);
                if let Err(error) = result {
                    count(&self.counting.device_errors);
                    return Err(error.into());
                }
            }
            None => out[..len].copy_from_slice(&bytes[..len]),
        }
        Ok(len)
    }

    pub(super) fn open(&self, file: FileId) -> Result<Arc<Open<D>>, FsError> {
        let meta = lock(&self.meta);
        meta.open.get(&file.0).map(|entry| Arc::clone(&entry.file)).ok_or(FsError::WrongOpen)
    }

    /// The writer goes: its bytes are written, its length is known, its surplus blocks go back.
    pub(super) fn finish_writing(&self, open: &Open<D>, now_ms: u64) -> Result<(), FsError> {
        if !lock(&open.content).writer {
            return Err(FsError::WrongOpen);
        }
        let written = self.usable().and_then(|()| {
            let mark = self.write_all(open)?;
            // A length becomes durable only after the content below it.
            self.flush()?;
            let (inode, size) = (open.inode, mark.size);
            let mut meta = lock(&self.meta);
            meta.apply(Change::Size { inode, size, modified_ms: now_ms })?;
            meta.apply(Change::Shrink { inode, blocks: size.div_ceil(BLOCK_BYTES) })?;
            open.writing.store(false, Ordering::SeqCst);
            Ok(())
        });
        let mut writes = lock(&open.writes);
        if let Some(queue) = writes.queue.take() {
            self.queues.give(queue.into_io());
        }
        drop(writes);
        let mut content = lock(&open.content);
        content.writer = false;
        if written.is_ok() {
            let mut buffers = content.tail.take().into_iter().collect();
            self.queues.give_buffers(&mut buffers);
            *content = Content::all_written();
        }
        written
    }

    /// The bytes of the block in which a file of `size` bytes ends, up to there.
    pub(super) fn last_block(&self, open: &Open<D>, size: u64) -> Result<Vec<u8>, FsError> {
        let len = to_usize(size % BLOCK_BYTES);
        if len == 0 {
            return Ok(Vec::new());
        }
        let places = self.places(open, size / BLOCK_BYTES, 1)?;
        let block = places.first().ok_or(ChangeError::Inconsistent)?.start;
        let mut bytes = self.queues.with(|io| io.read(block, 1))??;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// The bytes of a file without a writer from the block on that has `offset`.
    pub(super) fn end_from(&self, open: &Open<D>, offset: u64) -> Result<Vec<u8>, FsError> {
        let start = offset - offset % BLOCK_BYTES;
        let mut bytes = vec![0; to_usize(open.size().saturating_sub(start))];
        let file = FileId::from_number(open.inode);
        let got = self.read(file, start, &mut bytes)?;
        if got == bytes.len() { Ok(bytes) } else { Err(ChangeError::Inconsistent.into()) }
    }

    /// Where `count` blocks of a file from `first` on are.
    fn places(&self, open: &Open<D>, first: u64, count: u64) -> Result<Vec<Extent>, FsError> {
        Ok(self.extents(open)?.1.places(first, count)?)
    }

    /// Where the content is, and what of it only the journal has, unless there is a writer.
    fn settled_extents(&self, open: &Open<D>) -> Result<Option<Arc<Extents>>, FsError> {
        if open.writing.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let (settled, extents) = self.extents(open)?;
        Ok(settled.then_some(extents))
    }

    /// Where the content is; whether there was no writer then.
    fn extents(&self, open: &Open<D>) -> Result<(bool, Arc<Extents>), FsError> {
        if let Some(extents) = open.extents() {
            return Ok((true, extents));
        }
        let mut meta = lock(&self.meta);
        let settled = !open.writing.load(Ordering::SeqCst);
        let file = meta.state.file(open.inode)?;
        let mut start = 0;
        let places = file.extents.iter().map(|extent| {
            start += extent.count;
            (start - extent.count, *extent)
        });
        let places = places.collect();
        let tail = if settled { file.tail.clone() } else { Vec::new() };
        let tail_start = if settled { file.size - to_u64(tail.len()) } else { u64::MAX };
        let extents = Arc::new(Extents { places, tail_start, tail });
        if settled {
            let mut kept = open.extents.write().expect("no thread panics with it");
            *kept = Some(Arc::clone(&extents));
        }
        Ok((settled, extents))
    }

    /// Takes blocks until the file has `size` bytes' worth.
    fn reserve(&self, open: &Open<D>, content: &mut Content, size: u64) -> Result<(), FsError> {
        let inode = open.inode;
        let wanted = size.div_ceil(BLOCK_BYTES);
        while content.blocks < wanted {
            let mut meta = lock(&self.meta);
            let file = meta.state.file(inode)?;
            let missing = wanted.saturating_sub(file.blocks);
            if missing == 0 {
                content.blocks = file.blocks;
                return self.settle(meta);
            }
            let near = file.extents.last().map(|last| last.start + last.count);
            meta.room(EXTENT_LEN)?;
            match meta.state.allocator.find(missing.max(GROW_BLOCKS), near) {
                Some(extent) => {
                    meta.apply(Change::Extend { inode, extent })?;
                    self.settle(meta)?;
                }
                // What the present or the next commit frees may be enough.
                None if meta.held.is_empty() && meta.releasing == 0 => {
                    return Err(FsError::NoSpace);
                }
                None => {
                    drop(meta);
                    self.commit()?;
                }
            }
        }
        Ok(())
    }

    /// Starts to write full buffers, unless somebody is at it and `must` is false.
    fn write_queued(&self, open: &Open<D>, must: bool) -> Result<(), FsError> {
        let mut writes = match open.writes.try_lock() {
            Ok(writes) => writes,
            Err(TryLockError::WouldBlock) if !must => return Ok(()),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => lock(&open.writes),
        };
        let mut content = lock(&open.content);
        while let Some((offset, buffer)) = content.take_queued() {
            open.in_flight.store(true, Ordering::SeqCst);
            drop(content);
            self.start_write(open, &mut writes, offset, buffer)?;
            content = lock(&open.content);
        }
        drop(content);
        let Some(queue) = writes.queue.as_mut() else { return Ok(()) };
        let result = queue.settle(WRITES_IN_FLIGHT_MAX);
        self.queues.give_buffers(&mut queue.spare);
        result.map_err(|error| self.fail(error))
    }

    /// Writes everything and waits for it; how long the file is then.
    fn write_all(&self, open: &Open<D>) -> Result<Mark, FsError> {
        let mut writes = lock(&open.writes);
        let mut content = lock(&open.content);
        if !content.writer {
            return Err(FsError::WrongOpen);
        }
        let mut buffers = Vec::new();
        while let Some(queued) = content.take_queued() {
            buffers.push(queued);
        }
        buffers.extend(content.take_tail(&self.queues));
        if !buffers.is_empty() {
            open.in_flight.store(true, Ordering::SeqCst);
        }
        let mark = Mark { size: open.size(), cuts: open.cuts.load(Ordering::Relaxed) };
        drop(content);
        for (offset, buffer) in buffers {
            self.start_write(open, &mut writes, offset, buffer)?;
        }
        self.finish_writes(open, &mut writes).map_err(|error| self.fail(error))?;
        Ok(mark)
    }

    /// Waits for writes of a file that may be in flight.
    fn await_writes(&self, open: &Open<D>) -> Result<(), FsError> {
        if !open.in_flight.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut writes = lock(&open.writes);
        self.finish_writes(open, &mut writes).map_err(|error| self.fail(error))
    }

    fn finish_writes(&self, open: &Open<D>, writes: &mut Writes<D>) -> Result<(), DeviceError> {
        if let Some(queue) = writes.queue.as_mut() {
            let result = queue.settle(0);
            self.queues.give_buffers(&mut queue.spare);
            result?;
        }
        open.in_flight.store(false, Ordering::SeqCst);
        if std::mem::take(&mut writes.uncounted) {
            self.written.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Starts to write a buffer at `offset` of a file, in as many pieces as its blocks are in.
    fn start_write(
        &self,
        open: &Open<D>,
        writes: &mut Writes<D>,
        offset: u64,
        buffer: DeviceBuffer,
    ) -> Result<(), FsError> {
        let queue = match &mut writes.queue {
            Some(queue) => queue,
            none => {
                let io = self.queues.take().map_err(|error| self.fail(error))?;
                none.insert(WriteQueue::new(io))
            }
        };
        writes.uncounted = true;
        let places = self.places(open, offset / BLOCK_BYTES, to_u64(buffer.len() / BLOCK_LEN))?;
        if let [place] = places.as_slice() {
            queue.start(place.start, buffer);
            return Ok(());
        }
        let mut rest = &buffer[..];
        for place in places {
            let (now, later) = rest.split_at(to_usize(place.count) * BLOCK_LEN);
            let mut piece = DeviceBuffer::zeroed(now.len());
            piece.copy_from_slice(now);
            queue.start(place.start, piece);
            rest = later;
        }
        queue.spare.push(buffer);
        Ok(())
    }
}
