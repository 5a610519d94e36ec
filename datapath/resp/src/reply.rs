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

/// A place for replies from which nothing has to be copied once more, such as frames to be sent.
pub trait Sink {
    /// Appends `parts`, one after the other, and returns how many bytes were taken; fewer than
    /// offered: there is no more room.
    fn write(&mut self, parts: &[&[u8]]) -> usize;

    /// Takes the last `len` bytes back, of those that were taken.
    fn take_back(&mut self, len: usize);
}

/// Appends replies to an output buffer. Types that RESP2 lacks become what Redis sends instead:
/// maps and sets become arrays, doubles and verbatim strings become bulk strings, booleans become
/// integers.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    /// Where a reply goes that is one bulk string, and where long bulk strings go with all that is
    /// before them; the rest is behind that, in `out`.
    sink: Option<&'a mut dyn Sink>,
    /// Bytes in the sink.
    sunk: usize,
    is_sink_full: bool,
}

impl std::fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("out", &self.out)
            .field("protocol", &self.protocol)
            .field("sunk", &self.sunk)
            .finish_non_exhaustive()
    }
}

/// Bytes around those of a bulk string: a dollar sign, up to twenty digits, two line ends.
const BULK_OVERHEAD_BYTES_MAX: usize = 25;
/// Bytes from which on a piece goes to the sink also if something is before it. Shorter ones are
/// gathered in the output buffer: one call for many.
pub const SINK_BYTES_MIN: usize = 1024;

