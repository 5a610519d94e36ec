//! Skipping a test that needs a privilege, loudly.

use std::io::Write as _;

use coney_xdp_prog::Error;

/// The value, or `None` after saying on standard error why the test is skipped. Only a missing
/// privilege or kernel feature is a reason; every other error fails the test.
pub(crate) fn unless_forbidden<T>(test: &str, result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            error @ (Error::NoPermission { .. }
            | Error::Memlock { .. }
            | Error::KernelUnsupported { .. }),
        ) => {
            say(&format!("SKIPPED: {test}: {error}\n"));
            None
        }
        Err(error) => panic!("{test}: {error}"),
    }
}

/// Past the test harness, which swallows the output of tests that pass.
fn say(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}
