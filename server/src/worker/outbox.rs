//! The replies of one connection, and how many of them may leave.
//!
//! A reply that depends on a write waits until that write is in the log (and, with
//! `sync = always`, on the disk); everything after it waits too, because RESP replies keep their
//! order. If the write fails, the replies since then are replaced by the error.
//!
//! ```text
//! buf   [ sent | released | held for the disk | uncommitted ]
//!         sent ^          ^ first hold        ^ uncommitted_from
//! ```

use std::collections::VecDeque;

/// Sent bytes are cut off the front once there are this many of them.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    buf: Vec<u8>,
    sent: usize,
    /// Offset of the first reply that depends on an uncommitted write.
    uncommitted_from: Option<usize>,
    /// Replies since there, to know how many errors to send instead.
    uncommitted_replies: u32,
    /// Replies that wait for the disk: up to which offset, and for which ticket.
    holds: VecDeque<Hold>,
    /// What may leave when there are holds.
    released: usize,
}

#[derive(Debug)]
struct Hold {
    end: usize,
    ticket: u64,
}

impl Outbox {
    /// The buffer, to append a reply to.
    pub(crate) fn buf_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// Puts what `write` appends in front of all there is. Nothing in it was sent or waits.
    pub(crate) fn put_first(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let len = self.buf.len();
        write(&mut self.buf);
        self.buf.rotate_left(len);
    }

    /// Gives an empty outbox a buffer to reuse.
    pub(crate) fn adopt(&mut self, buf: Vec<u8>) {
        if self.buf.capacity() == 0 {
            self.buf = buf;
        }
    }

    /// Whether it has no buffer at all.
    pub(crate) fn has_no_buffer(&self) -> bool {
        self.buf.capacity() == 0
    }

    /// Takes the buffer of an empty outbox for reuse.
    pub(crate) fn surrender(&mut self) -> Option<Vec<u8>> {
        if self.is_empty() && self.buf.capacity() > 0 {
            Some(std::mem::take(&mut self.buf))
        } else {
            None
        }
    }

    /// Bytes in the buffer, an offset for [`Outbox::mark_uncommitted`].
    pub(crate) fn end(&self) -> usize {
        self.buf.len()
    }

    /// What was appended since the buffer ended at `start`.
    pub(crate) fn written_since(&self, start: usize) -> Option<&[u8]> {
        self.buf.get(start..)
    }

    /// Bytes of memory that the buffer holds.
    pub(crate) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Bytes not yet handed to the transport.
    pub(crate) fn pending_len(&self) -> usize {
        self.buf.len() - self.sent
    }

