//! RocksDB on our file system: against RocksDB on its own, and through power cuts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coney_spdk_env::device::sim::{Faults, Image, SimDevice};
use coney_spdk_env::device::uring::UringDevice;
use coney_spdk_env::fs::{FileSystem, FormatOptions, check, format};
use coney_spdk_env::seed::Seeded;
use rocksdb::backup::{BackupEngine, BackupEngineOptions, RestoreOptions};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Env, Options, ReadOptions, SstFileWriter, WriteOptions};

use super::*;

const MIB: u64 = 1 << 20;

fn mounted<D: BlockDevice + Send + 'static>(device: D) -> (Arc<Mounted<D>>, Env) {
    let mounted = Arc::new(Mounted::new(FileSystem::mount(device).unwrap()));
    let env = env(&mounted).unwrap();
    (mounted, env)
}

fn formatted<D: BlockDevice>(device: D) -> D {
    let options = FormatOptions { uuid: [7; 16], journal_blocks: None, force: false };
    format(device, &options).unwrap()
}

fn sim(mib: u64) -> SimDevice {
    formatted(SimDevice::new(4096, mib * MIB / 4096, 1))
}

fn options(env: &Env) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_env(env);
    options.set_write_buffer_size(64 << 10);
    options
}

/// Runs `act` with RocksDB's own file system in a new directory, and with ours in its root.
fn on_both(act: impl Fn(&Env, &Path) -> Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let expected = act(&Env::new().unwrap(), directory.path());
    let (_mounted, env) = mounted(sim(256));
    let found = act(&env, Path::new("/"));
    let place = format!("{}/", directory.path().display());
    let expected: Vec<String> = expected.iter().map(|said| said.replace(&place, "/")).collect();
    assert_eq!(found, expected);
    assert!(!found.is_empty());
}

// RocksDB decides by these answers: a file that is missing is something else than one that cannot
// be read, and a full disk something else than a broken one.
#[test]
fn every_file_operation_answers_as_rocksdbs_own_file_system_does() {
    let directory = tempfile::tempdir().unwrap();
    let expected = ffi::transcript::<SimDevice>(None, directory.path().to_str().unwrap());
    let ours = FileSystem::mount(sim(64)).unwrap();
    ours.create_directory(b"/t").unwrap();
    let found = ffi::transcript(Some(Arc::new(Mounted::new(ours))), "/t");
    let lines = found.lines().zip(expected.lines());
    let differ: Vec<_> = lines.filter(|(found, expected)| found != expected).collect();
    assert!(differ.is_empty(), "ours, theirs: {differ:#?}");
    assert_eq!(found.lines().count(), expected.lines().count());
    assert!(expected.lines().count() > 150);
}

/// What a result says, without what was done to which file: kind and reason.
fn said<T>(result: Result<T, rocksdb::Error>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(error) => {
            let text = error.to_string();
            let (_, reason) = text.rsplit_once(": ").unwrap_or(("", &text));
            format!("{:?}: {reason}", error.kind())
        }
    }
}

fn fill(db: &DB, from: u32, to: u32, len: usize) -> Vec<String> {
    let mut results = Vec::new();
    for key in from..to {
        let byte = u8::try_from(key % 251).unwrap();
        results.push(said(db.put(key.to_be_bytes(), vec![byte; len])));
    }
    results.push(said(db.flush()));
    results.dedup();
    results
}

