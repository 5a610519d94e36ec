//! Operations one by one, and damage.

mod reads;

use super::journal::{RecordKind, RecordPlace};
use super::limits::{BLOCK_LEN, JOURNAL_BLOCKS_MIN};
use super::superblock::Superblock;
use super::*;
use crate::buffer::DeviceBuffer;
use crate::device::sim::{Faults, SimDevice};
use crate::device::{Completion, Operation, Request};
use crate::seed::Seeded;

const UUID: [u8; 16] = *b"0123456789abcdef";

fn formatted(blocks: u64) -> SimDevice {
    let options = FormatOptions { uuid: UUID, journal_blocks: Some(16), force: false };
    format(SimDevice::new(4096, blocks, 1), &options).unwrap()
}

fn mounted(blocks: u64) -> FileSystem<SimDevice> {
    FileSystem::mount(formatted(blocks)).unwrap()
}

/// What a power cut without any unflushed write leaves.
fn cut(fs: FileSystem<SimDevice>) -> FileSystem<SimDevice> {
    let mut device = fs.into_device();
    device.power_cut(|_| false);
    let (device, report) = check(device).unwrap();
    assert!(
        !report.findings.iter().any(|found| matches!(found, Finding::SpaceDoesNotAddUp { .. }))
    );
    FileSystem::mount(device).unwrap()
}

fn content(fs: &FileSystem<SimDevice>, path: &[u8]) -> Vec<u8> {
    let size = fs.metadata(path).unwrap().size;
    let file = fs.open_read(path).unwrap();
    let mut out = vec![0; usize::try_from(size).unwrap() + 10];
    let len = fs.read(file, 0, &mut out).unwrap();
    fs.close(file, false, 0).unwrap();
    out.truncate(len);
    out
}

fn put(fs: &FileSystem<SimDevice>, path: &[u8], bytes: &[u8]) {
    let file = fs.create(path).unwrap();
    fs.append(file, bytes).unwrap();
    fs.sync(&[file], 7).unwrap();
    fs.close(file, true, 7).unwrap();
}

fn adds_up(fs: &FileSystem<SimDevice>) {
    let space = fs.space();
    assert_eq!(space.total, space.reserved + space.used + space.held + space.free);
}

#[test]
fn synced_content_survives_and_the_rest_is_absent() {
    let fs = mounted(256);
    let file = fs.create(b"/wal").unwrap();
    fs.append(file, &[1; 5000]).unwrap();
    fs.sync(&[file], 42).unwrap();
    fs.append(file, &[2; 5000]).unwrap();
    assert_eq!(content(&fs, b"wal"), [[1; 5000], [2; 5000]].concat(), "readers see the tail");
    fs.create(b"/never").unwrap();
    let fs = cut(fs);
    assert_eq!(content(&fs, b"wal"), [1; 5000]);
    assert_eq!(fs.metadata(b"wal").unwrap().modified_ms, 42);
    assert_eq!(fs.metadata(b"never"), Err(ChangeError::NotFound.into()));
    // The tail block is read back and written on.
    let file = fs.open_append(b"wal").unwrap();
    fs.append(file, &[3; 9000]).unwrap();
    fs.sync(&[file], 43).unwrap();
    let fs = cut(fs);
    assert_eq!(content(&fs, b"wal"), [[1; 5000].as_slice(), &[3; 9000]].concat());
}

