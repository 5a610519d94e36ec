use std::time::Duration;

use super::*;
use crate::info::{Calls, TableRow, Times};

fn snapshot() -> Snapshot {
    let mut times = Times::default();
    times.add(Duration::from_nanos(1500), 16);
    let worker = |id| WorkerRow {
        id,
        clients: 2,
        calls: vec![Calls::default(), Calls { calls: 16, failed: 1, rejected: 2 }],
        times: vec![(1, times.clone())],
        errors: vec![("WRONGTYPE".to_owned(), 3)],
        transports: vec![("kernel_reads", 5)],
        ..WorkerRow::default()
    };
    Snapshot {
        workers: vec![worker(0), worker(1)],
        commands: vec!["get", "client|list"],
        tables: vec![
            TableRow { table: 3, keys: 7, expires: 1 },
            TableRow { table: 4, ..TableRow::default() },
        ],
        steering: vec![("xdp_drop_denied", 9)],
        storage: vec![("sst_bytes", 4096)],
        ..Snapshot::default()
    }
}

#[test]
fn rows_become_metrics() {
    let text = write(snapshot());
    for line in [
        "# TYPE coney_clients gauge",
        "coney_clients{worker=\"1\"} 2",
        "# TYPE coney_command_calls_total counter",
        "coney_command_calls_total{command=\"client|list\"} 32",
        "coney_command_failures_total{command=\"client|list\"} 2",
        "coney_command_rejections_total{command=\"client|list\"} 4",
        "# TYPE coney_command_duration_seconds histogram",
        "coney_command_duration_seconds_bucket{command=\"client|list\",le=\"1.024e-06\"} 0",
        "coney_command_duration_seconds_bucket{command=\"client|list\",le=\"2.048e-06\"} 32",
        "coney_command_duration_seconds_bucket{command=\"client|list\",le=\"+Inf\"} 32",
        "coney_command_duration_seconds_count{command=\"client|list\"} 32",
        "coney_error_replies_total{code=\"WRONGTYPE\"} 6",
        "coney_keys{db=\"3\"} 7",
        "# TYPE coney_kernel_reads untyped",
        "coney_kernel_reads 10",
        "coney_xdp_frames_total{verdict=\"drop_denied\"} 9",
        "coney_storage_sst_bytes 4096",
        "coney_writable 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    assert!(!text.contains("command=\"get\""), "commands that nobody called are left out");
    assert!(!text.contains("db=\"4\""), "and so are empty databases");
}

#[test]
fn no_name_comes_twice() {
    let text = write(snapshot());
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn failing_writes_are_seen() {
    let mut snapshot = snapshot();
    snapshot.persistence.failure = Some("IO error: No space left on device".to_owned());
    assert!(write(snapshot).lines().any(|line| line == "coney_writable 0"));
}