/// All entries as text: how many, and a sum over them.
fn entries(db: &DB) -> String {
    let mut reads = ReadOptions::default();
    reads.set_async_io(true);
    reads.set_readahead_size(128 << 10);
    let (mut count, mut sum) = (0_u64, 0_u64);
    for entry in db.iterator_opt(rocksdb::IteratorMode::Start, reads) {
        let (key, value) = entry.unwrap();
        count += 1;
        sum = value
            .iter()
            .chain(&key)
            .fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
    let keys: Vec<[u8; 4]> = (0..2000_u32).step_by(7).map(u32::to_be_bytes).collect();
    let found = db.multi_get(&keys);
    let found = found.into_iter().filter(|value| value.as_ref().unwrap().is_some()).count();
    format!("{count} entries, {sum}, {found} of many")
}

#[test]
fn opening_and_closing_says_the_same() {
    on_both(|env, at| {
        let mut results = Vec::new();
        let mut missing = options(env);
        missing.create_if_missing(false);
        results.push(said(DB::open(&missing, at.join("db"))));
        results.push(said(DB::list_cf(&missing, at.join("db"))));
        let db = DB::open(&options(env), at.join("db")).unwrap();
        results.push(said(DB::open(&options(env), at.join("db"))));
        results.extend(fill(&db, 0, 3000, 300));
        results.push(entries(&db));
        drop(db);
        let mut exists = options(env);
        exists.set_error_if_exists(true);
        results.push(said(DB::open(&exists, at.join("db"))));
        let db = DB::open_for_read_only(&missing, at.join("db"), false).unwrap();
        results.push(entries(&db));
        // Which of two kinds of read-only database it is depends on compactions.
        results.push(format!("{:?}", db.put(b"k", b"v").unwrap_err().kind()));
        drop(db);
        results.push(said(Options::load_latest(
            at.join("db"),
            env.clone(),
            true,
            rocksdb::Cache::new_lru_cache(1 << 20),
        )));
        results.push(said(DB::repair(&options(env), at.join("db"))));
        results.push(entries(&DB::open(&options(env), at.join("db")).unwrap()));
        results.push(said(DB::destroy(&options(env), at.join("db"))));
        results.push(said(DB::open(&missing, at.join("db"))));
        results
    });
}

#[test]
fn checkpoints_ingestion_backups_and_blobs_say_the_same() {
    on_both(|env, at| {
        let mut results = Vec::new();
        let mut with_blobs = options(env);
        with_blobs.set_enable_blob_files(true);
        with_blobs.set_min_blob_size(200);
        let db = DB::open(&with_blobs, at.join("db")).unwrap();
        results.extend(fill(&db, 0, 2000, 300));
        results.extend(fill(&db, 500, 1500, 100));
        results.push(said(db.put(b"in the log", b"only")));

        let checkpoint = Checkpoint::new(&db).unwrap();
        results.push(said(checkpoint.create_checkpoint(at.join("checkpoint"))));
        results.push(said(checkpoint.create_checkpoint(at.join("checkpoint"))));
        results.push(said(checkpoint.create_checkpoint(at.join("none/checkpoint"))));

        let own = options(env);
        let mut writer = SstFileWriter::create(&own);
        writer.open(at.join("table")).unwrap();
        for key in 5000..6000_u32 {
            writer.put(key.to_be_bytes(), [1; 50]).unwrap();
        }
        writer.finish().unwrap();
        results.push(said(db.ingest_external_file(vec![at.join("table")])));
        results.push(said(db.ingest_external_file(vec![at.join("no table")])));

        let backups = BackupEngineOptions::new(at.join("backups")).unwrap();
        let mut engine = BackupEngine::open(&backups, env).unwrap();
        results.push(said(engine.create_new_backup_flush(&db, true)));
        results.extend(fill(&db, 7000, 7100, 1000));
        results.push(said(engine.create_new_backup_flush(&db, true)));
        results.push(said(engine.verify_backup(1)));
        results.push(said(engine.verify_backup(9)));
        results.push(said(engine.purge_old_backups(1)));
        db.compact_range(None::<&[u8]>, None::<&[u8]>);
        results.push(entries(&db));
        drop(checkpoint);
        drop(db);
        let restored = engine.restore_from_latest_backup(
            at.join("restored"),
            at.join("restored"),
            &RestoreOptions::default(),
        );
        results.push(said(restored));
        for name in ["db", "checkpoint", "restored"] {
            let db = DB::open(&with_blobs, at.join(name)).unwrap();
            results.push(format!("{name}: {}", entries(&db)));
            let blobs = db.live_files().unwrap().len();
            results.push(format!("{name}: {} live files", blobs > 0));
        }
        results
    });
}

#[test]
fn the_info_log_and_option_files_are_there() {
    let (mounted, env) = mounted(sim(64));
    let mut options = options(&env);
    options.set_max_log_file_size(2000);
    options.set_keep_log_file_num(3);
    let db = DB::open(&options, "/db").unwrap();
    fill(&db, 0, 2000, 100);
    drop(db);
    drop(options);
    let names = mounted.fs().list(b"/db").unwrap();
    let named = |prefix: &[u8]| names.iter().filter(|name| name.starts_with(prefix)).count();
    assert!(named(b"LOG") >= 2, "{names:?}");
    assert!(named(b"LOG") <= 4, "{names:?}");
    assert_eq!((named(b"CURRENT"), named(b"MANIFEST-"), named(b"IDENTITY")), (1, 1, 1));
    assert!(named(b"OPTIONS-") >= 1);
    let size = mounted.fs().metadata(b"/db/LOG").unwrap().size;
    let file = mounted.fs().open_read(b"/db/LOG").unwrap();
    let mut text = vec![0; usize::try_from(size).unwrap()];
    mounted.fs().read(file, 0, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("20") && text.ends_with('\n'), "{text}");
}

#[test]
fn a_full_device_is_no_space_and_writes_go_on_when_there_is_some() {
    let (mounted, env) = mounted(sim(8));
    let ballast = mounted.fs().create(b"/ballast").unwrap();
    mounted.fs().preallocate(ballast, 5 * MIB).unwrap();
    let mut own = options(&env);
    // Larger than the device: what fails is the append to the log, at once.
    own.set_write_buffer_size(64 << 20);
    let db = DB::open(&own, "/db").unwrap();
    let error = (0..100_000_u32)
        .find_map(|key| db.put(key.to_be_bytes(), [1; 1000]).err())
        .expect("eight mebibytes are full at some time");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert!(db.get(0_u32.to_be_bytes()).unwrap().is_some(), "reads go on");
    mounted.fs().close(ballast, true, 0).unwrap();
    mounted.fs().unlink(b"/ballast").unwrap();
    drop(db);
    let db = DB::open(&own, "/db").unwrap();
    db.put(b"after", b"x").unwrap();
    assert!(db.get(0_u32.to_be_bytes()).unwrap().is_some());
}

#[test]
fn a_failing_device_is_an_error_and_nothing_is_written_after_it() {
    let (mounted, env) = mounted(sim(64));
    let db = DB::open(&options(&env), "/db").unwrap();
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    db.put_opt(b"before", b"x", &synced).unwrap();
    let always = 1_000_000;
    mounted.fs().with_device(|device| {
        device.set_faults(Faults { write_error: always, ..Faults::default() });
    });
    let error = db.put_opt(b"during", b"x", &synced).unwrap_err().to_string();
    assert!(error.contains("Input/output error"), "{error}");
    mounted.fs().with_device(|device| device.set_faults(Faults::default()));
    assert!(db.put_opt(b"after", b"x", &synced).is_err());
    assert_eq!(db.get(b"before").unwrap().unwrap(), b"x");
    assert!(Figures::broken(&*mounted).is_some());
    let figures = mounted.figures();
    assert!(figures.iter().any(|(name, value)| *name == "device_errors" && *value > 0));
}

#[test]
fn an_observed_device_tells_what_it_did_and_what_failed() {
    let device = sim(64);
    let other = device.queue().unwrap();
    let mounted = Mounted::observed(device).unwrap();
    let figure = |name: &str| {
        let figures = mounted.figures();
        let names: std::collections::BTreeSet<_> = figures.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), figures.len(), "each name once: {figures:?}");
        figures.iter().find(|(found, _)| *found == name).map(|(_, value)| *value).unwrap()
    };
    let file = mounted.fs().create(b"file").unwrap();
    mounted.fs().append(file, &[7; 100]).unwrap();
    let before = figure("device_durable_write_count");
    mounted.fs().sync(&[file], 0).unwrap();
    assert_eq!(figure("device_durable_write_count"), before + 1);
    assert_eq!((figure("device_write_count"), figure("device_flush_count")), (0, 0));
    mounted.fs().append(file, &[7; 100_000]).unwrap();
    mounted.fs().sync(&[file], 0).unwrap();
    assert_eq!((figure("device_write_count"), figure("device_flush_count")), (1, 1));
    assert!(figure("device_queue_depth_max") > 0);
    other.set_faults(Faults { read_error: 1_000_000, flush_error: 1_000_000, ..Faults::default() });
    assert!(mounted.fs().read(file, 0, &mut [0; 10]).is_err());
    assert_eq!((figure("device_read_errors"), figure("device_read_only")), (1, 0));
    mounted.fs().append(file, &[7; 100_000]).unwrap();
    assert!(mounted.fs().sync(&[file], 0).is_err());
    assert_eq!((figure("device_flush_errors"), figure("device_read_only")), (1, 1));
    assert_eq!((figure("device_write_errors"), figure("device_queue_depth")), (0, 0));
}

