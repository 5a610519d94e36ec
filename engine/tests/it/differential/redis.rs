//! A Redis to compare with.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use coney_conversation::Value;
use tempfile::TempDir;

/// A redis-server of our own, reached by a socket in a directory of its own.
pub(crate) struct Redis {
    process: Child,
    stream: UnixStream,
    dir: TempDir,
}

/// A connection that receives more than it asks for, or later.
pub(super) struct Listener {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Redis {
    pub(crate) fn start() -> Option<Self> {
        let program = Path::new("/usr/bin/redis-server");
        if !program.exists() {
            return None;
        }
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("redis.sock");
        let mut process = Command::new(program)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says when it listens.
        let mut log = std::io::BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready to accept connections at") {
            line.clear();
            let len = std::io::BufRead::read_line(&mut log, &mut line).unwrap();
            assert!(len > 0, "redis-server ended");
        }
        // Whatever else it says is of no interest, but must go somewhere.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let stream = UnixStream::connect(&socket).unwrap();
        Some(Self { process, stream, dir })
    }

    /// Another connection.
    pub(super) fn connect(&self) -> Listener {
        let stream = UnixStream::connect(self.dir.path().join("redis.sock")).unwrap();
        Listener { stream, received: Vec::new() }
    }

    /// Another connection, which is subscribed to a pattern.
    pub(super) fn listen(&self, pattern: &str) -> Listener {
        let mut listener = self.connect();
        listener.send(&["PSUBSCRIBE", pattern].map(|word| word.as_bytes().to_vec()));
        listener.next();
        listener
    }

    /// A number in INFO.
    pub(super) fn info(&mut self, field: &str) -> usize {
        let text = match self.ask(&[b"INFO".to_vec()]) {
            Value::Bulk(text) | Value::Verbatim(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        };
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        line.unwrap().parse().unwrap()
    }

    pub(crate) fn ask(&mut self, words: &[Vec<u8>]) -> Value {
        self.stream.write_all(&coney_conversation::script::encode(words)).unwrap();
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((value, len)) = Value::parse(&received).unwrap() {
                assert_eq!(len, received.len());
                return value;
            }
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "redis-server closed the connection");
            received.extend_from_slice(&buffer[..len]);
        }
    }
}

impl Listener {
    pub(super) fn send(&mut self, words: &[Vec<u8>]) {
        self.stream.write_all(&coney_conversation::script::encode(words)).unwrap();
    }

    /// The next reply, if it is here.
    pub(super) fn try_next(&mut self) -> Option<Value> {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(len) = self.stream.read(&mut buffer) {
            assert!(len > 0, "redis-server closed the connection");
            self.received.extend_from_slice(&buffer[..len]);
        }
        self.stream.set_nonblocking(false).unwrap();
        let (value, len) = Value::parse(&self.received).unwrap()?;
        self.received.drain(..len);
        Some(value)
    }

    fn next(&mut self) -> Value {
        let mut buffer = [0; 4096];
        loop {
            if let Some((value, len)) = Value::parse(&self.received).unwrap() {
                self.received.drain(..len);
                return value;
            }
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "redis-server closed the connection");
            self.received.extend_from_slice(&buffer[..len]);
        }
    }

    /// The messages up to the next one on this channel.
    pub(super) fn take_until(&mut self, channel: &str) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            let value = self.next();
            if value.to_string().contains(channel) {
                return values;
            }
            values.push(value);
        }
    }
}
