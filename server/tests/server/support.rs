//! Starts servers and talks to them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use coney_base::Clock;
use coney_conversation::Value;
use coney_conversation::script::{encode, words};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for anything. Long, because the machine may be busy; no test waits it out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where everything of the test lives.
    pub(crate) dir: PathBuf,
    pub(crate) addr: SocketAddr,
    log: Receiver<String>,
    _owned_dir: Option<TempDir>,
}

/// What a server that did not start said.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coney"));
    command.current_dir(dir).arg("serve").args(["--datapath", "kernel"]);
    // Small caches: many servers run at one time.
    for setting in ["block-cache=32mb", "hot-cache=32mb", "write-buffer=8mb"] {
        command.args(["--set", setting]);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Server {
    /// A server with an empty database of its own.
    pub(crate) fn start(args: &[&str]) -> Self {
        let owned = TempDir::new().unwrap();
        let mut server = Self::start_in(owned.path(), args);
        server._owned_dir = Some(owned);
        server
    }

    /// A server whose data is in `dir`.
    pub(crate) fn start_in(dir: &Path, args: &[&str]) -> Self {
        let ready = dir.join("ready");
        let mut command = command(dir, args);
        command.args(["--port", "0", "--bind", "127.0.0.1", "--ready-file"]).arg(&ready);
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            dir: dir.to_owned(),
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            _owned_dir: None,
        };
        server.wait_for_log("ready: ");
        let text = std::fs::read_to_string(&ready).unwrap();
        server.addr = text.lines().next().unwrap().parse().unwrap();
        server
    }

    /// A server that must not start.
    pub(crate) fn refuse(dir: &Path, args: &[&str]) -> Refusal {
        let output = command(dir, args).output().unwrap();
        assert!(!output.status.success(), "it started");
        let output =
            Refusal { status: output.status, output: String::from_utf8(output.stderr).unwrap() };
        let problems = output.output.lines().filter(|line| !line.contains(" INFO "));
        assert_eq!(problems.count(), 1, "one clear line: {}", output.output);
        output
    }

    /// Waits for a line of the log that contains `text`, and returns it.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} in the log:\n{seen}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the server ended:\n{seen}"),
            }
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }

    /// Waits for the server to end by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// SIGKILL, like a crash of the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Processor time used so far, in clock ticks (hundredths of a second on every Linux).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
            * rustix::param::page_size() as u64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Sends a command written as in redis-cli and returns the reply in the notation of
    /// conversations.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(&encode(&words(line).unwrap()));
        self.reply().unwrap_or_else(|| panic!("closed instead of a reply to {line}")).to_string()
    }

    /// The text of a bulk or verbatim reply, without its quotes.
    pub(crate) fn ask_text(&mut self, line: &str) -> String {
        self.send(&encode(&words(line).unwrap()));
        match self.reply() {
            Some(Value::Bulk(text) | Value::Verbatim(text)) => String::from_utf8(text).unwrap(),
            other => panic!("{line}: {other:?}"),
        }
    }

    /// A field of INFO.
    pub(crate) fn info(&mut self, field: &str) -> u64 {
        let text = self.ask_text("INFO everything");
        let prefix = format!("{field}:");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("{field} is not in INFO")).parse().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply; `None`: the connection ended.
    pub(crate) fn reply(&mut self) -> Option<Value> {
        loop {
            if let Some((value, len)) = Value::parse(&self.received).unwrap() {
                self.received.drain(..len);
                return Some(value);
            }
            let mut chunk = vec![0; 256 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => self.received.extend_from_slice(&chunk[..len]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ) =>
                {
                    return None;
                }
                // A ring that this thread has closed may interrupt it later.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Whether the server ends the connection without another word.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.reply().is_none()
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::new();
    let start = clock.now();
    while !condition() {
        assert!(clock.now().since(start) < PATIENCE, "it did not come true: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Says on standard error that a test cannot be made here.
pub(crate) fn skip(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).ok();
}
