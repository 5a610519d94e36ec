//! The requests and replies of a hot GET.

/// Keys that are asked for.
pub(crate) const KEYS: u64 = 100;
const VALUE_LEN: usize = 64;

/// `GET` of a key.
pub(crate) fn get(key: u64) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n$9\r\nkey:{key:05}\r\n").into_bytes()
}

/// `SET` of a key.
pub(crate) fn set(key: u64) -> Vec<u8> {
    let value = value();
    format!("*3\r\n$3\r\nSET\r\n$9\r\nkey:{key:05}\r\n${VALUE_LEN}\r\n{value}\r\n").into_bytes()
}

/// The reply to any `GET`.
pub(crate) fn reply() -> Vec<u8> {
    format!("${VALUE_LEN}\r\n{}\r\n", value()).into_bytes()
}

fn value() -> String {
    "v".repeat(VALUE_LEN)
}
