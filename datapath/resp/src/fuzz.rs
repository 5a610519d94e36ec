//! Bodies of the fuzz targets for this crate; `cargo test` runs them too.

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

/// The target `resp_stream`: the first bytes choose split points, the rest is the stream. The
/// result must not depend on the splits.
///
/// # Panics
/// If it does.
pub fn resp_stream(data: &[u8]) {
    let limits = Limits { bulk_len_max: 1 << 20, authenticated: true };
    let (splits, stream) = data.split_at(data.len().min(8));
    let splits: Vec<usize> = splits.iter().map(|&at| usize::from(at)).collect();
    assert_eq!(feed(stream, &splits, limits), feed(stream, &[], limits));
}
