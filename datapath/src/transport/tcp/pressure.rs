//! What gives way when memory runs out, in this order:
//!
//! 1. Segments that arrive ahead of a gap are dropped when their share of the receive frames is used
//!    ([`crate::tcp::config::Config::held_frames_max`]).
//! 2. Senders are pushed back when no transmit frame is free but the reserve for acknowledgements.
//! 3. If that lasts ([`crate::tcp::config::Config::pressure_after`]), new connections are not accepted.
//! 4. Then connections are reset, one at a time: first those that the application has closed, then
//!    those whose peer takes nothing or does not answer; the one with the most frames first.
//!    Connections that make progress are never touched.
//!
//! Apart from that, connections that the application has closed are limited in number and time.

use std::time::Duration;

use coney_base::Instant;

use super::TcpTransport;
use crate::port::Port;
use crate::transport::{App, CloseReason, ConnId};

/// Time between two resets.
pub(super) const SHED_INTERVAL: Duration = Duration::from_millis(100);

impl<P: Port> TcpTransport<P> {
    /// Whether connections have been waiting for frames for too long.
    pub(super) fn is_under_pressure(&self, now: Instant) -> bool {
        self.pressure_since
            .is_some_and(|since| now.since(since) >= self.shared.config.pressure_after)
    }

    /// To be called after each poll.
    pub(super) fn relieve_pressure(&mut self, now: Instant, app: &mut dyn App) {
        let is_exhausted = !self.starved.is_empty()
            && self.tx.port.tx_available() <= self.shared.config.reserved_frames;
        if !is_exhausted {
            self.pressure_since = None;
            return;
        }
        let since = *self.pressure_since.get_or_insert(now);
        if self.is_under_pressure(now)
            && let Some(conn) = self.most_dispensable(now)
            && let Some(tcb) = self.remove(conn)
        {
            self.shared.counters.shed += 1;
            self.reset(&tcb);
            app.on_close(conn, CloseReason::Aborted);
            // The next one has to wait.
            self.pressure_since = Some(since + SHED_INTERVAL);
        }
    }

    /// O(n), at most ten times a second and only in need.
    fn most_dispensable(&self, now: Instant) -> Option<ConnId> {
        let patience = self.shared.config.pressure_after;
        let is_stalled = |tcb: &crate::tcp::tcb::Tcb| tcb.is_stalled(now, patience);
        let rank = |tcb: &crate::tcp::tcb::Tcb| match (tcb.discards(), is_stalled(tcb)) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        self.conns
            .iter()
            .filter(|(_, tcb)| rank(tcb) > 0 && !tcb.queue.is_empty())
            .max_by_key(|(_, tcb)| (rank(tcb), tcb.queue.len()))
            .map(|(conn, _)| conn)
    }
}
