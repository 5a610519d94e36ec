use std::collections::BTreeMap;

use proptest::prelude::*;
use rocksdb::statistics::Histogram;
use rocksdb::{DB, Direction, IteratorMode, Options, WriteBatch};
use tempfile::TempDir;

mod writers;

use super::{
    NO_RATE_LIMIT, set_database_option, set_rate_limit, with_hash_memtable, with_tree_memtable,
};

#[derive(Clone, Copy, Debug)]
enum Memtable {
    Hash,
    Tree,
}

fn open(dir: &TempDir, memtable: Memtable) -> DB {
    let mut options = Options::default();
    options.create_if_missing(true);
    let options = match memtable {
        // Few buckets, so that they hold several entries.
        Memtable::Hash => with_hash_memtable(options, 16).unwrap(),
        Memtable::Tree => with_tree_memtable(options).unwrap(),
    };
    DB::open(&options, dir.path()).unwrap()
}

/// Keys that collide in their prefixes, and some shorter than a prefix.
fn key(number: u8) -> Vec<u8> {
    match number % 3 {
        0 => vec![number],
        1 => [b"samepref".as_slice(), &[number]].concat(),
        _ => [&[number], b"different prefixes".as_slice()].concat(),
    }
}

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u16),
    Delete(u8),
    DeleteRange(u8, u8),
    Snapshot,
    Flush,
    Check,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0_u8..40, any::<u16>()).prop_map(|(key, value)| Op::Put(key, value)),
        3 => (0_u8..40).prop_map(Op::Delete),
        1 => (0_u8..40, 0_u8..40).prop_map(|(a, b)| Op::DeleteRange(a, b)),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Flush),
        2 => Just(Op::Check),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn pairs(iter: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>>) -> Model {
    iter.map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

fn check(db: &DB, model: &Model) {
    for number in 0..40 {
        let key = key(number);
        assert_eq!(db.get(&key).unwrap().as_ref(), model.get(&key), "get {key:?}");
        let mode = IteratorMode::From(&key, Direction::Forward);
        let first = db.iterator(mode).next().map(|item| item.unwrap().0.to_vec());
        assert_eq!(first.as_ref(), model.range(key.clone()..).next().map(|(key, _)| key));
        let mode = IteratorMode::From(&key, Direction::Reverse);
        let last = db.iterator(mode).next().map(|item| item.unwrap().0.to_vec());
        assert_eq!(last.as_ref(), model.range(..=key).next_back().map(|(key, _)| key));
    }
    assert_eq!(&pairs(db.iterator(IteratorMode::Start)), model);
    let backwards = pairs(db.iterator(IteratorMode::End));
    assert_eq!(&backwards, model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn both_behave_like_an_ordered_map(
        memtable in prop_oneof![Just(Memtable::Hash), Just(Memtable::Tree)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let dir = TempDir::new().unwrap();
        let db = open(&dir, memtable);
        let mut model = Model::new();
        let mut snapshots = Vec::new();
        for op in ops {
            match op {
                Op::Put(number, value) => {
                    let value = value.to_be_bytes();
                    db.put(key(number), value).unwrap();
                    model.insert(key(number), value.to_vec());
                }
                Op::Delete(number) => {
                    db.delete(key(number)).unwrap();
                    model.remove(&key(number));
                }
                Op::DeleteRange(a, b) => {
                    let (begin, end) = (key(a).min(key(b)), key(a).max(key(b)));
                    let mut batch = WriteBatch::default();
                    batch.delete_range(&begin, &end);
                    db.write(batch).unwrap();
                    model.retain(|key, _| *key < begin || *key >= end);
                }
                Op::Snapshot => snapshots.push((db.snapshot(), model.clone())),
                Op::Flush => db.flush().unwrap(),
                Op::Check => check(&db, &model),
            }
        }
        check(&db, &model);
        for (snapshot, then) in &snapshots {
            prop_assert_eq!(&pairs(snapshot.iterator(IteratorMode::Start)), then);
            for number in 0..40 {
                prop_assert_eq!(&snapshot.get(key(number)).unwrap(), &then.get(&key(number)).cloned());
            }
        }
        drop(snapshots);
        drop(db);
        check(&open(&dir, memtable), &model);
    }
}

#[test]
fn readers_and_iterators_see_whole_entries_while_somebody_writes() {
    watch_a_writer(Memtable::Hash);
    watch_a_writer(Memtable::Tree);
}

fn watch_a_writer(memtable: Memtable) {
    const KEYS: u64 = 20_000;
    let dir = TempDir::new().unwrap();
    let db = open(&dir, memtable);
    let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..KEYS {
                db.put(key(number), number.to_be_bytes()).unwrap();
            }
        });
        scope.spawn(|| {
            let mut seen = 0;
            while seen < KEYS {
                let all = pairs(db.iterator(IteratorMode::Start));
                let len = all.len() as u64;
                assert!(len >= seen, "nothing disappears");
                seen = len;
                for (found, value) in all {
                    let number = u64::from_be_bytes(value.as_slice().try_into().unwrap());
                    assert_eq!(found, key(number));
                }
                if let Some(last) = seen.checked_sub(1) {
                    assert_eq!(db.get(key(last)).unwrap().unwrap(), last.to_be_bytes());
                }
            }
        });
    });
}

