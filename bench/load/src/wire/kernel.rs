//! Sockets of the kernel, and epoll.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use coney_base::Instant;
use rustix::event::epoll;
use rustix::io::Errno;

use super::{Receive, Wire, WireError, timespec};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Connections looked at after one wait.
const EVENTS_MAX: usize = 256;

/// See the module page.
#[derive(Debug)]
pub(crate) struct KernelWire {
    streams: Vec<TcpStream>,
    epoll: rustix::fd::OwnedFd,
    buf: Vec<u8>,
}

impl KernelWire {
    /// Opens so many connections to a server, each within `timeout`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn open(
        server: SocketAddr,
        connections: usize,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut streams = Vec::with_capacity(connections);
        for at in 0..connections {
            let stream = TcpStream::connect_timeout(&server, timeout)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            streams.push(stream);
        }
        Ok(Self { streams, epoll, buf: vec![0; READ_BYTES] })
    }

    fn expect(&self, at: usize, events: epoll::EventFlags) -> Result<(), WireError> {
        let Some(stream) = self.streams.get(at) else { return Ok(()) };
        epoll::modify(&self.epoll, stream, epoll::EventData::new_u64(at as u64), events)
            .map_err(|errno| std::io::Error::from(errno).into())
    }

    fn on_event(&mut self, event: epoll::Event, to: &mut dyn Receive) -> Result<(), WireError> {
        let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        let flags = event.flags;
        if flags.contains(epoll::EventFlags::OUT) {
            self.expect(at, epoll::EventFlags::IN)?;
            to.on_writable(at);
        }
        let has_input = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let Some(stream) = self.streams.get_mut(at).filter(|_| flags.intersects(has_input)) else {
            return Ok(());
        };
        match stream.read(&mut self.buf) {
            Ok(0) => Err(WireError::Closed),
            Ok(count) => {
                to.on_data(at, self.buf.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Wire for KernelWire {
    fn connections(&self) -> usize {
        self.streams.len()
    }

    fn send(&mut self, _now: Instant, at: usize, bytes: &[u8]) -> Result<usize, WireError> {
        let Some(stream) = self.streams.get_mut(at) else { return Ok(bytes.len()) };
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.expect(at, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }

    fn flush(&mut self, _now: Instant) {}

    fn wait(&mut self, timeout: Duration, to: &mut dyn Receive) -> Result<(), WireError> {
        let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
        match epoll::wait(&self.epoll, &mut events, Some(&timespec(timeout))) {
            Ok((events, _rest)) => events.iter().try_for_each(|event| self.on_event(*event, to)),
            Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(std::io::Error::from(errno).into()),
        }
    }
}