impl<'a> Reply<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol, sink: None, sunk: 0, is_sink_full: false }
    }

    /// A writer to `sink` and, as far as that has no room or several short pieces are gathered, to
    /// `out`: what is there follows what is in the sink. Earlier replies that are in `out` may go to
    /// the sink too, and count as the rest.
    pub fn with_sink(out: &'a mut Vec<u8>, protocol: Protocol, sink: &'a mut dyn Sink) -> Self {
        Self { out, protocol, sink: Some(sink), sunk: 0, is_sink_full: false }
    }

    /// What is written from now on goes to the output buffer alone.
    pub fn bypass_sink(&mut self) {
        self.is_sink_full = true;
    }

    /// Bytes that this writer put into the sink.
    pub fn sunk(&self) -> usize {
        self.sunk
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
        self.sunk + self.out.len()
    }

    /// Whether the output buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the buffer back to `len` bytes: takes a half-written reply back.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len.saturating_sub(self.sunk));
        if len < self.sunk
            && let Some(sink) = &mut self.sink
        {
            sink.take_back(self.sunk - len);
            self.sunk = len;
            self.is_sink_full = false;
        }
    }

    /// Appends bytes that are already RESP.
    pub fn raw(&mut self, resp: &[u8]) {
        if self.sink.is_none() || resp.len() < SINK_BYTES_MIN || !self.sink_parts(&[resp]) {
            self.out.extend_from_slice(resp);
        }
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
        if self.sink.is_some() && self.sink_bulk(bytes) {
            return;
        }
        self.out.reserve(bytes.len() + BULK_OVERHEAD_BYTES_MAX);
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Gives a bulk string to the sink; `false`: it belongs into the output buffer.
    fn sink_bulk(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() < SINK_BYTES_MIN && !self.is_empty() {
            return false;
        }
        let mut head = [0; BULK_OVERHEAD_BYTES_MAX];
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(bytes.len()).as_bytes();
        let end = 1 + digits.len();
        head[0] = b'$';
        head[1..end].copy_from_slice(digits);
        head[end..end + 2].copy_from_slice(b"\r\n");
        self.sink_parts(&[&head[..end + 2], bytes, b"\r\n"])
    }

    /// Gives what the output buffer has and `parts` to the sink; the output buffer gets what finds no
    /// room there. `false`: no room at all, and nothing was done.
    fn sink_parts(&mut self, parts: &[&[u8]]) -> bool {
        let Some(sink) = self.sink.as_mut().filter(|_| !self.is_sink_full) else { return false };
        if !self.out.is_empty() {
            let taken = sink.write(&[self.out]);
            self.sunk += taken;
            self.out.drain(..taken);
            if !self.out.is_empty() {
                self.is_sink_full = true;
                return false;
            }
        }
        let mut taken = sink.write(parts);
        self.sunk += taken;
        for part in parts {
            let Some(rest) = part.get(taken..) else {
                taken -= part.len();
                continue;
            };
            taken = 0;
            self.out.extend_from_slice(rest);
        }
        self.is_sink_full = !self.out.is_empty();
        true
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
    use proptest::prelude::*;

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

    /// Has room for some bytes.
    struct Bounded {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Sink for Bounded {
        fn write(&mut self, parts: &[&[u8]]) -> usize {
            let bytes = parts.concat();
            let taken = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..taken]);
            taken
        }

        fn take_back(&mut self, len: usize) {
            self.bytes.truncate(self.bytes.len().checked_sub(len).unwrap());
        }
    }

    #[derive(Clone, Debug)]
    enum Piece {
        Bulk(usize),
        Raw(usize),
        Chunked(Vec<usize>),
        Int(i64),
        Array(usize),
        Error,
        /// Takes everything back from the mark of that number on.
        TakeBack(usize),
    }

    fn piece() -> impl Strategy<Value = Piece> {
        let len = prop_oneof![0..20_usize, 1000..1050_usize, 0..5000_usize];
        prop_oneof![
            4 => len.clone().prop_map(Piece::Bulk),
            1 => len.clone().prop_map(Piece::Raw),
            1 => proptest::collection::vec(len, 0..4).prop_map(Piece::Chunked),
            2 => any::<i64>().prop_map(Piece::Int),
            1 => (0..2000_usize).prop_map(Piece::Array),
            1 => Just(Piece::Error),
            1 => (0..8_usize).prop_map(Piece::TakeBack),
        ]
    }

    fn write_pieces(reply: &mut Reply<'_>, pieces: &[Piece]) -> usize {
        let mut marks = vec![0];
        for (at, piece) in pieces.iter().enumerate() {
            let bytes = |len: usize| vec![b'a' + u8::try_from(at % 26).unwrap(); len];
            match piece {
                Piece::Bulk(len) => reply.bulk(&bytes(*len)),
                Piece::Raw(len) => reply.raw(&bytes(*len)),
                Piece::Chunked(lens) => {
                    reply.begin_bulk(lens.iter().sum());
                    lens.iter().for_each(|len| reply.raw(&bytes(*len)));
                    reply.end_bulk();
                }
                Piece::Int(value) => reply.int(*value),
                Piece::Array(count) => reply.array(*count),
                Piece::Error => reply.error("ERR no"),
                Piece::TakeBack(mark) => {
                    marks.truncate(marks.len() - mark % marks.len());
                    reply.truncate(*marks.last().unwrap());
                }
            }
            marks.push(reply.len());
        }
        assert_eq!(reply.is_empty(), matches!(reply.len(), 0));
        reply.len()
    }

    proptest! {
        /// The fast way against the simple one.
        #[test]
        fn sink_and_buffer_together_hold_what_the_buffer_alone_would(
            pieces in proptest::collection::vec(piece(), 0..12),
            room in prop_oneof![Just(usize::MAX), 0..3000_usize],
        ) {
            let mut expected = Vec::new();
            let len = write_pieces(&mut Reply::new(&mut expected, Protocol::Resp2), &pieces);
            prop_assert_eq!(len, expected.len());
            let (mut sink, mut out) = (Bounded { bytes: Vec::new(), room }, Vec::new());
            let mut reply = Reply::with_sink(&mut out, Protocol::Resp2, &mut sink);
            prop_assert_eq!(write_pieces(&mut reply, &pieces), len);
            prop_assert_eq!(reply.sunk() + reply.out.len(), len);
            prop_assert_eq!(reply.sunk(), sink.bytes.len());
            let got = [sink.bytes, out].concat();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn long_values_and_single_ones_reach_the_sink_without_the_buffer() {
        let (mut sink, mut out) = (Bounded { bytes: Vec::new(), room: usize::MAX }, Vec::new());
        let mut reply = Reply::with_sink(&mut out, Protocol::Resp2, &mut sink);
        reply.bulk(b"x");
        assert_eq!(reply.sunk(), 7);
        reply.array(2);
        reply.bulk(b"y");
        assert_eq!((reply.sunk(), reply.out.len()), (7, 11), "short ones are gathered");
        reply.bulk(&[b'z'; SINK_BYTES_MIN]);
        assert_eq!((reply.sunk(), reply.out.len()), (7 + 11 + 9 + SINK_BYTES_MIN, 0));
        reply.bulk(b"s");
        reply.bulk(b"t");
        assert_eq!(reply.out.len(), 14, "short ones behind a long one are gathered as well");
        reply.bypass_sink();
        reply.bulk(&[b'z'; SINK_BYTES_MIN]);
        assert_eq!(reply.out.len(), 14 + 9 + SINK_BYTES_MIN, "nothing more goes to the sink");
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
