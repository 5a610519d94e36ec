//! Where replies end: RESP2 and RESP3, fed in pieces of any size.

/// Nested arrays that a reply may have.
const DEPTH_MAX: usize = 32;
/// Longest line of a reply: a length, a number, or an error text.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What is known of a reply that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ended {
    /// It is an error.
    pub(crate) is_error: bool,
    /// It is nil or an empty array: what was asked for is not there.
    pub(crate) is_nothing: bool,
    /// It is a push message and answers nothing.
    pub(crate) is_push: bool,
}

/// Bytes that are no RESP.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server sent something that is no reply: {0}")]
pub(crate) struct NotAReply(String);

/// Finds the ends of replies in a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The line that has begun, without its end.
    line: Vec<u8>,
    /// Bytes of a bulk string, with its end, that are still to come.
    bulk_left: usize,
    /// Elements that are still to come, from the outermost array to the innermost.
    open: Vec<usize>,
    /// Of the reply that has begun.
    current: Ended,
    /// Elements of the reply are kept while this is set.
    keeps: bool,
    kept: Vec<Vec<u8>>,
    /// The last line of an error.
    error: Vec<u8>,
}

impl Scanner {
    /// From now on, bulk strings of replies are kept.
    pub(crate) fn keep_elements(&mut self) {
        self.keeps = true;
    }

    /// The bulk strings of the last reply, if they were to be kept; none are kept any more.
    pub(crate) fn take_elements(&mut self) -> Vec<Vec<u8>> {
        self.keeps = false;
        std::mem::take(&mut self.kept)
    }

    /// The text of the last error.
    pub(crate) fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.error).into_owned()
    }

    /// Takes bytes up to the end of one reply, or all of them: how many, and the reply if it ended.
    ///
    /// # Errors
    /// [`NotAReply`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Ended>), NotAReply> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            if self.bulk_left > 0 {
                let taken = self.bulk_left.min(rest.len());
                self.keep(rest.get(..taken).unwrap_or_default());
                self.bulk_left -= taken;
                at += taken;
                if self.bulk_left == 0
                    && let Some(ended) = self.end_element()
                {
                    return Ok((at, Some(ended)));
                }
                continue;
            }
            let Some(len) = rest.iter().position(|byte| *byte == b'\n') else {
                self.extend_line(rest)?;
                return Ok((bytes.len(), None));
            };
            self.extend_line(rest.get(..len).unwrap_or_default())?;
            at += len + 1;
            let mut line = std::mem::take(&mut self.line);
            if line.pop() != Some(b'\r') {
                return Err(not_a_reply(&line));
            }
            let ended = self.on_line(&line)?;
            line.clear();
            self.line = line;
            if ended.is_some() {
                return Ok((at, ended));
            }
        }
        Ok((at, None))
    }

    fn extend_line(&mut self, part: &[u8]) -> Result<(), NotAReply> {
        self.line.extend_from_slice(part);
        if self.line.len() > LINE_BYTES_MAX {
            return Err(not_a_reply(&self.line));
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) {
        if self.keeps
            && let Some(last) = self.kept.last_mut()
        {
            last.extend_from_slice(part);
        }
    }

    fn on_line(&mut self, line: &[u8]) -> Result<Option<Ended>, NotAReply> {
        let (&kind, text) = line.split_first().ok_or_else(|| not_a_reply(line))?;
        let is_outermost = self.open.is_empty();
        if is_outermost {
            self.current = Ended { is_push: kind == b'>', ..Ended::default() };
        }
        match kind {
            b'+' | b':' | b',' | b'#' | b'(' => Ok(self.end_element()),
            b'-' => {
                self.error.clear();
                self.error.extend_from_slice(text);
                self.current.is_error |= is_outermost;
                Ok(self.end_element())
            }
            b'_' => {
                self.current.is_nothing |= is_outermost;
                Ok(self.end_element())
            }
            b'$' | b'=' | b'!' => match length(line, text)? {
                None => {
                    self.current.is_nothing |= is_outermost;
                    Ok(self.end_element())
                }
                Some(len) => {
                    self.current.is_error |= is_outermost && kind == b'!';
                    self.bulk_left = len + 2;
                    if self.keeps {
                        self.kept.push(Vec::new());
                    }
                    Ok(None)
                }
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let count = length(line, text)?.unwrap_or(0);
                // Attributes come before the reply that they belong to, which is one element more.
                let elements = match kind {
                    b'%' => count.saturating_mul(2),
                    b'|' => count.saturating_mul(2).saturating_add(1),
                    _ => count,
                };
                if elements == 0 {
                    self.current.is_nothing |= is_outermost;
                    return Ok(self.end_element());
                }
                if self.open.len() == DEPTH_MAX {
                    return Err(not_a_reply(line));
                }
                self.open.push(elements);
                Ok(None)
            }
            _ => Err(not_a_reply(line)),
        }
    }

    /// One element is complete, and so may be those around it.
    fn end_element(&mut self) -> Option<Ended> {
        if self.keeps && self.kept.last().is_some_and(|last| last.ends_with(b"\r\n")) {
            let last = self.kept.last_mut()?;
            last.truncate(last.len() - 2);
        }
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return None;
            }
            self.open.pop();
        }
        Some(self.current)
    }
}

