//! Reads conversations.

use crate::value::{Expected, Value};

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where it came from, for messages.
    pub name: String,
    /// The cases in order.
    pub cases: Vec<Case>,
}

/// One case: it starts with an empty database and new connections.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub title: String,
    /// Line of the title.
    pub line: usize,
    /// What happens, each with its line.
    pub steps: Vec<(usize, Step)>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sends these bytes.
    Send(Vec<u8>),
    /// The client reads this.
    Expect(Expected),
    /// Another client goes on.
    Client(String),
    /// The server's clock moves on, in milliseconds.
    Advance(u64),
    /// Until so many clients wait in blocking commands.
    Blocked(usize),
}

/// A file that is no conversation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub struct ParseError {
    /// The file.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        let mut script = Self { name: name.to_owned(), cases: Vec::new() };
        let mut lines = text.lines().zip(1..).peekable();
        while let Some((line, number)) = lines.next() {
            let error =
                |message: String| ParseError { name: name.to_owned(), line: number, message };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(title) = line.strip_prefix("==") {
                let title = title.trim().to_owned();
                script.cases.push(Case { title, line: number, steps: Vec::new() });
                continue;
            }
            let step = if let Some(raw) = line.strip_prefix(">>") {
                Step::Send(words(raw).map_err(error)?.concat())
            } else if let Some(command) = line.strip_prefix('>') {
                Step::Send(encode(&words(command).map_err(error)?))
            } else if let Some(first) = line.strip_prefix('<') {
                let mut next = || match lines.peek() {
                    Some((line, _)) if line.trim_start().starts_with('<') => {
                        lines.next().map(|(line, _)| line.trim().trim_start_matches('<').trim())
                    }
                    _ => None,
                };
                Step::Expect(expected(first.trim(), &mut next).map_err(error)?)
            } else if let Some(client) = line.strip_prefix("@client ") {
                Step::Client(client.trim().to_owned())
            } else if let Some(millis) = line.strip_prefix("@advance ") {
                let millis = millis.trim().parse();
                Step::Advance(millis.map_err(|_nan| error("milliseconds expected".to_owned()))?)
            } else if let Some(clients) = line.strip_prefix("@blocked ") {
                let clients = clients.trim().parse();
                Step::Blocked(clients.map_err(|_nan| error("a number expected".to_owned()))?)
            } else {
                return Err(error(format!(
                    "a line starts with ==, >, >>, <, @ or #, not {line:?}"
                )));
            };
            let Some(case) = script.cases.last_mut() else {
                return Err(error("a case must start with == and a title".to_owned()));
            };
            case.steps.push((number, step));
        }
        Ok(script)
    }
}

/// A command as RESP.
pub fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn expected<'a>(
    text: &'a str,
    next: &mut impl FnMut() -> Option<&'a str>,
) -> Result<Expected, String> {
    let exactly = |value| Ok(Expected::Exactly(value));
    let one_word = |text: &str| match &words(text)?[..] {
        [word] => Ok(word.clone()),
        _ => Err(format!("one quoted text expected, not {text}")),
    };
    match text {
        "?" => return Ok(Expected::Anything),
        "nil" => return exactly(Value::Nil),
        "nilarray" => return exactly(Value::NilArray),
        "closed" => return Ok(Expected::Closed),
        "#t" => return exactly(Value::Boolean(true)),
        "#f" => return exactly(Value::Boolean(false)),
        _ => {}
    }
    if let Some(pattern) = text.strip_prefix("glob ") {
        return Ok(Expected::Glob(one_word(pattern)?));
    }
    let bytes = |rest: &str| rest.as_bytes().to_vec();
    let mut chars = text.chars();
    let (kind, rest) = (chars.next(), chars.as_str());
    match kind {
        Some('+') => exactly(Value::Simple(bytes(rest))),
        Some('-') => exactly(Value::Error(bytes(rest))),
        Some(':' | '(') => exactly(Value::Integer(bytes(rest))),
        Some(',') => exactly(Value::Double(bytes(rest))),
        Some('=') => exactly(Value::Verbatim(bytes(rest))),
        Some('"') => exactly(Value::Bulk(one_word(text)?)),
        Some(kind @ ('*' | '%' | '~' | '>')) => {
            let count: usize = rest.trim().parse().map_err(|_nan| format!("{text}: no count"))?;
            let total = if kind == '%' { count * 2 } else { count };
            let elements = (0..total)
                .map(|_| {
                    let line = next().ok_or_else(|| format!("{text}: an element is missing"))?;
                    expected(line, next)
                })
                .collect::<Result<_, String>>()?;
            let kind = u8::try_from(kind).unwrap_or(b'*');
            Ok(Expected::Aggregate(kind, count, elements))
        }
        _ => Err(format!("unknown expectation {text:?}")),
    }
}

/// Splits a line into words with redis-cli's quoting: `"` with escapes, `'` without.
pub fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut bytes = line.trim().bytes().peekable();
    while let Some(&first) = bytes.peek() {
        if first == b' ' {
            bytes.next();
            continue;
        }
        let mut word = Vec::new();
        match first {
            quote @ (b'"' | b'\'') => {
                bytes.next();
                loop {
                    match bytes.next() {
                        None => return Err(format!("a quote is left open in {line}")),
                        Some(byte) if byte == quote => break,
                        Some(b'\\') => word.push(escape(quote, &mut bytes)?),
                        Some(byte) => word.push(byte),
                    }
                }
            }
            _ => {
                while let Some(&byte) = bytes.peek()
                    && byte != b' '
                {
                    word.push(byte);
                    bytes.next();
                }
            }
        }
        words.push(word);
    }
    Ok(words)
}

fn escape(quote: u8, bytes: &mut impl Iterator<Item = u8>) -> Result<u8, String> {
    let byte = bytes.next().ok_or("a backslash at the end")?;
    if quote == b'\'' {
        return Ok(byte);
    }
    Ok(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'x' => {
            let digits = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
            let text = std::str::from_utf8(&digits).unwrap_or("");
            u8::from_str_radix(text, 16).map_err(|_nan| format!("\\x{text} is no byte"))?
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_cases_of_steps() {
        let text = "# note\n== first\n> SET k \"a\\x00 b\"\n< +OK\n@client B\n>> \"PING\\r\\n\"\n\
                    < *2\n<   \"x\"\n<   *1\n<     :1\n< glob \"a*\"\n@advance 5\n@blocked 2\n";
        let script = Script::parse("t", text).unwrap();
        let [case] = &script.cases[..] else { panic!("one case") };
        assert_eq!((case.title.as_str(), case.line), ("first", 2));
        let steps: Vec<&Step> = case.steps.iter().map(|(_, step)| step).collect();
        assert_eq!(
            *steps[0],
            Step::Send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\0 b\r\n".to_vec())
        );
        assert_eq!(*steps[2], Step::Client("B".to_owned()));
        assert_eq!(*steps[3], Step::Send(b"PING\r\n".to_vec()));
        let Step::Expect(expected) = steps[4] else { panic!("an expectation") };
        assert_eq!(expected.to_string(), "*2 \"x\" *1 :1");
        assert_eq!(*steps[6], Step::Advance(5));
        assert_eq!(*steps[7], Step::Blocked(2));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("> PING\n", 1),
            ("== t\n< *2\n< :1\n", 2),
            ("== t\n> PING\nnonsense\n", 3),
            ("== t\n> SET \"open\n", 2),
            ("== t\n@blocked two\n", 2),
        ] {
            assert_eq!(Script::parse("t", text).unwrap_err().line, line, "{text}");
        }
    }
}
