use proptest::prelude::*;

use super::*;

fn read(payload: &[u8]) -> Result<Value, RdbError> {
    load(open(payload)?, 512 << 20)
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

// What could break: any of the encodings. The payloads are from redis-server 7.0.15.
#[test]
fn payloads_of_redis_are_read() {
    let lzf = b"\x00\xc3\x0a@P\x02aba\xe0B\x01\x01ab\x0a\x00\x94\x9d_\x0e\xb1\xde\xa4E";
    assert_eq!(read(lzf), Ok(Value::String("ab".repeat(40).into_bytes())));
    let intset = b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xfe\xff\xff\xff\x01\x00\x00\x00p\x11\
                   \x01\x00\x0a\x000R}\xf8\xcc1\x1f;";
    assert_eq!(read(intset), Ok(Value::Set(words(&["-2", "1", "70000"]))));
    let set = b"\x02\x01\x01x\x0a\x00\xff\xe8\x80\xbav\x0c/\x09";
    assert_eq!(read(set), Ok(Value::Set(words(&["x"]))));
    let table = b"\x04\x03\x01g\xc2\xe0\x93\x04\x00\x01f\xc0\xff\x04long\xc3\x09@F\x01xx\xe09\x00\
                  \x01xx\x0a\x00\xd2\xf7u\xf8\xce\xa1\x15\x93";
    let long = "x".repeat(70);
    let expected = pairs(words(&["g", "300000", "f", "-1", "long", &long])).unwrap();
    assert_eq!(read(table), Ok(Value::Hash(expected)));
    let listpack = b"\x10??\x00\x00\x00\x0e\x00\x81a\x02\x01\x01\x81b\x02\xdf\xff\x02\x81c\x02\xf1\
                     \x88\x13\x03\x81d\x02\xf2\x90\xee\xfe\x04\x81e\x02\xf2\x00\x12z\x04\x81f\x02\
                     \xf4\xff\xe7vH\x17\x00\x00\x00\x09\x81g\x02\x84text\x05\xff\x0a\x00\x0fI\xc3\
                     \x13$\xb6\xd6|";
    let expected = [
        "a",
        "1",
        "b",
        "-1",
        "c",
        "5000",
        "d",
        "-70000",
        "e",
        "8000000",
        "f",
        "99999999999",
        "g",
        "text",
    ];
    assert_eq!(read(listpack), Ok(Value::Hash(pairs(words(&expected)).unwrap())));
}

#[test]
fn a_ziplist_is_read() {
    // Redis 6 wrote them: elements "a", 12, "b", -300.
    let list =
        b"\x17\x00\x00\x00\x11\x00\x00\x00\x04\x00\x00\x01a\x03\xfd\x02\x01b\x03\xc0\xd4\xfe\xff";
    assert_eq!(packed::ziplist(list), Ok(words(&["a", "12", "b", "-300"])));
}

#[test]
fn strings_are_written_as_redis_writes_them() {
    for (text, expected) in [
        ("hello", &b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a"[..]),
        ("0", b"\x00\xc0\x00\x0a\x00\x98@\xa7x\xf8P\x03\x08"),
        ("-129", b"\x00\xc1\x7f\xff\x0a\x00\x17`\x82(T\x80\x84\x80"),
        ("-32769", b"\x00\xc2\xff\x7f\xff\xff\x0a\x00\xae\xe3LM\x06\xc6\x856"),
        ("2147483648", b"\x00\x0a2147483648\x0a\x00\xe7\xb1)\xa3L\x1dv\xee"),
        ("007", b"\x00\x03007\x0a\x00rX\xe2{Li\xba\xd9"),
    ] {
        let mut payload = save_string(text.as_bytes());
        close(&mut payload);
        assert_eq!(payload, expected, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        names in proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..90), 1..80),
        numbers in proptest::collection::vec(any::<i32>(), 80),
    ) {
        let mut members = Vec::new();
        let mut fields = Vec::new();
        let mut expected = Vec::new();
        for (name, number) in names.iter().zip(&numbers) {
            let value = number.to_string().into_bytes();
            write_string(&mut members, name);
            write_string(&mut fields, name);
            write_string(&mut fields, &value);
            expected.push((name.clone(), value));
        }
        let mut payload = save_set(names.len(), &members);
        close(&mut payload);
        prop_assert_eq!(read(&payload), Ok(Value::Set(names.iter().cloned().collect())));
        let mut payload = save_hash(names.len(), &fields);
        close(&mut payload);
        prop_assert_eq!(read(&payload), Ok(Value::Hash(expected)));
        *payload.last_mut().unwrap() ^= 1;
        prop_assert_eq!(read(&payload), Err(RdbError::Footer));
    }

    // What could break: anything, for whoever may send RESTORE.
    #[test]
    fn foreign_bytes_are_refused_or_read(
        kind in proptest::sample::select(&[0_u8, 2, 4, 11, 13, 16, 20, 99][..]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        is_sized: bool,
    ) {
        let mut value = vec![kind];
        if is_sized {
            // A packed collection that at least says its own length.
            let mut packed = (u32::try_from(bytes.len()).unwrap() + 4).to_le_bytes().to_vec();
            packed.extend_from_slice(&bytes);
            write_string(&mut value, &packed);
        } else {
            value.extend_from_slice(&bytes);
        }
        let _outcome = load(&value, 1 << 20);
    }
}
