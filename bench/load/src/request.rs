//! Requests as bytes.

use std::io::Write;

/// Appends one request: an array of bulk strings.
pub(crate) fn write(out: &mut Vec<u8>, parts: &[&[u8]]) {
    header(out, b'*', parts.len());
    for part in parts {
        header(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    write!(out, "{len}\r\n").expect("writing to memory");
}

#[cfg(test)]
mod tests {
    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        super::write(&mut out, &[b"GET", b"k"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
