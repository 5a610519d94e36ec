use std::collections::BTreeMap;

use proptest::prelude::*;
use rocksdb::{DB, Direction, IteratorMode, Options, WriteBatch};
use tempfile::TempDir;

use super::with_hash_memtable;

fn open(dir: &TempDir) -> DB {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_allow_concurrent_memtable_write(false);
    // Few buckets, so that they hold several entries.
    let options = with_hash_memtable(options, 16).unwrap();
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
    fn it_behaves_like_an_ordered_map(ops in prop::collection::vec(op(), 1..120)) {
        let dir = TempDir::new().unwrap();
        let db = open(&dir);
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
        check(&open(&dir), &model);
    }
}

#[test]
fn readers_and_iterators_see_whole_entries_while_somebody_writes() {
    const KEYS: u64 = 20_000;
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
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
