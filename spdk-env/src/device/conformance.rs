//! What every backend must do, asked of each.

use std::io::Write;

use super::file::{FileDevice, OpenError};
use super::sim::{Faults, SimDevice};
use super::uring::UringDevice;
use super::{BlockDevice, Completion, DeviceError, Operation, Request};
use crate::buffer::DeviceBuffer;
use crate::number::{to_u64, to_usize};
use crate::seed::Seeded;

/// Runs `operations` to their end and returns the completions by tag.
fn run(device: &mut dyn BlockDevice, operations: Vec<Operation>) -> Vec<Completion> {
    let count = operations.len();
    let mut completions = Vec::new();
    for (tag, operation) in (0..).zip(operations) {
        let mut request = Request { tag, operation };
        while let Err(refused) = device.submit(request) {
            request = refused.0;
            device.poll(&mut completions);
        }
    }
    while completions.len() < count {
        device.poll(&mut completions);
    }
    completions.sort_by_key(|completion| completion.tag);
    assert!(
        completions.iter().map(|completion| completion.tag).eq(0..to_u64(count)),
        "each ends once"
    );
    completions
}

/// Of a device with blocks of 4096 bytes.
fn write(block: u64, byte: u8, blocks: usize, force_unit_access: bool) -> Operation {
    write_of(4096, block, byte, blocks, force_unit_access)
}

fn write_of(len: usize, block: u64, byte: u8, blocks: usize, forced: bool) -> Operation {
    let mut buffer = DeviceBuffer::zeroed(blocks * len);
    buffer.fill(byte);
    Operation::Write { block, buffer, force_unit_access: forced }
}

fn block_len(device: &dyn BlockDevice) -> usize {
    to_usize(u64::from(device.geometry().block_len))
}

fn read(device: &mut dyn BlockDevice, block: u64, blocks: usize) -> Vec<u8> {
    let buffer = DeviceBuffer::zeroed(blocks * block_len(device));
    let mut ended = run(device, vec![Operation::Read { block, buffer }]);
    let Completion { operation: Operation::Read { buffer, .. }, result: Ok(()), .. } =
        ended.remove(0)
    else {
        panic!("a read failed")
    };
    buffer.to_vec()
}

/// A device of 64 blocks.
fn conforms(device: &mut dyn BlockDevice) {
    let geometry = device.geometry();
    assert_eq!(geometry.block_count, 64);
    let len = block_len(device);
    let write = |block, byte, blocks, forced| write_of(len, block, byte, blocks, forced);
    assert!(geometry.atomic_write_len >= 512 && geometry.queue_depth > 0);

    // Many writes at once, more than the queue takes, and what they wrote.
    run(
        device,
        (0..64)
            .map(|block| write(block, u8::try_from(block).unwrap(), 1, block % 7 == 0))
            .collect(),
    );
    run(device, vec![Operation::Flush]);
    for block in 0..64 {
        assert_eq!(read(device, block, 1), vec![u8::try_from(block).unwrap(); len]);
    }
    // Several blocks in one request, up to the last.
    run(device, vec![write(60, 0xaa, 4, false)]);
    assert_eq!(read(device, 59, 5), [vec![59; len], vec![0xaa; 4 * len]].concat());

    // Beyond the end, and lengths that are not whole blocks: refused, with the buffer, undone.
    let odd = Operation::Read { block: 0, buffer: DeviceBuffer::zeroed(100) };
    let none = Operation::Read { block: 0, buffer: DeviceBuffer::zeroed(0) };
    let bad = vec![
        write(61, 1, 4, false),
        write(u64::MAX, 1, 1, false),
        odd,
        none,
        Operation::Unmap { block: 60, count: 5 },
        Operation::Unmap { block: u64::MAX, count: 2 },
    ];
    for completion in run(device, bad) {
        assert_eq!(completion.result, Err(DeviceError::OutOfRange));
        if let Operation::Write { buffer, .. } = completion.operation {
            assert!(buffer.iter().all(|byte| *byte == 1));
        }
    }
    assert_eq!(read(device, 61, 1), vec![0xaa; len]);

    // An unmap leaves its neighbours alone, and its blocks can be written again.
    run(device, vec![Operation::Unmap { block: 10, count: 3 }]);
    assert_eq!(read(device, 9, 1), vec![9; len]);
    assert_eq!(read(device, 13, 1), vec![13; len]);
    run(device, vec![write(11, 0x77, 1, false)]);
    assert_eq!(read(device, 11, 1), vec![0x77; len]);

    matches_memory(device);
}

