//! The database on a device: what could break is that a restart, a copy or a full device loses what
//! was acknowledged, or that a tool destroys what it should not touch.

use std::path::Path;
use std::process::{Command, Output};

use coney_conversation::Value;
use coney_conversation::script::encode;
use coney_spdk_env::device::uring::UringDevice;
use tempfile::TempDir;

use crate::support::{Server, eventually, skip};

/// A device with its flags, in a directory of its own.
struct Disk {
    dir: TempDir,
    kind: &'static str,
}

impl Disk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let probe = dir.path().join("probe");
        std::fs::write(&probe, [0; 8192]).unwrap();
        let kind = match UringDevice::open(&probe) {
            Ok(_) => "uring",
            Err(error) => {
                skip(&format!("io_uring with direct I/O: {error}; plain reads and writes instead"));
                "pread"
            }
        };
        Self { dir, kind }
    }

    fn path(&self) -> String {
        self.dir.path().join("device").display().to_string()
    }

    fn start(&self, args: &[&str]) -> Server {
        let path = self.path();
        let own = ["--storage", self.kind, "--device", &path, "--set", "device-size=512mb"];
        Server::start_in(self.dir.path(), &[&own, args].concat())
    }

    fn coney(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_coney"))
            .current_dir(self.dir.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// What a command printed that must succeed.
    fn well(&self, args: &[&str]) -> String {
        let output = self.coney(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}{err}");
        out
    }

    /// What a command complained of that must fail.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.coney(args);
        assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
        text(&output.stderr) + &text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_was_synced_survives_a_crash_and_everything_a_stop() {
    let disk = Disk::new();
    let server = disk.start(&["--sync", "always"]);
    let mut client = server.connect();
    for n in 0..500 {
        assert_eq!(client.ask(&format!("SET key{n} value{n}")), "+OK");
    }
    assert!(client.info("device_free_bytes") > 0);
    assert!(!disk.dir.path().join("data").exists(), "nothing is in a directory");
    let path = disk.path();
    let refusal = Server::refuse(disk.dir.path(), &["--storage", disk.kind, "--device", &path]);
    assert!(refusal.output.contains("another process uses it"), "{}", refusal.output);
    server.kill();
    assert!(disk.well(&["fsck", &path, "--repair"]).contains("clean"));

    let server = disk.start(&["--sync", "everysec"]);
    let mut client = server.connect();
    for n in 0..500 {
        assert_eq!(client.ask(&format!("GET key{n}")), format!("\"value{n}\""));
    }
    assert_eq!(client.ask("SET last one"), "+OK");
    assert_eq!(server.stop().code(), Some(0));
    assert!(disk.well(&["fsck", &path]).contains("clean"));
    let server = disk.start(&[]);
    assert_eq!(server.connect().ask("GET last"), "\"one\"");
}

#[test]
fn a_database_is_copied_out_and_back() {
    let disk = Disk::new();
    let path = disk.path();
    let server = disk.start(&["--set", "blob-threshold=1000"]);
    let mut client = server.connect();
    for n in 0..200 {
        client.ask(&format!("SET key{n} {}", "x".repeat(1000)));
    }
    assert_eq!(client.ask("SAVE"), "+OK");
    assert_eq!(server.stop().code(), Some(0));
    assert!(disk.well(&["fs", "ls", &path]).contains("db"));
    let names = disk.well(&["fs", "ls", &path, "/db"]);
    assert!(names.contains("CURRENT") && names.contains("MANIFEST-"), "{names}");
    assert!(names.contains(".blob"), "large values lie apart: {names}");
    assert!(disk.well(&["fs", "cat", &path, "/db/CURRENT"]).starts_with("MANIFEST-"));
    assert!(disk.well(&["fs", "df", &path]).contains("free"));
    disk.well(&["fs", "export", &path, "out"]);
    assert!(disk.refused(&["fs", "export", &path, "out"]).contains("not empty"));

    let out = disk.dir.path().join("out").display().to_string();
    let server = Server::start_in(disk.dir.path(), &["--dir", &out]);
    assert_eq!(server.connect().ask("DBSIZE"), ":200");
    assert_eq!(server.connect().ask("STRLEN key7"), ":1000");
    assert_eq!(server.connect().ask("SET more 1"), "+OK");
    assert_eq!(server.stop().code(), Some(0));

    assert!(disk.well(&["mkfs", "second", "--size", "512mb"]).contains("free"));
    disk.well(&["fs", "import", "second", "out"]);
    assert!(disk.refused(&["fs", "import", "second", "out"]).contains("exists"));
    assert!(disk.well(&["fsck", "second"]).contains("clean"));
    let server = Server::start_in(disk.dir.path(), &["--storage", disk.kind, "--device", "second"]);
    assert_eq!(server.connect().ask("DBSIZE"), ":201");
}

#[test]
fn mkfs_overwrites_nothing_unasked() {
    let disk = Disk::new();
    let mkfs = |args: &[&str]| disk.refused(&[&["mkfs", "file"], args].concat());
    assert!(mkfs(&[]).contains("No such file"), "{}", mkfs(&[]));
    assert!(mkfs(&["--size", "much"]).contains("not a size"));
    let file = disk.dir.path().join("file");
    // The signature of an ext4 file system, and the backup of a partition table at the very end.
    for at in [1024 + 56, (64 << 20) - 512] {
        let mut bytes = vec![0; 64 << 20];
        bytes[at..at + 2].copy_from_slice(&[0x53, 0xef]);
        std::fs::write(&file, &bytes).unwrap();
        let refusal = mkfs(&[]);
        assert!(refusal.contains("not empty") && refusal.contains("--force"), "{refusal}");
        assert!(std::fs::read(&file).unwrap() == bytes, "nothing was written");
    }
    disk.well(&["mkfs", "file", "--force"]);
    assert!(mkfs(&[]).contains("holds a file system of Coney"));
    assert!(disk.refused(&["fsck", "missing"]).contains("No such file"));
}

#[test]
fn mkfs_never_touches_what_is_mounted() {
    let disk = Disk::new();
    let (image, at) = (disk.dir.path().join("image"), disk.dir.path().join("mounted"));
    std::fs::create_dir(&at).unwrap();
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(64 << 20).unwrap();
    let run = |program: &str, args: &[&Path]| {
        let output = Command::new(program).args(args).output().ok();
        output.filter(|output| output.status.success()).map(|output| text(&output.stdout))
    };
    let looped = run("mkfs.ext4", &[Path::new("-q"), &image])
        .and_then(|_| run("losetup", &[Path::new("--show"), Path::new("-f"), &image]));
    let Some(device) = looped.map(|name| name.trim().to_owned()) else {
        skip("mkfs on a mounted device: loop devices and mkfs.ext4 are needed");
        return;
    };
    let mounted = run("mount", &[Path::new(&device), &at]).is_some();
    let refusal = disk.coney(&["mkfs", &device, "--force"]);
    if mounted {
        run("umount", &[&at]);
    }
    run("losetup", &[Path::new("-d"), Path::new(&device)]);
    if mounted {
        assert!(!refusal.status.success());
        assert!(text(&refusal.stderr).contains("busy"), "{}", text(&refusal.stderr));
    } else {
        skip("mkfs on a mounted device: mounting needs root");
    }
}

#[test]
fn a_damaged_superblock_is_found_and_repaired() {
    use std::os::unix::fs::FileExt;
    let disk = Disk::new();
    disk.well(&["mkfs", "file", "--size", "64mb"]);
    let file = std::fs::File::options().write(true).open(disk.dir.path().join("file")).unwrap();
    file.write_all_at(b"damage", 100).unwrap();
    let found = disk.refused(&["fsck", "file"]);
    assert!(found.contains("superblock 0 is damaged") && found.contains("--repair"), "{found}");
    assert!(disk.refused(&["fsck", "file"]).contains("superblock 0"), "nothing was written");
    assert!(disk.well(&["fsck", "file", "--repair"]).contains("clean"));
    assert!(disk.well(&["fsck", "file"]).contains("clean"));
    file.write_all_at(b"damage", 100).unwrap();
    file.write_all_at(b"damage", 4196).unwrap();
    assert!(disk.refused(&["fsck", "file", "--repair"]).contains("checksum"), "no guess");
}

#[test]
fn a_full_device_stops_writes_and_nothing_else() {
    let disk = Disk::new();
    let path = disk.path();
    let size = ["--set", "device-size=128mb", "--set", "write-buffer=4mb"];
    let server = disk.start(&[&["--sync", "always"], &size[..]].concat());
    let mut client = server.connect();
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
    let mut acknowledged = 0;
    let error = loop {
        let key = format!("key{acknowledged}").into_bytes();
        client.send(&encode(&[b"SET".to_vec(), key, value(acknowledged)]));
        match client.reply() {
            Some(Value::Simple(_)) => acknowledged += 1,
            Some(Value::Error(text)) => break String::from_utf8(text).unwrap(),
            other => panic!("after {acknowledged} writes: {other:?}"),
        }
        assert!(acknowledged < 20_000, "the device never filled up");
    };
    assert!(error.starts_with("MISCONF "), "{error}");
    assert!(error.contains("disk is full") || error.contains("No space"), "{error}");
    server.wait_for_log("writes do not reach the disk");
    for n in 0..acknowledged {
        client.send(&encode(&[b"GET".to_vec(), format!("key{n}").into_bytes()]));
        assert!(client.reply() == Some(Value::Bulk(value(n))), "key{n} of {acknowledged}");
    }
    server.kill();
    assert!(disk.well(&["fsck", &path, "--repair"]).contains("clean"));
}

/// Random enough not to be compressed away, and another for each number.
fn noise(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(0xd129_0bc0_9cba_d3a5).wrapping_add(1);
        state.to_be_bytes()
    })
    .take(1024)
    .flatten()
    .collect()
}

