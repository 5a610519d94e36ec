//! Bodies of the fuzz targets for this crate; `cargo test` runs them too.

use crate::wire::{self, HEADERS_LEN_MAX};

/// The target `wire_frame`: any bytes as a frame. What parses is written and must parse to the
/// same.
///
/// # Panics
/// If it does not.
pub fn wire_frame(data: &[u8]) {
    // A frame that was not damaged is rare, so the partial checksum does not matter here.
    let Ok(received) = wire::parse(data, false) else { return };
    let payload = data.get(received.payload.clone()).expect("the parser checked the range");
    // Up to three SACK blocks fit with all else; a longer list is cut by whoever sends.
    if received.header.options.len() > wire::tcp::OPTIONS_LEN_MAX {
        return;
    }
    let mut frame = vec![0; HEADERS_LEN_MAX];
    frame.extend_from_slice(payload);
    let addresses = (received.src, received.dst);
    let len = payload.len();
    let start =
        wire::write(&mut frame, HEADERS_LEN_MAX, len, &received.hop, addresses, &received.header)
            .expect("what was received can be sent");
    let again = wire::parse(frame.get(start..).unwrap_or_default(), false);
    let again = again.expect("what was written parses");
    assert_eq!((again.header, again.src, again.dst), (received.header, received.src, received.dst));
}
