//! Values apart from their keys, in blob files. What could break: reads from memory alone that take a value
//! that is only on the device for one that does not exist, and space that never comes back.

use std::sync::Arc;

use coney_engine::{Blobs, Client, Engine, EngineConfig, Executor, Tuning};
use coney_resp::OwnedArgs;
use tempfile::TempDir;

use crate::conversations::hold;
use crate::peer::{EnginePeer, START, commit, execute, small};

/// Every value of at least `threshold_bytes` apart.
fn config(dir: &TempDir, threshold_bytes: u64) -> EngineConfig {
    let tuning = Tuning::large();
    let blobs = Blobs { threshold_bytes, ..tuning.blobs };
    EngineConfig { tuning: Tuning { blobs, element_prefix: true, ..tuning }, ..small(dir) }
}

fn figure(engine: &Engine, name: &str) -> u64 {
    engine.figures().into_iter().find(|(known, _)| *known == name).unwrap().1
}

struct System {
    engine: Arc<Engine>,
    executor: Executor,
    client: Client,
}

impl System {
    fn open(config: EngineConfig) -> Self {
        let engine = Arc::new(Engine::open(config).unwrap());
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { engine, executor, client: Client::new(1) }
    }

    fn ask(&mut self, words: &[&str]) -> Vec<u8> {
        let args = OwnedArgs::from_parts(words);
        let (executor, client) = (&mut self.executor, &mut self.client);
        execute(&self.engine, executor, START, client, args.as_args()).reply
    }

    fn flush(&mut self) {
        commit(&mut self.executor);
        self.engine.flush().unwrap();
    }
}

fn value(number: usize) -> String {
    format!("{number:08}").repeat(1000)
}

/// 8,000 bytes that do not compress well.
fn random_text(number: u64) -> String {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..8000).map(|_| next()).collect()
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

#[test]
fn conversations_are_the_same_with_every_value_in_a_blob_file() {
    hold(|| {
        let dir = TempDir::new().unwrap();
        EnginePeer::flushing(config(&dir, 1), dir, 8)
    });
}

#[test]
fn values_are_read_from_blob_files_and_come_back_to_the_tables() {
    const KEYS: usize = 200;
    let dir = TempDir::new().unwrap();
    let mut system = System::open(config(&dir, 4096));
    for number in 0..KEYS {
        system.ask(&["SET", &number.to_string(), &value(number)]);
        system.ask(&["HSET", "hash", &number.to_string(), &value(number)]);
    }
    system.ask(&["SET", "short", "s"]);
    system.flush();
    let blobs = figure(&system.engine, "blob_bytes");
    assert!(blobs > 0 && figure(&system.engine, "blob_garbage_bytes") == 0, "{blobs}");
    drop(system);
    // Nothing is in memory, and no new blobs are made.
    let mut system = System::open(config(&dir, 0));
    for number in 0..KEYS {
        assert_eq!(system.ask(&["GET", &number.to_string()]), bulk(&value(number)));
        assert_eq!(system.ask(&["HGET", "hash", &number.to_string()]), bulk(&value(number)));
    }
    assert_eq!(system.ask(&["GET", "short"]), bulk("s"));
    assert_eq!(system.ask(&["DBSIZE"]), format!(":{}\r\n", KEYS + 2).into_bytes());
    assert!(figure(&system.engine, "blob_bytes") > 0);
}

#[test]
fn the_space_of_a_dead_collection_in_blob_files_comes_back() {
    let dir = TempDir::new().unwrap();
    let mut system = System::open(config(&dir, 4096));
    for number in 0..3000 {
        system.ask(&["HSET", "hash", &number.to_string(), &random_text(number)]);
    }
    system.flush();
    let before = figure(&system.engine, "blob_bytes");
    system.ask(&["DEL", "hash"]);
    commit(&mut system.executor);
    // It is seen first, and removed when it is seen again.
    for _ in 0..2 {
        system.engine.reclaim(10).unwrap();
    }
    assert_eq!(figure(&system.engine, "dead_versions"), 0);
    while system.engine.compact_reclaimed() {}
    let after = figure(&system.engine, "blob_bytes");
    assert!(after < before / 4, "{before} bytes, and then {after}");
}

#[test]
fn the_space_of_a_dead_collection_comes_back_while_an_older_one_lives() {
    let dir = TempDir::new().unwrap();
    let mut system = System::open(config(&dir, 4096));
    // The two that die are neighbours, and share their blob file.
    let mut fill = |keys: &[&str], count: u64| {
        for number in 0..count {
            let value = random_text(number);
            for key in keys {
                system.ask(&["HSET", key, &number.to_string(), &value]);
            }
        }
        system.flush();
        figure(&system.engine, "blob_bytes")
    };
    let live = fill(&["{live}"], 300);
    let all = fill(&["{dead}0", "{dead}1"], 3000);
    assert!(all > 8 * live, "{live} of {all} bytes");
    // What dies first brings the tables of the other to a level where they can be removed.
    for key in ["{dead}0", "{dead}1"] {
        system.ask(&["DEL", key]);
        commit(&mut system.executor);
        for _ in 0..2 {
            system.engine.reclaim(10).unwrap();
        }
        assert_eq!(figure(&system.engine, "dead_versions"), 0);
        while system.engine.compact_reclaimed() {}
    }
    let after = figure(&system.engine, "blob_bytes");
    assert!(after < 2 * live, "{all} bytes, and then {after}; {live} are in use");
    assert_eq!(system.ask(&["HLEN", "{live}"]), b":300\r\n");
}

