//! Whether a command may run, before anything of it does.

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use super::Executor;
use crate::client::Client;
use crate::command::{self, CommandError, CommandSpec, Refusal};

impl Executor {
    /// The row of a command that may run; `None`: it is refused, and the reply says why.
    pub(super) fn resolve(
        &mut self,
        now: UnixMillis,
        client: &mut Client,
        args: Args<'_>,
        reply: &mut Reply<'_>,
        attempt: u32,
    ) -> Option<&'static CommandSpec> {
        let start = reply.len();
        let resolved = command::resolve(args, client, self.engine.acl(), now).and_then(|spec| {
            match self.admit_to_table(now, spec, client, attempt) {
                Ok(()) => Ok(spec),
                Err(error) => Err(Refusal { spec: Some(spec), error }),
            }
        });
        let refusal = match resolved {
            Ok(spec) => return Some(spec),
            Err(refusal) => refusal,
        };
        self.stats.rejected += 1;
        if let Some(spec) = refusal.spec {
            self.stats.rejected_calls[spec.index()] += 1;
        }
        command::transaction::refuse(self, client, &refusal, reply);
        if !client.take_reply_permission() {
            reply.truncate(start);
        }
        None
    }

    /// Whether the client's table is where its user belongs, and allows the command.
    fn admit_to_table(
        &mut self,
        now: UnixMillis,
        spec: &CommandSpec,
        client: &mut Client,
        attempt: u32,
    ) -> Result<(), CommandError> {
        if client.needs_binding {
            self.bind(client)?;
            client.needs_binding = false;
        }
        // What has begun is counted, and goes on.
        if attempt > 0 || client.is_waiting() {
            return Ok(());
        }
        self.check_quota(now, spec, client)
    }
}
