//! LCS: the longest common subsequence of two strings, by dynamic programming.

use coney_resp::{Args, Reply};

use super::option::{int, is};
use super::{CommandError, SlowContext};

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: u64,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 3;
        while let Some(option) = args.get(at) {
            at += 1;
            if is(option, "IDX") {
                options.idx = true;
            } else if is(option, "LEN") {
                options.len = true;
            } else if is(option, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if is(option, "MINMATCHLEN")
                && let Some(number) = args.get(at)
            {
                at += 1;
                options.min_match_len = u64::try_from(int(number)?).unwrap_or(0);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.idx && options.len {
            return Err(CommandError::Text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

pub(super) fn lcs(
    ctx: &SlowContext<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let string = |key: &[u8]| {
        ctx.text(key).map_err(|error| match error {
            CommandError::WrongType => {
                CommandError::Text("ERR The specified keys must contain string values")
            }
            error => error,
        })
    };
    let (a, b) = (string(&args[1])?, string(&args[2])?);
    let options = Options::parse(args)?;
    // The same bound as in Redis, for the time it takes as much as for the memory.
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells.saturating_mul(4) > ctx.engine.value_len_max() {
        return Err(CommandError::Text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if options.len {
        reply.int(i64::from(len(&a, &b)));
        return Ok(());
    }
    let lengths = Lengths::compute(&a, &b).ok_or(CommandError::Text(
        "ERR Insufficient memory, failed allocating transient memory for LCS",
    ))?;
    let trace = lengths.trace(&a, &b);
    if options.idx {
        reply_matches(&trace, &options, reply);
    } else {
        reply.bulk(&trace.common);
    }
    Ok(())
}

fn reply_matches(trace: &Trace, options: &Options, reply: &mut Reply<'_>) {
    let is_wanted = |found: &&Match| found.len as u64 >= options.min_match_len;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(trace.matches.iter().filter(is_wanted).count());
    for found in trace.matches.iter().filter(is_wanted) {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [found.a, found.b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + found.len - 1);
        }
        if options.with_match_len {
            reply.count(found.len);
        }
    }
    reply.bulk(b"len");
    reply.count(trace.common.len());
}

/// Only the length: two rows are enough.
fn len(a: &[u8], b: &[u8]) -> u32 {
    let mut above = vec![0_u32; b.len() + 1];
    let mut row = above.clone();
    for &byte in a {
        next_row(byte, b, &above, &mut row);
        std::mem::swap(&mut above, &mut row);
    }
    above.last().copied().unwrap_or(0)
}

fn next_row(byte: u8, b: &[u8], above: &[u32], row: &mut [u32]) {
    for (at, &other) in b.iter().enumerate() {
        row[at + 1] = if byte == other { above[at] + 1 } else { row[at].max(above[at + 1]) };
    }
}

/// For each pair of prefixes, the length of what they have in common.
struct Lengths {
    width: usize,
    cells: Vec<u32>,
}

/// A run that both strings have in common.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    /// Where it starts in the first string.
    a: usize,
    /// And in the second.
    b: usize,
    len: usize,
}

struct Trace {
    common: Vec<u8>,
    /// From the last to the first.
    matches: Vec<Match>,
}

impl Lengths {
    fn compute(a: &[u8], b: &[u8]) -> Option<Self> {
        let width = b.len() + 1;
        let mut cells = Vec::new();
        cells.try_reserve_exact(width * (a.len() + 1)).ok()?;
        cells.resize(width * (a.len() + 1), 0);
        for (at, &byte) in a.iter().enumerate() {
            let (above, below) = cells.split_at_mut(width * (at + 1));
            next_row(byte, b, &above[width * at..], &mut below[..width]);
        }
        Some(Self { width, cells })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// From the ends back to a beginning; where two ways are as good, the one that Redis takes.
    fn trace(&self, a: &[u8], b: &[u8]) -> Trace {
        let mut trace = Trace { common: Vec::new(), matches: Vec::new() };
        let (mut i, mut j) = (a.len(), b.len());
        let mut is_in_match = false;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                trace.common.push(a[i]);
                match trace.matches.last_mut() {
                    Some(found) if is_in_match => {
                        (found.a, found.b, found.len) = (i, j, found.len + 1);
                    }
                    _ => trace.matches.push(Match { a: i, b: j, len: 1 }),
                }
                is_in_match = true;
            } else {
                is_in_match = false;
                if self.at(i - 1, j) > self.at(i, j - 1) { i -= 1 } else { j -= 1 }
            }
        }
        trace.common.reverse();
        trace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ohmytext_and_mynewtext_share_mytext() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let trace = Lengths::compute(a, b).unwrap().trace(a, b);
        assert_eq!(trace.common, b"mytext");
        assert_eq!(trace.matches, [Match { a: 4, b: 5, len: 4 }, Match { a: 2, b: 0, len: 2 }]);
        assert_eq!(len(a, b), 6);
    }

    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        part.iter().all(|byte| rest.any(|other| other == byte))
    }

    proptest! {
        #[test]
        fn what_is_common_is_in_both_and_as_long_as_said(
            a in proptest::collection::vec(b'a'..b'e', 0..40),
            b in proptest::collection::vec(b'a'..b'e', 0..40),
        ) {
            let trace = Lengths::compute(&a, &b).unwrap().trace(&a, &b);
            prop_assert!(is_subsequence(&trace.common, &a) && is_subsequence(&trace.common, &b));
            prop_assert_eq!(trace.common.len(), len(&a, &b) as usize);
            let matched: usize = trace.matches.iter().map(|found| found.len).sum();
            prop_assert_eq!(matched, trace.common.len());
            for found in &trace.matches {
                prop_assert_eq!(
                    &a[found.a..found.a + found.len],
                    &b[found.b..found.b + found.len]
                );
            }
        }
    }
}