    /// Whether everything was handed to the transport.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.buf.len()
    }

    /// Whether all of it may leave, and none of it did.
    pub(crate) fn is_free(&self) -> bool {
        self.sent == 0 && self.uncommitted_from.is_none() && self.holds.is_empty()
    }

    /// The reply that starts at `start` depends on writes that are not committed yet.
    pub(crate) fn mark_uncommitted(&mut self, start: usize) {
        if self.buf.len() > start {
            self.uncommitted_from.get_or_insert(start);
            self.uncommitted_replies = self.uncommitted_replies.saturating_add(1);
        }
    }

    /// Whether replies wait for a commit.
    pub(crate) fn is_uncommitted(&self) -> bool {
        self.uncommitted_from.is_some()
    }

    /// The writes are in the log. With a ticket, the replies go on waiting for the disk.
    pub(crate) fn committed(&mut self, ticket: Option<u64>) {
        let Some(start) = self.uncommitted_from.take() else { return };
        self.uncommitted_replies = 0;
        let Some(ticket) = ticket else { return };
        // What lies between the last hold and here waits only for that hold.
        match self.holds.back_mut() {
            Some(last) => last.end = start,
            None => self.released = start,
        }
        self.holds.push_back(Hold { end: self.buf.len(), ticket });
    }

    /// The writes failed: `error` (a whole RESP error) replaces each reply since then.
    pub(crate) fn failed(&mut self, error: &[u8]) {
        let Some(start) = self.uncommitted_from.take() else { return };
        self.buf.truncate(start);
        for _ in 0..std::mem::take(&mut self.uncommitted_replies) {
            self.buf.extend_from_slice(error);
        }
    }

    /// Everything up to `ticket` is on the disk.
    pub(crate) fn durable(&mut self, ticket: u64) {
        while let Some(hold) = self.holds.front() {
            if hold.ticket > ticket {
                break;
            }
            self.released = hold.end;
            self.holds.pop_front();
        }
    }

    /// Whether replies wait for the disk.
    pub(crate) fn awaits_disk(&self) -> bool {
        !self.holds.is_empty()
    }

    /// What may leave now.
    pub(crate) fn sendable(&self) -> &[u8] {
        let mut end = self.uncommitted_from.unwrap_or(self.buf.len());
        if !self.holds.is_empty() {
            end = end.min(self.released);
        }
        self.buf.get(self.sent..end).unwrap_or_default()
    }

    /// The transport took `len` bytes of [`Outbox::sendable`].
    pub(crate) fn advance(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.buf.len() {
            self.buf.clear();
            self.sent = 0;
            self.released = 0;
        } else if self.sent >= COMPACT_BYTES_MIN && self.sent >= self.buf.len() / 2 {
            let cut = std::mem::take(&mut self.sent);
            self.buf.drain(..cut);
            self.released = self.released.saturating_sub(cut);
            self.uncommitted_from = self.uncommitted_from.map(|start| start - cut);
            for hold in &mut self.holds {
                hold.end -= cut;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(outbox: &mut Outbox, text: &str, depends_on_write: bool) {
        let start = outbox.end();
        outbox.buf_mut().extend_from_slice(text.as_bytes());
        if depends_on_write || outbox.is_uncommitted() {
            outbox.mark_uncommitted(start);
        }
    }

    fn send_all(outbox: &mut Outbox) -> String {
        let bytes = outbox.sendable().to_vec();
        outbox.advance(bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn replies_since_a_write_wait_for_its_commit() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, "a", false);
        reply(&mut outbox, "b", true);
        reply(&mut outbox, "c", false);
        assert_eq!(send_all(&mut outbox), "a");
        assert_eq!(send_all(&mut outbox), "");
        outbox.committed(None);
        assert_eq!(send_all(&mut outbox), "bc");
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_failed_write_turns_every_reply_since_then_into_the_error() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, "a", false);
        reply(&mut outbox, "b", true);
        reply(&mut outbox, "c", false);
        outbox.failed(b"E");
        assert_eq!(send_all(&mut outbox), "aEE");
    }

    #[test]
    fn replies_wait_for_the_disk_in_order() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, "a", true);
        outbox.committed(Some(1));
        reply(&mut outbox, "b", false);
        reply(&mut outbox, "c", true);
        outbox.committed(Some(2));
        assert_eq!(send_all(&mut outbox), "");
        outbox.durable(1);
        assert_eq!(send_all(&mut outbox), "ab");
        outbox.durable(2);
        assert_eq!(send_all(&mut outbox), "c");
        assert!(!outbox.awaits_disk());
    }

    #[test]
    fn cutting_off_what_was_sent_keeps_the_marks_in_place() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, &"x".repeat(COMPACT_BYTES_MIN), false);
        reply(&mut outbox, "held", true);
        outbox.committed(Some(7));
        reply(&mut outbox, "new", true);
        assert_eq!(send_all(&mut outbox).len(), COMPACT_BYTES_MIN);
        assert_eq!(outbox.end(), 7, "the front was cut off");
        assert_eq!(send_all(&mut outbox), "");
        outbox.durable(7);
        assert_eq!(send_all(&mut outbox), "held");
        outbox.committed(None);
        assert_eq!(send_all(&mut outbox), "new");
    }

    #[test]
    fn a_buffer_is_surrendered_only_when_nothing_is_pending() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, "a", false);
        assert!(outbox.surrender().is_none());
        send_all(&mut outbox);
        assert!(outbox.surrender().is_some());
        assert!(outbox.has_no_buffer());
    }
}