#[test]
fn a_flipped_bit_of_a_table_is_found() {
    let (mounted, env) = mounted(sim(64));
    let mut own = options(&env);
    own.set_compression_type(rocksdb::DBCompressionType::None);
    let db = DB::open(&own, "/db").unwrap();
    fill(&db, 0, 500, 1000);
    mounted.fs().with_device(|device| {
        device.set_faults(Faults { read_flip: 1_000_000, ..Faults::default() });
    });
    let mut reads = ReadOptions::default();
    reads.fill_cache(false);
    let damaged = (0..500_u32).filter(|key| match db.get_opt(key.to_be_bytes(), &reads) {
        Ok(value) => {
            assert_eq!(value.unwrap(), vec![u8::try_from(key % 251).unwrap(); 1000]);
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), rocksdb::ErrorKind::Corruption, "{error}");
            true
        }
    });
    assert!(damaged.count() > 100);
}

/// How many entries each writer has that are acknowledged.
type Acknowledged = [AtomicU64; WRITERS];
const WRITERS: usize = 3;
const ROUNDS: u64 = 30;

fn key(writer: usize, number: u64) -> Vec<u8> {
    format!("{writer}/{number:08}").into_bytes()
}

fn value(number: u64) -> Vec<u8> {
    let len = usize::try_from(number * 37 % 900).unwrap();
    vec![u8::try_from(number % 251).unwrap(); len]
}

