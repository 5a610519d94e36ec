use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn the_bytes_are_those_of_rocksdbs_own_builder() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db = rocksdb::DB::open_cf(&options, dir.path(), ["meta", "expiry", "system"]).unwrap();
    let (meta, system) = (db.cf_handle("meta").unwrap(), db.cf_handle("system").unwrap());
    let long = vec![b'v'; 300];
    let mut theirs = rocksdb::WriteBatch::default();
    theirs.put_cf(meta, b"key", b"header body");
    theirs.delete_cf(meta, b"gone");
    theirs.put_cf(system, b"counter", &long);
    theirs.delete_range_cf(meta, &b"a"[..], &b"b"[..]);
    let mut ours = Batch::new();
    ours.put_meta(b"key", &[b"header ", b"body"]);
    ours.delete_meta(b"gone");
    ours.put(Family::System, b"counter", &long);
    ours.delete_range(Family::Meta, b"a", b"b");
    assert_eq!(ours.as_bytes(), theirs.data());
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

proptest! {
    #[test]
    fn the_overlay_is_the_last_write_of_each_key(writes in writes()) {
        let mut batch = Batch::new();
        let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for write in &writes {
            match write {
                Write::Put(key, value) => {
                    batch.put_meta(key, &[value]);
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
        prop_assert_eq!(batch.all_pending().count(), model.len());
        batch.clear();
        prop_assert!(batch.is_empty());
        prop_assert_eq!(batch.all_pending().count(), 0);
    }
}
