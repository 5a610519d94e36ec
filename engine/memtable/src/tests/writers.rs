//! Several writers at once. What could break: entries lost between two that come to the same place of a
//! bucket, a lane or a leaf; versions of a key in the wrong order, because sequence numbers do not come in
//! order; a split that others see in part.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{DB, IteratorMode, ReadOptions, WriteBatch};
use tempfile::TempDir;

use super::{Memtable, Model, open, pairs};

const WRITERS: u64 = 4;
const BATCHES: u64 = 400;
/// Keys that one batch gives the same value.
const GROUP: u64 = 8;
/// So few that writers come to the same keys.
const GROUPS: u64 = 12;
/// Keys of each batch that no other has.
const OWN: u64 = 24;

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

fn write(db: &DB, writer: u64) {
    for number in 0..BATCHES {
        let value = [writer.to_be_bytes(), number.to_be_bytes()].concat();
        let mut batch = WriteBatch::default();
        for member in 0..GROUP {
            batch.put(key_of_group((number + writer) % GROUPS, member), &value);
        }
        for own in number * OWN..(number + 1) * OWN {
            batch.put(own_key(writer, own), &value);
        }
        db.write(batch).unwrap();
    }
}

/// Looks at the database as of single moments: each group is of one batch, and all is in order.
fn watch(db: &DB, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let snapshot = db.snapshot();
        let mut reads = ReadOptions::default();
        reads.set_snapshot(&snapshot);
        for group in 0..GROUPS {
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
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&db, &is_over));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn({
                        let db = &db;
                        move || write(db, writer)
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
        assert_eq!(all.len() as u64, GROUPS * GROUP + WRITERS * BATCHES * OWN, "{memtable:?}");
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