/// Of the sorted set whose members are cold.
const MEMBERS: u64 = 4000;

/// Keys whose values are in tables on the device, and in no cache of the server that starts next.
const COLD_KEYS: u64 = 1000;

fn fill_with_cold_keys(disk: &Disk) {
    let server = disk.start(&["--set", "write-buffer=1mb"]);
    let mut client = server.connect();
    for n in 0..COLD_KEYS {
        client.send(&encode(&[b"SET".to_vec(), format!("key{n}").into_bytes(), noise(n)]));
        assert_eq!(client.reply(), Some(Value::Simple(b"OK".to_vec())));
    }
    assert_eq!(server.stop().code(), Some(0));
}

/// Asks for all keys; how many were there, and an error if there was one. Wrong data, or none without
/// an error, fails.
fn read_all(client: &mut crate::support::Client) -> (u64, Option<String>) {
    let (mut right, mut error) = (0, None);
    for n in 0..COLD_KEYS {
        client.send(&encode(&[b"GET".to_vec(), format!("key{n}").into_bytes()]));
        match client.reply() {
            Some(Value::Bulk(value)) => {
                assert!(value == noise(n), "key{n} has another value");
                right += 1;
            }
            Some(Value::Error(text)) => error = Some(String::from_utf8(text).unwrap()),
            other => panic!("key{n}: {other:?}"),
        }
    }
    (right, error)
}

