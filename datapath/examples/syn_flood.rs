//! Sends SYNs from forged addresses as fast as one core can, over AF_XDP, to try a server in a
//! network namespace of one's own: `syn_flood INTERFACE MAC ADDRESS PORT SECONDS PERCENT`, with the
//! hardware and the IPv4 address of the server. It also ends when its standard input does. Prints how
//! many frames were sent and in how many seconds.
//!
//! The sources are those of 198.18.0.0/15, which RFC 2544 sets aside for measuring: no host has
//! them. It is busy for PERCENT of the time and sleeps after each burst for the rest, so that a
//! client on the same core goes on, whatever the scheduler would do.

use std::error::Error;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coney_base::time::Clock;
use coney_datapath::port::Port;
use coney_datapath::port::af_xdp::{AfXdpPort, Options};
use coney_datapath::port::sim::Rng;
use coney_datapath::tcp::seq::Seq;
use coney_datapath::wire::ethernet::Mac;
use coney_datapath::wire::tcp::{Flags, Header, Options as TcpOptions, Timestamps};
use coney_datapath::wire::{self, Ecn, HEADERS_LEN_MAX, Hop};
use rustix::event::{Timespec, poll};

/// Frames between two looks at the clock.
const BURST: usize = 64;
/// 198.18.0.0/15.
const SOURCES: u32 = 0xc612_0000;
const SOURCES_COUNT: u64 = 1 << 17;
const EPHEMERAL_PORTS: u64 = 60_000;

struct Flood {
    hop: Hop,
    address: Ipv4Addr,
    port: u16,
    rng: Rng,
}

fn main() -> ExitCode {
    let mut err = std::io::stderr();
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok((sent, elapsed)) => match writeln!(std::io::stdout(), "{sent} {elapsed:.3}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => match writeln!(err, "syn_flood: {error}") {
            Ok(()) => ExitCode::from(2),
            Err(_) => ExitCode::FAILURE,
        },
    }
}

fn run(args: &[String]) -> Result<(u64, f64), Box<dyn Error>> {
    let [interface, mac, address, port, seconds, percent] = args else {
        return Err("usage: syn_flood INTERFACE MAC ADDRESS PORT SECONDS PERCENT".into());
    };
    let percent = percent.parse::<u32>()?.clamp(1, 100);
    let mut device = AfXdpPort::open(interface, 0, &Options::default())?;
    let mut flood = Flood {
        hop: Hop { local: device.caps().mac, remote: parse_mac(mac)?, vlan: None },
        address: address.parse()?,
        port: port.parse()?,
        rng: Rng::new(1),
    };
    let is_told_to_stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_told_to_stop);
    std::thread::spawn(move || {
        // An input that cannot be read has ended too.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap_or(0);
        flag.store(true, Ordering::Relaxed);
    });
    let clock = Clock::new();
    let start = clock.now();
    let until = start + Duration::from_secs(seconds.parse()?);
    let mut sent = 0;
    let mut now = start;
    while now < until && !is_told_to_stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let Some(mut frame) = device.tx_alloc() else { break };
            let (start, len) = flood.write(device.tx_bytes_mut(&mut frame));
            sent += u64::from(device.tx_submit(&mut frame, start, len).is_ok());
            device.tx_free(frame);
        }
        device.tx_flush();
        let busy = clock.now().since(now);
        if percent < 100 {
            let rest = Timespec::try_from(busy * (100 - percent) / percent)?;
            poll(&mut [], Some(&rest))?;
        }
        now = clock.now();
    }
    Ok((sent, now.since(start).as_secs_f64()))
}

impl Flood {
    /// Writes a SYN; returns where it begins and how long it is.
    fn write(&mut self, buffer: &mut [u8]) -> (usize, usize) {
        let random = self.rng.next_u64().to_le_bytes();
        let [a, b, c, d, e, f, g, h] = random;
        let source = u32::try_from(self.rng.below(SOURCES_COUNT)).unwrap_or(0);
        let src_port = u16::try_from(self.rng.below(EPHEMERAL_PORTS)).unwrap_or(0) + 1024;
        let header = Header {
            src_port,
            dst_port: self.port,
            seq: Seq(u32::from_le_bytes([a, b, c, d])),
            flags: Flags::SYN,
            window: 64_240,
            options: TcpOptions {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some(Timestamps { value: u32::from_le_bytes([e, f, g, h]), echo: 0 }),
                ..TcpOptions::default()
            },
            ..Header::default()
        };
        let addresses = (IpAddr::V4(Ipv4Addr::from(SOURCES + source)), IpAddr::V4(self.address));
        let at = HEADERS_LEN_MAX;
        let start = wire::write(buffer, at, 0, &self.hop, addresses, &header, Ecn::NotEct)
            .expect("a transmit buffer has room for headers");
        (start, at - start)
    }
}

fn parse_mac(text: &str) -> Result<Mac, Box<dyn Error>> {
    let octets: Vec<u8> =
        text.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>()?;
    octets.try_into().map_err(|_octets| format!("{text} is no hardware address").into())
}
