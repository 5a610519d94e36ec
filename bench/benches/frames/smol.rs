//! smoltcp, under somebody who answers with a constant.

use std::collections::VecDeque;

use coney_base::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use crate::clients::{CLIENT_MAC, Clients, SERVER, SERVER_MAC, Server};
use crate::wire_format;

/// Bytes of each buffer of a socket. As much as a burst of full segments, if there is only one.
fn buffer_len(conns: usize) -> usize {
    if conns == 1 { 64 << 10 } else { 512 }
}

pub(crate) struct Smoltcp {
    interface: Interface,
    device: Memory,
    sockets: SocketSet<'static>,
    /// By client: sockets are accepted in the order in which they listen.
    handles: Vec<SocketHandle>,
    /// Sockets that may have received something.
    asked: Vec<SocketHandle>,
    input: Vec<u8>,
    reply: Vec<u8>,
}

impl Server for Smoltcp {
    fn inject(&mut self, client: usize, frame: &[u8]) {
        self.asked.push(self.handles[client]);
        self.device.inject(frame);
    }

    fn step(&mut self, now: Instant) {
        let now = smoltcp::time::Instant::from_micros(
            i64::try_from(now.as_nanos() / 1000).expect("a short run"),
        );
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        for handle in self.asked.drain(..) {
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            while socket.can_recv() {
                let len = socket.recv_slice(&mut self.input).expect("it is open");
                if self.input[..len].first() == Some(&b'*') {
                    let taken = socket.send_slice(&self.reply).expect("it is open");
                    assert_eq!(taken, self.reply.len(), "there is room");
                }
            }
        }
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    fn take_transmitted(&mut self, visit: &mut dyn FnMut(&[u8])) {
        for frame in std::mem::take(&mut self.device.transmitted) {
            visit(&frame);
            self.device.recycle(frame);
        }
    }
}

/// Clients of smoltcp.
pub(crate) fn clients(conns: usize) -> Clients<Smoltcp> {
    let mut device = Memory::default();
    let mut config = Config::new(EthernetAddress(SERVER_MAC).into());
    config.random_seed = 1;
    let mut interface = Interface::new(config, &mut device, smoltcp::time::Instant::ZERO);
    let address = IpCidr::new(IpAddress::v4(10, 0, 0, 1), 8);
    interface.update_ip_addrs(|addresses| addresses.push(address).expect("room for one"));
    let mut sockets = SocketSet::new(Vec::with_capacity(conns));
    let len = buffer_len(conns);
    let handles = (0..conns)
        .map(|_| {
            let buffer = || SocketBuffer::new(vec![0; len]);
            let mut socket = Socket::new(buffer(), buffer());
            socket.set_nagle_enabled(false);
            socket.listen(SERVER.port()).expect("a new socket");
            sockets.add(socket)
        })
        .collect();
    let mut server = Smoltcp {
        interface,
        device,
        sockets,
        handles,
        asked: Vec::new(),
        input: vec![0; len],
        reply: wire_format::reply(wire_format::VALUE_LEN),
    };
    server.learn_neighbour();
    Clients::new(server, conns, wire_format::VALUE_LEN)
}

impl Smoltcp {
    /// The clients' address is known from a question of theirs.
    fn learn_neighbour(&mut self) {
        let mut frame = vec![0xff; 6];
        frame.extend(CLIENT_MAC);
        // ARP: who has 10.0.0.1, tell 10.1.0.1.
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(CLIENT_MAC);
        frame.extend([10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
        self.device.inject(&frame);
        self.step(Instant::from_millis(1000));
        assert_eq!(self.device.transmitted.len(), 1, "an answer");
        self.device.transmitted.clear();
    }
}

/// A device in memory, which allocates no more than our port.
#[derive(Debug, Default)]
struct Memory {
    received: VecDeque<Vec<u8>>,
    received_spare: Vec<Vec<u8>>,
    transmitted: Vec<Vec<u8>>,
    transmitted_spare: Vec<Vec<u8>>,
}

impl Memory {
    fn inject(&mut self, frame: &[u8]) {
        let mut buffer = self.received_spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        self.received.push_back(buffer);
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.transmitted_spare.push(frame);
    }
}

struct Rx<'a> {
    frame: Vec<u8>,
    spare: &'a mut Vec<Vec<u8>>,
}

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.frame);
        self.spare.push(self.frame);
        result
    }
}

struct Tx<'a> {
    transmitted: &'a mut Vec<Vec<u8>>,
    spare: &'a mut Vec<Vec<u8>>,
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut buffer = self.spare.pop().unwrap_or_default();
        // smoltcp writes every byte.
        buffer.resize(len, 0);
        let result = f(&mut buffer);
        self.transmitted.push(buffer);
        result
    }
}

impl Device for Memory {
    type RxToken<'a> = Rx<'a>;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        let frame = self.received.pop_front()?;
        let tx = Tx { transmitted: &mut self.transmitted, spare: &mut self.transmitted_spare };
        Some((Rx { frame, spare: &mut self.received_spare }, tx))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Tx<'_>> {
        Some(Tx { transmitted: &mut self.transmitted, spare: &mut self.transmitted_spare })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = 1514;
        caps
    }
}
