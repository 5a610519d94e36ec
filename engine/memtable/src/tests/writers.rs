//! Several writers at once. What could break: entries lost between two that come to the same place of a
//! bucket, a lane or a leaf; versions of a key in the wrong order, because sequence numbers do not come in
//! order; a split that others see in part.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{DB, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use tempfile::TempDir;

use super::{Memtable, Model, open, pairs};

const WRITERS: u64 = 4;
const BATCHES: u64 = 150;
/// Keys that one batch of each writer gives the same value: whose stays is up to the log.
const GROUP: u64 = 8;
/// Keys of each batch that no other has.
const OWN: u64 = 100;

fn spread(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn key_of_group(group: u64, member: u64) -> Vec<u8> {
    [&spread(group * GROUP + member), b"group".as_slice()].concat()
}

fn own_key(writer: u64, number: u64) -> Vec<u8> {
    // Writers come to the same leaves, some in order.
    match writer % 2 {
        0 => [&spread(number), b"own ".as_slice(), &writer.to_be_bytes()].concat(),
        _ => [b"own ".as_slice(), &number.to_be_bytes(), &writer.to_be_bytes()].concat(),
    }
}

fn write(db: &DB, start: &Barrier, writer: u64) {
    // The others come together while the log is synced, and then RocksDB lets them insert at once.
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    start.wait();
    for number in 0..BATCHES {
        let value = [writer.to_be_bytes(), number.to_be_bytes()].concat();
        let mut batch = WriteBatch::default();
        let keys_of_group = (0..GROUP).map(|member| key_of_group(number, member));
        let own_keys = (number * OWN..(number + 1) * OWN).map(|own| own_key(writer, own));
        // Whoever comes to a key first has not always the lower sequence number.
        let keys: Vec<_> = match (number + writer) % 2 {
            0 => keys_of_group.chain(own_keys).collect(),
            _ => own_keys.chain(keys_of_group).collect(),
        };
        keys.iter().for_each(|key| batch.put(key, &value));
        db.write_opt(batch, &synced).unwrap();
    }
}

/// Looks at the database as of single moments: each group is of one batch, and all is in order.
fn watch(db: &DB, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let snapshot = db.snapshot();
        let mut reads = ReadOptions::default();
        reads.set_snapshot(&snapshot);
        for group in 0..BATCHES {
            let values: BTreeSet<_> = (0..GROUP)
                .map(|member| snapshot.get(key_of_group(group, member)).unwrap())
                .collect();
            assert_eq!(values.len(), 1, "group {group} is of one batch: {values:?}");
        }
        let keys: Vec<_> =
            db.iterator_opt(IteratorMode::Start, reads).map(|item| item.unwrap().0).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "in order, and each once");
    }
}

#[test]
fn several_writers_at_once_leave_what_the_log_says() {
    for memtable in [Memtable::Hash, Memtable::Tree] {
        let dir = TempDir::new().unwrap();
        let db = open(&dir, memtable);
        let (start, is_over) =
            (Barrier::new(usize::try_from(WRITERS).unwrap()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&db, &is_over));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn({
                        let (db, start) = (&db, &start);
                        move || write(db, start, writer)
                    })
                })
                .collect();
            let ends: Vec<_> =
                writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            is_over.store(true, Ordering::Release);
            watcher.join().unwrap();
            assert!(ends.into_iter().all(|end| end.is_ok()));
        });
        let all = whole(&db);
        assert_eq!(all.len() as u64, BATCHES * (GROUP + WRITERS * OWN), "{memtable:?}");
        drop(db);
        // One thread inserts what the log has, in its order.
        assert!(whole(&open(&dir, memtable)) == all, "{memtable:?}: the log has something else");
    }
}

/// All pairs, if both directions and single reads agree on them.
fn whole(db: &DB) -> Model {
    let all = pairs(db.iterator(IteratorMode::Start));
    assert!(pairs(db.iterator(IteratorMode::End)) == all, "backwards is something else");
    for (key, value) in &all {
        assert_eq!(db.get(key).unwrap().as_ref(), Some(value), "get {key:?}");
    }
    all
}
