//! An application that answers in transmit frames while it reads, as bytes of the input say.
//!
//! It keeps to what [`ReplyFrames`] asks of a worker: what found no frame waits, nothing is written
//! past it, and it leaves by `send` after the poll.

use coney_base::Instant;

use crate::transport::{ConnId, ReplyFrames, Transport};

/// Bytes that wait for room at most; replies beyond are not made.
const OWED_MAX: usize = 256 * 1024;

/// The replies of one connection. Each byte is a function of its position, and what is taken back was
/// wrong or is written again, so that a byte that stays where it should not is seen.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Bytes that the transport took.
    sent: u64,
    /// Bytes behind them that found no room.
    owed: usize,
    /// A `send` took less than offered, and nobody said since that there is room.
    is_blocked: bool,
    /// The connection shall be closed after the poll.
    wants_close: bool,
}

impl Replies {
    /// Answers as `script` says, each byte a step: the low three bits choose what is done, the others
    /// how much.
    ///
    /// # Panics
    /// If frames do not give back what was written into them.
    pub(super) fn answer(&mut self, frames: &mut dyn ReplyFrames, script: &[u8]) {
        let begin = self.sent;
        for step in script {
            let amount = usize::from(step >> 3);
            match step & 7 {
                0 => self.reply(frames, &[amount]),
                1 => self.reply(frames, &[amount * 100]),
                2 => self.reply(frames, &[0, amount * 16, 0, 0, 1, amount]),
                // More than a connection may have.
                3 => self.reply(frames, &[amount * 2000, amount * 2000]),
                4 => self.regret(frames, amount * 64),
                5 => self.take_back(frames, begin, amount * 64),
                6 => read_back(frames, &bytes_from(begin, self.sent)),
                _ if amount >= 28 => self.wants_close = true,
                _ => {
                    assert_eq!(frames.write(&[]), 0);
                    assert_eq!(frames.write(&[b"", b""]), 0);
                    frames.take_back(0);
                    read_back(frames, b"");
                }
            }
        }
        read_back(frames, &bytes_from(begin, self.sent));
    }

    /// A reply in parts of these lengths. Behind one that waits it waits too.
    fn reply(&mut self, frames: &mut dyn ReplyFrames, lens: &[usize]) {
        let len: usize = lens.iter().sum();
        if self.owed + len > OWED_MAX {
            return;
        }
        let mut taken = 0;
        if self.owed == 0 {
            let bytes = bytes_from(self.sent, self.sent + len as u64);
            let mut rest = &*bytes;
            let parts = lens.iter().map(|&len| rest.split_off(..len).unwrap_or_default());
            taken = frames.write(&parts.collect::<Vec<_>>());
            assert!(taken <= len, "{taken} bytes taken of {len}");
        }
        self.sent += taken as u64;
        self.owed += len - taken;
    }

    /// Writes what must not be sent, and takes it back.
    fn regret(&self, frames: &mut dyn ReplyFrames, len: usize) {
        if self.owed > 0 {
            return;
        }
        let mut wrong = bytes_from(self.sent, self.sent + len as u64);
        wrong.iter_mut().for_each(|byte| *byte = !*byte);
        let taken = frames.write(&[&wrong]);
        read_back(frames, &wrong[..taken]);
        frames.take_back(taken / 3);
        read_back(frames, &wrong[..taken - taken / 3]);
        frames.take_back(taken - taken / 3);
    }

    /// Takes back up to `len` of the bytes since `begin`, those that wait first.
    fn take_back(&mut self, frames: &mut dyn ReplyFrames, begin: u64, len: usize) {
        let waiting = self.owed.min(len);
        self.owed -= waiting;
        if self.owed == 0 {
            let back = ((len - waiting) as u64).min(self.sent - begin);
            frames.take_back(usize::try_from(back).expect("it was written at once"));
            self.sent -= back;
        }
    }

    /// Hands over what waits, and closes if the script says so; `true`: it did.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        conn: ConnId,
        transport: &mut impl Transport,
    ) -> bool {
        if self.owed > 0 && !self.is_blocked {
            let offered = std::mem::take(&mut self.owed);
            self.owed = offered - self.send(now, conn, transport, offered);
        }
        // What still waits is lost then.
        let closes = std::mem::take(&mut self.wants_close);
        if closes {
            transport.close(now, conn);
        }
        closes
    }

    /// Offers the next `len` bytes; returns how many were taken.
    pub(super) fn send(
        &mut self,
        now: Instant,
        conn: ConnId,
        transport: &mut impl Transport,
        len: usize,
    ) -> usize {
        let taken = transport.send(now, conn, &bytes_from(self.sent, self.sent + len as u64));
        assert!(taken <= len, "{taken} bytes taken of {len}");
        self.sent += taken as u64;
        self.is_blocked = taken < len;
        taken
    }

    /// There is room again.
    pub(super) fn on_writable(&mut self) {
        self.is_blocked = false;
    }
}

fn read_back(frames: &mut dyn ReplyFrames, expected: &[u8]) {
    let mut out = vec![b'!'];
    frames.read_back(expected.len(), &mut out);
    assert_eq!(out.split_first(), Some((&b'!', expected)), "what was written is read back");
}

fn bytes_from(begin: u64, end: u64) -> Vec<u8> {
    (begin..end).map(low_byte).collect()
}

/// The byte at a position of a stream.
pub(super) fn low_byte(position: u64) -> u8 {
    position.to_le_bytes()[0]
}
