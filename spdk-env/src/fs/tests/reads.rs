//! Reads on a device whose blocks are shorter than the file system's.

use std::sync::Mutex;

use super::{
    BlockDevice, Completion, DeviceError, FileSystem, FormatOptions, Operation, ReadAt, Request,
    Seeded, SimDevice, UUID, format,
};
use crate::device::{Geometry, QueueFull};
use crate::number::{to_u64, to_usize};

/// A device that notes how long each read is, over all its queues.
#[derive(Debug)]
struct Noting<'a> {
    device: SimDevice,
    lengths: &'a Mutex<Vec<usize>>,
}

impl BlockDevice for Noting<'_> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        Ok(Self { device: self.device.queue()?, lengths: self.lengths })
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if let Operation::Read { buffer, .. } = &request.operation {
            self.lengths.lock().unwrap().push(buffer.len());
        }
        self.device.submit(request)
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        self.device.poll(completions)
    }
}

/// A file of `len` bytes in several extents, and its bytes.
fn scattered<D: BlockDevice>(fs: &FileSystem<D>, len: usize) -> Vec<u8> {
    let (file, other) = (fs.create(b"a").unwrap(), fs.create(b"b").unwrap());
    let mut random = Seeded::new(5);
    let bytes: Vec<u8> = (0..len).map(|_| random.next_u64().to_le_bytes()[0]).collect();
    for piece in bytes.chunks(300_000) {
        fs.append(file, piece).unwrap();
        fs.append(other, piece).unwrap();
        fs.sync(&[file, other], 1).unwrap();
    }
    fs.close(file, true, 1).unwrap();
    fs.close(other, true, 1).unwrap();
    bytes
}

#[test]
fn reads_at_any_offset_find_the_bytes_on_blocks_of_any_length() {
    for block_len in [512, 1024, 4096] {
        let options = FormatOptions { uuid: UUID, journal_blocks: Some(16), force: false };
        let blocks = u64::from((8 << 20) / block_len);
        let device = format(SimDevice::new(block_len, blocks, 1), &options).unwrap();
        let fs = FileSystem::mount(device).unwrap();
        let bytes = scattered(&fs, 1_500_000);
        let file = fs.open_read(b"a").unwrap();
        let mut random = Seeded::new(u64::from(block_len));
        for round in 0..400u64 {
            // Now and then more than one request of the device takes, and beyond the end.
            let len_max = if round % 50 == 0 { 1_400_000 } else { 20_000 };
            let mut places = Vec::new();
            for _ in 0..3 {
                let at = to_usize(random.below(to_u64(bytes.len())));
                places.push((at, to_usize(random.below(len_max))));
            }
            let mut outs: Vec<Vec<u8>> = places.iter().map(|(_, len)| vec![0; *len]).collect();
            let mut reads: Vec<ReadAt<'_>> = places
                .iter()
                .zip(&mut outs)
                .map(|((at, _), out)| ReadAt { offset: to_u64(*at), out, result: Ok(0) })
                .collect();
            fs.read_many(file, &mut reads).unwrap();
            for read in reads {
                let (at, got) = (to_usize(read.offset), read.result.unwrap());
                assert_eq!(got, read.out.len().min(bytes.len() - at));
                assert!(read.out[..got] == bytes[at..at + got], "{block_len}: {got} at {at}");
            }
            let (at, len) = places[0];
            let begun = fs.begin_read(file, to_u64(at), len).unwrap();
            let mut out = vec![0; len];
            let got = fs.end_read(begun, &mut out).unwrap();
            assert!(out[..got] == bytes[at..at + got], "{block_len}: {got} at {at}, begun");
        }
    }
}

// What a block of a table costs when it is in no cache.
#[test]
fn a_read_takes_no_more_than_the_device_blocks_that_it_touches() {
    let lengths = Mutex::default();
    let options = FormatOptions { uuid: UUID, journal_blocks: Some(16), force: false };
    let device = Noting { device: SimDevice::new(512, 16_384, 1), lengths: &lengths };
    let fs = FileSystem::mount(format(device, &options).unwrap()).unwrap();
    let bytes = scattered(&fs, 1_000_000);
    let file = fs.open_read(b"a").unwrap();
    let cases: [(u64, usize, usize); 5] =
        [(0, 1, 512), (511, 2, 1024), (4095, 2, 1024), (5000, 4080, 4608), (8192, 4096, 4096)];
    for (offset, len, wanted) in cases {
        lengths.lock().unwrap().clear();
        let mut out = vec![0; len];
        assert_eq!(fs.read(file, offset, &mut out), Ok(len));
        let begun = fs.begin_read(file, offset, len).unwrap();
        assert_eq!(fs.end_read(begun, &mut out), Ok(len));
        assert!(out == bytes[to_usize(offset)..to_usize(offset) + len]);
        assert_eq!(*lengths.lock().unwrap(), [wanted, wanted], "{len} at {offset}");
    }
}
