//! What is told about the way to a peer from outside its connection: its next hop's hardware
//! address, and the size of packets that fit.

use coney_base::Instant;

use super::TcpTransport;
use crate::neighbour::{self, Path};
use crate::port::Port;
use crate::tcp::flow::FlowKey;
use crate::transport::ConnId;
use crate::wire::Hop;
use crate::wire::icmp::TooBig;

/// The kernel is asked for the next hop after so many transmissions in a row without an answer:
/// one may be lost by chance.
const UNANSWERED_MIN: u8 = 2;

impl<P: Port> TcpTransport<P> {
    /// Lets the transport ask for next hops, and tell which are in use.
    pub fn set_neighbours(&mut self, neighbours: neighbour::Client) {
        self.neighbours = Some(neighbours);
    }

    /// Takes the answers that have come. What is sent next, again or anew, goes there.
    pub(super) fn take_next_hops(&mut self) {
        let Some(neighbours) = &mut self.neighbours else { return };
        while let Some(answer) = neighbours.answer() {
            if let Some(tcb) = self.conns.get_mut(answer.conn)
                && tcb.hop.remote != answer.mac
            {
                tcb.hop.remote = answer.mac;
                self.shared.counters.next_hops_changed += 1;
            }
        }
    }

    /// The peer did not answer once more. Its next hop may not be where its last frame came from.
    pub(super) fn doubt_next_hop(&mut self, conn: ConnId) {
        let Some(neighbours) = &mut self.neighbours else { return };
        let Some(tcb) = self.conns.get(conn) else { return };
        if tcb.unanswered() >= UNANSWERED_MIN {
            neighbours.ask(conn, path(&tcb.key, &tcb.hop), tcb.hop.remote);
        }
    }

    /// A connection's segment was accepted. Now and then the resolver is told of one.
    pub(super) fn note_next_hop(&mut self, now: Instant, conn: ConnId) {
        let Some(neighbours) = self.neighbours.as_mut().filter(|client| client.is_due(now)) else {
            return;
        };
        if let Some(tcb) = self.conns.get(conn) {
            neighbours.note_active(now, path(&tcb.key, &tcb.hop));
        }
    }

    /// A router says that a segment was too big for a link. Here TCP hears of it.
    pub(super) fn on_too_big(&mut self, too_big: &TooBig) {
        let key = FlowKey::new(too_big.local, too_big.remote);
        let hash = self.shared.hasher.table_hash(&key);
        if self.conns.find(hash, &key).is_some() {
            self.shared.counters.rx_too_big += 1;
        }
    }
}

fn path(key: &FlowKey, hop: &Hop) -> Path {
    Path { local: key.local().ip(), remote: key.remote().ip(), is_tagged: hop.vlan.is_some() }
}
