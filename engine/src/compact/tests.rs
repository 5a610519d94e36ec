use proptest::prelude::*;

use super::*;

fn entry<'a>(name: &'a [u8], value: &'a [u8]) -> Entry<'a> {
    Entry { name, value }
}

fn body(compact: &CompactMut) -> Vec<u8> {
    let (head, entries) = compact.body();
    [&head, entries].concat()
}

#[test]
fn golden_bodies() {
    let mut hash = CompactMut::new(Kind::Hash, Encoding::Listpack, Vec::new());
    hash.push(entry(b"f", b"\x00value"));
    assert_eq!(body(&hash), *b"\x01\x01\x01f\x06\x00value");
    let mut set = CompactMut::new(Kind::Set, Encoding::Intset, Vec::new());
    set.push(entry(b"7", b""));
    set.push(entry(b"11", b""));
    assert_eq!(body(&set), *b"\x03\x02\x017\x0211");
    let mut list = CompactMut::new(Kind::List, Encoding::Listpack, Vec::new());
    for value in [&b"a"[..], b"", b"a", b"bc"] {
        list.push(entry(value, b""));
    }
    assert_eq!(body(&list), *b"\x01\x04\x01a\x00\x01a\x02bc");
    list.keep(1..3);
    assert_eq!(body(&list), *b"\x01\x02\x00\x01a");
}

#[test]
fn damage_is_found() {
    for bytes in [&b""[..], b"\x00\x00", b"\x01", b"\x01\x05\x01a", b"\x09\x00"] {
        let is_refused = Compact::parse(Kind::Set, bytes).is_err();
        assert!(is_refused, "{}", bytes.escape_ascii());
    }
    for bytes in [&b"\x01\x01\x05a"[..], b"\x01\x02\x01a\x05", b"\x01\x01\x01a\x01b"] {
        let compact = Compact::parse(Kind::Set, bytes).unwrap();
        assert!(compact.entries().is_err(), "{}", bytes.escape_ascii());
        assert!(CompactMut::parse(Kind::Set, bytes, Vec::new()).is_err());
    }
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes: Vec<u8>, is_pairs: bool) {
        let kind = if is_pairs { Kind::Hash } else { Kind::Set };
        if let Ok(compact) = Compact::parse(kind, &bytes) {
            let _outcome = compact.find(b"x");
            let _outcome = compact.entries().map(Iterator::count);
        }
    }

    // What could break: offsets after entries of other lengths, and the count.
    #[test]
    fn changes_are_those_of_a_plain_list(
        steps in proptest::collection::vec(
            (0_u8..4, 0_usize..6, "[ab]{0,2}", proptest::collection::vec(any::<u8>(), 0..200)),
            0..40,
        ),
    ) {
        let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut compact = CompactMut::new(Kind::Hash, Encoding::Listpack, Vec::new());
        for (action, at, name, value) in steps {
            let name = name.into_bytes();
            let found = model.iter().position(|(other, _)| *other == name);
            match action {
                0 => {
                    prop_assert_eq!(compact.set(entry(&name, &value)), found.is_some());
                    match found {
                        Some(at) => model[at].1 = value,
                        None => model.push((name, value)),
                    }
                }
                1 => {
                    prop_assert_eq!(compact.remove(&name), found.is_some());
                    if let Some(at) = found {
                        model.remove(at);
                    }
                }
                2 if found.is_none() => {
                    let at = at.min(model.len());
                    compact.insert(at, entry(&name, &value));
                    model.insert(at, (name, value));
                }
                _ => {
                    compact.remove_at(at);
                    if at < model.len() {
                        model.remove(at);
                    }
                }
            }
            let bytes = body(&compact);
            let read = Compact::parse(Kind::Hash, &bytes).unwrap();
            let entries: Vec<(Vec<u8>, Vec<u8>)> = read
                .entries()
                .unwrap()
                .map(|entry| (entry.name.to_vec(), entry.value.to_vec()))
                .collect();
            prop_assert_eq!(&entries, &model);
            prop_assert_eq!(compact.count(), model.len());
            let lens: usize = compact.entries().map(|entry| entry.len(Kind::Hash)).sum();
            prop_assert_eq!(compact.len(), lens);
        }
    }
}
