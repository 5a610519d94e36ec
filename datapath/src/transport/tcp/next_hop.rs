//! Next hops: where frames to a peer go, as the kernel's neighbour table has it, or the responder's
//! on a port without a kernel.

use coney_base::Instant;

use super::TcpTransport;
use crate::neighbour::{self, Path};
use crate::port::{Port, RxFrame};
use crate::responder::Responder;
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

    /// Lets the transport answer ARP, neighbour discovery and echo requests, and ask for next hops
    /// by itself: for a port that shares no host with a kernel.
    pub fn set_responder(&mut self, responder: Responder) {
        self.responder = Some(responder);
    }

    /// Gives a frame that is no segment to the responder; `false`: it is none of its either.
    pub(super) fn respond(&mut self, now: Instant, frame: &RxFrame) -> bool {
        let Some(responder) = &mut self.responder else { return false };
        let is_known = responder.on_frame(now, self.tx.port.rx_bytes(frame));
        self.tx.transmit_raw(responder);
        is_known
    }

    /// Takes the answers that have come. What is sent next, again or anew, goes there.
    pub(super) fn take_next_hops(&mut self, now: Instant) {
        if let Some(responder) = &mut self.responder {
            responder.take_news(now);
        }
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
    pub(super) fn doubt_next_hop(&mut self, now: Instant, conn: ConnId) {
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        if tcb.unanswered() < UNANSWERED_MIN {
            return;
        }
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.ask(conn, path(&tcb.key, &tcb.hop), tcb.hop.remote);
        }
        if let Some(responder) = &mut self.responder {
            let (local, remote) = (tcb.key.local().ip(), tcb.key.remote().ip());
            match responder.next_hop(now, &tcb.hop, local, remote) {
                Some(mac) => {
                    tcb.hop.remote = mac;
                    self.shared.counters.next_hops_changed += 1;
                }
                // The question leaves; the answer is there when the peer is doubted once more.
                None => self.tx.transmit_raw(responder),
            }
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