#[test]
fn what_rocksdb_can_change_is_changed_while_it_is_open() {
    let dir = TempDir::new().unwrap();
    let mut system = System::open(config(&dir, 0));
    let mut changed = config(&dir, 4096);
    changed.block_cache_bytes = 4 << 20;
    changed.write_buffer_bytes = 2 << 20;
    changed.background_jobs = 3;
    changed.tuning.rate_limit_bytes = 100 << 20;
    changed.tuning.auto_compaction = false;
    changed.tuning.sync_bytes = 0;
    changed.tuning.blobs.gc_percent = 60;
    changed.tuning.compression = vec![coney_engine::Compression::Zstd];
    changed.tuning.compression_bottommost = coney_engine::Compression::Lz4;
    system.engine.retune(&changed).unwrap();
    let options = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let newest = names.filter(|path| name(path).starts_with("OPTIONS-")).max().unwrap();
        std::fs::read_to_string(newest).unwrap()
    };
    let text = options();
    let meta = text.split("[CFOptions \"meta\"]").nth(1).unwrap();
    for line in [
        "write_buffer_size=2097152",
        "enable_blob_files=true",
        "min_blob_size=4096",
        "blob_garbage_collection_age_cutoff=0.6",
        "disable_auto_compactions=true",
        "bottommost_compression=kLZ4Compression",
        "compression_per_level=kZSTD:kZSTD:kZSTD:kZSTD:kZSTD:kZSTD:kZSTD",
    ] {
        let meta = meta.split("[CFOptions").next().unwrap();
        assert!(meta.contains(&format!("\n  {line}")), "{line}: {meta}");
    }
    for line in ["max_background_jobs=3", "bytes_per_sync=1125899906842624"] {
        assert!(text.contains(&format!("\n  {line}\n")), "{line}: {text}");
    }
    system.ask(&["SET", "key", &value(1)]);
    system.flush();
    assert!(figure(&system.engine, "blob_bytes") > 0);
    // And back.
    system.engine.retune(&config(&dir, 0)).unwrap();
    let text = options();
    assert!(text.contains("\n  max_background_jobs=2\n") && !text.contains("min_blob_size=4096"));
    assert_eq!(system.ask(&["GET", "key"]), bulk(&value(1)));
}

#[test]
fn settings_of_which_one_is_refused_can_be_taken_back() {
    let dir = TempDir::new().unwrap();
    let system = System::open(config(&dir, 0));
    let jobs = || {
        let is_options = |name: &str| name.starts_with("OPTIONS-");
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let newest = files
            .filter(|path| path.file_name().unwrap().to_str().is_some_and(is_options))
            .max()
            .unwrap();
        let text = std::fs::read_to_string(newest).unwrap();
        let line = text.lines().find(|line| line.trim().starts_with("max_background_jobs="));
        line.unwrap().trim().to_owned()
    };
    let before = jobs();
    let mut wrong = config(&dir, 0);
    wrong.background_jobs += 1;
    wrong.tuning.blobs.gc_percent = 200;
    system.engine.retune(&wrong).unwrap_err();
    assert_ne!(jobs(), before);
    system.engine.retune(&config(&dir, 0)).unwrap();
    assert_eq!(jobs(), before);
}

#[test]
fn limits_of_bytes_and_blob_files_exclude_each_other() {
    let dir = TempDir::new().unwrap();
    let mut system = System::open(config(&dir, 4096));
    let refused = b"-ERR MAXBYTES is not possible while values lie in blob files";
    let ask = |system: &mut System, line: &str| system.ask(&line.split(' ').collect::<Vec<_>>());
    assert!(ask(&mut system, "TABLE CREATE shop DB 3 MAXBYTES 1000000").starts_with(refused));
    assert_eq!(ask(&mut system, "TABLE CREATE shop DB 3 MAXKEYS 9"), b":3\r\n");
    assert!(ask(&mut system, "TABLE SET shop MAXBYTES 1000000").starts_with(refused));
    assert_eq!(ask(&mut system, "TABLE SET shop MAXBYTES 0 MAXKEYS 10"), b"+OK\r\n");
    system.ask(&["SET", "key", &value(1)]);
    system.flush();
    // None are made, but there is one.
    system.engine.retune(&config(&dir, 0)).unwrap();
    assert!(ask(&mut system, "TABLE SET shop MAXBYTES 1000000").starts_with(refused));

    let dir = TempDir::new().unwrap();
    let mut system = System::open(config(&dir, 0));
    assert_eq!(ask(&mut system, "TABLE CREATE shop DB 3 MAXBYTES 1000000"), b":3\r\n");
    let problem = system.engine.retune(&config(&dir, 4096)).unwrap_err();
    assert!(problem.to_string().contains("the table shop has MAXBYTES"), "{problem}");
    system.engine.retune(&config(&dir, 0)).unwrap();
    ask(&mut system, "TABLE SET shop MAXBYTES 0");
    system.engine.retune(&config(&dir, 4096)).unwrap();
    drop(system);
    // Where both are there already, other settings can still be changed.
    let mut system = System::open(config(&dir, 0));
    ask(&mut system, "TABLE SET shop MAXBYTES 1000000");
    drop(system);
    let mut system = System::open(config(&dir, 4096));
    let mut other = config(&dir, 4096);
    other.background_jobs = 3;
    system.engine.retune(&other).unwrap();
    assert_eq!(ask(&mut system, "TABLE SET shop MAXBYTES 1000000 MAXKEYS 9"), b"+OK\r\n");
}
