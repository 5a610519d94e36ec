//! Inline commands: one line of words, as a person types them.
//!
//! The rules are those of `sdssplitargs` in Redis: words are separated by white space; double
//! quotes know the escapes `\n \r \t \b \a \xHH` and `\` before any other byte; single quotes know
//! only `\'`; a closing quote must be followed by white space or the end of the line.

use crate::args::{ArgRange, len_u32};

/// A quote was left open, or text follows a closing quote at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits `line` into words, appends their bytes to `bytes` and where they lie to `ranges`.
pub fn split(
    line: &[u8],
    bytes: &mut Vec<u8>,
    ranges: &mut Vec<ArgRange>,
) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        ranges.push(ArgRange { start: len_u32(start), len: len_u32(bytes.len() - start) });
    }
}

/// Decodes one word and returns what follows it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' | 0 => break,
            b'"' => return after_quote(double_quoted(tail, out)?),
            b'\'' => return after_quote(single_quoted(tail, out)?),
            _ => out.push(byte),
        }
        rest = tail;
    }
    Ok(if rest.first() == Some(&0) { &[] } else { rest })
}

fn after_quote(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        None => Ok(rest),
        Some(byte) if byte.is_ascii_whitespace() => Ok(rest),
        Some(_) => Err(UnbalancedQuotes),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;

    fn words(line: &str) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut bytes, &mut ranges)?;
        Ok(Args::new(&bytes, &ranges).iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_are_separated_by_any_white_space() {
        assert_eq!(words("  SET a\t b "), Ok(vec![b"SET".to_vec(), b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(words("   "), Ok(vec![]));
    }

    #[test]
    fn quotes_keep_spaces_and_know_escapes() {
        assert_eq!(words(r#"a "b c""#), Ok(vec![b"a".to_vec(), b"b c".to_vec()]));
        assert_eq!(words(r#""\x41\n\"\q""#), Ok(vec![b"A\n\"q".to_vec()]));
        assert_eq!(words(r"'it\'s \n'"), Ok(vec![br"it's \n".to_vec()]));
        assert_eq!(words(r#""""#), Ok(vec![vec![]]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#""open"#, "'open", r#""a"b"#, r"'a'b", r#"x "\"#] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{line}");
        }
    }
}
