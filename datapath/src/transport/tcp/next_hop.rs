//! Next hops: where frames to a peer go, as the kernel's neighbour table has it.

use coney_base::Instant;

use super::TcpTransport;
use crate::neighbour::{self, Path};
use crate::port::Port;
use crate::tcp::flow::FlowKey;
use crate::transport::ConnId;
use crate::wire::Hop;

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
}

fn path(key: &FlowKey, hop: &Hop) -> Path {
    Path { local: key.local().ip(), remote: key.remote().ip(), is_tagged: hop.vlan.is_some() }
}