/// Writes on and on until the power is cut; each write is synced before it counts.
fn write_on(db: &DB, writer: usize, acknowledged: &AtomicU64, stop: &AtomicU64) {
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    while stop.load(Ordering::SeqCst) == 0 {
        let number = acknowledged.load(Ordering::SeqCst);
        db.put_opt(key(writer, number), value(number), &synced).unwrap();
        acknowledged.store(number + 1, Ordering::SeqCst);
        if writer == 0 && number % 64 == 63 {
            db.flush().unwrap();
        }
    }
}

/// Writes for a while and cuts the power; what is left, and what was acknowledged before.
fn run_until_power_cut(
    db: &DB,
    spy: &SimDevice,
    before: &[u64],
    random: &mut Seeded,
) -> (Image, Vec<u64>) {
    let acknowledged: Acknowledged = std::array::from_fn(|writer| AtomicU64::new(before[writer]));
    let stop = AtomicU64::new(0);
    let sum = |counts: &Acknowledged| {
        counts.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>()
    };
    let goal = before.iter().sum::<u64>() + 20 + random.below(300);
    std::thread::scope(|scope| {
        for (writer, count) in acknowledged.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || write_on(db, writer, count, stop));
        }
        while sum(&acknowledged) < goal {
            std::thread::yield_now();
        }
        let counts = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        let image = match random.below(3) {
            0 => spy.image_after_power_cut(|_| false),
            1 => spy.image_after_power_cut(|_| true),
            _ => spy.image_after_power_cut(|_| random.below(2) == 0),
        };
        stop.store(1, Ordering::SeqCst);
        (image, counts)
    })
}

