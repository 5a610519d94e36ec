//! What carries the bytes of one thread's connections, which have numbers from 0 on.

use std::time::Duration;

use coney_base::{Clock, Instant};

use crate::reply::{NotAReply, Scanner};
use crate::request;

pub(crate) mod kernel;
pub(crate) mod xdp;

/// Bytes of one reply that is read as a whole.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Over which TCP a run goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Transport {
    /// The kernel's.
    Kernel,
    /// Coney's own, over AF_XDP (needs --interface, and the privileges that `coney check` names).
    Xdp,
}

/// Why connections are of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the server closed a connection")]
    Closed,
}

/// What a wire brings.
pub(crate) trait Receive {
    /// Bytes of a connection, in order; they are valid only during the call.
    fn on_data(&mut self, at: usize, bytes: &[u8]);
    /// The connection takes bytes again.
    fn on_writable(&mut self, at: usize);
}

/// See the module page.
pub(crate) trait Wire: Send {
    /// How many connections there are.
    fn connections(&self) -> usize;

    /// Takes bytes of a connection and returns how many. Fewer than offered: [`Receive::on_writable`]
    /// tells when to offer the rest.
    ///
    /// # Errors
    /// [`WireError`].
    fn send(&mut self, now: Instant, at: usize, bytes: &[u8]) -> Result<usize, WireError>;

    /// Lets everything that was taken leave.
    fn flush(&mut self, now: Instant);

    /// Waits until something arrives, at most for so long, and hands it over.
    ///
    /// # Errors
    /// [`WireError`].
    fn wait(&mut self, timeout: Duration, to: &mut dyn Receive) -> Result<(), WireError>;

    /// Ends all connections in order.
    fn close(&mut self) {}
}

/// Why a request got no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Reply(#[from] NotAReply),
    #[error("no reply within {0:?}")]
    TimedOut(Duration),
    #[error("a reply of more than {REPLY_BYTES_MAX} bytes")]
    TooLong,
}

/// One request over a connection on which nothing is on its way; its reply, raw, or the text of the
/// error that it is.
///
/// # Errors
/// [`AskError`].
pub(crate) fn ask(
    wire: &mut dyn Wire,
    clock: Clock,
    at: usize,
    parts: &[&str],
    timeout: Duration,
) -> Result<Result<Vec<u8>, String>, AskError> {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let mut out = Vec::new();
    request::write(&mut out, &parts);
    let start = clock.now();
    let mut answer = Answer { at, bytes: Vec::new(), is_writable: true };
    let (mut scanner, mut scanned) = (Scanner::default(), 0);
    loop {
        let now = clock.now();
        if std::mem::take(&mut answer.is_writable) && !out.is_empty() {
            let taken = wire.send(now, at, &out)?;
            out.drain(..taken);
            wire.flush(now);
        }
        let left = timeout.saturating_sub(now.since(start));
        if left.is_zero() {
            return Err(AskError::TimedOut(timeout));
        }
        wire.wait(left, &mut answer)?;
        while let Some(news) = answer.bytes.get(scanned..).filter(|news| !news.is_empty()) {
            let (taken, ended) = scanner.feed(news)?;
            scanned += taken;
            if let Some(ended) = ended.filter(|ended| !ended.is_push) {
                let is_error = ended.is_error;
                return Ok(if is_error { Err(scanner.error_text()) } else { Ok(answer.bytes) });
            }
        }
        if answer.bytes.len() > REPLY_BYTES_MAX {
            return Err(AskError::TooLong);
        }
    }
}

struct Answer {
    at: usize,
    bytes: Vec<u8>,
    is_writable: bool,
}

impl Receive for Answer {
    fn on_data(&mut self, at: usize, bytes: &[u8]) {
        if at == self.at {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn on_writable(&mut self, at: usize) {
        self.is_writable |= at == self.at;
    }
}

/// For the kernel, which knows times as seconds and nanoseconds.
fn timespec(time: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
