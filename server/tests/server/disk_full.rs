//! A full disk: what could break is a write that is acknowledged and lost, or a server that stays
//! read-only when there is room again.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use coney_conversation::Value;
use coney_conversation::script::encode;
use tempfile::TempDir;

use crate::support::{Server, eventually, skip};

/// A file system of 200 MiB in memory. RocksDB wants 64 MiB free before it goes on.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn new() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=200m", "coney-test"]).arg(dir.path());
        let status = mount.stderr(Stdio::null()).status().ok()?;
        status.success().then_some(Self { dir })
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.dir.path()).status().ok();
    }
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    fill_and_go_on("everysec");
}

#[test]
fn a_full_disk_stops_writes_that_wait_for_the_disk_and_nothing_else() {
    fill_and_go_on("always");
}

fn fill_and_go_on(sync: &str) {
    let Some(disk) = SmallDisk::new() else {
        skip("disk full: mounting a small file system needs root");
        return;
    };
    std::fs::write(disk.ballast(), vec![0; 170 << 20]).unwrap();
    let server = Server::start_in(disk.dir.path(), &["--sync", sync, "--set", "write-buffer=4mb"]);
    let mut client = server.connect();
    // Random enough not to be compressed away.
    let value = |n: u64| -> Vec<u8> {
        let mut state = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(0xd129_0bc0_9cba_d3a5).wrapping_add(1);
            state.to_be_bytes()
        })
        .take(2048)
        .flatten()
        .collect()
    };
    let set = |n: u64| encode(&[b"SET".to_vec(), format!("key{n}").into_bytes(), value(n)]);
    let mut acknowledged = 0;
    let error = loop {
        client.send(&set(acknowledged));
        match client.reply() {
            Some(Value::Simple(_)) => acknowledged += 1,
            Some(Value::Error(text)) => break String::from_utf8(text).unwrap(),
            other => panic!("after {acknowledged} writes: {other:?}"),
        }
        assert!(acknowledged < 10_000, "the disk never filled up");
    };
    assert!(error.starts_with("MISCONF "), "{error}");
    assert!(error.contains("disk is full") || error.contains("No space"), "{error}");
    assert_eq!(client.ask("PING"), "+PONG");
    let check = |client: &mut crate::support::Client, count: u64| {
        for n in 0..count {
            client.send(&encode(&[b"GET".to_vec(), format!("key{n}").into_bytes()]));
            assert!(client.reply() == Some(Value::Bulk(value(n))), "key{n} of {count}");
        }
    };
    check(&mut client, acknowledged);
    server.wait_for_log("writes do not reach the disk");
    std::fs::remove_file(disk.ballast()).unwrap();
    eventually("writes go on", || {
        client.send(&set(acknowledged));
        matches!(client.reply(), Some(Value::Simple(_)))
    });
    acknowledged += 1;
    server.wait_for_log("writes reach the disk again");
    check(&mut client, acknowledged);
    server.kill();
    let server = Server::start_in(disk.dir.path(), &[]);
    check(&mut server.connect(), acknowledged);
}