#[test]
fn every_acknowledged_synced_write_survives_power_cuts() {
    let mut random = Seeded::new(11);
    let mut image = sim(64).image();
    let mut acknowledged = vec![0; WRITERS];
    for round in 0..ROUNDS {
        let device = SimDevice::from_image(4096, image, round);
        let (device, report) =
            check(device).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let unclean = report
            .findings
            .iter()
            .any(|found| matches!(found, coney_spdk_env::fs::Finding::SpaceDoesNotAddUp { .. }));
        assert!(!unclean, "round {round}: {report:?}");
        device.set_faults(Faults { delay_polls_max: 2, ..Faults::default() });
        let spy = device.queue().unwrap();
        let (mounted, env) = mounted(device);
        let db = DB::open(&options(&env), "/db")
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        for (writer, count) in acknowledged.iter().enumerate() {
            for number in 0..*count {
                let found = db.get(key(writer, number)).unwrap();
                assert_eq!(
                    found,
                    Some(value(number)),
                    "round {round}, {writer}/{number} of {count}"
                );
            }
        }
        (image, acknowledged) = run_until_power_cut(&db, &spy, &acknowledged, &mut random);
        drop(db);
        assert_eq!(ffi::verify_checksum(mounted, "/db"), Ok(()), "round {round}");
    }
    assert!(acknowledged.iter().sum::<u64>() > ROUNDS * 20);
}

#[test]
fn rocksdb_works_on_io_uring_and_finds_everything_again() {
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    file.as_file().set_len(128 * MIB).unwrap();
    // As in the conformance suite: it may be the host that has no ring or no direct I/O.
    let Ok(device) = UringDevice::open(file.path()) else { return };
    let expected = {
        let (_mounted, env) = mounted(formatted(device));
        let db = DB::open(&options(&env), "/db").unwrap();
        fill(&db, 0, 20_000, 300);
        db.compact_range(None::<&[u8]>, None::<&[u8]>);
        entries(&db)
    };
    let (_mounted, env) = mounted(UringDevice::open(file.path()).unwrap());
    let db = DB::open(&options(&env), "/db").unwrap();
    assert_eq!(entries(&db), expected);
    drop(db);
}

/// Both kinds of bdev in one test, because SPDK starts once in a process.
#[cfg(feature = "spdk")]
#[test]
fn rocksdb_works_on_bdevs_and_finds_everything_again() {
    use coney_spdk_env::device::spdk::{Spdk, SpdkOptions};

    let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    file.as_file().set_len(128 * MIB).unwrap();
    let config = format!(
        r#"{{"subsystems":[{{"subsystem":"bdev","config":[
            {{"method":"bdev_malloc_create","params":{{"name":"M","num_blocks":32768,"block_size":4096}}}},
            {{"method":"bdev_aio_create","params":{{"name":"A","filename":"{}","block_size":512}}}}]}}]}}"#,
        file.path().display(),
    );
    let start =
        SpdkOptions { config: config.into_bytes(), no_huge: true, ..SpdkOptions::default() };
    let spdk = Spdk::start(&start).unwrap();
    for bdev in ["M", "A"] {
        let expected = {
            let (mounted, env) = mounted(formatted(spdk.open(bdev).unwrap()));
            let db = DB::open(&options(&env), "/db").unwrap();
            fill(&db, 0, 20_000, 300);
            db.compact_range(None::<&[u8]>, None::<&[u8]>);
            let all = entries(&db);
            drop(db);
            assert_eq!(ffi::verify_checksum(mounted, "/db"), Ok(()));
            all
        };
        let (_mounted, env) = mounted(spdk.open(bdev).unwrap());
        let db = DB::open(&options(&env), "/db").unwrap();
        assert_eq!(entries(&db), expected, "{bdev}");
    }
}
