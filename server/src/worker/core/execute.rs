//! One command: where its reply goes, and what that waits for.
//!
//! A reply that depends on no write goes into the connection's transmit frames, if its transport lends
//! them and no earlier reply waits. Short ones behind each other are gathered in the session's outbox
//! until the burst ends: one call for many. Everything else goes to the outbox for good. What a command
//! writes is known only afterwards, so a reply may have to be moved from there to here.

use coney_base::UnixMillis;
use coney_datapath::transport::ReplyFrames;
use coney_engine::{Executor, Outcome, Park};
use coney_resp::{Args, Reply, Sink};

use super::Due;
use crate::worker::session::{Session, State};
use crate::worker::stats::Stats;

/// Short replies that are gathered before they go into frames: a few segments, still in the cache.
const GATHERED_BYTES_MAX: usize = 8 * 1024;

/// The frames of one connection, as a place for replies.
struct Frames<'a, 'f>(&'a mut (dyn ReplyFrames + 'f));

impl Sink for Frames<'_, '_> {
    fn write(&mut self, parts: &[&[u8]]) -> usize {
        self.0.write(parts)
    }

    fn take_back(&mut self, len: usize) {
        self.0.take_back(len);
    }
}

/// Executes one command and notes what its reply waits for. `Some`: it has to wait itself.
pub(super) fn execute(
    (executor, due, stats): &mut (&mut Executor, &mut Due, &mut Stats),
    session: &mut Session,
    unix_now: UnixMillis,
    args: Args<'_>,
    attempt: u32,
    frames: Option<&mut (dyn ReplyFrames + '_)>,
) -> Option<Park> {
    if session.outbox.has_no_buffer()
        && let Some(buf) = due.spare_buffers.pop()
    {
        session.outbox.adopt(buf);
    }
    let mut frames = frames.filter(|_| session.outbox.is_free()).map(Frames);
    let start = session.outbox.end();
    let writes_before = executor.write_count();
    let protocol = session.client.protocol;
    let out = session.outbox.buf_mut();
    let mut reply = match &mut frames {
        Some(frames) => Reply::with_sink(out, protocol, frames),
        None => Reply::new(out, protocol),
    };
    let outcome = executor.execute(unix_now, &mut session.client, args, &mut reply, attempt);
    let mut sunk = reply.sunk();
    let writes = executor.write_count();
    let is_bound = writes > 0
        && (writes > writes_before || executor.leans_on_batch() || session.outbox.is_uncommitted());
    if is_bound {
        if let Some(frames) = &mut frames
            && sunk > 0
        {
            session.outbox.put_first(|buf| frames.0.read_back(sunk, buf));
            frames.0.take_back(sunk);
            sunk = 0;
        }
        if session.outbox.end() > start {
            if !session.outbox.is_uncommitted() {
                due.uncommitted.push(session.key);
            }
            session.outbox.mark_uncommitted(start);
            session.wrote |= writes > writes_before;
        }
    }
    if sunk == 0 {
        count_error(stats, session, start);
    }
    session.tx_bytes += sunk as u64;
    stats.tx_bytes += sunk as u64;
    if let Some(frames) = &mut frames
        && !is_bound
        && matches!(outcome, Outcome::Done)
        && session.state == State::Open
    {
        if session.outbox.pending_len() >= GATHERED_BYTES_MAX {
            end_burst((due, stats), session, frames.0);
        }
        return None;
    }
    due.mark_dirty(session);
    match outcome {
        Outcome::Done => None,
        Outcome::Close => {
            session.state = State::Closing;
            None
        }
        Outcome::Park(park) => Some(park),
    }
}

/// Puts what was gathered into the frames; what finds no room is sent from the outbox.
pub(super) fn end_burst(
    (due, stats): (&mut Due, &mut Stats),
    session: &mut Session,
    frames: &mut (dyn ReplyFrames + '_),
) {
    if session.outbox.is_free() && !session.outbox.is_empty() {
        let taken = frames.write(&[session.outbox.sendable()]);
        session.outbox.advance(taken);
        session.tx_bytes += taken as u64;
        stats.tx_bytes += taken as u64;
    }
    if session.outbox.is_empty() {
        // The transport sends what is in frames without being told.
        session.outbox.surrender().into_iter().for_each(|buf| due.keep_buffer(buf));
    } else {
        due.mark_dirty(session);
    }
}

/// Counts the reply that starts at `start` if it is an error.
pub(super) fn count_error(stats: &mut Stats, session: &Session, start: usize) {
    if let Some([b'-', text @ ..]) = session.outbox.written_since(start) {
        stats.count_error(text);
    }
}