/// Random operations one after the other, against an array.
fn matches_memory(device: &mut dyn BlockDevice) {
    let mut random = Seeded::new(7);
    let len = block_len(device);
    let write = |block, byte, blocks, forced| write_of(len, block, byte, blocks, forced);
    run(device, (0..64).map(|block| write(block, 0, 1, false)).collect());
    let mut memory = [0u8; 64];
    for round in 0..300u32 {
        let block = random.below(60);
        let count = random.below(4) + 1;
        let range = usize::try_from(block).unwrap()..usize::try_from(block + count).unwrap();
        if random.below(2) == 0 {
            let byte = u8::try_from(round % 251).unwrap();
            memory[range.clone()].fill(byte);
            run(device, vec![write(block, byte, range.len(), random.below(4) == 0)]);
        } else {
            let seen = read(device, block, range.len());
            let expected: Vec<u8> =
                memory[range].iter().flat_map(|byte| vec![*byte; len]).collect();
            assert!(seen == expected, "round {round}");
        }
    }
}

fn file_of(blocks: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    file.as_file().set_len(blocks * 4096).unwrap();
    file
}

/// A file that has `blocks` blocks for a [`UringDevice`], and these blocks' length.
fn uring_file_of(blocks: u64) -> Result<(tempfile::NamedTempFile, usize), OpenError> {
    let file = file_of(blocks);
    let block_len = u64::from(UringDevice::open(file.path())?.geometry().block_len);
    file.as_file().set_len(blocks * block_len)?;
    Ok((file, to_usize(block_len)))
}

#[test]
fn sim_conforms() {
    for block_len in [512, 4096] {
        conforms(&mut SimDevice::new(block_len, 64, 1));
    }
}

#[test]
fn sim_conforms_when_it_delays_and_reorders() {
    for seed in 0..20 {
        let mut device = SimDevice::new(4096, 64, seed);
        device.set_faults(Faults { delay_polls_max: 5, ..Faults::default() });
        conforms(&mut device);
    }
}

#[test]
fn file_conforms() {
    let file = file_of(64);
    conforms(&mut FileDevice::open(file.path()).unwrap());
}

#[test]
fn uring_conforms() {
    match uring_file_of(64) {
        Ok((file, _)) => conforms(&mut UringDevice::open(file.path()).unwrap()),
        Err(OpenError::Io(error)) if is_refusal(&error) => skipped(&error),
        Err(error) => panic!("{error}"),
    }
}

// A device that goes while requests are in flight must not free memory that the kernel writes to.
#[test]
fn uring_waits_for_its_requests_when_it_is_dropped() {
    let file = file_of(64);
    for round in 0..20 {
        let Ok(mut device) = UringDevice::open(file.path()) else { return };
        let blocks = to_u64(4096 / block_len(&device));
        for block in (0..30).map(|block| block * blocks) {
            device.submit(Request { tag: 0, operation: write(block, round, 2, false) }).unwrap();
        }
        let mut completions = Vec::new();
        device.poll(&mut completions);
        drop(device);
        let mut device = FileDevice::open(file.path()).unwrap();
        assert_eq!(read(&mut device, 1, 30), [round; 30 * 4096]);
    }
}