fn length(line: &[u8], text: &[u8]) -> Result<Option<usize>, NotAReply> {
    if text == b"-1" {
        return Ok(None);
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok());
    number.map(|number| Some(number as usize)).ok_or_else(|| not_a_reply(line))
}

fn not_a_reply(line: &[u8]) -> NotAReply {
    NotAReply(line.get(..60.min(line.len())).unwrap_or_default().escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ERROR: Ended = Ended { is_error: true, is_nothing: false, is_push: false };
    const NOTHING: Ended = Ended { is_error: false, is_nothing: true, is_push: false };
    const SOMETHING: Ended = Ended { is_error: false, is_nothing: false, is_push: false };
    const PUSH: Ended = Ended { is_error: false, is_nothing: false, is_push: true };

    const STREAM: &[u8] = b"+OK\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\nbc\r\n-ERR no\r\n*0\r\n*2\r\n$1\r\na\r\n\
        *1\r\n:5\r\n_\r\n%1\r\n+k\r\n,1.5\r\n>2\r\n+m\r\n+n\r\n|1\r\n+a\r\n+b\r\n:3\r\n*-1\r\n:7\r\n";
    const EXPECTED: [Ended; 13] = [
        SOMETHING, NOTHING, SOMETHING, SOMETHING, ERROR, NOTHING, SOMETHING, NOTHING, SOMETHING,
        PUSH, SOMETHING, NOTHING, SOMETHING,
    ];

    fn scan(pieces: &[&[u8]]) -> Vec<Ended> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut at = 0;
            while at < piece.len() {
                let (taken, ended) = scanner.feed(&piece[at..]).unwrap();
                assert!(taken > 0);
                at += taken;
                found.extend(ended);
            }
        }
        found
    }

    #[test]
    fn every_kind_of_reply_is_counted_once() {
        assert_eq!(scan(&[STREAM]), EXPECTED);
    }

    #[test]
    fn elements_are_kept_on_demand() {
        let mut scanner = Scanner::default();
        scanner.keep_elements();
        let reply = b"*2\r\n$1\r\na\r\n$4\r\nb\r\nc\r\n";
        assert_eq!(scanner.feed(reply).unwrap(), (reply.len(), Some(SOMETHING)));
        assert_eq!(scanner.take_elements(), [b"a".to_vec(), b"b\r\nc".to_vec()]);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for wrong in [&b"hello\r\n"[..], b"$x\r\n", b"\r\n", b"+OK\n", b"*-2\r\n"] {
            assert!(Scanner::default().feed(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    proptest! {
        // What could break: a cut anywhere, in a length or between \r and \n.
        #[test]
        fn pieces_make_no_difference(mut cuts in proptest::collection::vec(0..=STREAM.len(), 0..8)) {
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]]).collect();
            prop_assert_eq!(scan(&pieces), EXPECTED);
        }
    }
}
