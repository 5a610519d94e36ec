//! Runs scripts of segments, application calls and times against the transport.
//!
//! One event a line, with its time in milliseconds; an indented continuation is not possible.
//! ```text
//! 0   < S 0:0(0) win 65535 <mss 1460,sackOK,ts 1 0,ws 7>   the peer sends
//! 0   > S. 0:0(0) ack 1                                    we must send
//! 1   ! send 100                                           the application calls
//! 1   = data 5                                             the application must be called
//! ```
//! Positions count from each side's SYN; so do timestamps, ours from time 0. `win` and options may
//! be left out of what we must send, and then may be anything. What we send must be expected, in
//! order and at its time; nothing more may be sent before the next line that acts. A digit behind
//! `<` or `>` chooses another port of the peer.
//!
//! The peer's initial sequence number lies just below the wrap.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use coney_base::Instant;

use super::app::{Recorder, pattern};
use crate::port::sim::{SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::tcp::flow::FlowKey;
use crate::tcp::seq::Seq;
use crate::transport::tcp::TcpTransport;
use crate::transport::{ConnId, Transport};
use crate::wire::icmp::TooBig;
use crate::wire::quoted::Quoted;
use crate::wire::tcp::{Flags, Header, Timestamps};
use crate::wire::{self, Hop};

const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const PEER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PEER_PORT: u16 = 40_000;
const PEER_ISN: Seq = Seq(u32::MAX - 3);
/// Time 0 of scripts.
const EPOCH_MS: u64 = 10_000;

/// The usual beginning: a handshake with all options, the peer's window 64 KiB.
pub(super) const OPEN: &str = "
    0 < S 0:0(0) win 65535 <mss 1460,sackOK,ts 0 0,ws 7>
    0 > S. 0:0(0) ack 1 win 65535 <mss 1460,ws 3,sackOK,ts 0 0>
    0 < . 1:1(0) ack 1 win 512 <ts 0 0>
    0 = accept
";

/// A handshake without options: MSS 1000 makes the arithmetic plain.
pub(super) const OPEN_PLAIN: &str = "
    0 < S 0:0(0) win 60000 <mss 1000>
    0 > S. 0:0(0) ack 1 win 65535 <mss 1460>
    0 < . 1:1(0) ack 1 win 60000
    0 = accept
";

/// A handshake that measures a round-trip time of 100 ms.
pub(super) const OPEN_SLOW: &str = "
    0 < S 0:0(0) win 65535 <mss 1460,sackOK,ts 0 0,ws 7>
    0 > S. 0:0(0) ack 1
    100 < . 1:1(0) ack 1 win 512 <ts 100 0>
    100 = accept
";

pub(super) fn config() -> Config {
    // Delayed acknowledgements from the first segment on.
    Config { listen: vec![OURS], secret: [7; 16], quick_acks: 0, ..Config::default() }
}

pub(super) struct Script {
    pub(super) transport: TcpTransport<SimPort>,
    pub(super) app: Recorder,
    now: Instant,
    /// What happened and was not yet expected: text with its time.
    log: VecDeque<String>,
    /// Our initial sequence number per peer port.
    iss: [Option<Seq>; 10],
    sent: u64,
    /// TSval of the last segment of ours.
    ts: u32,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with(config(), &SimPortConfig::default())
    }

    pub(super) fn with(config: Config, port: &SimPortConfig) -> Self {
        Self {
            transport: TcpTransport::new(SimPort::new(port), config).unwrap(),
            app: Recorder::default(),
            now: Instant::from_millis(EPOCH_MS),
            log: VecDeque::new(),
            iss: [None; 10],
            sent: 0,
            ts: 0,
        }
    }

    /// Runs a script; further ones go on where it ended.
    pub(super) fn run(&mut self, script: &str) -> &mut Self {
        self.run_partly(script);
        self.assert_nothing_left("end of script");
        self
    }

    /// Runs the beginning of a script.
    pub(super) fn run_partly(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.run_line(line);
        }
    }

    fn run_line(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let time = words.next().unwrap();
        let sign = words.next().unwrap_or_else(|| panic!("no sign: {line}"));
        let what = words.next().unwrap_or("").trim();
        let time: u64 = time.parse().unwrap_or_else(|_| panic!("no time: {line}"));
        self.advance(Instant::from_millis(EPOCH_MS + time));
        match sign.as_bytes() {
            [b'<', port @ ..] => {
                self.assert_nothing_left(line);
                self.inject(port_of(port), what);
                self.step();
            }
            b"!" => {
                self.assert_nothing_left(line);
                self.call(what);
                self.step();
            }
            [b'>' | b'=', ..] if self.log.is_empty() => {
                // Somewhere in this millisecond.
                self.advance(Instant::from_nanos((EPOCH_MS + time) * 1_000_000 + 999_999));
                self.expect(line, &format!("{time} {sign} {what}"));
            }
            [b'>' | b'=', ..] => self.expect(line, &format!("{time} {sign} {what}")),
            _ => panic!("unknown sign: {line}"),
        }
    }

    /// Runs a script that does not say what must happen.
    pub(super) fn run_ignoring_output(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let time: u64 = line.split(' ').next().unwrap().parse().unwrap();
            self.advance(Instant::from_millis(EPOCH_MS + time));
            self.log.clear();
            self.run_line(line);
            self.log.clear();
        }
    }

    /// After the connection is gone: every frame is back.
    pub(super) fn finish(&mut self) {
        self.advance(self.now + std::time::Duration::from_secs(300));
        self.assert_nothing_left("long after the script");
        assert_eq!(self.transport.conn_count(), 0);
        assert_eq!(self.transport.half_open_and_time_wait(), (0, 0));
        assert!(self.transport.port().is_quiescent(), "a frame leaked: {:?}", self.transport);
    }

    fn assert_nothing_left(&self, line: &str) {
        assert!(self.log.is_empty(), "not expected: {:#?}, before: {line}", self.log);
    }

    fn expect(&mut self, line: &str, expected: &str) {
        let actual = self.log.pop_front().unwrap_or_else(|| panic!("nothing happened: {line}"));
        let mut shown = actual.as_str();
        if !expected.contains('<') {
            shown = shown.split(" <").next().unwrap();
        }
        let shown = match (expected.contains(" win "), shown.split_once(" win ")) {
            (false, Some((front, back))) => {
                let back = back.split_once(' ').map_or("", |(_, back)| back);
                format!("{front} {back}").trim_end().to_owned()
            }
            _ => shown.to_owned(),
        };
        assert_eq!(shown, expected, "in full: {actual}");
    }

    fn advance(&mut self, to: Instant) {
        let mut steps = 0;
        while let Some(deadline) = self.transport.next_deadline().filter(|at| *at <= to) {
            self.now = self.now.max(deadline);
            self.step();
            steps += 1;
            assert!(steps < 10_000, "the transport never rests");
        }
        self.now = self.now.max(to);
    }

    /// One iteration of a worker's loop.
    fn step(&mut self) {
        let ms = self.now.as_millis() - EPOCH_MS;
        while self.transport.poll(self.now, &mut self.app) > 0 {}
        self.log.extend(self.app.log.drain(..).map(|event| format!("{ms} = {event}")));
        self.transport.flush(self.now);
        self.transport.check();
        for frame in self.transport.port_mut().take_transmitted() {
            let text = self.render(&frame);
            self.log.push_back(format!("{ms} {text}"));
        }
    }

    fn ts_offset(&self, port: u16) -> u32 {
        let key = FlowKey::new(OURS, SocketAddr::new(PEER_IP, PEER_PORT + port));
        let epoch = u32::try_from(EPOCH_MS).unwrap();
        self.transport.shared.hasher.timestamps_offset(&key).wrapping_add(epoch)
    }

    fn render(&mut self, frame: &[u8]) -> String {
        let received = wire::parse(frame, false).unwrap();
        assert_eq!(received.hop.local, PEER_MAC, "next hop");
        assert_eq!((received.src, received.dst), (OURS.ip(), PEER_IP));
        let header = received.header;
        assert_eq!(header.src_port, OURS.port());
        let port = header.dst_port - PEER_PORT;
        let slot = &mut self.iss[usize::from(port)];
        if header.flags.has(Flags::SYN) {
            *slot = Some(header.seq);
        }
        let iss = slot.unwrap_or_default();
        let digit = if port == 0 { String::new() } else { port.to_string() };
        let seq = header.seq.0.wrapping_sub(iss.0);
        let len = u32::try_from(received.payload.len()).unwrap();
        let end = seq.wrapping_add(len);
        let mut text = format!(">{digit} {:?} {seq}:{end}({len})", header.flags);
        if header.flags.has(Flags::ACK) {
            text += &format!(" ack {}", header.ack.0.wrapping_sub(PEER_ISN.0));
        }
        text += &format!(" win {}", header.window);
        if let Some(timestamps) = header.options.timestamps {
            self.ts = timestamps.value.wrapping_sub(self.ts_offset(port));
        }
        let options = self.render_options(port, &header);
        if received.ecn != wire::Ecn::NotEct {
            text += &format!(" ip {:?}", received.ecn);
        }
        if options.is_empty() { text } else { format!("{text} <{}>", options.join(",")) }
    }

    fn render_options(&self, port: u16, header: &Header) -> Vec<String> {
        let mut options = Vec::new();
        options.extend(header.options.mss.map(|mss| format!("mss {mss}")));
        options.extend(header.options.window_scale.map(|shift| format!("ws {shift}")));
        options.extend(header.options.sack_permitted.then(|| "sackOK".to_owned()));
        options.extend(header.options.timestamps.map(|timestamps| {
            let value = timestamps.value.wrapping_sub(self.ts_offset(port));
            format!("ts {value} {}", timestamps.echo)
        }));
        for (start, end) in header.options.sack.as_slice() {
            let relative = |seq: &Seq| seq.0.wrapping_sub(PEER_ISN.0);
            options.push(format!("sack {}:{}", relative(start), relative(end)));
        }
        options
    }

    fn inject(&mut self, port: u16, text: &str) {
        let (fields, options) = text.split_once('<').unwrap_or((text, ""));
        let words: Vec<&str> = fields.split_whitespace().collect();
        let (seq, len) = positions(words[1]);
        let mut ecn = wire::Ecn::NotEct;
        let mut header = Header {
            src_port: PEER_PORT + port,
            dst_port: OURS.port(),
            seq: PEER_ISN.plus(seq),
            flags: flags(words[0]),
            window: 60_000,
            ..Header::default()
        };
        for pair in words[2..].chunks(2) {
            match *pair {
                ["ack", value] => {
                    let iss = self.iss[usize::from(port)].unwrap_or_default();
                    header.ack = iss.plus(value.parse().unwrap());
                }
                ["ip", "ce"] => ecn = wire::Ecn::Ce,
                ["win", value] => header.window = value.parse().unwrap(),
                _ => panic!("unknown field: {pair:?}"),
            }
        }
        for option in options.trim_end_matches('>').split(',').filter(|text| !text.is_empty()) {
            match option.split(' ').collect::<Vec<_>>()[..] {
                ["mss", mss] => header.options.mss = Some(mss.parse().unwrap()),
                ["ws", shift] => header.options.window_scale = Some(shift.parse().unwrap()),
                ["sack", block] => {
                    let iss = self.iss[usize::from(port)].unwrap_or_default();
                    let (start, end) = block.split_once(':').unwrap();
                    let at = |text: &str| iss.plus(text.parse().unwrap());
                    header.options.sack.push(at(start), at(end));
                }
                ["sackOK"] => header.options.sack_permitted = true,
                ["ts", value, echo] => {
                    let value = value.parse().unwrap();
                    let echo: u32 = echo.parse().unwrap();
                    let echo = echo.wrapping_add(self.ts_offset(port));
                    header.options.timestamps = Some(Timestamps { value, echo });
                }
                _ => panic!("unknown option: {option}"),
            }
        }
        let payload = (0..len).map(|at| pattern(u64::from(seq + at).wrapping_sub(1)));
        let mut frame = vec![0; 128];
        frame.extend(payload);
        let hop = Hop { local: PEER_MAC, remote: [2, 0, 0, 0, 0, 1], vlan: None };
        let addresses = (PEER_IP, OURS.ip());
        let start =
            wire::write(&mut frame, 128, len as usize, &hop, addresses, &header, ecn).unwrap();
        assert!(self.transport.port_mut().inject(&frame[start..]));
    }

    /// A full-sized segment of ours as a router quotes it.
    fn quote(&self, seq: u32) -> Vec<u8> {
        let header = Header {
            src_port: OURS.port(),
            dst_port: PEER_PORT,
            seq: self.iss[0].unwrap_or_default().plus(seq),
            flags: Flags::ACK,
            ..Header::default()
        };
        let hop = Hop { local: [0; 6], remote: [0; 6], vlan: None };
        let mut frame = vec![0; 128 + 1460];
        let addresses = (OURS.ip(), PEER_IP);
        let ecn = wire::Ecn::NotEct;
        let start = wire::write(&mut frame, 128, 1460, &hop, addresses, &header, ecn).unwrap();
        // Without the Ethernet header, and cut as early as it may be.
        frame[start + 14..start + 14 + 28].to_vec()
    }

    /// What the last segment of ours said, to be echoed; may lie before time 0.
    pub(super) fn last_timestamp(&self) -> u32 {
        self.ts
    }

    pub(super) fn conn(&self) -> ConnId {
        self.app.conns.last().expect("a connection was accepted").0
    }

    fn call(&mut self, text: &str) {
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["send", len] => {
                let len: u64 = len.parse().unwrap();
                let bytes: Vec<u8> = (self.sent..self.sent + len).map(pattern).collect();
                let taken = self.transport.send(self.now, self.conn(), &bytes);
                self.sent += taken as u64;
                if taken < bytes.len() {
                    let ms = self.now.as_millis() - EPOCH_MS;
                    self.log.push_back(format!("{ms} = taken {taken}"));
                }
            }
            ["held", bytes] => {
                self.app.held = bytes.parse().unwrap();
            }
            ["set_held", bytes] => {
                let bytes = bytes.parse().unwrap();
                self.transport.set_held(self.now, self.conn(), bytes);
            }
            ["too_big", seq, mtu] => {
                let quoted = self.quote(seq.parse().unwrap());
                let quoted = Quoted::parse(&quoted).unwrap();
                let mtu_bytes = mtu.parse().unwrap();
                self.transport.on_packet_too_big(self.now, &TooBig { quoted, mtu_bytes });
            }
            ["close"] => self.transport.close(self.now, self.conn()),
            ["abort"] => self.transport.abort(self.now, self.conn()),
            ["stop"] => self.transport.stop_accepting(),
            ["refuse"] => self.app.refuse = true,
            ["connect"] => {
                let hop = Hop { local: [2, 0, 0, 0, 0, 1], remote: PEER_MAC, vlan: None };
                let peer = SocketAddr::new(PEER_IP, PEER_PORT);
                let conn = self.transport.connect(self.now, OURS, peer, hop).unwrap();
                self.app.conns.push((conn, peer));
            }
            _ => panic!("unknown call: {text}"),
        }
    }
}

fn port_of(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |port, digit| port * 10 + u16::from(digit - b'0'))
}

/// `first:last(len)`.
fn positions(text: &str) -> (u32, u32) {
    let (first, rest) = text.split_once(':').unwrap();
    let (last, len) = rest.trim_end_matches(')').split_once('(').unwrap();
    let (first, len): (u32, u32) = (first.parse().unwrap(), len.parse().unwrap());
    assert_eq!(last.parse::<u32>().unwrap(), first + len, "{text}");
    (first, len)
}

fn flags(text: &str) -> Flags {
    let flag = |letter| match letter {
        'S' => Flags::SYN,
        'F' => Flags::FIN,
        'E' => Flags::ECE,
        'W' => Flags::CWR,
        'R' => Flags::RST,
        'P' => Flags::PSH,
        '.' => Flags::ACK,
        '-' => Flags::default(),
        _ => panic!("unknown flag: {letter}"),
    };
    text.chars().map(flag).fold(Flags::default(), |all, flag| all | flag)
}