// A buffer that one ring's kernel side knows means nothing to another ring.
#[test]
fn uring_reads_into_its_own_buffers_and_those_of_other_queues() {
    let Ok((file, block_len)) = uring_file_of(64) else { return };
    let Ok(mut first) = UringDevice::open(file.path()) else { return };
    let mut second = first.queue().unwrap();
    for block in 0..20u8 {
        run(&mut first, vec![write_of(block_len, block.into(), block + 1, 1, false)]);
    }
    for round in 0..4 {
        // More than are registered, and of two lengths.
        let len = if round % 2 == 0 { block_len } else { 2 * block_len };
        let buffers: Vec<DeviceBuffer> = (0..20).map(|_| first.buffer(len)).collect();
        assert!(buffers.iter().all(|buffer| buffer.len() == len));
        let (reader, keeper) =
            if round < 2 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        for (block, buffer) in (0..).zip(buffers) {
            let operation = Operation::Read { block, buffer };
            reader.submit(Request { tag: block, operation }).unwrap();
        }
        let mut completions = Vec::new();
        while completions.len() < 20 {
            reader.wait(&mut completions);
        }
        for completion in completions {
            assert_eq!(completion.result, Ok(()));
            let Operation::Read { block, buffer } = completion.operation else { panic!("a read") };
            assert!(
                buffer[..block_len].iter().all(|byte| u64::from(*byte) == block + 1),
                "{block}"
            );
            if block % 3 == 0 { keeper.give_back(buffer) } else { reader.give_back(buffer) }
        }
    }
}

/// SPDK starts once in a process, so that all kinds of bdev are one test. Without huge pages and PCI.
#[cfg(feature = "spdk")]
#[test]
fn spdk_conforms_on_every_kind_of_bdev() {
    use super::FlushGuarantee;
    use super::spdk::{Spdk, SpdkError, SpdkOptions};

    let (aio, uring) = (file_of(64), file_of(64));
    let config = format!(
        r#"{{"subsystems":[{{"subsystem":"bdev","config":[
            {{"method":"bdev_malloc_create","params":{{"name":"M","num_blocks":64,"block_size":4096}}}},
            {{"method":"bdev_malloc_create","params":{{"name":"Small","num_blocks":512,"block_size":512}}}},
            {{"method":"bdev_error_create","params":{{"base_name":"Small"}}}},
            {{"method":"bdev_error_inject_error","params":{{"name":"EE_Small","io_type":"flush","error_type":"failure","num":2}}}},
            {{"method":"bdev_aio_create","params":{{"name":"A","filename":"{}","block_size":4096}}}},
            {{"method":"bdev_uring_create","params":{{"name":"U","filename":"{}","block_size":4096}}}}]}}]}}"#,
        aio.path().display(),
        uring.path().display(),
    );
    let options =
        SpdkOptions { config: config.into_bytes(), no_huge: true, ..SpdkOptions::default() };
    let spdk = Spdk::start(&options).unwrap();
    let expected = [
        ("M", "malloc", FlushGuarantee::None),
        ("A", "aio", FlushGuarantee::Durable),
        ("U", "uring", FlushGuarantee::None),
    ];
    for (name, module, flush) in expected {
        let mut device = spdk.open(name).unwrap();
        assert_eq!((device.module(), device.geometry().flush), (module, flush));
        assert_eq!(device.flush_problem().is_none(), flush == FlushGuarantee::Durable);
        assert_eq!(device.is_memory(), module == "malloc");
        conforms(&mut device);
        // What one queue has written, another reads.
        let mut other = device.queue().unwrap();
        run(&mut device, vec![write(3, 0x33, 2, true)]);
        assert_eq!(read(&mut other, 3, 2), [0x33; 2 * 4096]);
    }
    // What the aio bdev wrote is in the file.
    assert_eq!(std::fs::read(aio.path()).unwrap()[3 * 4096], 0x33);

    // A flush reaches the bdev, by itself and behind a forced write: this one fails two of them. It
    // is also of a kind that nobody has looked at, and is given DMA memory.
    let mut fails = spdk.open("EE_Small").unwrap();
    assert_eq!((fails.module(), fails.geometry().block_len), ("error", 512));
    assert_eq!(fails.geometry().flush, FlushGuarantee::None);
    let eio = Err(DeviceError::Io { code: 5 });
    for (operation, result) in [
        (Operation::Flush, eio),
        (write(0, 1, 1, false), Ok(())),
        (write(0, 2, 1, true), eio),
        (write(0, 3, 1, true), Ok(())),
        (Operation::Flush, Ok(())),
    ] {
        assert_eq!(run(&mut fails, vec![operation]).remove(0).result, result);
    }
    assert_eq!(read(&mut fails, 0, 8), [3; 4096]);

    // Closed while requests are in flight: they end first, and nothing is freed under SPDK's hands.
    for round in 0..20 {
        let mut device = spdk.open("A").unwrap();
        for block in 0..30 {
            device.submit(Request { tag: 0, operation: write(block, round, 2, false) }).unwrap();
        }
        drop(device);
        assert_eq!(read(&mut spdk.open("A").unwrap(), 1, 30), [round; 30 * 4096]);
    }

    let Err(SpdkError::Missing { others, .. }) = spdk.open("N") else { panic!("no such bdev") };
    assert_eq!(others.len(), 5);
    assert!(matches!(Spdk::start(&options), Err(SpdkError::Again)));
}

