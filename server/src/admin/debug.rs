//! DEBUG: the subcommands that tests and clients use, none of which can do harm.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::info;

use super::{Admin, AdminRequest, Answer, error, ok};

/// DEBUG SLEEP of more than this sleeps this long.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <message>",
    "    Reply with the error <message>.",
    "LOG <message>",
    "    Write <message> to the server's log.",
    "RELOAD",
    "    Write all memtables to disk.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Turn active expiry off or on.",
    "SLEEP <seconds>",
    "    Reply after <seconds>, which may have decimals. Other clients are served meanwhile.",
    "HELP",
    "    Print this help.",
];

impl Admin {
    pub(super) fn debug(&self, request: &AdminRequest, sub: &[u8], args: &[&[u8]]) -> Answer {
        match (sub, args) {
            (b"sleep", [seconds]) => self.debug_sleep(request, seconds),
            (b"set-active-expire", [flag]) => {
                self.parts.runtime.active_expire.store(*flag != b"0", Ordering::Relaxed);
                ok(request)
            }
            (b"reload", _) => self.save(request),
            // What these do in Redis has no counterpart here, and nothing is wrong with that.
            (b"jmap" | b"quicklist-packed-threshold" | b"set-disable-deny-scripts", _) => {
                ok(request)
            }
            (b"error", [text]) => Answer::Now(request.reply(|reply| reply.error_bytes(text))),
            (b"log", [text]) => {
                info!(client = request.client.id, "DEBUG LOG: {}", text.escape_ascii());
                ok(request)
            }
            (b"help", []) => Answer::Now(request.reply(|reply| {
                reply.array(HELP.len());
                HELP.iter().for_each(|line| reply.simple(line));
            })),
            _ => {
                let sub = String::from_utf8_lossy(sub).into_owned();
                let text = format!(
                    "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try DEBUG \
                     HELP."
                );
                error(request, &text)
            }
        }
    }

    /// Delays this client's reply only: a worker never sleeps.
    fn debug_sleep(&self, request: &AdminRequest, seconds: &[u8]) -> Answer {
        let seconds: Option<f64> =
            std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok());
        let Some(sleep) = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        else {
            return error(request, "ERR value is not a valid float");
        };
        let at = self.parts.clock.now() + sleep.min(SLEEP_MAX);
        Answer::Later(at, request.reply(|reply| reply.ok()))
    }
}