// A sync of a log's record is what clients wait for.
#[test]
fn little_is_synced_by_one_durable_write_without_a_flush() {
    let fs = mounted(2048);
    let file = fs.create(b"wal").unwrap();
    fs.append(file, &[1; 700]).unwrap();
    fs.sync(&[file], 1).unwrap();
    let flushes = fs.counters().flushes;
    fs.with_device(|device| device.record());
    for byte in 2..6 {
        fs.append(file, &[byte; 700]).unwrap();
        fs.sync(&[file], 1).unwrap();
    }
    // One block written and forced.
    let events = fs.with_device(|device| device.recorded());
    assert_eq!((events, fs.counters().flushes - flushes), (8, 0));
    let mut wanted: Vec<u8> = (1..6).flat_map(|byte| [byte; 700]).collect();
    assert_eq!(content(&fs, b"wal"), wanted);

    // After a crash it is in the journal: for readers, for a second crash, and for a new writer.
    let fs = cut(cut(fs));
    assert_eq!(content(&fs, b"wal"), wanted);
    let reader = fs.open_read(b"wal").unwrap();
    let mut out = [0; 1000];
    assert_eq!(fs.read(reader, 1000, &mut out), Ok(1000));
    assert!(out[..] == wanted[1000..2000]);
    let read = fs.begin_read(reader, 3000, 1000).unwrap();
    assert_eq!(fs.end_read(read, &mut out), Ok(500));
    assert!(out[..500] == wanted[3000..]);
    let file = fs.open_append(b"wal").unwrap();
    fs.append(file, &[9; 100]).unwrap();
    wanted.extend([9; 100]);
    assert_eq!(fs.read(reader, 3000, &mut out), Ok(600), "from the writer's memory");
    assert!(out[..600] == wanted[3000..]);
    fs.sync(&[file], 1).unwrap();
    let fs = cut(fs);
    assert_eq!(content(&fs, b"wal"), wanted);

    // Through snapshots, which have it too, and through a sync that is too long for the journal.
    let file = fs.open_append(b"wal").unwrap();
    while fs.counters().compactions < 2 {
        fs.append(file, &[3; 50]).unwrap();
        wanted.extend([3; 50]);
        fs.sync(&[file], 1).unwrap();
    }
    let fs = cut(fs);
    assert_eq!(content(&fs, b"wal"), wanted);
    let file = fs.open_append(b"wal").unwrap();
    fs.append(file, &[4; 40_000]).unwrap();
    wanted.extend([4; 40_000]);
    let flushes = fs.counters().flushes;
    fs.sync(&[file], 1).unwrap();
    assert_eq!(fs.counters().flushes, flushes + 1);
    fs.append(file, b"end").unwrap();
    wanted.extend(b"end");
    fs.sync(&[file], 1).unwrap();
    fs.close(file, true, 1).unwrap();
    assert_eq!(content(&fs, b"wal"), wanted, "in place");
    fs.commit().unwrap();
    let fs = cut(fs);
    assert_eq!(content(&fs, b"wal"), wanted);
    adds_up(&fs);
}

#[test]
fn names_links_and_renames() {
    let fs = mounted(256);
    put(&fs, b"CURRENT", b"one");
    put(&fs, b"tmp", b"two");
    fs.link(b"CURRENT", b"checkpoint").unwrap();
    fs.rename(b"tmp", b"CURRENT").unwrap();
    fs.create_directory(b"dir").unwrap();
    fs.create_directory(b"dir/sub").unwrap();
    fs.rename(b"checkpoint", b"dir/sub/kept").unwrap();
    assert_eq!(fs.rename(b"dir", b"dir/sub/dir"), Err(ChangeError::Cycle.into()));
    assert_eq!(fs.remove_directory(b"dir"), Err(ChangeError::NotEmpty.into()));
    assert_eq!(fs.unlink(b"dir"), Err(ChangeError::IsADirectory.into()));
    assert_eq!(fs.link(b"dir", b"other"), Err(ChangeError::IsADirectory.into()));
    assert_eq!(fs.create_directory(b"dir"), Err(ChangeError::Exists.into()));
    assert_eq!(fs.remove_directory(b"CURRENT"), Err(ChangeError::NotADirectory.into()));
    assert_eq!(fs.create(b"CURRENT/x"), Err(ChangeError::NotADirectory.into()));
    assert_eq!(fs.rename(b"none", b"x"), Err(ChangeError::NotFound.into()));
    fs.commit().unwrap();
    let fs = cut(fs);
    assert_eq!(fs.list(b"").unwrap(), [b"CURRENT".to_vec(), b"dir".to_vec()]);
    assert_eq!(content(&fs, b"CURRENT"), b"two");
    assert_eq!(content(&fs, b"/dir//sub/kept"), b"one");
    adds_up(&fs);
}