/// A key of one of many collections, whose elements share long prefixes.
fn element(collection: u64, number: u64) -> Vec<u8> {
    let name = match collection % 3 {
        0 => "a",
        1 => "a long name that many keys begin with",
        _ => "a long name that many keys begin with, and more",
    };
    [name.as_bytes(), &collection.to_be_bytes(), &number.to_be_bytes()].concat()
}

// What could break: splits of leaves and inner nodes, in any order of insertion, and the bounds and
// digests that they leave behind.
#[test]
fn a_tree_of_several_levels_is_in_order() {
    const ENTRIES: u64 = 60_000;
    let dir = TempDir::new().unwrap();
    let db = open(&dir, Memtable::Tree);
    let mut model = Model::new();
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random >> 33
    };
    for round in 0..ENTRIES {
        let (collection, number) = match next() % 5 {
            // Upwards, downwards, anywhere in one, anywhere, and what is there already.
            0 => (1, round),
            1 => (2, u64::MAX - round),
            2 => (3, next()),
            3 => (next() % 1_000, next() % 50),
            _ => (4, next() % 8),
        };
        let (key, value) = (element(collection, number), round.to_be_bytes());
        db.put(&key, value).unwrap();
        model.insert(key, value.to_vec());
    }
    assert_eq!(pairs(db.iterator(IteratorMode::Start)), model);
    assert_eq!(pairs(db.iterator(IteratorMode::End)), model);
    for _ in 0..20_000 {
        let key = element(next() % 1_000, next() % 50);
        assert_eq!(db.get(&key).unwrap().as_ref(), model.get(&key));
        let mut iter = db.raw_iterator();
        iter.seek(&key);
        let mut expected = model.range(key.clone()..).map(|(key, _)| key.as_slice());
        for _ in 0..3 {
            assert_eq!(iter.key(), expected.next());
            if iter.valid() {
                iter.next();
            }
        }
        iter.seek_for_prev(&key);
        let mut expected = model.range(..=key.clone()).rev().map(|(key, _)| key.as_slice());
        for _ in 0..3 {
            assert_eq!(iter.key(), expected.next());
            if iter.valid() {
                iter.prev();
            }
        }
    }
}

#[test]
fn options_of_an_open_database_change_or_are_refused() {
    for has_limiter in [true, false] {
        let dir = TempDir::new().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        if has_limiter {
            options.set_ratelimiter(1 << 20, 100_000, 10);
        }
        let db = DB::open_cf(&options, dir.path(), ["default"]).unwrap();
        let family = db.cf_handle("default").unwrap();
        assert!(set_database_option(family, "bytes_per_sync", "4096"));
        // RocksDB writes what holds now to the newest file of options.
        let is_options = |name: &str| name.starts_with("OPTIONS-");
        let newest = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().is_some_and(is_options))
            .max()
            .unwrap();
        let text = std::fs::read_to_string(newest).unwrap();
        assert!(text.contains("\n  bytes_per_sync=4096\n"), "{text}");
        assert!(!set_database_option(family, "no_such_option", "1"));
        assert!(!set_database_option(family, "bytes_per_sync", "many"));
        assert_eq!(set_rate_limit(family, 2 << 20), has_limiter);
    }
}

#[test]
fn a_limit_holds_at_once_after_there_was_none() {
    let dir = TempDir::new().unwrap();
    let mut options = Options::default();
    options.create_if_missing(true);
    options.enable_statistics();
    options.set_ratelimiter(NO_RATE_LIMIT, 100_000, 10);
    let mut of_family = Options::default();
    of_family.set_compression_type(rocksdb::DBCompressionType::None);
    let families = [rocksdb::ColumnFamilyDescriptor::new("default", of_family)];
    let db = DB::open_cf_descriptors(&options, dir.path(), families).unwrap();
    let family = db.cf_handle("default").unwrap();
    // Microseconds for flushing 3 MiB, as RocksDB takes them.
    let flush_usec = || {
        let sum = || options.get_histogram_data(Histogram::FlushTime).sum();
        let before = sum();
        for number in 0..3_u8 {
            db.put([number], vec![number; 1 << 20]).unwrap();
        }
        db.flush().unwrap();
        sum() - before
    };
    assert!(flush_usec() > 0, "flushes are timed at all");
    assert!(set_rate_limit(family, 1 << 20));
    let limited = flush_usec();
    assert!(limited > 1_500_000, "3 MiB at 1 MiB a second took {limited} us");
    // And up again.
    assert!(set_rate_limit(family, NO_RATE_LIMIT));
    let unlimited = flush_usec();
    assert!(unlimited < limited / 2, "{unlimited} us without a limit");
}