/// Blocks of file content that are not all zeros.
fn content_blocks(path: &str) -> Vec<u64> {
    let bytes = std::fs::read(path).unwrap();
    let journal_blocks = u64::from_le_bytes(bytes[48..56].try_into().unwrap());
    let first = 2 + 2 * usize::try_from(journal_blocks).unwrap();
    let blocks = bytes.chunks(4096).enumerate().skip(first);
    let used = blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
    used.map(|(at, _)| u64::try_from(at).unwrap()).collect()
}

#[test]
fn flipped_bits_are_errors_and_never_wrong_data() {
    use std::os::unix::fs::FileExt;
    let disk = Disk::new();
    fill_with_cold_keys(&disk);
    let server = disk.start(&["--set", "block-cache=1mb"]);
    let mut client = server.connect();
    // One bit in one of ten blocks: of tables mostly, whose blocks have checksums.
    let file = std::fs::File::options().read(true).write(true).open(disk.path()).unwrap();
    for block in content_blocks(&disk.path()).into_iter().step_by(10) {
        let mut byte = [0];
        let at = block * 4096 + 1234;
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }
    file.sync_all().unwrap();
    let (right, error) = read_all(&mut client);
    let error = error.expect("some of the keys are in damaged blocks");
    assert!(error.to_lowercase().contains("corrupt"), "{error}");
    assert!(right > 0, "others are not");
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn reads_that_fail_are_errors_and_counted() {
    let disk = Disk::new();
    fill_with_cold_keys(&disk);
    let server = disk.start(&["--set", "block-cache=1mb"]);
    let mut client = server.connect();
    assert_eq!(client.info("device_read_errors"), 0);
    // All but the first eighth of what is used ends to exist.
    let used = content_blocks(&disk.path());
    let file = std::fs::File::options().write(true).open(disk.path()).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(used[used.len() / 8] * 4096).unwrap();
    let (_, error) = read_all(&mut client);
    file.set_len(len).unwrap();
    let error = error.expect("some of the keys were there");
    assert!(error.contains("IO error"), "{error}");
    assert!(client.info("device_read_errors") > 0);
    assert!(client.info("device_errors") > 0);
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn cold_members_of_a_sorted_set_are_read_together() {
    let disk = Disk::new();
    let server = disk.start(&["--set", "write-buffer=1mb"]);
    let mut client = server.connect();
    // Members that are not compressed away, a dozen to a block.
    let member = |n: u64| noise(n)[..300].to_vec();
    for n in 0..MEMBERS {
        client.send(&encode(&[b"ZADD".to_vec(), b"z".to_vec(), n.to_string().into(), member(n)]));
    }
    for _ in 0..MEMBERS {
        assert_eq!(client.reply().unwrap().to_string(), ":1");
    }
    assert_eq!(server.stop().code(), Some(0));

    let server = disk.start(&["--set", "block-cache=1mb"]);
    let mut client = server.connect();
    let before = client.info("device_queue_depth_max");
    let asked: Vec<u64> = (0..MEMBERS).step_by(61).collect();
    let mut command = vec![b"ZMSCORE".to_vec(), b"z".to_vec()];
    command.extend(asked.iter().map(|n| member(*n)));
    client.send(&encode(&command));
    let scores: Vec<String> = asked.iter().map(|n| format!("\"{n}\"")).collect();
    assert_eq!(
        client.reply().unwrap().to_string(),
        format!("*{} {}", asked.len(), scores.join(" "))
    );
    let depth = client.info("device_queue_depth_max");
    assert!(before < 8 && depth >= 16, "{before} reads at most at a time, then {depth}");
}

#[test]
fn a_device_that_fails_to_write_makes_the_server_read_only_and_it_says_why() {
    let disk = Disk::new();
    // A file whose space is not reserved, on a disk that fills up: the device takes no more writes.
    let small = disk.dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=40m", "coney-test"]).arg(&small);
    if !mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success()) {
        skip("failing device: mounting a small file system needs root");
        return;
    }
    let _unmount = Unmount(small.clone());
    let path = small.join("device").display().to_string();
    std::fs::File::create(&path).unwrap().set_len(256 << 20).unwrap();
    disk.well(&["mkfs", &path]);
    let own = ["--storage", "pread", "--device", &path, "--sync", "always"];
    let server = Server::start_in(disk.dir.path(), &own);
    let mut client = server.connect();
    assert_eq!(client.info("device_read_only"), 0);
    let mut acknowledged = 0;
    loop {
        let key = format!("key{acknowledged}").into_bytes();
        client.send(&encode(&[b"SET".to_vec(), key, noise(acknowledged)]));
        match client.reply() {
            Some(Value::Simple(_)) => acknowledged += 1,
            Some(Value::Error(text)) => {
                let error = String::from_utf8(text).unwrap();
                assert!(error.starts_with("MISCONF "), "{error}");
                break;
            }
            // Nobody knows whether it will be there: not the truth, and no lie.
            None => break,
            other => panic!("after {acknowledged} writes: {other:?}"),
        }
        assert!(acknowledged < 20_000, "the device never failed");
    }
    server.wait_for_log("writes do not reach the disk");
    let mut client = server.connect();
    // The first to be refused may still be told what the failed write was.
    eventually("writes are refused because the device is read-only", || {
        let refused = client.ask("SET one more");
        assert!(refused.contains("MISCONF"), "{refused}");
        refused.contains("Read-only")
    });
    assert_eq!(client.info("device_read_only"), 1);
    assert!(client.info("device_errors") > 0);
    let info = client.ask_text("INFO persistence");
    assert!(info.contains("aof_last_write_status:err"), "{info}");
    assert!(info.contains("space behind the device is used up"), "{info}");
    assert!(info.contains("nothing is written to it before a restart"), "{info}");
    let check = |client: &mut crate::support::Client| {
        for n in 0..acknowledged {
            client.send(&encode(&[b"GET".to_vec(), format!("key{n}").into_bytes()]));
            assert!(client.reply() == Some(Value::Bulk(noise(n))), "key{n} of {acknowledged}");
        }
    };
    check(&mut client);
    server.kill();
    // With space again, a restart finds everything that was acknowledged.
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,size=300m"]).arg(&small);
    assert!(remount.status().unwrap().success());
    let server = Server::start_in(disk.dir.path(), &own);
    let mut client = server.connect();
    check(&mut client);
    assert_eq!(client.ask("SET one more"), "+OK");
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