#[test]
fn a_removed_file_lives_until_it_is_closed_and_then_its_blocks_are_free() {
    let fs = mounted(256);
    let before = fs.space().free;
    put(&fs, b"a", &[5; 40_000]);
    let file = fs.open_read(b"a").unwrap();
    fs.unlink(b"a").unwrap();
    fs.commit().unwrap();
    let mut out = [0; 10];
    assert_eq!(fs.read(file, 39_995, &mut out), Ok(5));
    assert_eq!(out, [5, 5, 5, 5, 5, 0, 0, 0, 0, 0]);
    fs.close(file, false, 0).unwrap();
    assert_eq!(fs.space().held, 10, "not free before the commit");
    fs.commit().unwrap();
    assert_eq!(fs.space().free, before);

    // The same with a power cut while it is open.
    put(&fs, b"a", &[5; 40_000]);
    fs.open_read(b"a").unwrap();
    fs.unlink(b"a").unwrap();
    fs.commit().unwrap();
    let fs = cut(fs);
    adds_up(&fs);
    fs.commit().unwrap();
    assert_eq!(fs.space().free, before);
}

#[test]
fn preallocation_truncation_and_emptying() {
    let fs = mounted(1024);
    let file = fs.create(b"a").unwrap();
    fs.preallocate(file, 1 << 20).unwrap();
    assert!(fs.metadata(b"a").unwrap().blocks >= 256);
    fs.append(file, &[9; 10_000]).unwrap();
    assert_eq!(fs.truncate(file, 10_001, 0), Err(FsError::BeyondEnd));
    fs.truncate(file, 5_000, 0).unwrap();
    fs.append(file, b"end").unwrap();
    fs.close(file, true, 0).unwrap();
    fs.commit().unwrap();
    assert_eq!(fs.metadata(b"a").unwrap().blocks, 2);
    let fs = cut(fs);
    assert_eq!(content(&fs, b"a"), [[9; 5000].as_slice(), b"end"].concat());
    let file = fs.create(b"a").unwrap();
    assert_eq!(fs.create(b"a"), Err(FsError::WrongOpen));
    fs.append(file, b"unsynced").unwrap();
    assert_eq!(content(&fs, b"a"), b"unsynced");
    let fs = cut(fs);
    assert_eq!(content(&fs, b"a").len(), 5003, "emptying was not committed");
}

#[test]
fn every_limit_has_its_error() {
    let fs = mounted(100);
    assert_eq!(fs.create(&[b'n'; 256]), Err(ChangeError::NameTooLong.into()));
    assert_eq!(fs.create(b".."), Err(ChangeError::InvalidName.into()));
    assert_eq!(fs.create(b"/"), Err(ChangeError::InvalidName.into()));
    assert_eq!(fs.create(&b"a/".repeat(70)), Err(FsError::PathTooDeep));
    let file = fs.create(b"big").unwrap();
    assert_eq!(fs.preallocate(file, u64::MAX), Err(ChangeError::FileTooLong.into()));
    let free = usize::try_from(fs.space().free).unwrap();
    fs.append(file, &vec![1; free * BLOCK_LEN]).unwrap();
    assert_eq!(fs.append(file, &[1]), Err(FsError::NoSpace));
    assert_eq!(fs.metadata(b"big").unwrap().size, u64::try_from(free * BLOCK_LEN).unwrap());
    fs.sync(&[file], 0).unwrap();
    // Blocks that wait for a commit are found when they are needed.
    fs.close(file, true, 0).unwrap();
    fs.unlink(b"big").unwrap();
    let file = fs.create(b"next").unwrap();
    fs.append(file, &[1]).unwrap();
    adds_up(&fs);

    assert_eq!(fs.lock(b"LOCK").and_then(|_| fs.lock(b"LOCK")), Err(FsError::Locked));
    let mut made = 0u32;
    let error = loop {
        made += 1;
        if let Err(error) = fs.create(format!("{made:0200}").as_bytes()) {
            break error;
        }
    };
    assert_eq!(error, FsError::JournalFull);
    assert!(made > 150, "{made}");
    fs.commit().unwrap();
    let fs = cut(fs);
    assert_eq!(fs.list(b"").unwrap().len(), usize::try_from(made).unwrap() + 1);
    fs.unlink(b"LOCK").unwrap();
    fs.lock(b"LOCK").unwrap();
}

