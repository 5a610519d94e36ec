//! What routers say about the path (RFC 1191, RFC 8201).

use std::net::SocketAddr;

use coney_base::Instant;

use super::TcpTransport;
use crate::port::Port;
use crate::tcp::flow::FlowKey;
use crate::wire::icmp::TooBig;

impl<P: Port> TcpTransport<P> {
    /// A router did not forward a packet of ours: ICMP "fragmentation needed" or ICMPv6 "packet too
    /// big".
    ///
    /// What anybody may have sent is believed only if it quotes a segment that is on its way now
    /// (RFC 5927), and never below 552 bytes (IPv6: 1280). `true`: segments are smaller from now on.
    pub fn on_packet_too_big(&mut self, now: Instant, too_big: &TooBig) -> bool {
        let quoted = &too_big.quoted;
        let local = SocketAddr::new(quoted.src, quoted.src_port);
        let key = FlowKey::new(local, SocketAddr::new(quoted.dst, quoted.dst_port));
        let hash = self.shared.hasher.table_hash(&key);
        let conn = self.conns.find(hash, &key);
        let is_lowered = conn.and_then(|conn| self.conns.get_mut(conn)).is_some_and(|tcb| {
            tcb.on_packet_too_big(now, quoted.seq, quoted.packet_len, too_big.mtu_bytes)
        });
        if let Some(conn) = conn.filter(|_| is_lowered) {
            self.mark_dirty(conn);
        }
        if is_lowered {
            self.shared.counters.path_mtu_lowered += 1;
        } else {
            self.shared.counters.path_mtu_ignored += 1;
        }
        is_lowered
    }
}
