use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn the_bytes_are_those_of_rocksdbs_own_builder() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db =
        rocksdb::DB::open_cf(&options, dir.path(), ["meta", "expiry", "system", "data", "score"])
            .unwrap();
    let (meta, system) = (db.cf_handle("meta").unwrap(), db.cf_handle("system").unwrap());
    let long = vec![b'v'; 300];
    let mut theirs = rocksdb::WriteBatch::default();
    theirs.put_cf(meta, b"key", b"header body");
    theirs.delete_cf(meta, b"gone");
    theirs.put_cf(system, b"counter", &long);
    theirs.put_cf(db.cf_handle("data").unwrap(), b"prefix element", b"value");
    theirs.delete_cf(db.cf_handle("score").unwrap(), b"prefix element");
    theirs.delete_range_cf(meta, &b"a"[..], &b"b"[..]);
    let mut ours = Batch::new();
    ours.put_meta(b"key", &[b"header ", b"body"]);
    ours.delete_meta(b"gone");
    ours.put(Family::System, b"counter", &long);
    ours.put_element(Family::Data, b"prefix ", b"element", b"value");
    ours.delete_element(Family::Score, b"prefix ", b"element");
    ours.delete_range(Family::Meta, b"a", b"b");
    assert_eq!(ours.as_bytes(), theirs.data());
}

#[test]
fn a_value_is_overwritten_only_by_one_as_long() {
    let mut batch = Batch::new();
    assert!(!batch.overwrite_meta(b"12345678key", &[b"v"]), "there is none");
    batch.put_meta(b"12345678key", &[b"header ", b"1"]);
    let len = batch.as_bytes().len();
    assert!(batch.overwrite_meta(b"12345678key", &[b"header", b" 2"]));
    assert_eq!(batch.pending(b"12345678key"), Some(Pending::Put(b"header 2")));
    assert!(!batch.overwrite_meta(b"12345678key", &[b"header 10"]));
    assert_eq!((batch.count(), batch.writes(), batch.as_bytes().len()), (1, 2, len));
    batch.delete_meta(b"12345678key");
    assert!(!batch.overwrite_meta(b"12345678key", &[b""]), "it is deleted");
}

#[derive(Clone, Debug)]
enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Other,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let key = proptest::collection::vec(0_u8..3, 0..3);
    let write = prop_oneof![
        (key.clone(), any::<Vec<u8>>()).prop_map(|(key, value)| Write::Put(key, value)),
        key.prop_map(Write::Delete),
        Just(Write::Other),
    ];
    proptest::collection::vec(write, 0..60)
}

/// Family, prefix, element, and the value unless it is deleted.
type Element = (Family, Vec<u8>, Vec<u8>, Option<Vec<u8>>);

fn puts(family: Family) -> impl Strategy<Value = Element> {
    let bytes = || proptest::collection::vec(0_u8..3, 0..3);
    let value = proptest::option::of(any::<Vec<u8>>());
    (Just(family), bytes(), bytes(), value)
}

proptest! {
    // What could break: an element that is found under another's prefix or family, and records
    // that get lost when batches are joined.
    #[test]
    fn ranges_of_pending_elements_are_sorted_and_survive_joining(
        first in proptest::collection::vec(prop_oneof![puts(Family::Data), puts(Family::Score)], 0..40),
        second in proptest::collection::vec(prop_oneof![puts(Family::Data), puts(Family::Score)], 0..40),
        prefix in proptest::collection::vec(0_u8..3, 0..3),
    ) {
        let fill = |batch: &mut Batch, records: &[Element]| {
            for (family, prefix, element, value) in records {
                match value {
                    Some(value) => batch.put_element(*family, prefix, element, value),
                    None => batch.delete_element(*family, prefix, element),
                }
            }
        };
        let (mut joined, mut other, mut at_once) = (Batch::new(), Batch::new(), Batch::new());
        fill(&mut joined, &first);
        fill(&mut other, &second);
        other.put_meta(b"12345678key", &[b"v"]);
        other.put(Family::System, b"s", b"v");
        joined.append(&other);
        fill(&mut at_once, &first);
        fill(&mut at_once, &second);
        at_once.put_meta(b"12345678key", &[b"v"]);
        at_once.put(Family::System, b"s", b"v");
        prop_assert_eq!(joined.as_bytes(), at_once.as_bytes());
        prop_assert_eq!(joined.pending(b"12345678key"), Some(Pending::Put(b"v")));
        let mut model = BTreeMap::new();
        for (family, start, element, value) in first.iter().chain(&second) {
            if *family == Family::Data {
                model.insert([&start[..], element].concat(), value.clone());
            }
        }
        for (key, value) in &model {
            let expected = value.as_deref().map_or(Pending::Deleted, Pending::Put);
            prop_assert_eq!(joined.pending_element(Family::Data, key), Some(expected));
        }
        let end = crate::element::prefix_end(&prefix);
        joined.sort_elements();
        let found: Vec<_> = joined.pending_range(Family::Data, &prefix, &end).collect();
        let expected: Vec<(&[u8], Pending<'_>)> = model
            .iter()
            .filter(|(key, _)| prefix.as_slice() <= key.as_slice() && **key < end)
            .map(|(key, value)| (&key[..], value.as_deref().map_or(Pending::Deleted, Pending::Put)))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_overlay_is_the_last_write_of_each_key(writes in writes()) {
        let mut batch = Batch::new();
        let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for write in &writes {
            match write {
                Write::Put(key, value) => {
                    // Whether or not the record is used again makes no difference to readers.
                    if value.len() % 2 == 0 || !batch.overwrite_meta(key, &[value]) {
                        batch.put_meta(key, &[value]);
                    }
                    model.insert(key.clone(), Some(value.clone()));
                }
                Write::Delete(key) => {
                    batch.delete_meta(key);
                    model.insert(key.clone(), None);
                }
                Write::Other => batch.put(Family::System, b"x", b"y"),
            }
        }
        for (key, value) in &model {
            let expected = value.as_deref().map_or(Pending::Deleted, Pending::Put);
            prop_assert_eq!(batch.pending(key), Some(expected));
        }
        prop_assert_eq!(batch.pending(b"absent"), None);
        prop_assert_eq!(batch.writes(), writes.len() as u64);
        prop_assert_eq!(batch.all_pending().count(), model.len());
        batch.clear();
        prop_assert!(batch.is_empty());
        prop_assert_eq!(batch.all_pending().count(), 0);
    }
}