#[test]
fn format_overwrites_nothing_unasked() {
    let options = FormatOptions { uuid: UUID, journal_blocks: None, force: false };
    let error = |device, options: &FormatOptions| format(device, options).unwrap_err();
    assert_eq!(error(formatted(64), &options), FormatError::HoldsConey);
    let device = SimDevice::new(4096, 64, 1);
    device.flip(70_000);
    assert_eq!(error(device, &options), FormatError::HoldsSomething);
    let small = SimDevice::new(4096, 34, 1);
    assert_eq!(error(small, &options), FormatError::TooSmall { block_count: 34 });
    let short = FormatOptions { journal_blocks: Some(JOURNAL_BLOCKS_MIN - 1), ..options };
    assert_eq!(error(SimDevice::new(4096, 64, 1), &short), FormatError::JournalLength);
    let fs = mounted(64);
    put(&fs, b"a", b"old");
    let forced = FormatOptions { force: true, uuid: [7; 16], ..options };
    let fs = FileSystem::mount(format(fs.into_device(), &forced).unwrap()).unwrap();
    assert!(fs.list(b"").unwrap().is_empty(), "old records have another uuid");
}

#[test]
fn blocks_of_512_bytes_do() {
    let options = FormatOptions { uuid: UUID, journal_blocks: Some(16), force: false };
    let device = format(SimDevice::new(512, 2048, 1), &options).unwrap();
    let fs = FileSystem::mount(device).unwrap();
    put(&fs, b"a", &[3; 100_000]);
    let fs = cut(fs);
    assert_eq!(content(&fs, b"a"), [3; 100_000]);
}

#[test]
fn one_damaged_superblock_is_survived_and_repaired() {
    for copy in 0..2 {
        let fs = mounted(256);
        put(&fs, b"a", b"x");
        fs.with_device(|device| device.flip(copy * 8 * 4096 + 300));
        let (device, report) = check(fs.into_device()).unwrap();
        assert_eq!(report.findings, [Finding::StaleSuperblock { copy }]);
        let fs = FileSystem::mount(device).unwrap();
        put(&fs, b"b", b"y");
        let (_, report) = check(fs.into_device()).unwrap();
        assert_eq!(report.findings, []);
    }
    let device = formatted(256);
    device.flip(100);
    device.flip(8 * 4096 + 100);
    let error = FileSystem::mount(device).unwrap_err();
    assert_eq!(error, MountError::Superblock(SuperblockError::Checksum));
    let error = FileSystem::mount(SimDevice::new(4096, 64, 1)).unwrap_err();
    assert_eq!(error, MountError::Superblock(SuperblockError::Magic));
}

