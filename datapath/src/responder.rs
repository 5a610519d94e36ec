//! What a host answers besides TCP, for a port behind which no kernel does: ARP (RFC 826),
//! neighbour solicitation (RFC 4861 §7.2) and echo requests (RFC 792, RFC 4443 §4).
//!
//! [`Responder::on_frame`] takes a frame that is no TCP segment; what is to be sent then lies in
//! [`Responder::take_output`]. From what others ask and answer it learns their hardware addresses,
//! and [`Responder::next_hop`] finds a connection's next hop again when its peer fell silent: the
//! peer itself if it is on the link, else the router, known by the hardware address that failed.
//!
//! A device brings answers to whichever of its queues it likes, mostly the first. So the responders of a
//! device's queues ([`Responder::for_queues`]) tell each other what they asked and what they learnt:
//!
//! ```text
//! queue 1: next_hop -- question to the network, News::Asked --> queues 0, 2, ...
//! queue 0: on_frame <- answer from the network; News::Learnt --> queues 1, 2, ...
//! ```
//!
//! It has no I/O and no clock. Everything is bounded; beyond a bound, answers and questions are
//! dropped and counted, because whoever asks asks again.
//!
//! Not here: duplicate address detection for our own addresses (a conflict is counted and logged
//! once), router discovery, redirects, DHCP, fragments, multicast groups.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use coney_base::Instant;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::wire::Hop;
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::ethernet::{self, Mac, TYPE_ARP, TYPE_IPV4, TYPE_IPV6};
use crate::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMP_V6};
use crate::wire::{ipv4, ipv6};

#[cfg(test)]
mod tests;

/// Neighbours that are remembered; the one that was silent longest makes room.
pub const NEIGHBOURS_MAX: usize = 256;
/// Frames that are answered in one second; more are dropped.
pub const ANSWERS_PER_SECOND_MAX: u32 = 5000;
/// One neighbour is asked for at most this often (RFC 1122 §2.3.2.1).
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// News of other queues that may wait for one; more are dropped.
pub const NEWS_MAX: usize = 1024;
/// A neighbour that did not change is told to other queues at most this often.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// Longest frame that is answered.
const FRAME_BYTES_MAX: usize = 9100;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Hardware type Ethernet, protocol type IPv4, address lengths.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// RFC 4861 §7.1: whoever sends more or less is not on this link.
const ND_HOP_LIMIT: u8 = 255;
/// Offset of the hop limit in an IPv6 header.
const HOP_LIMIT_AT: usize = 7;

#[derive(Clone, Copy, Debug)]
struct Neighbour {
    mac: Mac,
    /// The address before.
    previous: Option<Mac>,
    heard_at: Instant,
}

/// What a queue tells the others of its device.
#[derive(Clone, Copy, Debug)]
enum News {
    /// The network was asked for the address: whoever gets the answer may believe it.
    Asked(IpAddr),
    /// The neighbour has this hardware address.
    Learnt(IpAddr, Mac),
}

#[derive(Debug, Default)]
struct Counters {
    arp_answered: u64,
    nd_answered: u64,
    echo_answered: u64,
    limited: u64,
    dropped: u64,
    asked: u64,
    conflicts: u64,
    news_dropped: u64,
}

/// See the module page.
#[derive(Debug)]
pub struct Responder {
    mac: Mac,
    addresses: Vec<IpAddr>,
    neighbours: BTreeMap<IpAddr, Neighbour>,
    /// When each address was asked for.
    asked: BTreeMap<IpAddr, Instant>,
    /// Start of the present second, and what was answered in it.
    window: (Instant, u32),
    out: Vec<u8>,
    /// What other queues tell, and where they are told.
    news: Option<Receiver<News>>,
    others: Vec<Sender<News>>,
    counters: Counters,
}

