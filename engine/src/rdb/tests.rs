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
    assert_eq!(read(table), plain_hash(expected));
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
    assert_eq!(read(listpack), plain_hash(pairs(words(&expected)).unwrap()));
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
        let mut payload = write::string(text.as_bytes());
        close(&mut payload);
        assert_eq!(payload, expected, "{text}");
    }
}

fn sample_stream() -> stream::Stream {
    use crate::stream::{Consumer, Group, Pending, StreamId, StreamInfo, write_fields};
    let id = |ms, seq| StreamId { ms, seq };
    let entry = |id, words: &[&'static [u8]]| (id, write_fields(words.iter().copied()));
    let pending = |consumer: &[u8], deliveries| Pending {
        delivered_ms: 1_700_000_000_000,
        deliveries,
        consumer: consumer.to_vec(),
    };
    let consumer = |pending| Consumer { seen_ms: 5, active_ms: 5, pending };
    stream::Stream {
        info: StreamInfo {
            last_id: id(u64::MAX, 0),
            max_deleted_id: id(2, 0),
            first_id: id(1, 7),
            entries_added: 9,
        },
        has_progress: true,
        entries: vec![
            entry(id(1, 7), &[b"f", b"1", b"g", b"two"]),
            entry(id(2, 1), &[b"f", b"-70000", b"g", b""]),
            entry(id(u64::MAX, 0), &[b"other", b"1"]),
        ],
        groups: vec![stream::LoadedGroup {
            name: b"group".to_vec(),
            group: Group { last_id: id(2, 1), entries_read: -1, pending: 2 },
            consumers: vec![(b"a".to_vec(), consumer(2)), (b"b".to_vec(), consumer(0))],
            pending: vec![(id(1, 7), pending(b"a", 3)), (id(2, 1), pending(b"a", 1))],
        }],
    }
}

fn write_stream(stream: &stream::Stream) -> Vec<u8> {
    let mut blocks = stream::Blocks::default();
    stream.entries.iter().for_each(|(id, value)| blocks.push(*id, value).unwrap());
    let length = stream.entries.len() as u64;
    let mut out = blocks.finish(length, &stream.info, stream.groups.len());
    stream.groups.iter().for_each(|group| stream::write_group(&mut out, group));
    out
}

#[test]
fn a_stream_reads_back() {
    let stream = sample_stream();
    assert_eq!(load(&write_stream(&stream), 1 << 20), Ok(Value::Stream(stream)));
}

// What could break: sizes at which the encoding of a number or of a length changes.
#[test]
fn listpacks_read_back() {
    let mut elements: Vec<Vec<u8>> = Vec::new();
    for bits in 0..64_u32 {
        let power = 1_i64.wrapping_shl(bits);
        for number in [power.wrapping_sub(1), power, power.wrapping_neg(), !power] {
            elements.push(number.to_string().into_bytes());
        }
    }
    for len in [0, 63, 64, 4095, 4096, 16_377, 16_378, 16_379, 2_097_140, 2_097_150] {
        elements.push(vec![b'x'; len]);
    }
    let mut writer = packed::ListpackWriter::default();
    elements.iter().for_each(|element| writer.word(element));
    let listpack = writer.finish(&packed::ListpackWriter::default());
    assert_eq!(packed::listpack(&listpack), Ok(elements));
}

proptest! {
    // What could break: anything that the checksum does not cover, for it can be made to fit.
    #[test]
    fn a_damaged_stream_is_refused_or_read(at: proptest::sample::Index, byte: u8) {
        let mut bytes = write_stream(&sample_stream());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Value::Stream(stream)) = load(&bytes, 1 << 20) {
            prop_assert!(stream.entries.is_sorted_by(|(a, _), (b, _)| a < b));
            let pending: u64 = stream.groups.iter().map(|group| group.group.pending).sum();
            let owned = stream.groups.iter().flat_map(|group| &group.consumers);
            prop_assert_eq!(pending, owned.map(|(_, consumer)| consumer.pending).sum::<u64>());
        }
    }

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
            write::write_string(&mut members, name);
            write::write_string(&mut fields, name);
            write::write_string(&mut fields, &value);
            expected.push((name.clone(), value));
        }
        let count = names.len() as u64;
        let mut payload = [write::set(count), members].concat();
        close(&mut payload);
        prop_assert_eq!(read(&payload), Ok(Value::Set(names.iter().cloned().collect())));
        let mut payload = [write::hash(count), fields].concat();
        close(&mut payload);
        prop_assert_eq!(read(&payload), plain_hash(expected));
        *payload.last_mut().unwrap() ^= 1;
        prop_assert_eq!(read(&payload), Err(RdbError::Footer));
    }

    // What could break: anything, for whoever may send RESTORE.
    #[test]
    fn foreign_bytes_are_refused_or_read(
        kind in proptest::sample::select(&[0_u8, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 24, 25, 99][..]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        is_sized: bool,
    ) {
        let mut value = vec![kind];
        if is_sized {
            // A packed collection that at least says its own length.
            let mut packed = (u32::try_from(bytes.len()).unwrap() + 4).to_le_bytes().to_vec();
            packed.extend_from_slice(&bytes);
            write::write_string(&mut value, &packed);
        } else {
            value.extend_from_slice(&bytes);
        }
        let _outcome = load(&value, 1 << 20);
    }
}
