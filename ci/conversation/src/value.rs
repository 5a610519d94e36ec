//! RESP values: parsed from bytes, and compared with what a conversation expects.

use std::fmt;

/// One RESP2 or RESP3 value as it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`
    Error(Vec<u8>),
    /// `:1`, and RESP3's big numbers `(1`
    Integer(Vec<u8>),
    /// `$4`
    Bulk(Vec<u8>),
    /// `$-1` or `_`
    Nil,
    /// `*-1`
    NilArray,
    /// `,1.5`
    Double(Vec<u8>),
    /// `#t`
    Boolean(bool),
    /// `=8 txt:text`
    Verbatim(Vec<u8>),
    /// `*`, `%`, `~` or `>`, the count as sent, and the elements: two for each pair of a map.
    Aggregate(u8, usize, Vec<Value>),
}

/// Bytes that are no RESP.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not RESP at {0:?}")]
pub struct Malformed(String);

impl Value {
    /// Parses one value at the start of `bytes`; `None` if it is not complete.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let malformed = || {
            Malformed(bytes.get(..64.min(bytes.len())).unwrap_or(b"").escape_ascii().to_string())
        };
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let (Some(&kind), Some(line)) = (bytes.first(), bytes.get(1..end)) else {
            return Err(malformed());
        };
        let mut at = end + 2;
        let count = || -> Result<Option<usize>, Malformed> {
            let text = std::str::from_utf8(line).map_err(|_not_text| malformed())?;
            match text.parse::<i64>() {
                Ok(-1) => Ok(None),
                Ok(count) => usize::try_from(count).map(Some).map_err(|_negative| malformed()),
                Err(_) => Err(malformed()),
            }
        };
        let value = match kind {
            b'+' => Self::Simple(line.to_vec()),
            b'-' => Self::Error(line.to_vec()),
            b':' | b'(' => Self::Integer(line.to_vec()),
            b',' => Self::Double(line.to_vec()),
            b'_' => Self::Nil,
            b'#' => Self::Boolean(line == b"t"),
            b'$' | b'=' => {
                let Some(len) = count()? else { return Ok(Some((Self::Nil, at))) };
                let Some(body) = bytes.get(at..at.saturating_add(len).saturating_add(2)) else {
                    return Ok(None);
                };
                let body = body.strip_suffix(b"\r\n").ok_or_else(malformed)?.to_vec();
                at += len + 2;
                if kind == b'$' { Self::Bulk(body) } else { Self::Verbatim(body) }
            }
            b'*' | b'%' | b'~' | b'>' => {
                let Some(count) = count()? else { return Ok(Some((Self::NilArray, at))) };
                let mut elements = Vec::new();
                for _ in 0..if kind == b'%' { count.saturating_mul(2) } else { count } {
                    let Some((element, len)) = Self::parse(bytes.get(at..).unwrap_or_default())?
                    else {
                        return Ok(None);
                    };
                    elements.push(element);
                    at += len;
                }
                Self::Aggregate(kind, count, elements)
            }
            _ => return Err(malformed()),
        };
        Ok(Some((value, at)))
    }

    fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Integer(text)
            | Self::Bulk(text)
            | Self::Double(text)
            | Self::Verbatim(text) => Some(text),
            Self::Nil | Self::NilArray | Self::Boolean(_) | Self::Aggregate(..) => None,
        }
    }
}

/// In the notation of conversations.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match self {
            Self::Simple(text) => write!(f, "+{}", quoted(text)),
            Self::Error(text) => write!(f, "-{}", String::from_utf8_lossy(text)),
            Self::Integer(text) => write!(f, ":{}", quoted(text)),
            Self::Bulk(text) => write!(f, "\"{}\"", quoted(text)),
            Self::Nil => f.write_str("nil"),
            Self::NilArray => f.write_str("nilarray"),
            Self::Double(text) => write!(f, ",{}", quoted(text)),
            Self::Boolean(is_true) => f.write_str(if *is_true { "#t" } else { "#f" }),
            Self::Verbatim(text) => write!(f, "={}", quoted(text)),
            Self::Aggregate(kind, count, elements) => {
                write!(f, "{}{count}", char::from(*kind))?;
                elements.iter().try_for_each(|element| write!(f, " {element}"))
            }
        }
    }
}

/// What a conversation expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Just this; aggregates carry no elements here but expectations of their own.
    Exactly(Value),
    /// This kind of aggregate with this count, and these elements.
    Aggregate(u8, usize, Vec<Expected>),
    /// Anything.
    Anything,
    /// A text that matches a glob pattern.
    Glob(Vec<u8>),
    /// The end of the connection.
    Closed,
}

impl Expected {
    /// Whether `value` is what was expected.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Exactly(expected) => expected == value,
            Self::Aggregate(kind, count, expected) => match value {
                Value::Aggregate(other_kind, other_count, elements) => {
                    kind == other_kind
                        && count == other_count
                        && expected.len() == elements.len()
                        && expected.iter().zip(elements).all(|(e, v)| e.accepts(v))
                }
                _ => false,
            },
            Self::Anything => true,
            Self::Glob(pattern) => {
                value.text().is_some_and(|text| coney_base::glob::matches(pattern, text, false))
            }
            Self::Closed => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) => value.fmt(f),
            Self::Aggregate(kind, count, elements) => {
                write!(f, "{}{count}", char::from(*kind))?;
                elements.iter().try_for_each(|element| write!(f, " {element}"))
            }
            Self::Anything => f.write_str("?"),
            Self::Glob(pattern) => write!(f, "glob \"{}\"", pattern.escape_ascii()),
            Self::Closed => f.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_a_reply_is_incomplete_until_its_end() {
        let bytes = b"*3\r\n$2\r\nab\r\n%1\r\n+k\r\n:1\r\n_\r\n";
        for end in 0..bytes.len() {
            assert_eq!(Value::parse(&bytes[..end]), Ok(None), "{end}");
        }
        let (value, len) = Value::parse(bytes).unwrap().unwrap();
        assert_eq!((value.to_string(), len), ("*3 \"ab\" %1 +k :1 nil".to_owned(), bytes.len()));
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        assert!(Value::parse(b"hello\r\n").is_err());
        assert!(Value::parse(b"$x\r\n").is_err());
        assert!(Value::parse(b"$1\r\nabc").is_err());
    }
}
