//! What clients read is what Redis replies: the files of `ci/conversations`, held with the engine.

use std::path::Path;

use coney_conversation::run_all;

use crate::peer::EnginePeer;

/// The folders whose commands the engine answers without a control plane.
const FOLDERS: [&str; 14] = [
    "beyond",
    "bitmap",
    "command",
    "connection",
    "generic",
    "geo",
    "hash",
    "hyperloglog",
    "list",
    "set",
    "stream",
    "string",
    "transaction",
    "zset",
];

#[test]
fn the_engine_replies_as_written() {
    hold(EnginePeer::new);
}

/// Holds all conversations, those of each folder with a peer of their own.
pub(crate) fn hold(peer: impl Fn() -> EnginePeer) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/conversations");
    let mut report = String::new();
    for folder in FOLDERS {
        match run_all(&root.join(folder), &mut peer()) {
            Ok(summary) => assert_eq!(summary.skipped, 0, "the clock of this peer can be moved"),
            Err(failures) => report.push_str(&failures),
        }
    }
    assert!(report.is_empty(), "{report}");
}