// Wrong data is worse than none: whatever bit of the metadata turns, the content that is found is
// right, except that the last record may be missing.
#[test]
fn any_flipped_bit_of_metadata_is_an_error_or_harmless() {
    let fs = mounted(64);
    put(&fs, b"a", b"one");
    put(&fs, b"b", b"two");
    fs.commit().unwrap();
    let image = fs.into_device().image();
    let mut damaged = 0;
    for bit in (0..8 * 8 * 4096).step_by(7) {
        let device = SimDevice::from_image(4096, image.clone(), 1);
        device.flip(bit);
        match FileSystem::mount(device) {
            Ok(fs) => {
                assert_eq!(content(&fs, b"a"), b"one", "bit {bit}");
                assert_eq!(content(&fs, b"b"), b"two", "bit {bit}");
            }
            Err(MountError::Journal(_)) => damaged += 1,
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
    assert!(damaged > 1000, "{damaged}");
}

// A checksum proves who wrote a record, not that it makes sense.
#[test]
fn any_changes_with_a_right_checksum_are_replayed_or_refused() {
    let superblock = Superblock {
        version: FORMAT_VERSION,
        uuid: UUID,
        generation: 0,
        block_count: 64,
        journal_blocks: 16,
        snapshot_records: 1,
    };
    let place = RecordPlace { uuid: UUID, generation: 0, sequence: 0, kind: RecordKind::Snapshot };
    let mut refused = 0;
    for seed in 0..20_000 {
        let mut random = Seeded::new(seed);
        let mut payload = Vec::new();
        for _ in 0..random.below(12) {
            any_change(&mut random).encode(&mut payload);
        }
        if random.below(20) == 0 {
            payload.push(random.next_u64().to_le_bytes()[0]);
        }
        let mut region = journal::encode(&place, &payload);
        region.resize(16 * BLOCK_LEN, 0);
        match journal::replay(&superblock, &region) {
            Ok(replayed) => {
                mount::directories_are_sound(&replayed);
                let state = &replayed.state;
                let files = state.inodes.values().map(|found| found.blocks).sum::<u64>();
                assert_eq!(files + state.allocator.free(), 30, "seed {seed}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1000 && refused < 19_000, "{refused}");
}

fn any_change(random: &mut Seeded) -> Change {
    let mut number = |bound: u64| {
        if random.below(40) == 0 { u64::MAX - random.below(2) } else { random.below(bound) }
    };
    let name = |number: u64| vec![b'a' + u8::try_from(number % 3).unwrap()];
    let inode = number(3).saturating_add(1);
    match number(10) {
        0 | 8 => Change::Inode { inode: number(4).saturating_add(1), kind: Kind::Directory },
        1 => Change::Inode { inode: number(4), kind: Kind::File },
        2 => Change::Link { parent: number(3), name: name(number(3)), inode },
        3 => Change::Unlink { parent: number(3), name: name(number(3)) },
        4 => Change::Rename {
            parent: number(3),
            name: name(number(3)),
            to_parent: number(3),
            to_name: name(number(3)),
        },
        5 => Change::Free { inode },
        6 => Change::Extend { inode, extent: Extent { start: number(70), count: number(9) } },
        7 => Change::Shrink { inode, blocks: number(9) },
        9 => {
            let len = usize::try_from(number(5000).min(5000)).unwrap();
            Change::Append { inode, modified_ms: 0, bytes: vec![1; len] }
        }
        _ => Change::Size { inode, size: number(40_000), modified_ms: 0 },
    }
}

#[test]
fn directories_survive_compaction_in_whatever_order_they_were_made() {
    let fs = mounted(256);
    fs.create_directory(b"first").unwrap();
    fs.create_directory(b"second").unwrap();
    fs.rename(b"first", b"second/first").unwrap();
    put(&fs, b"second/first/file", b"deep");
    let mut commits = 0;
    while fs.counters().compactions < 3 {
        commits += 1;
        let name = format!("second/{commits}");
        fs.create_directory(name.as_bytes()).unwrap();
        fs.commit().unwrap();
        fs.remove_directory(name.as_bytes()).unwrap();
        fs.commit().unwrap();
    }
    let fs = cut(fs);
    assert_eq!(content(&fs, b"second/first/file"), b"deep");
    assert_eq!(fs.list(b"second").unwrap(), [b"first"]);
    assert!(commits < 40, "a region has room for few commits: {commits}");
}

/// Every kind of change once, in a device whose bytes are in `golden/v2.txt`.
fn golden_device() -> SimDevice {
    let fs = mounted(40);
    let kept = fs.create(b"kept").unwrap();
    fs.append(kept, b"content").unwrap();
    fs.sync(&[kept], 0x0102_0304).unwrap();
    fs.close(kept, true, 0x0102_0304).unwrap();
    fs.create_directory(b"dir").unwrap();
    fs.link(b"kept", b"dir/second name").unwrap();
    put(&fs, b"gone", b"x");
    fs.unlink(b"gone").unwrap();
    fs.rename(b"kept", b"renamed").unwrap();
    fs.commit().unwrap();
    // Not closed: its content is nowhere but in the journal.
    let log = fs.create(b"log").unwrap();
    fs.append(log, b"only in the journal").unwrap();
    fs.sync(&[log], 0x0506_0708).unwrap();
    fs.into_device()
}

// A change of these bytes is a new format version. After one: `CONEY_BLESS=1 cargo test`.
#[test]
fn a_device_has_the_bytes_of_the_format() {
    let mut device = golden_device();
    let mut text = String::new();
    for block in 0..40 {
        let bytes = read_block(&mut device, block);
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { continue };
        text += &format!("block {block}\n");
        for line in bytes[..=last].chunks(32) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{}\n", hex.join(" "));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v2.txt");
    if std::env::var_os("CONEY_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(text == std::fs::read_to_string(path).unwrap(), "{text}");
}

#[test]
fn the_golden_device_is_mounted() {
    let fs = FileSystem::mount(device_of(include_str!("../../golden/v2.txt"))).unwrap();
    let names = [b"dir".to_vec(), b"log".to_vec(), b"renamed".to_vec()];
    assert_eq!(fs.list(b"/").unwrap(), names);
    assert_eq!(content(&fs, b"log"), b"only in the journal");
    assert_eq!(fs.metadata(b"log").unwrap().modified_ms, 0x0506_0708);
    has_golden_files(&fs);
}

#[test]
fn a_device_of_version_1_is_mounted_and_made_version_2_by_the_first_commit() {
    let device = device_of(include_str!("../../golden/v1.txt"));
    let (device, report) = check(device).unwrap();
    let stale = |copy| Finding::StaleSuperblock { copy };
    assert_eq!(report.findings, [stale(0), stale(1)]);
    let fs = FileSystem::mount(device).unwrap();
    has_golden_files(&fs);
    let log = fs.create(b"log").unwrap();
    fs.append(log, b"new").unwrap();
    fs.sync(&[log], 0).unwrap();
    let mut device = fs.into_device();
    for copy in 0..2 {
        assert_eq!(read_block(&mut device, copy)[12], 2);
    }
    let (device, report) = check(device).unwrap();
    assert_eq!(report.findings, []);
    let fs = FileSystem::mount(device).unwrap();
    has_golden_files(&fs);
    assert_eq!(content(&fs, b"log"), b"new");
}

fn device_of(golden: &str) -> SimDevice {
    let device = SimDevice::new(4096, 40, 1);
    let mut bit = 0;
    for line in golden.lines() {
        if let Some(block) = line.strip_prefix("block ") {
            bit = block.parse::<u64>().unwrap() * 8 * 4096;
            continue;
        }
        for byte in line.split(' ').map(|hex| u8::from_str_radix(hex, 16).unwrap()) {
            (0..8).filter(|at| byte & (1 << at) != 0).for_each(|at| device.flip(bit + at));
            bit += 8;
        }
    }
    device
}

fn has_golden_files(fs: &FileSystem<SimDevice>) {
    assert_eq!(content(fs, b"renamed"), b"content");
    assert_eq!(content(fs, b"dir/second name"), b"content");
    let metadata = fs.metadata(b"renamed").unwrap();
    assert_eq!((metadata.links, metadata.modified_ms, metadata.blocks), (2, 0x0102_0304, 1));
}

fn read_block(device: &mut SimDevice, block: u64) -> Vec<u8> {
    let buffer = DeviceBuffer::zeroed(BLOCK_LEN);
    device.submit(Request { tag: 0, operation: Operation::Read { block, buffer } }).unwrap();
    let mut completions = Vec::new();
    device.poll(&mut completions);
    let Some(Completion { operation: Operation::Read { buffer, .. }, .. }) = completions.pop()
    else {
        panic!("one read, one completion")
    };
    buffer.to_vec()
}

#[test]
fn another_version_is_refused_even_in_one_copy() {
    let mut device = formatted(64);
    let mut block = read_block(&mut device, 1);
    block[12] = 3;
    let crc = crc32c::crc32c(&block[12..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    let mut buffer = DeviceBuffer::zeroed(BLOCK_LEN);
    buffer.copy_from_slice(&block);
    let operation = Operation::Write { block: 1, buffer, force_unit_access: true };
    device.submit(Request { tag: 0, operation }).unwrap();
    device.poll(&mut Vec::new());
    let error = FileSystem::mount(device).unwrap_err();
    assert_eq!(error, MountError::Superblock(SuperblockError::Version { version: 3 }));
}

#[test]
fn after_a_failed_write_nothing_is_written_and_reads_go_on() {
    let fs = mounted(256);
    put(&fs, b"a", &[1; 5000]);
    let file = fs.create(b"b").unwrap();
    fs.append(file, &[2; 5000]).unwrap();
    fs.with_device(|device| {
        device.set_faults(Faults { flush_error: 1_000_000, ..Faults::default() })
    });
    let eio = DeviceError::Io { code: 5 };
    assert_eq!(fs.sync(&[file], 0), Err(FsError::Device(eio)));
    fs.with_device(|device| device.set_faults(Faults::default()));
    assert_eq!(fs.sync(&[file], 0), Err(FsError::Broken(eio)));
    assert_eq!(fs.append(file, b"x"), Err(FsError::Broken(eio)));
    assert_eq!(fs.create(b"c"), Err(FsError::Broken(eio)));
    assert_eq!(content(&fs, b"a"), [1; 5000]);
    let fs = cut(fs);
    assert_eq!(fs.list(b"").unwrap(), [b"a"]);
    assert_eq!(content(&fs, b"a"), [1; 5000]);
    fs.with_device(|device| {
        device.set_faults(Faults { read_error: 1_000_000, ..Faults::default() })
    });
    let file = fs.open_read(b"a").unwrap();
    assert_eq!(fs.read(file, 0, &mut [0; 5]), Err(FsError::Device(eio)));
}

// What could break: a length that is durable before its content, or a block that two files have.
#[test]
fn many_threads_at_once_lose_nothing_that_was_synced() {
    let fs = mounted(16_384);
    fs.with_device(|device| {
        device.set_faults(Faults { delay_polls_max: 3, ..Faults::default() });
    });
    let expected: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn({
                    let fs = &fs;
                    move || work(fs, thread)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    adds_up(&fs);
    assert!(fs.counters().compactions > 3, "{:?}", fs.counters());
    let fs = cut(fs);
    for (path, bytes) in expected {
        assert!(content(&fs, path.as_bytes()) == bytes, "{path}");
    }
}

/// Writes, reads and removes files of one thread's; what each of those that are left must have.
fn work(fs: &FileSystem<SimDevice>, thread: u64) -> BTreeMap<String, Vec<u8>> {
    let mut random = Seeded::new(thread);
    let mut files = BTreeMap::new();
    for round in 0..30 {
        let path = format!("{thread}-{}", round % 5);
        let file = fs.create(path.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        for _ in 0..8 {
            let byte = random.next_u64().to_le_bytes()[0];
            bytes.resize(bytes.len() + usize::try_from(random.below(90_000)).unwrap(), byte);
            let from = usize::try_from(fs.size(file).unwrap()).unwrap();
            fs.append(file, &bytes[from..]).unwrap();
            if random.below(3) == 0 {
                fs.sync(&[file], 1).unwrap();
            }
            let at = random.below(u64::try_from(bytes.len()).unwrap() + 1);
            let mut out = vec![0; 100_000];
            let len = fs.read(file, at, &mut out).unwrap();
            let wanted = &bytes[usize::try_from(at).unwrap()..];
            assert_eq!(len, wanted.len().min(out.len()));
            assert!(out[..len] == wanted[..len], "{path} at {at}");
        }
        fs.sync(&[file], 1).unwrap();
        fs.close(file, true, 1).unwrap();
        if round % 7 == 3 {
            fs.unlink(path.as_bytes()).unwrap();
            fs.commit().unwrap();
            files.remove(&path);
        } else {
            files.insert(path, bytes);
        }
    }
    files
}
