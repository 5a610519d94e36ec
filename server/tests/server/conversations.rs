//! Every conversation, over kernel sockets.

use std::path::Path;

use coney_conversation::run_all;
use coney_conversation::tcp::TcpPeer;
use coney_datapath::transport::uring;

use crate::support::{Server, skip};

fn run(args: &[&str]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/conversations");
    let server = Server::start(args);
    match run_all(&dir, &mut TcpPeer::new(server.addr)) {
        Ok(summary) => assert!(summary.passed > 0),
        Err(report) if report.ends_with("no conversations") => skip(&report),
        Err(report) => panic!("{report}"),
    }
}

#[test]
fn conversations_go_as_written_with_one_worker() {
    run(&["--workers", "1"]);
}

#[test]
fn conversations_go_as_written_with_two_workers() {
    run(&["--workers", "2"]);
}

#[test]
fn conversations_go_as_written_over_io_uring() {
    match uring::probe() {
        Ok(()) => run(&["--workers", "2", "--set", "kernel-transport=io_uring"]),
        Err(reason) => skip(&reason.to_string()),
    }
}
