//! Sessions whose blocking commands wait for elements, or any commands for the end of a pause.
//!
//! The engine knows who waits for what and calls clients ([`coney_engine::Executor::take_called`]);
//! the worker keeps their commands parked, executes them again, and ends them when their time is
//! over.

use std::time::Duration;

use coney_base::Instant;
use coney_resp::Reply;

use super::core::Core;
use super::session::{Parked, Session, SessionKey, State, Wait};

impl Core {
    /// Keeps a blocking command until its client is called or its time is over.
    pub(super) fn wait(&mut self, key: SessionKey, mut parked: Box<Parked>, timeout_ms: u64) {
        let until = (timeout_ms > 0).then(|| parked.since + Duration::from_millis(timeout_ms));
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.client.awaited_ticket.is_some_and(|ticket| ticket > self.durable_ticket) {
            self.awaiting_sync.push(key);
            self.sync.request();
        }
        parked.wait = Some(Wait { until });
        parked.has_waited = true;
        session.parked = Some(parked);
        if session.state != State::Open {
            self.end_waiting(key);
        } else if let Some(until) = until {
            if until <= now {
                self.time_out(key);
            } else {
                let client = session.client.id;
                self.waits_until.insert((until, client));
            }
        }
    }

    /// Executes the commands again whose clients were called, and ends those whose time is over.
    /// Returns how many they were.
    pub(crate) fn resume_called(&mut self) -> usize {
        let called = self.executor.take_called();
        for client in &called {
            let Some(&key) = self.by_client.get(client) else { continue };
            // A command that waits for something else meanwhile is executed again anyway.
            if self.sessions.get_mut(key).is_some_and(|session| session.is_waiting()) {
                self.run_parked(key);
            }
        }
        let mut ended = 0;
        while let Some(&(until, client)) = self.waits_until.first()
            && until <= self.now
        {
            self.waits_until.pop_first();
            ended += 1;
            if let Some(&key) = self.by_client.get(&client) {
                self.time_out(key);
            }
        }
        called.len() + ended
    }

    /// Everything up to `ticket` is on the disk: executes the commands again that wait for that.
    pub(super) fn resume_synced(&mut self, ticket: u64) {
        for key in std::mem::take(&mut self.awaiting_sync) {
            let awaited = |session: &Session| session.client.awaited_ticket;
            match self.sessions.get_mut(key).filter(|it| it.is_waiting()).and_then(|it| awaited(it))
            {
                Some(awaited) if awaited <= ticket => self.run_parked(key),
                Some(_) => self.awaiting_sync.push(key),
                // It does not wait any more.
                None => {}
            }
        }
    }

    /// After CLIENT PAUSE, executes the commands that waited for its end. Returns how many they were.
    pub(crate) fn resume_paused(&mut self) -> usize {
        if !self.has_resumable() {
            return 0;
        }
        let paused = std::mem::take(&mut self.paused);
        for &key in &paused {
            self.run_parked(key);
        }
        paused.len()
    }

    /// Whether commands waited for the end of a pause that is over.
    pub(crate) fn has_resumable(&self) -> bool {
        !self.paused.is_empty() && self.executor.paused_until(self.unix_now).is_none()
    }

    /// When the pause ends that commands wait for.
    pub(crate) fn next_resumption(&self) -> Option<Instant> {
        let until =
            self.executor.paused_until(self.unix_now).filter(|_| !self.paused.is_empty())?;
        Some(self.now + Duration::from_millis(until.0.saturating_sub(self.unix_now.0)))
    }

    /// Wakes the workers whose clients were called.
    pub(crate) fn wake_called(&mut self) {
        for worker in self.executor.take_called_workers() {
            if let Some(peer) = self.peers.get(worker) {
                peer.wake();
            }
        }
    }

    /// When the first blocking command ends by itself.
    pub(crate) fn next_time_out(&self) -> Option<Instant> {
        self.waits_until.first().map(|(until, _)| *until)
    }

    /// Whether clients were called whose commands are not executed again yet.
    pub(crate) fn has_called(&self) -> bool {
        self.executor.has_called()
    }

    /// CLIENT UNBLOCK; `false`: the client does not wait, at least not here.
    pub(crate) fn unblock(&mut self, client: u64, with_error: bool) -> bool {
        let Some(&key) = self.by_client.get(&client) else { return false };
        let error = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
        self.end_wait(key, with_error.then_some(error))
    }

    fn time_out(&mut self, key: SessionKey) {
        self.end_wait(key, None);
    }

    /// Ends a blocking command that waits, with an error or as if its time were over; `false`: it does
    /// not wait.
    fn end_wait(&mut self, key: SessionKey, error: Option<&str>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let Some(parked) = &session.parked else { return false };
        let Some(wait) = parked.wait else { return false };
        if let Some(until) = wait.until {
            self.waits_until.remove(&(until, session.client.id));
        }
        let mut text = Vec::new();
        let mut reply = Reply::new(&mut text, session.client.protocol);
        let args = parked.args.as_args();
        self.executor.give_up(self.unix_now, &mut session.client, args, &mut reply);
        if let Some(error) = error {
            reply.truncate(0);
            reply.error(error);
        }
        self.on_answer(key, &text, false);
        true
    }

    /// Ends the session of a client that has gone while its command waited.
    pub(super) fn end_waiting(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let client = session.client.id;
        if let Some(Wait { until: Some(until) }) = session.parked.take().and_then(|it| it.wait) {
            self.waits_until.remove(&(until, client));
        }
        session.input = Vec::new();
        session.state = State::Closing;
        self.executor.stop_waiting(&mut session.client);
        self.mark_dirty(key);
    }
}
