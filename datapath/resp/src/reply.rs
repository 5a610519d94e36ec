//! Replies, in the protocol version that the client negotiated with HELLO.

use crate::number::write_double;

/// The protocol version of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// RESP2, the version every connection starts with.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}

/// Appends replies to an output buffer. Types that RESP2 lacks become what Redis sends instead:
/// maps and sets become arrays, doubles and verbatim strings become bulk strings, booleans become
/// integers.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

/// Bytes around those of a bulk string: a dollar sign, up to twenty digits, two line ends.
const BULK_OVERHEAD_BYTES_MAX: usize = 25;

impl<'a> Reply<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol version in use.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the version for what is written from now on (HELLO).
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes in the output buffer so far, earlier replies included.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the output buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Cuts the buffer back to `len` bytes: takes a half-written reply back.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Appends bytes that are already RESP.
    pub fn raw(&mut self, resp: &[u8]) {
        self.out.extend_from_slice(resp);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` must not contain CR or LF (they become spaces).
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: code and text, such as `ERR syntax error`. CR and LF become spaces.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// An error whose text quotes bytes of the client's.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.line(b'-', text);
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        self.prefixed(b':', value);
    }

    /// A count as an integer; counts above `i64::MAX` cannot occur and are clamped.
    pub fn count(&mut self, value: usize) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + BULK_OVERHEAD_BYTES_MAX);
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The beginning of a bulk string of `len` bytes, which must follow ([`Reply::raw`]), and then
    /// [`Reply::end_bulk`].
    pub fn begin_bulk(&mut self, len: usize) {
        self.header(b'$', len);
    }

    /// The end of a bulk string.
    pub fn end_bulk(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// The absence of a value.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The absence of an array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// An array of `count` replies, which must follow.
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// A map of `count` pairs, which must follow: key, value, key, value.
    pub fn map(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', count.saturating_mul(2)),
            Protocol::Resp3 => self.header(b'%', count),
        }
    }

    /// A set of `count` replies, which must follow.
    pub fn set(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', count),
            Protocol::Resp3 => self.header(b'~', count),
        }
    }

    /// An out-of-band message of `count` replies, which must follow. RESP2 sends an array.
    pub fn push(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', count),
            Protocol::Resp3 => self.header(b'>', count),
        }
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => {
                let mut text = Vec::with_capacity(24);
                write_double(&mut text, value);
                self.bulk(&text);
            }
            Protocol::Resp3 => {
                self.out.push(b',');
                write_double(self.out, value);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A boolean; RESP2 sends 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// Text for people, of format `txt` (plain) or `mkd` (Markdown).
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.extend_from_slice(&format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        let clean = |byte: &u8| {
            if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }
        };
        self.out.extend(text.iter().map(clean));
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, count: usize) {
        self.prefixed(kind, i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn prefixed(&mut self, kind: u8, value: i64) {
        // One or two digits, as lengths mostly have, at once.
        match u8::try_from(value) {
            Ok(value @ 0..=9) => {
                return self.out.extend_from_slice(&[kind, b'0' + value, b'\r', b'\n']);
            }
            Ok(value @ 10..=99) => {
                let (tens, ones) = (b'0' + value / 10, b'0' + value % 10);
                return self.out.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
            }
            _ => {}
        }
        self.out.push(kind);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, protocol));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_of_any_length_are_whole() {
        for value in [0, 9, 10, 42, 99, 100, 255, 256, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(written(Protocol::Resp2, |reply| reply.int(value)), format!(":{value}\r\n"));
        }
    }

    fn everything(reply: &mut Reply<'_>) {
        reply.ok();
        reply.simple("PONG");
        reply.error("ERR line\r\nbreak");
        reply.int(-7);
        reply.bulk(b"x");
        reply.null();
        reply.null_array();
        reply.array(2);
        reply.map(2);
        reply.set(2);
        reply.push(2);
        reply.double(1.5);
        reply.bool(true);
        reply.bool(false);
        reply.verbatim(*b"txt", b"hi");
    }

    #[test]
    fn resp2_degrades_what_it_lacks() {
        assert_eq!(
            written(Protocol::Resp2, everything),
            "+OK\r\n+PONG\r\n-ERR line  break\r\n:-7\r\n$1\r\nx\r\n$-1\r\n*-1\r\n*2\r\n*4\r\n*2\r\n\
             *2\r\n$3\r\n1.5\r\n:1\r\n:0\r\n$2\r\nhi\r\n"
        );
    }

    #[test]
    fn resp3_uses_its_own_types() {
        assert_eq!(
            written(Protocol::Resp3, everything),
            "+OK\r\n+PONG\r\n-ERR line  break\r\n:-7\r\n$1\r\nx\r\n_\r\n_\r\n*2\r\n%2\r\n~2\r\n>2\r\n\
             ,1.5\r\n#t\r\n#f\r\n=6\r\ntxt:hi\r\n"
        );
    }
}