impl Responder {
    /// A responder for these addresses of ours.
    pub fn new(mac: Mac, addresses: &[IpAddr]) -> Self {
        Self {
            mac,
            addresses: addresses.to_vec(),
            neighbours: BTreeMap::new(),
            asked: BTreeMap::new(),
            window: (Instant::ZERO, 0),
            out: Vec::with_capacity(FRAME_BYTES_MAX),
            news: None,
            others: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Responders for all queues of a device, which tell each other of neighbours.
    pub fn for_queues(mac: Mac, addresses: &[IpAddr], queues: usize) -> Vec<Self> {
        let mut all: Vec<Self> = (0..queues).map(|_| Self::new(mac, addresses)).collect();
        for at in 0..queues {
            let (sender, receiver) = bounded(NEWS_MAX);
            for (other, responder) in all.iter_mut().enumerate() {
                if other == at {
                    responder.news = Some(receiver.clone());
                } else {
                    responder.others.push(sender.clone());
                }
            }
        }
        all
    }

    /// Takes a frame. `false`: it is of no kind that is handled here, or damaged.
    pub fn on_frame(&mut self, now: Instant, frame: &[u8]) -> bool {
        self.out.clear();
        if frame.len() > FRAME_BYTES_MAX {
            return false;
        }
        let Some((link, packet)) = ethernet::Header::parse(frame) else { return false };
        // Before the frame: it may be the answer to what another queue asked.
        self.take_news(now);
        let handled = match link.ether_type {
            TYPE_ARP => self.on_arp(now, &link, packet),
            TYPE_IPV4 => self.on_ipv4(now, &link, packet),
            TYPE_IPV6 => self.on_ipv6(now, &link, packet),
            _ => None,
        };
        if handled.is_none() {
            self.out.clear();
        }
        handled.is_some()
    }

    /// Takes what other queues told; it is not told on.
    pub fn take_news(&mut self, now: Instant) {
        while let Some(news) = self.news.as_ref().and_then(|news| news.try_recv().ok()) {
            match news {
                News::Asked(address) => {
                    self.forget_questions(now);
                    if self.asked.len() < NEIGHBOURS_MAX {
                        self.asked.insert(address, now);
                    } else {
                        self.counters.news_dropped += 1;
                    }
                }
                News::Learnt(address, mac) => {
                    self.remember(now, address, mac);
                }
            }
        }
    }

    /// The frame to be sent, if the last call left one.
    pub fn take_output(&mut self) -> Option<&[u8]> {
        (!self.out.is_empty()).then_some(self.out.as_slice())
    }

    /// Says that the output could not be sent.
    pub fn count_dropped(&mut self) {
        self.counters.dropped += 1;
    }

    /// Where frames to `remote` go now, if not to `hop`, which seems to fail; `None`: not known,
    /// and a question may lie in [`Self::take_output`].
    pub fn next_hop(
        &mut self,
        now: Instant,
        hop: &Hop,
        local: IpAddr,
        remote: IpAddr,
    ) -> Option<Mac> {
        self.out.clear();
        self.take_news(now);
        let target = self.hop_address(hop.remote, remote);
        if let Some(known) = self.neighbours.get(&target)
            && known.mac != hop.remote
        {
            return Some(known.mac);
        }
        self.forget_questions(now);
        if self.asked.contains_key(&target) || self.asked.len() >= NEIGHBOURS_MAX {
            return None;
        }
        let written = match (local, target) {
            (IpAddr::V4(local), IpAddr::V4(target)) => self.ask_arp(hop, local, target),
            (IpAddr::V6(local), IpAddr::V6(target)) => self.ask_nd(hop, local, target),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        };
        if written.is_some() {
            self.asked.insert(target, now);
            self.counters.asked += 1;
            // Before the question leaves, so that no answer comes sooner.
            self.tell(News::Asked(target));
        }
        None
    }

    /// Hands every counter to `visit`.
    pub fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        let counters = &self.counters;
        visit("responder_arp_answered", counters.arp_answered);
        visit("responder_nd_answered", counters.nd_answered);
        visit("responder_echo_answered", counters.echo_answered);
        visit("responder_limited", counters.limited);
        visit("responder_dropped", counters.dropped);
        visit("responder_asked", counters.asked);
        visit("responder_address_conflicts", counters.conflicts);
        visit("responder_dropped_news", counters.news_dropped);
        visit("responder_neighbours", self.neighbours.len() as u64);
    }

    /// The peer if it is on the link, else the router that had the hardware address.
    fn hop_address(&self, failed: Mac, remote: IpAddr) -> IpAddr {
        if self.neighbours.contains_key(&remote) {
            return remote;
        }
        let had = |known: &Neighbour| known.mac == failed || known.previous == Some(failed);
        let mut same_family =
            self.neighbours.iter().filter(|(address, _)| address.is_ipv4() == remote.is_ipv4());
        same_family.find(|(_, known)| had(known)).map_or(remote, |(address, _)| *address)
    }

    fn on_arp(&mut self, now: Instant, link: &ethernet::Header, packet: &[u8]) -> Option<()> {
        let (head, rest) = packet.split_first_chunk::<6>()?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let (_target_mac, rest) = rest.split_first_chunk::<6>()?;
        let target = IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?));
        let (operation, sender) = (u16::from_be_bytes(*operation), Ipv4Addr::from(*sender));
        if *head != ARP_HEAD || !matches!(operation, ARP_REQUEST | ARP_REPLY) {
            return None;
        }
        let is_ours = self.addresses.contains(&target);
        self.learn(now, IpAddr::V4(sender), *sender_mac, is_ours);
        if operation == ARP_REQUEST
            && is_ours
            && is_host_mac(sender_mac)
            && *sender_mac != self.mac
            && self.may_answer(now)
        {
            self.put_link(*sender_mac, link.vlan, TYPE_ARP)?;
            let IpAddr::V4(target) = target else { return None };
            self.put_arp(ARP_REPLY, (self.mac, target), (*sender_mac, sender));
            self.counters.arp_answered += 1;
        }
        Some(())
    }

    fn on_ipv4(&mut self, now: Instant, link: &ethernet::Header, packet: &[u8]) -> Option<()> {
        let (ip, at) = ipv4::Header::parse(packet).ok()?;
        let message = packet.get(at)?;
        let (head, rest) = message.split_first_chunk::<4>()?;
        let is_for_us = self.addresses.contains(&IpAddr::V4(ip.dst)) && link.dst == self.mac;
        let is_echo = ip.protocol == PROTOCOL_ICMP && head[..2] == [ECHO_REQUEST, 0];
        let is_sound = Sum::default().plus(message).finish() == 0 && rest.len() >= 4;
        if !is_echo || !is_for_us || !is_sound || !is_host(ip.src.into()) {
            return None;
        }
        if !self.may_answer(now) {
            return Some(());
        }
        self.put_link(link.src, link.vlan, TYPE_IPV4)?;
        let (src, dst, traffic_class) = (ip.dst, ip.src, ip.traffic_class);
        let mut header = [0; ipv4::HEADER_LEN];
        let reply = ipv4::Header { src, dst, protocol: PROTOCOL_ICMP, traffic_class };
        reply.write(&mut header, message.len())?;
        self.out.extend_from_slice(&header);
        let checksum = Sum::default().plus(&[ECHO_REPLY, 0, 0, 0]).plus(rest).finish();
        self.out.extend_from_slice(&[ECHO_REPLY, 0]);
        self.out.extend_from_slice(&checksum.to_be_bytes());
        self.out.extend_from_slice(rest);
        self.counters.echo_answered += 1;
        Some(())
    }

    fn on_ipv6(&mut self, now: Instant, link: &ethernet::Header, packet: &[u8]) -> Option<()> {
        let (ip, at) = ipv6::Header::parse(packet).ok()?;
        let message = packet.get(at)?;
        let (head, rest) = message.split_first_chunk::<4>()?;
        let pseudo = pseudo_header(ip.src.into(), ip.dst.into(), PROTOCOL_ICMP_V6, message.len());
        if ip.next_header != PROTOCOL_ICMP_V6 || pseudo.plus(message).finish() != 0 || head[1] != 0
        {
            return None;
        }
        let is_on_link = packet.get(HOP_LIMIT_AT) == Some(&ND_HOP_LIMIT);
        match head[0] {
            ECHO_REQUEST_V6 => self.on_echo_v6(now, link, &ip, rest),
            NEIGHBOUR_SOLICITATION if is_on_link => self.on_solicitation(now, link, &ip, rest),
            NEIGHBOUR_ADVERTISEMENT if is_on_link => self.on_advertisement(now, rest),
            _ => None,
        }
    }

    fn on_echo_v6(
        &mut self,
        now: Instant,
        link: &ethernet::Header,
        ip: &ipv6::Header,
        rest: &[u8],
    ) -> Option<()> {
        let is_for_us = self.addresses.contains(&IpAddr::V6(ip.dst)) && link.dst == self.mac;
        if !is_for_us || !is_host(ip.src.into()) || rest.len() < 4 {
            return None;
        }
        if self.may_answer(now) {
            self.put_link(link.src, link.vlan, TYPE_IPV6)?;
            let hop_limit = None;
            self.put_icmp_v6((ip.dst, ip.src), hop_limit, ECHO_REPLY_V6, &[rest])?;
            self.counters.echo_answered += 1;
        }
        Some(())
    }

    /// RFC 4861 §7.2.3 and §7.2.4; from the unspecified address it is a host that looks whether
    /// the address is taken (RFC 4862 §5.4), and all shall hear that it is.
    fn on_solicitation(
        &mut self,
        now: Instant,
        link: &ethernet::Header,
        ip: &ipv6::Header,
        rest: &[u8],
    ) -> Option<()> {
        let (_reserved, rest) = rest.split_first_chunk::<4>()?;
        let (target, options) = rest.split_first_chunk::<16>()?;
        let target = Ipv6Addr::from(*target);
        let source_mac = link_address(options, SOURCE_LINK_ADDRESS)?;
        let is_ours = self.addresses.contains(&IpAddr::V6(target));
        if ip.src.is_unspecified() {
            if source_mac.is_some() || ip.dst != solicited_node(target) {
                return None;
            }
        } else if let Some(mac) = source_mac {
            self.learn(now, IpAddr::V6(ip.src), mac, is_ours);
        }
        if !is_ours || link.src == self.mac || !self.may_answer(now) {
            return Some(());
        }
        let (to, mac, flags) = if ip.src.is_unspecified() {
            (ALL_NODES, multicast_mac(ALL_NODES), OVERRIDE)
        } else {
            (ip.src, source_mac.unwrap_or(link.src), SOLICITED | OVERRIDE)
        };
        self.put_link(mac, link.vlan, TYPE_IPV6)?;
        let own = self.mac;
        let parts: [&[u8]; 4] =
            [&[flags, 0, 0, 0], &target.octets(), &[TARGET_LINK_ADDRESS, 1], &own];
        self.put_icmp_v6((target, to), Some(ND_HOP_LIMIT), NEIGHBOUR_ADVERTISEMENT, &parts)?;
        self.counters.nd_answered += 1;
        Some(())
    }

    /// RFC 4861 §7.2.5.
    fn on_advertisement(&mut self, now: Instant, rest: &[u8]) -> Option<()> {
        let (flags, rest) = rest.split_first_chunk::<4>()?;
        let (target, options) = rest.split_first_chunk::<16>()?;
        let target = IpAddr::V6(Ipv6Addr::from(*target));
        let Some(mac) = link_address(options, TARGET_LINK_ADDRESS)? else { return Some(()) };
        let known = self.neighbours.get(&target).is_some_and(|known| known.mac != mac);
        if !known || flags[0] & OVERRIDE != 0 {
            self.learn(now, target, mac, false);
        }
        Some(())
    }

    /// Notes a neighbour: one that spoke to us, one that is known, or one that was asked for. What
    /// others say to others fills no table.
    fn learn(&mut self, now: Instant, address: IpAddr, mac: Mac, to_us: bool) {
        if self.addresses.contains(&address) {
            if mac != self.mac {
                if self.counters.conflicts == 0 {
                    tracing::error!(%address, "another host uses this address: {mac:02x?}");
                }
                self.counters.conflicts += 1;
            }
            return;
        }
        if !is_host(address) || !is_host_mac(&mac) {
            return;
        }
        let is_wanted =
            to_us || self.neighbours.contains_key(&address) || self.asked.contains_key(&address);
        if is_wanted && self.remember(now, address, mac) {
            self.tell(News::Learnt(address, mac));
        }
    }

    /// Returns whether other queues should hear of it.
    fn remember(&mut self, now: Instant, address: IpAddr, mac: Mac) -> bool {
        if let Some(known) = self.neighbours.get_mut(&address) {
            let is_news = known.mac != mac || now.since(known.heard_at) >= TELL_INTERVAL;
            if known.mac != mac {
                known.previous = Some(known.mac);
                known.mac = mac;
            }
            known.heard_at = now;
            return is_news;
        }
        if self.neighbours.len() >= NEIGHBOURS_MAX {
            let oldest = self.neighbours.iter().min_by_key(|(_, known)| known.heard_at);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.neighbours.remove(&oldest);
            }
        }
        self.neighbours.insert(address, Neighbour { mac, previous: None, heard_at: now });
        true
    }

    fn forget_questions(&mut self, now: Instant) {
        self.asked.retain(|_, at| now.since(*at) < ASK_INTERVAL);
    }

    /// Tells the other queues, without ever waiting: what finds no room, they learn with the next frame
    /// or question.
    fn tell(&mut self, news: News) {
        let dropped = self.others.iter().filter(|other| other.try_send(news).is_err()).count();
        self.counters.news_dropped += dropped as u64;
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let (start, count) = &mut self.window;
        if now.since(*start) >= Duration::from_secs(1) {
            (*start, *count) = (now, 0);
        }
        *count += 1;
        let allowed = *count <= ANSWERS_PER_SECOND_MAX;
        if !allowed {
            *count = ANSWERS_PER_SECOND_MAX;
            self.counters.limited += 1;
        }
        allowed
    }

    fn ask_arp(&mut self, hop: &Hop, local: Ipv4Addr, target: Ipv4Addr) -> Option<()> {
        self.put_link(BROADCAST, hop.vlan, TYPE_ARP)?;
        self.put_arp(ARP_REQUEST, (self.mac, local), ([0; 6], target));
        Some(())
    }

    fn ask_nd(&mut self, hop: &Hop, local: Ipv6Addr, target: Ipv6Addr) -> Option<()> {
        let to = solicited_node(target);
        self.put_link(multicast_mac(to), hop.vlan, TYPE_IPV6)?;
        let own = self.mac;
        let parts: [&[u8]; 4] = [&[0; 4], &target.octets(), &[SOURCE_LINK_ADDRESS, 1], &own];
        self.put_icmp_v6((local, to), Some(ND_HOP_LIMIT), NEIGHBOUR_SOLICITATION, &parts)
    }

    fn put_link(&mut self, dst: Mac, vlan: Option<u16>, ether_type: u16) -> Option<()> {
        let header = ethernet::Header { dst, src: self.mac, vlan, ether_type };
        self.out.clear();
        self.out.resize(header.len(), 0);
        header.write(&mut self.out)
    }

    fn put_arp(&mut self, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) {
        self.out.extend_from_slice(&ARP_HEAD);
        self.out.extend_from_slice(&operation.to_be_bytes());
        for (mac, address) in [sender, target] {
            self.out.extend_from_slice(&mac);
            self.out.extend_from_slice(&address.octets());
        }
    }

    /// Appends an IPv6 header and a message made of its type and `parts`.
    fn put_icmp_v6(
        &mut self,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        hop_limit: Option<u8>,
        kind: u8,
        parts: &[&[u8]],
    ) -> Option<()> {
        let len = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut header = [0; ipv6::HEADER_LEN];
        let ip = ipv6::Header { src, dst, next_header: PROTOCOL_ICMP_V6, traffic_class: 0 };
        ip.write(&mut header, len)?;
        if let (Some(limit), Some(field)) = (hop_limit, header.get_mut(HOP_LIMIT_AT)) {
            *field = limit;
        }
        self.out.extend_from_slice(&header);
        let at = self.out.len();
        self.out.extend_from_slice(&[kind, 0, 0, 0]);
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        let message = self.out.get_mut(at..)?;
        let pseudo = pseudo_header(src.into(), dst.into(), PROTOCOL_ICMP_V6, len);
        let checksum = pseudo.plus(message).finish();
        message.get_mut(2..4)?.copy_from_slice(&checksum.to_be_bytes());
        Some(())
    }
}

/// The link-layer address among the options of a neighbour discovery message, if there is one;
/// the outer `None`: the options are malformed (RFC 4861 §4.6).
fn link_address(mut options: &[u8], kind: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [this, len, ..] = options {
        let (option, rest) = options.split_at_checked(usize::from(*len) * 8)?;
        let body = option.get(2..)?;
        if *this == kind {
            found = Some(*body.first_chunk::<6>()?);
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

/// RFC 4291 §2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let [high, low] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// RFC 2464 §7.
fn multicast_mac(address: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = address.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Whether an address can be one host's.
fn is_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast && !address.is_loopback()
}

fn is_host_mac(mac: &Mac) -> bool {
    mac[0] & 1 == 0 && *mac != [0; 6]
}
