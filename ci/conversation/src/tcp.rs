//! A server at a TCP address.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use coney_base::Clock;

use crate::run::Peer;
use crate::script::encode;
use crate::value::Value;

/// How long a reply may take before the case fails.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The client that brings the server where a case starts, and looks at who waits.
const OBSERVER: &str = "observer";

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

    /// What the server replies to a client that is none of the conversation's.
    fn ask(&mut self, command: &[&str]) -> Result<Value, String> {
        let words: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.send(OBSERVER, &encode(&words))?;
        let mut reply = Vec::new();
        loop {
            if !self.receive(OBSERVER, &mut reply)? {
                return Err(format!("the server closed the connection at {command:?}"));
            }
            if let Some((value, _)) = Value::parse(&reply).map_err(|error| error.to_string())? {
                return Ok(value);
            }
        }
    }
}

impl Peer for TcpPeer {
    fn reset(&mut self) -> Result<(), String> {
        self.clients.clear();
        let reply = self.ask(&["FLUSHALL"])?;
        self.clients.clear();
        if reply == Value::Simple(b"OK".to_vec()) {
            Ok(())
        } else {
            Err(format!("FLUSHALL: {reply}"))
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

    fn await_blocked(&mut self, clients: usize) -> Result<(), String> {
        let clock = Clock::new();
        let deadline = clock.now() + REPLY_TIMEOUT;
        let wanted = format!("blocked_clients:{clients}");
        while clock.now() < deadline {
            let reply = self.ask(&["INFO", "clients"])?;
            let Value::Bulk(info) = reply else { return Err(format!("INFO: {reply}")) };
            if String::from_utf8_lossy(&info).lines().any(|line| line == wanted) {
                return Ok(());
            }
        }
        Err(format!("not {clients} blocked clients within {REPLY_TIMEOUT:?}"))
    }

    fn advance(&mut self, _millis: u64) -> bool {
        false
    }
}
