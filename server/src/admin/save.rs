//! SAVE, BGSAVE, LASTSAVE and SHUTDOWN.
//!
//! Every write is in the log before it is acknowledged, so nothing has to be saved for it to
//! survive. SAVE and BGSAVE write the memtables to tables on disk: the next start is faster.

use std::sync::Arc;

use coney_engine::StoreError;
use tracing::{error as log_error, info};

use super::{Admin, AdminMessage, AdminRequest, Answer, error};

/// What a client reads if SAVE cannot even begin.
pub(super) const NO_THREAD_REPLY: &[u8] = b"-ERR no thread can be started\r\n";
const IN_PROGRESS: &str = "ERR Background save already in progress";

impl Admin {
    pub(super) fn save(&self, request: &AdminRequest) -> Answer {
        if self.saving.is_some() { error(request, IN_PROGRESS) } else { Answer::Saved }
    }

    pub(super) fn bgsave(&mut self, request: &AdminRequest) -> Answer {
        if self.saving.is_some() {
            return error(request, IN_PROGRESS);
        }
        if self.start_saving(None) {
            Answer::Now(request.reply(|reply| reply.simple("Background saving started")))
        } else {
            Answer::Now(NO_THREAD_REPLY.to_vec())
        }
    }

    /// Writes memtables to disk on a thread of its own.
    pub(super) fn start_saving(&mut self, asked_by: Option<Box<AdminRequest>>) -> bool {
        let engine = Arc::clone(&self.parts.engine);
        let client = self.parts.client.clone();
        let thread = std::thread::Builder::new().name("coney-save".to_owned()).spawn(move || {
            let outcome = engine.flush();
            // Closing the database needs the only reference to it.
            drop(engine);
            // The server may be stopping.
            client.messages.send(AdminMessage::Saved { asked_by, outcome }).ok();
        });
        self.saving = thread.ok();
        self.saving.is_some()
    }

    pub(super) fn on_saved(
        &mut self,
        asked_by: Option<Box<AdminRequest>>,
        outcome: Result<(), StoreError>,
    ) {
        if let Some(thread) = self.saving.take() {
            // It sent its last message, and ends.
            thread.join().expect("the panic hook ends the process");
        }
        self.save_failed = outcome.is_err();
        match &outcome {
            Ok(()) => self.last_save_unix_secs = self.parts.clock.unix_now().0 / 1000,
            Err(problem) => log_error!("memtables cannot be written to disk: {problem}"),
        }
        if let Some(request) = asked_by {
            let reply = request.reply(|reply| match &outcome {
                Ok(()) => reply.ok(),
                Err(problem) => reply.error(&problem.write_reply()),
            });
            request.answer(reply, false);
        }
    }

    pub(super) fn lastsave(&self, request: &AdminRequest) -> Answer {
        let secs = i64::try_from(self.last_save_unix_secs).unwrap_or(i64::MAX);
        Answer::Now(request.reply(|reply| reply.int(secs)))
    }

    /// Closes the connection that asks and stops the server. Acknowledged writes survive with SAVE
    /// and with NOSAVE.
    pub(super) fn shutdown(&mut self, request: &AdminRequest, args: &[&[u8]]) -> Answer {
        let words: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_ascii_uppercase()).collect();
        let has = |word: &[u8]| words.iter().any(|given| given == word);
        let is_known =
            |word: &Vec<u8>| matches!(word.as_slice(), b"NOSAVE" | b"SAVE" | b"NOW" | b"FORCE");
        if has(b"ABORT") {
            return match args.len() {
                1 => error(request, "ERR No shutdown in progress."),
                _ => error(request, "ERR syntax error"),
            };
        }
        if !words.iter().all(is_known) || (has(b"SAVE") && has(b"NOSAVE")) {
            return error(request, "ERR syntax error");
        }
        info!(client = request.client.id, "SHUTDOWN");
        self.parts.stopper.stop();
        Answer::Close(Vec::new())
    }
}
