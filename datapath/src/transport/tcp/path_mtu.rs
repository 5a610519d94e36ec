//! What routers say about the path (RFC 1191, RFC 8201).

use std::net::SocketAddr;

use super::TcpTransport;
use crate::port::Port;
use crate::tcp::flow::FlowKey;
use crate::wire::quoted::Quoted;

impl<P: Port> TcpTransport<P> {
    /// A router did not forward a packet of ours: ICMP "fragmentation needed" or ICMPv6 "packet too
    /// big". Whoever receives ICMP calls this, with the quoted packet from its IP header on, and
    /// with the MTU of the next hop in bytes (0: the router did not say).
    ///
    /// What anybody may have sent is believed only if it quotes a segment that is on its way now
    /// (RFC 5927), and never below 552 bytes (IPv6: 1280). `true`: segments are smaller from now on.
    pub fn on_packet_too_big(&mut self, quoted: &[u8], next_hop_mtu: u32) -> bool {
        let is_lowered = Quoted::parse(quoted).is_some_and(|quoted| {
            let local = SocketAddr::new(quoted.src, quoted.src_port);
            let key = FlowKey::new(local, SocketAddr::new(quoted.dst, quoted.dst_port));
            let hash = self.shared.hasher.table_hash(&key);
            let Some(conn) = self.conns.find(hash, &key) else { return false };
            let Some(tcb) = self.conns.get_mut(conn) else { return false };
            let is_lowered = tcb.on_packet_too_big(quoted.seq, quoted.packet_len, next_hop_mtu);
            if is_lowered {
                self.mark_dirty(conn);
            }
            is_lowered
        });
        if is_lowered {
            self.shared.counters.path_mtu_lowered += 1;
        } else {
            self.shared.counters.path_mtu_ignored += 1;
        }
        is_lowered
    }
}