/// Whether the host, not the code, is why there is no ring or no direct I/O.
fn is_refusal(error: &std::io::Error) -> bool {
    // EPERM, EINVAL (no O_DIRECT, as on tmpfs), ENOSYS.
    matches!(error.raw_os_error(), Some(1 | 22 | 38))
}

/// Says so, past the test harness, which shows nothing of tests that pass.
fn skipped(error: &std::io::Error) {
    let why = format!("SKIPPED: io_uring with direct I/O is not to be had here: {error}\n");
    std::io::stderr().write_all(why.as_bytes()).ok();
}

#[test]
fn file_is_one_process_s_device_and_has_a_block() {
    let file = file_of(64);
    let first = FileDevice::open(file.path()).unwrap();
    assert!(matches!(FileDevice::open(file.path()), Err(OpenError::InUse)));
    drop(first);
    file.as_file().set_len(100).unwrap();
    assert!(matches!(FileDevice::open(file.path()), Err(OpenError::TooSmall { len_bytes: 100 })));
}

#[test]
fn sim_keeps_what_was_flushed_and_any_subset_of_the_rest() {
    for mask in 0..8u32 {
        let mut device = SimDevice::new(4096, 64, 1);
        run(&mut device, vec![write(0, 1, 4, false)]);
        run(&mut device, vec![Operation::Flush]);
        run(&mut device, vec![write(1, 2, 3, false)]);
        run(&mut device, vec![write(9, 9, 1, true)]);
        assert_eq!(device.unflushed_len(), 3);
        device.power_cut(|unit| mask & (1 << unit) != 0);
        assert_eq!(read(&mut device, 0, 1), [1; 4096]);
        assert_eq!(read(&mut device, 9, 1), [9; 4096], "forced unit access");
        for unit in 0..3u64 {
            let expected = if mask & (1 << unit) != 0 { 2 } else { 1 };
            assert_eq!(read(&mut device, unit + 1, 1), [expected; 4096]);
        }
    }
}

#[test]
fn sim_faults_happen() {
    let always = 1_000_000;
    let none = Faults::default();
    let outcome = |faults: Faults, operation: Operation| {
        let mut device = SimDevice::new(4096, 64, 3);
        device.set_faults(faults);
        let result = run(&mut device, vec![operation]).remove(0).result;
        device.set_faults(none);
        (result, read(&mut device, 0, 64).iter().filter(|byte| **byte != 0).count())
    };
    let eio = Err(DeviceError::Io { code: 5 });
    assert_eq!(outcome(Faults { flush_error: always, ..none }, Operation::Flush).0, eio);
    assert_eq!(outcome(Faults { write_error: always, ..none }, write(0, 1, 2, false)).0, eio);
    let full = outcome(Faults { no_space: always, ..none }, write(0, 1, 2, false));
    assert_eq!(full, (Err(DeviceError::NoSpace), 0));
    assert_eq!(outcome(Faults { lost_write: always, ..none }, write(0, 1, 2, false)), (Ok(()), 0));
    let misdirected = outcome(Faults { misdirected_write: always, ..none }, write(0, 1, 2, false));
    assert_eq!(misdirected, (Ok(()), 8192));

    let mut device = SimDevice::new(4096, 64, 3);
    device.set_faults(Faults { read_flip: always, ..none });
    let ones: u32 = read(&mut device, 0, 1).iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(ones, 1);
    device.set_faults(none);
    device.flip(8 * 4096 + 3);
    assert_eq!(read(&mut device, 1, 1)[0], 8);
}
