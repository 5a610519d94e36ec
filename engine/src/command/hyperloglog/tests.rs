use crc::{CRC_32_ISO_HDLC, Crc};

use super::sketch::{Registers, Sketch};
use super::*;

fn crc32(bytes: &[u8]) -> u32 {
    Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(bytes)
}

fn add(sketch: &mut Sketch, element: &str) {
    if sketch.add(element.as_bytes()).unwrap() {
        sketch.invalidate();
    }
}

// What could break: which runs a sparse sketch has, when it becomes dense, and the estimate. The
// numbers are those of redis-server 7.0.15 for the same PFADDs, each of one element: length and
// CRC-32 of GET, and PFCOUNT after it.
#[test]
fn sketches_are_those_of_redis_to_the_byte() {
    let golden = [
        (1, 21, 0x26f4a8a5, 1),
        (10, 48, 0xa6ad73ae, 10),
        (100, 287, 0x3f68cc34, 100),
        (500, 1031, 0xc09c4910, 499),
        (1000, 1910, 0x57410eab, 1003),
        (1500, 2709, 0x2cf80120, 1499),
        (2000, 12304, 0x4405cf1b, 1988),
        (5000, 12304, 0x1a67d787, 4980),
        (20000, 12304, 0xdcc61c25, 19988),
    ];
    let mut sketch = Sketch::new();
    let mut added = 0;
    for (elements, len, crc, count) in golden {
        while added < elements {
            add(&mut sketch, &format!("element {added}"));
            added += 1;
        }
        assert_eq!((sketch.bytes().len(), crc32(sketch.bytes())), (len, crc), "{elements}");
        let estimate = estimate::of(&sketch.histogram().unwrap());
        assert_eq!(estimate, count, "{elements}");
        sketch.cache_count(estimate);
        assert_eq!(sketch::cached_count(sketch.bytes()), Some(count));
    }
}

// The same for PFMERGE of two sparse sketches.
#[test]
fn merged_sketches_are_those_of_redis_to_the_byte() {
    let (mut a, mut b) = (Sketch::new(), Sketch::new());
    (0..700).for_each(|at| add(&mut a, &format!("a{at}")));
    (0..400).for_each(|at| add(&mut b, &format!("b{at}")));
    let mut registers = Registers::new();
    registers.raise(a.bytes()).unwrap();
    registers.raise(b.bytes()).unwrap();
    let mut merged = Sketch::new();
    merged.set_all(&registers).unwrap();
    merged.invalidate();
    assert_eq!((merged.bytes().len(), crc32(merged.bytes())), (2045, 0xb33b9679));
    assert_eq!(estimate::of(&registers.histogram()), 1098);
    let mut dense = merged.clone();
    dense.make_dense().unwrap();
    assert_eq!(dense.histogram(), merged.histogram());
}

proptest::proptest! {
    // What could break: runs that anybody may write with SET.
    #[test]
    fn any_runs_are_counted_or_refused(
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
        elements in proptest::collection::vec("[a-z]{1,4}", 0..20),
    ) {
        let mut bytes = b"HYLL\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend_from_slice(&tail);
        let mut sketch = Sketch::from_bytes(bytes);
        let _counted = sketch.histogram().map(|histogram| estimate::of(&histogram));
        for element in &elements {
            if sketch.add(element.as_bytes()).is_err() {
                break;
            }
        }
        let _described = sketch.describe();
        let _converted = sketch.make_dense();
    }
}
