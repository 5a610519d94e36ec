//! The requests and replies of a hot GET.

/// Keys that are asked for.
pub(crate) const KEYS: u64 = 100;
/// Bytes of a value where nothing else is said.
pub(crate) const VALUE_LEN: usize = 64;

/// `GET` of a key.
pub(crate) fn get(key: u64) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n$9\r\nkey:{key:05}\r\n").into_bytes()
}

/// `SET` of a key to a value of `len` bytes.
pub(crate) fn set(key: u64, len: usize) -> Vec<u8> {
    let value = value(len);
    format!("*3\r\n$3\r\nSET\r\n$9\r\nkey:{key:05}\r\n${len}\r\n{value}\r\n").into_bytes()
}

/// The reply to any `GET`.
pub(crate) fn reply(len: usize) -> Vec<u8> {
    format!("${len}\r\n{}\r\n", value(len)).into_bytes()
}

fn value(len: usize) -> String {
    (0..len).map(|at| char::from(b'a' + u8::try_from(at % 23).expect("small"))).collect()
}
