//! The pages for monitoring systems, over HTTP: `/metrics` for Prometheus, `/health` for whoever asks
//! whether writes succeed.
//!
//! One thread answers one request after the other and closes; who does not send a request or take
//! the answer in time is dropped. The figures come from the admin thread, as those of INFO do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use coney_base::{Clock, Instant};
use coney_control::info::Snapshot;
use coney_control::metrics;
use rustix::event::{PollFd, PollFlags, poll};
use tracing::{debug, info};

use crate::admin::AdminClient;
use crate::waker::Waker;

/// How long a client may take for its request, and for each piece of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 8 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
const TEXT: &str = "text/plain; charset=utf-8";
const WHAT_IS_HERE: &str =
    "coney: /metrics is for Prometheus, /health says whether writes succeed\n";

/// The running thread.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    stop: Arc<Waker>,
    thread: JoinHandle<()>,
}

/// A socket for the pages, and the address that it got.
///
/// # Errors
/// The kernel's answer: another process has the port, or the address is not this host's.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    info!("metrics are at http://{address}/metrics");
    Ok((listener, address))
}

impl MetricsServer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no threads or descriptors left.
    pub(crate) fn start(
        listener: TcpListener,
        admin: AdminClient,
        clock: Clock,
    ) -> io::Result<Self> {
        let stop = Arc::new(Waker::new()?);
        // It sleeps whenever it waits, so every wake-up counts.
        stop.announce_sleep();
        let answerer = Answerer { listener, admin, clock, stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new().name("coney-metrics".to_owned());
        Ok(Self { stop, thread: thread.spawn(move || answerer.run())? })
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(self) {
        self.stop.wake();
        self.thread.join().expect("the panic hook ends the process");
    }
}

struct Answerer {
    listener: TcpListener,
    admin: AdminClient,
    clock: Clock,
    stop: Arc<Waker>,
}

impl Answerer {
    fn run(self) {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.stop.fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            ];
            // An interrupted call finds nothing below, and comes back.
            poll(&mut fds, None).ok();
            if fds[0].revents().contains(PollFlags::IN) {
                return;
            }
            if let Ok((client, peer)) = self.listener.accept()
                && let Err(problem) = self.answer(client)
            {
                debug!("metrics: {peer}: {problem}");
            }
        }
    }

    fn answer(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(PATIENCE))?;
        let page = match self.read_request(&mut client)? {
            Request::Get(path) => self.page(&path),
            Request::Other => Page::new("405 Method Not Allowed", TEXT, "GET is what works here\n"),
            Request::Bad => Page::new("400 Bad Request", TEXT, WHAT_IS_HERE),
        };
        client.write_all(&page.into_bytes())?;
        // Closing with bytes unread would reset the connection, and take the answer back.
        client.shutdown(Shutdown::Write)?;
        let deadline = self.clock.now() + PATIENCE;
        let mut rest = HEAD_LEN_MAX;
        let mut piece = [0; 1024];
        while rest > 0 {
            match self.read(&mut client, &mut piece, deadline)? {
                0 => break,
                len => rest = rest.saturating_sub(len),
            }
        }
        Ok(())
    }

    fn read(
        &self,
        client: &mut TcpStream,
        piece: &mut [u8],
        deadline: Instant,
    ) -> io::Result<usize> {
        let left = deadline.since(self.clock.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_read_timeout(Some(left))?;
        client.read(piece)
    }

    fn read_request(&self, client: &mut TcpStream) -> io::Result<Request> {
        let deadline = self.clock.now() + PATIENCE;
        let mut head = Vec::new();
        let mut piece = [0; 1024];
        while head.len() < HEAD_LEN_MAX {
            let len = self.read(client, &mut piece, deadline)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(piece.get(..len).unwrap_or_default());
            if let Some(request) = Request::parse(&head) {
                return Ok(request);
            }
        }
        Ok(Request::Bad)
    }

    fn page(&self, path: &str) -> Page {
        // Whoever adds a query gets the same page.
        let path = path.split('?').next().unwrap_or_default();
        if !matches!(path, "/metrics" | "/health") {
            let status = if path == "/" { "200 OK" } else { "404 Not Found" };
            return Page::new(status, TEXT, WHAT_IS_HERE);
        }
        match self.admin.snapshot() {
            None => Page::new("503 Service Unavailable", TEXT, "coney is too busy to answer\n"),
            Some(snapshot) if path == "/metrics" => {
                Page::new("200 OK", metrics::CONTENT_TYPE, metrics::write(snapshot))
            }
            Some(snapshot) => health(&snapshot),
        }
    }
}

fn health(snapshot: &Snapshot) -> Page {
    let row = &snapshot.persistence;
    match &row.failure {
        Some(why) => Page::new("503 Service Unavailable", TEXT, format!("writes fail: {why}\n")),
        None if row.sync_failed => {
            Page::new("503 Service Unavailable", TEXT, "the log cannot be synced\n")
        }
        None => Page::new("200 OK", TEXT, "ok\n"),
    }
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Get(String),
    Other,
    Bad,
}

impl Request {
    /// `None`: the head is not complete yet.
    fn parse(head: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Partial) => None,
            Err(_not_http) => Some(Self::Bad),
            Ok(httparse::Status::Complete(_)) => Some(match (request.method, request.path) {
                (Some("GET"), Some(path)) => Self::Get(path.to_owned()),
                _ => Self::Other,
            }),
        }
    }
}

/// An answer.
#[derive(Debug)]
struct Page {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Page {
    fn new(status: &'static str, content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    fn into_bytes(self) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let len = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_or_bad_or_goes_on() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for len in 0..whole.len() {
            assert_eq!(Request::parse(&whole[..len]), None, "after {len} bytes");
        }
        assert_eq!(Request::parse(whole), Some(Request::Get("/metrics".to_owned())));
        assert_eq!(Request::parse(b"POST / HTTP/1.1\r\n\r\n"), Some(Request::Other));
        assert_eq!(Request::parse(b"*1\r\n$4\r\nPING\r\n"), Some(Request::Bad));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(Request::parse(many.as_bytes()), Some(Request::Bad));
    }
}
