//! Carries conversations out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::script::{Case, Script, Step};
use crate::value::{Expected, Value};

/// A server that conversations are held with.
pub trait Peer {
    /// Starts a case: an empty database; earlier clients are gone.
    ///
    /// # Errors
    /// Why the server cannot be brought there.
    fn reset(&mut self) -> Result<(), String>;

    /// Sends bytes as `client`; the first time, it connects.
    ///
    /// # Errors
    /// Why the bytes cannot be sent.
    fn send(&mut self, client: &str, bytes: &[u8]) -> Result<(), String>;

    /// Waits for more bytes for `client` and appends them to `received`; `false`: the connection
    /// was closed.
    ///
    /// # Errors
    /// Why nothing can be received, such as a time-out.
    fn receive(&mut self, client: &str, received: &mut Vec<u8>) -> Result<bool, String>;

    /// Waits until so many clients are blocked. A peer that executes what it is sent at once has nothing
    /// to wait for.
    ///
    /// # Errors
    /// Why it does not come to that, such as a time-out.
    fn await_blocked(&mut self, _clients: usize) -> Result<(), String> {
        Ok(())
    }

    /// Moves the server's clock; `false`: this peer's clock is not ours to move.
    fn advance(&mut self, millis: u64) -> bool;
}

/// How many cases passed, and which were left out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Cases that passed.
    pub passed: usize,
    /// Cases left out because the peer's clock cannot be moved.
    pub skipped: usize,
}

/// A case that did not go as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {title}: {message}")]
pub struct Failure {
    /// The file.
    pub file: String,
    /// The line of the step that failed.
    pub line: usize,
    /// The case.
    pub title: String,
    /// What happened.
    pub message: String,
}

/// Runs every `*.txt` below `dir` in order of their names.
///
/// # Errors
/// Every failure, as one text; also if there is no conversation at all.
pub fn run_all(dir: &Path, peer: &mut dyn Peer) -> Result<Summary, String> {
    let mut files = Vec::new();
    collect(dir, &mut files).map_err(|error| format!("{}: {error}", dir.display()))?;
    files.sort();
    let mut summary = Summary::default();
    let mut report = String::new();
    for file in &files {
        let name = file.strip_prefix(dir).unwrap_or(file).display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let script = Script::parse(&name, &text).map_err(|error| error.to_string())?;
        for failure in run(&script, peer, &mut summary) {
            writeln!(report, "{failure}").unwrap_or_default();
        }
    }
    if summary == Summary::default() && report.is_empty() {
        return Err(format!("{}: no conversations", dir.display()));
    }
    if report.is_empty() { Ok(summary) } else { Err(report) }
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    Ok(())
}

/// Runs a script and returns what failed.
pub fn run(script: &Script, peer: &mut dyn Peer, summary: &mut Summary) -> Vec<Failure> {
    let mut failures = Vec::new();
    for case in &script.cases {
        match run_case(case, peer) {
            Ok(true) => summary.passed += 1,
            Ok(false) => summary.skipped += 1,
            Err((line, message)) => failures.push(Failure {
                file: script.name.clone(),
                line,
                title: case.title.clone(),
                message,
            }),
        }
    }
    failures
}

/// `Ok(false)`: skipped.
fn run_case(case: &Case, peer: &mut dyn Peer) -> Result<bool, (usize, String)> {
    let needs_clock = case.steps.iter().any(|(_, step)| matches!(step, Step::Advance(_)));
    if needs_clock && !peer.advance(0) {
        return Ok(false);
    }
    peer.reset().map_err(|message| (case.line, message))?;
    let mut received: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut client = "A";
    for (line, step) in &case.steps {
        let failed = |message: String| (*line, message);
        match step {
            Step::Send(bytes) => peer.send(client, bytes).map_err(failed)?,
            Step::Client(name) => client = name,
            Step::Blocked(clients) => peer.await_blocked(*clients).map_err(failed)?,
            Step::Advance(millis) => {
                peer.advance(*millis);
            }
            Step::Expect(expected) => {
                let buffer = received.entry(client).or_default();
                check(expected, client, buffer, peer).map_err(failed)?;
            }
        }
    }
    match received.iter().find(|(_, rest)| !rest.is_empty()) {
        None => Ok(true),
        Some((client, rest)) => {
            Err((case.line, format!("client {client} got more: {}", rest.escape_ascii())))
        }
    }
}

fn check(
    expected: &Expected,
    client: &str,
    received: &mut Vec<u8>,
    peer: &mut dyn Peer,
) -> Result<(), String> {
    loop {
        match Value::parse(received).map_err(|error| error.to_string())? {
            Some((value, len)) => {
                received.drain(..len);
                return if expected.accepts(&value) {
                    Ok(())
                } else {
                    Err(format!("\n  expected {expected}\n  received {value}"))
                };
            }
            None if peer.receive(client, received)? => {}
            None if *expected == Expected::Closed && received.is_empty() => return Ok(()),
            None => return Err(format!("expected {expected}, but the connection was closed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each case with prepared bytes.
    struct Prepared(Vec<u8>);

    impl Peer for Prepared {
        fn reset(&mut self) -> Result<(), String> {
            Ok(())
        }

        fn send(&mut self, _client: &str, _bytes: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn receive(&mut self, _client: &str, received: &mut Vec<u8>) -> Result<bool, String> {
            received.append(&mut self.0);
            Ok(!received.is_empty())
        }

        fn advance(&mut self, _millis: u64) -> bool {
            false
        }
    }

    fn outcome(text: &str, answer: &[u8]) -> (Summary, Vec<String>) {
        let script = Script::parse("t", text).unwrap();
        let mut summary = Summary::default();
        let failures = run(&script, &mut Prepared(answer.to_vec()), &mut summary);
        (summary, failures.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_case_passes_only_if_every_reply_is_as_written() {
        let text = "== t\n> PING\n< +PONG\n";
        assert_eq!(outcome(text, b"+PONG\r\n").0, Summary { passed: 1, skipped: 0 });
        for wrong in [&b"+PING\r\n"[..], b"$4\r\nPONG\r\n", b"", b"+PONG\r\n+PONG\r\n"] {
            let (summary, failures) = outcome(text, wrong);
            assert_eq!((summary.passed, failures.len()), (0, 1), "{wrong:?}");
        }
    }

    #[test]
    fn cases_that_need_a_clock_are_counted_as_skipped() {
        assert_eq!(outcome("== t\n@advance 5\n", b"").0, Summary { passed: 0, skipped: 1 });
    }
}
