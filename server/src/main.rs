//! The binary `coney`.

use std::process::ExitCode;

fn main() -> ExitCode {
    coney_server::main()
}
