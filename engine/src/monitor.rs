//! MONITOR: every command that is executed, as a line for those who asked for it.
//! <https://redis.io/docs/latest/commands/monitor/>
//!
//! While nobody has asked, a command costs one load and one comparison.

use std::sync::atomic::{AtomicUsize, Ordering};

use coney_base::UnixMillis;
use coney_resp::Args;

use crate::client::Client;
use crate::command::{CommandSpec, Flags};
use crate::executor::Executor;
use crate::mail::Mail;
use crate::secret;

/// How many clients of each worker are in MONITOR.
#[derive(Debug)]
pub(crate) struct Monitors {
    /// Of all workers. Read before anything else.
    total: AtomicUsize,
    by_worker: Box<[AtomicUsize]>,
}

impl Monitors {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            total: AtomicUsize::new(0),
            by_worker: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.total.load(Ordering::Relaxed) == 0
    }

    fn workers(&self) -> impl Iterator<Item = usize> {
        let counts = self.by_worker.iter().enumerate();
        counts.filter(|(_, count)| count.load(Ordering::SeqCst) > 0).map(|(worker, _)| worker)
    }
}

impl Executor {
    /// The client reads every command from now on.
    pub(crate) fn start_monitoring(&mut self, client: &mut Client) {
        client.is_monitor = true;
        if self.monitors.insert(client.id) {
            self.engine.monitors.by_worker[self.id].fetch_add(1, Ordering::SeqCst);
            self.engine.monitors.total.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The opposite.
    pub(crate) fn stop_monitoring(&mut self, client: &mut Client) {
        client.is_monitor = false;
        if self.monitors.remove(&client.id) {
            self.engine.monitors.by_worker[self.id].fetch_sub(1, Ordering::SeqCst);
            self.engine.monitors.total.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A client has executed a command. Lines that find a mailbox full are left out.
    pub(crate) fn feed_monitors(
        &mut self,
        now: UnixMillis,
        client: &Client,
        spec: &CommandSpec,
        args: Args<'_>,
    ) {
        let monitors = &self.engine.monitors;
        if monitors.is_empty() || spec.flags.contains(Flags::ADMIN) {
            return;
        }
        let is_free = |worker: &usize| !self.engine.mailboxes.is_full(*worker);
        let workers = monitors.workers().filter(is_free).collect();
        self.send(Mail::Monitored(line(now, client, args)), workers);
    }
}

#[cold]
fn line(now: UnixMillis, client: &Client, args: Args<'_>) -> Vec<u8> {
    let addr = client.addr.map(|addr| addr.to_string()).unwrap_or_default();
    let (seconds, micros) = (now.0 / 1000, now.0 % 1000 * 1000);
    let mut line = format!("{seconds}.{micros:06} [{} {addr}]", client.database).into_bytes();
    for arg in secret::shown(args) {
        line.extend_from_slice(b" \"");
        quote(arg, &mut line);
        line.push(b'"');
    }
    line
}

/// Escapes what is not plain (`sdscatrepr` in Redis).
fn quote(arg: &[u8], out: &mut Vec<u8>) {
    for byte in arg {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use coney_resp::OwnedArgs;

    use super::*;

    fn shown(words: &[&[u8]]) -> String {
        let args = OwnedArgs::from_parts(words);
        let mut client = Client::new(1);
        client.addr = Some(([127, 0, 0, 1], 5).into());
        String::from_utf8(line(UnixMillis(1_700_000_000_012), &client, args.as_args())).unwrap()
    }

    #[test]
    fn lines_are_those_of_redis() {
        assert_eq!(
            shown(&[b"set", b"a\"\\", b"\x01\n\xff x"]),
            "1700000000.012000 [0 127.0.0.1:5] \"set\" \"a\\\"\\\\\" \"\\x01\\n\\xff x\""
        );
    }

    #[test]
    fn nobody_reads_passwords() {
        assert!(shown(&[b"AUTH", b"u", b"p"]).ends_with("\"AUTH\" \"(redacted)\" \"(redacted)\""));
        assert!(
            shown(&[b"HELLO", b"3", b"auth", b"u", b"p", b"SETNAME", b"n"])
                .ends_with("\"auth\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"")
        );
    }
}
