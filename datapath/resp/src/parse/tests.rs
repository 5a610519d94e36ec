use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::fuzz::{Outcome, feed};
use proptest::prelude::*;

const LIMITS: Limits = Limits { bulk_len_max: 512 * 1024 * 1024, authenticated: true };

fn run(bytes: &[u8]) -> Outcome {
    feed(bytes, &[], LIMITS)
}

fn commands(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let outcome = run(bytes);
    assert_eq!(outcome.error, None);
    outcome.commands
}

fn error(bytes: &[u8]) -> ProtocolError {
    run(bytes).error.expect("a protocol error")
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn pipelined_multibulk_and_inline_commands_follow_each_other() {
    assert_eq!(
        commands(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*1\r\n$4\r\nQUIT\r\nECHO 'a b'\n"),
        vec![words("GET k"), words("PING"), words("QUIT"), vec![b"ECHO".to_vec(), b"a b".to_vec()]]
    );
}

#[test]
fn empty_commands_are_skipped() {
    assert_eq!(commands(b"\r\n*0\r\n*-1\r\n   \r\nPING\r\n"), vec![words("PING")]);
}

#[test]
fn arguments_are_binary_safe_and_may_be_empty() {
    assert_eq!(
        commands(b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\r\n\0*\r\n"),
        vec![vec![b"SET".to_vec(), vec![], b"\r\n\0*".to_vec()]]
    );
}

#[test]
fn bad_counts_and_lengths_give_redis_errors() {
    assert_eq!(error(b"*3000000000\r\n"), ProtocolError::InvalidCount);
    assert_eq!(error(b"*1048577\r\n"), ProtocolError::InvalidCount);
    assert_eq!(error(b"*x\r\n"), ProtocolError::InvalidCount);
    assert_eq!(error(b"*1\r\nfooo\r\n"), ProtocolError::ExpectedDollar(b'f'));
    assert_eq!(error(b"*1\r\n$-1\r\n"), ProtocolError::InvalidBulk);
    assert_eq!(error(b"*1\r\n$blabla\r\n"), ProtocolError::InvalidBulk);
    assert_eq!(error(b"*1\r\n$536870913\r\n"), ProtocolError::InvalidBulk);
    assert_eq!(error(b"SET \"open\r\n"), ProtocolError::UnbalancedQuotes);
    assert_eq!(
        ProtocolError::ExpectedDollar(b'f').to_string(),
        "expected '$', got 'f'",
        "the text that Redis sends"
    );
}

#[test]
fn lines_without_an_end_are_refused_at_64_kib() {
    let endless = |start: &[u8]| {
        let mut bytes = start.to_vec();
        bytes.resize(INLINE_LEN_MAX + 1, b'1');
        error(&bytes)
    };
    assert_eq!(endless(b"PING "), ProtocolError::InlineTooBig);
    assert_eq!(endless(b"*"), ProtocolError::CountTooBig);
    let mut bytes = b"*1\r\n$".to_vec();
    bytes.resize(INLINE_LEN_MAX + 8, b'1');
    assert_eq!(error(&bytes), ProtocolError::BulkTooBig);
}

#[test]
fn an_unauthenticated_client_has_small_limits() {
    let limits = Limits { authenticated: false, ..LIMITS };
    let error = |bytes: &[u8]| feed(bytes, &[], limits).error;
    assert_eq!(error(b"*11\r\n"), Some(ProtocolError::UnauthenticatedCount));
    assert_eq!(error(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulk));
    assert_eq!(error(b"*10\r\n$16384\r\n"), None);
}

#[test]
fn an_incomplete_command_tells_how_much_it_wants() {
    let mut parser = Parser::default();
    let mut scratch = Scratch::default();
    let step = parser.next(b"*1\r\n$1000\r\nabc", LIMITS, &mut scratch);
    assert_eq!(step, Ok(Step::Incomplete));
    assert_eq!(parser.wanted_len(), 11 + 1000 + 2);
}

/// Streams of well-formed and broken pieces, so that every parser state meets every split.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*1\r\n$4\r\nPING\r\n".to_vec()),
        Just(b"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n".to_vec()),
        Just(b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$100\r\n".to_vec()),
        Just(b"ECHO \"a\\x41\" 'b'\r\n".to_vec()),
        Just(b"*0\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"$".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// The seeds of the fuzz target: what fuzzing starts from, and what it once found.
#[test]
fn seeds_of_the_fuzz_target() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/resp");
    let mut paths: Vec<_> =
        std::fs::read_dir(seeds).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| crate::fuzz::resp(&bytes)));
        assert!(outcome.is_ok(), "{}", path.display());
    }
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_where_the_stream_is_split(
        bytes in stream(),
        splits in proptest::collection::vec(0_usize..400, 0..20),
    ) {
        let every_byte: Vec<usize> = (0..bytes.len()).collect();
        let whole = run(&bytes);
        prop_assert_eq!(&feed(&bytes, &splits, LIMITS), &whole);
        prop_assert_eq!(&feed(&bytes, &every_byte, LIMITS), &whole);
    }
}
