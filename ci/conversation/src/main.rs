//! Holds conversations with a running server, such as Redis: `coney-conversation ADDRESS DIRECTORY`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use coney_conversation::tcp::TcpPeer;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &args[..] {
        [addr, dir] => match addr.parse() {
            Ok(addr) => coney_conversation::run_all(Path::new(dir), &mut TcpPeer::new(addr)),
            Err(error) => {
                Err(format!("{addr}: {error}: an address such as 127.0.0.1:6379 is expected\n"))
            }
        },
        _ => Err("usage: coney-conversation ADDRESS DIRECTORY\nThe server's data is flushed.\n"
            .to_owned()),
    };
    let (text, code) = match outcome {
        Ok(summary) => (
            format!("{} passed, 0 failed, {} skipped\n", summary.passed, summary.skipped),
            ExitCode::SUCCESS,
        ),
        Err(report) => (report, ExitCode::FAILURE),
    };
    // Nobody is left to tell if standard output is closed.
    std::io::stdout().write_all(text.as_bytes()).ok();
    code
}
