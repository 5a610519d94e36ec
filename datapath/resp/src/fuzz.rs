//! Bodies of the fuzz targets for this crate; `cargo test` runs them too.

use crate::number::parse_i64;
use crate::parse::{Limits, Parser, ProtocolError, Scratch, Step};

/// What a byte stream meant.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The commands in order.
    pub commands: Vec<Vec<Vec<u8>>>,
    /// What ended the stream, if anything did.
    pub error: Option<ProtocolError>,
}

/// Feeds `bytes` to a parser in segments that end at the offsets `splits`, as a connection would.
pub fn feed(bytes: &[u8], splits: &[usize], limits: Limits) -> Outcome {
    let mut ends: Vec<usize> = splits.iter().map(|&at| at.min(bytes.len())).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut outcome = Outcome::default();
    let mut parser = Parser::default();
    let mut scratch = Scratch::default();
    let mut start = 0;
    for end in ends {
        while start < end {
            let unconsumed = &bytes[start..end];
            match parser.next(unconsumed, limits, &mut scratch) {
                Ok(Step::Command { consumed }) => {
                    let args = scratch.args(unconsumed);
                    outcome.commands.push(args.iter().map(<[u8]>::to_vec).collect());
                    start += consumed;
                }
                Ok(Step::Nothing { consumed }) => start += consumed,
                Ok(Step::Incomplete) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome
}

/// The target `resp`: the first bytes choose limits, split points and filler, the rest is the
/// stream. The result must not depend on the splits, and what was understood, written out in full,
/// must mean the same.
///
/// # Panics
/// If it does not.
pub fn resp(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<12>() else { return };
    let [mode, filler_at, filler_len, filler, splits @ ..] = *head;
    let limits = Limits {
        bulk_len_max: if mode & 1 == 0 { 1 << 20 } else { 100 },
        authenticated: mode & 2 == 0,
    };
    let mut stream = rest.to_vec();
    if mode & 4 != 0 {
        // Lines and arguments of more than 64 KiB, which no fuzzer would write byte by byte.
        let at = usize::from(filler_at).min(stream.len());
        let filler = std::iter::repeat_n(filler, usize::from(filler_len) * FILLER_UNIT);
        stream.splice(at..at, filler);
    }
    // Half of the splits near the start, half anywhere.
    let [near @ .., a, b, c, d] = splits;
    let far = [a, b, c, d].map(|at| usize::from(at) * stream.len() / 256);
    let splits: Vec<usize> = near.into_iter().map(usize::from).chain(far).collect();

    let whole = feed(&stream, &[], limits);
    assert_eq!(feed(&stream, &splits, limits), whole);
    if stream.len() <= EVERY_SPLIT_LEN_MAX {
        let every: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(feed(&stream, &every, limits), whole);
    }
    let mut again = Vec::new();
    for command in &whole.commands {
        again.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for arg in command {
            again.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            again.extend_from_slice(arg);
            again.extend_from_slice(b"\r\n");
            check_number(arg);
        }
    }
    // Words of a line are not held to the limits of arguments.
    let limits = Limits { bulk_len_max: 1 << 20, authenticated: true };
    let outcome = Outcome { error: None, ..whole };
    assert_eq!(feed(&again, &splits, limits), outcome);
}

/// One step of a filler's length in bytes; 255 of them are more than two lines may be long.
const FILLER_UNIT: usize = 520;
/// Longest stream that is also fed byte by byte: each step of a line looks at all of it.
const EVERY_SPLIT_LEN_MAX: usize = 2048;

/// A number is what is written like one, and nothing else is.
fn check_number(arg: &[u8]) {
    let text = std::str::from_utf8(arg).ok();
    let value = text.and_then(|text| text.parse::<i64>().ok());
    let canonical = value.filter(|value| value.to_string().as_bytes() == arg);
    assert_eq!(parse_i64(arg), canonical);
}
