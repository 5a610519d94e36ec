//! One connection: what it has sent and what is not answered yet. No I/O and no clock.

use std::collections::VecDeque;

use coney_base::Instant;

use crate::reply::{NotAReply, Scanner};

/// One operation on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// Its kind's index.
    pub(crate) kind: usize,
    /// The number of its key.
    pub(crate) id: u64,
    /// When it was to start.
    pub(crate) started: Instant,
    /// Replies that it still waits for.
    pub(crate) replies_left: usize,
    /// More requests follow.
    pub(crate) is_first_of_two: bool,
    /// One of its replies was an error.
    pub(crate) is_error: bool,
    /// One of its replies was nothing.
    pub(crate) is_nothing: bool,
}

/// Replies that the server sent and nobody asked for, or that are none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadReply {
    #[error(transparent)]
    NotAReply(#[from] NotAReply),
    #[error("the server replied more often than it was asked")]
    Unasked,
}

/// See the module page.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Requests that are not sent yet.
    pub(crate) out: Vec<u8>,
    in_flight: VecDeque<Flight>,
    scanner: Scanner,
}

impl Client {
    /// Notes an operation whose requests were appended to `out`.
    pub(crate) fn started(&mut self, flight: Flight) {
        self.in_flight.push_back(flight);
    }

    /// Operations that are not finished.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The text of the last error reply.
    pub(crate) fn error_text(&self) -> String {
        self.scanner.error_text()
    }

    /// Takes what the server sent. `finished` gets each operation whose last reply it contains, with
    /// the elements of that reply if more requests follow.
    ///
    /// # Errors
    /// [`BadReply`].
    pub(crate) fn on_bytes(
        &mut self,
        mut bytes: &[u8],
        finished: &mut dyn FnMut(Flight, Vec<Vec<u8>>),
    ) -> Result<(), BadReply> {
        while !bytes.is_empty() {
            if self.in_flight.front().is_some_and(|front| front.is_first_of_two) {
                self.scanner.keep_elements();
            }
            let (taken, ended) = self.scanner.feed(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            let Some(ended) = ended.filter(|ended| !ended.is_push) else { continue };
            let front = self.in_flight.front_mut().ok_or(BadReply::Unasked)?;
            front.is_error |= ended.is_error;
            front.is_nothing |= ended.is_nothing;
            front.replies_left = front.replies_left.saturating_sub(1);
            if front.replies_left == 0
                && let Some(flight) = self.in_flight.pop_front()
            {
                finished(flight, self.scanner.take_elements());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(kind: usize, replies_left: usize, is_first_of_two: bool) -> Flight {
        let started = Instant::ZERO;
        Flight {
            kind,
            id: 0,
            started,
            replies_left,
            is_first_of_two,
            is_error: false,
            is_nothing: false,
        }
    }

    #[test]
    fn replies_finish_operations_in_order() {
        let mut client = Client::default();
        client.started(flight(0, 2, false));
        client.started(flight(1, 1, true));
        client.started(flight(2, 1, false));
        let mut log = Vec::new();
        let stream = b"+OK\r\n-ERR a\r\n*1\r\n$1\r\nx\r\n$-1\r\n";
        for piece in stream.chunks(3) {
            let note = &mut |flight: Flight, elements: Vec<Vec<u8>>| {
                log.push((flight.kind, flight.is_error, flight.is_nothing, elements.len()));
            };
            client.on_bytes(piece, note).unwrap();
        }
        assert_eq!(log, [(0, true, false, 0), (1, false, false, 1), (2, false, true, 0)]);
        assert_eq!(client.error_text(), "ERR a");
        assert_eq!(client.on_bytes(b"+OK\r\n", &mut |_, _| {}), Err(BadReply::Unasked));
    }
}
