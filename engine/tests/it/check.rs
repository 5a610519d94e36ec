//! What [`Engine::check`] finds: nothing after any commands, and whatever is damaged.

use std::sync::Arc;

use coney_engine::{Client, Engine, Executor};
use coney_resp::OwnedArgs;
use rocksdb::{DB, IteratorMode, Options};
use tempfile::TempDir;

use crate::differential::Random;
use crate::dump::build;
use crate::peer::{START, commit, execute, open};

/// A database with a large value of each type, a hash with deadlines, and a key with one.
fn fill(dir: &TempDir, count: usize) -> Arc<Engine> {
    let engine = open(dir, 1);
    let mut executor = Executor::new(Arc::clone(&engine), 0);
    let mut client = Client::new(1);
    let mut ask = |words: &[Vec<u8>]| {
        let args = OwnedArgs::from_parts(words);
        execute(&engine, &mut executor, START, &mut client, args.as_args());
    };
    let words = |line: &str| -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    };
    for command in build(&mut Random(count as u64), count) {
        ask(&command);
    }
    for at in 0..count {
        ask(&words(&format!("HSETEX ends PX {} FIELDS 1 field{at} value", 1000 + at % 50)));
    }
    ask(&words("SET k v PX 1000"));
    ask(&words("SADD small a b c"));
    commit(&mut executor);
    drop(executor);
    engine
}

#[test]
fn whatever_commands_wrote_agrees() {
    for count in [1, 40, 700] {
        let dir = TempDir::new().unwrap();
        let engine = fill(&dir, count);
        let checked = engine.check().unwrap();
        assert_eq!(checked.tables.get(&0), Some(&(8, 1)));
        assert!(count < 700 || checked.large == 6, "{checked:?}");
        let mut executor = Executor::new(Arc::clone(&engine), 0);
        let mut client = Client::new(1);
        let del = OwnedArgs::from_parts(&["DEL", "h", "s", "l", "z", "x", "ends"]);
        execute(&engine, &mut executor, START, &mut client, del.as_args());
        // Whatever their size: the entry, its queued version, its counters and its place in the index.
        assert!(executor.write_count() <= 6 * 3 + 1, "{}", executor.write_count());
        commit(&mut executor);
        let dead = |engine: &Engine| -> u64 {
            let figures = engine.figures();
            figures.iter().find(|(name, _)| *name == "dead_versions").unwrap().1
        };
        assert_eq!(dead(&engine), checked.large);
        engine.check().unwrap();
        while engine.reclaim(4).unwrap() > 0 || dead(&engine) > 0 {}
        assert_eq!(engine.check().unwrap().large, 0);
    }
}

/// A change of the database behind its back; what it was before.
type Damage = fn(&DB) -> (&'static str, Vec<u8>, Option<Vec<u8>>);

fn first(db: &DB, family: &'static str, part: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let items = db.iterator_cf(db.cf_handle(family).unwrap(), IteratorMode::Start);
    let mut items = items.map(Result::unwrap);
    let found = items.find(|(key, _)| key.windows(part.len()).any(|window| window == part));
    let (key, value) = found.unwrap();
    (key.to_vec(), value.to_vec())
}

fn remove(db: &DB, family: &'static str, part: &[u8]) -> (&'static str, Vec<u8>, Option<Vec<u8>>) {
    let (key, value) = first(db, family, part);
    db.delete_cf(db.cf_handle(family).unwrap(), &key).unwrap();
    (family, key, Some(value))
}

// What could break: a check that finds nothing.
#[test]
fn whatever_is_damaged_is_found() {
    let dir = TempDir::new().unwrap();
    let engine = fill(&dir, 700);
    engine.check().unwrap();
    drop(engine);
    let raw = || {
        let families = ["default", "meta", "expiry", "system", "data", "score"];
        DB::open_cf(&Options::default(), dir.path(), families).unwrap()
    };
    let damages: [(&str, Damage); 10] = [
        ("a field", |db| remove(db, "data", b"\0\0\0\x01h\0")),
        ("a member of a set", |db| remove(db, "data", b"\0\0\0\x01s\0")),
        ("a member of a sorted set", |db| remove(db, "data", b"\0\0\0\x01z\0")),
        ("an element of a list", |db| remove(db, "data", b"\0\0\0\x01l\0")),
        ("an entry of a stream", |db| remove(db, "data", b"\0\0\0\x01x\0")),
        ("a score", |db| remove(db, "score", b"\0\0\0\x01z\0")),
        ("a deadline of a field", |db| remove(db, "score", b"\0\0\0\x04ends\0")),
        ("a record of the index", |db| remove(db, "expiry", b"ends")),
        ("an entry of a small set", |db| remove(db, "meta", b"small")),
        ("an element of nobody", |db| {
            let (mut key, value) = first(db, "data", b"\0\0\0\x01h\0");
            key[8 + 4 + 1] ^= 1;
            db.put_cf(db.cf_handle("data").unwrap(), &key, value).unwrap();
            ("data", key, None)
        }),
    ];
    for (what, damage) in damages {
        let db = raw();
        let (family, key, before) = damage(&db);
        drop(db);
        assert!(open(&dir, 1).check().is_err(), "{what} is missing, and nobody sees it");
        let db = raw();
        let handle = db.cf_handle(family).unwrap();
        match before {
            Some(value) => db.put_cf(handle, &key, value).unwrap(),
            None => db.delete_cf(handle, &key).unwrap(),
        }
    }
    open(&dir, 1).check().unwrap();
}
