//! A server at a TCP address.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::run::Peer;
use crate::script::encode;

/// How long a reply may take before the case fails.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Speaks to a server over kernel sockets.
#[derive(Debug)]
pub struct TcpPeer {
    addr: SocketAddr,
    clients: BTreeMap<String, TcpStream>,
}

impl TcpPeer {
    /// A peer that connects to `addr`.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, clients: BTreeMap::new() }
    }

    fn client(&mut self, name: &str) -> Result<&mut TcpStream, String> {
        if !self.clients.contains_key(name) {
            let stream = TcpStream::connect(self.addr)
                .and_then(|stream| {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
                    Ok(stream)
                })
                .map_err(|error| format!("{}: {error}", self.addr))?;
            self.clients.insert(name.to_owned(), stream);
        }
        self.clients.get_mut(name).ok_or_else(|| "just inserted".to_owned())
    }
}

impl Peer for TcpPeer {
    fn reset(&mut self) -> Result<(), String> {
        self.clients.clear();
        self.send("reset", &encode(&[b"FLUSHALL".to_vec()]))?;
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n") {
            if !self.receive("reset", &mut reply)? {
                return Err("the server closed the connection at FLUSHALL".to_owned());
            }
        }
        self.clients.clear();
        if reply == b"+OK\r\n" {
            Ok(())
        } else {
            Err(format!("FLUSHALL: {}", reply.escape_ascii()))
        }
    }

    fn send(&mut self, client: &str, bytes: &[u8]) -> Result<(), String> {
        self.client(client)?.write_all(bytes).map_err(|error| format!("client {client}: {error}"))
    }

    fn receive(&mut self, client: &str, received: &mut Vec<u8>) -> Result<bool, String> {
        let mut chunk = [0; 16 * 1024];
        match self.client(client)?.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(len) => {
                received.extend_from_slice(chunk.get(..len).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            // A read with a timeout is not taken up again by the kernel.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(client, received),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(format!("client {client}: no reply within {REPLY_TIMEOUT:?}"))
            }
            Err(error) => Err(format!("client {client}: {error}")),
        }
    }

    fn advance(&mut self, _millis: u64) -> bool {
        false
    }
}
