//! The seeds of the fuzz targets: what fuzzing starts from, and what it once found.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn for_each_seed(target: &str, body: impl Fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&seeds).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", seeds.display());
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&bytes)));
        assert!(outcome.is_ok(), "{}", path.display());
    }
}

#[test]
fn seeds_of_frames() {
    for_each_seed("frames", super::frames);
}

#[test]
fn seeds_of_segments() {
    for_each_seed("segments", super::segments);
}
