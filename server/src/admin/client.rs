//! CLIENT LIST, CLIENT INFO, CLIENT KILL and CLIENT UNBLOCK.

use coney_control::clients::{ClientRow, Filter, FilterError};
use coney_resp::Reply;

use super::{Admin, AdminRequest, Answer, error, unknown};
use crate::worker::inbox::Message;

impl Admin {
    pub(super) fn client(&self, request: &AdminRequest, sub: &[u8], args: &[&[u8]]) -> Answer {
        match sub {
            b"list" => self.client_list(request, args),
            b"info" => self.client_info(request),
            b"kill" => self.client_kill(request, args),
            b"unblock" => self.client_unblock(request, args),
            _ => unknown(request, "CLIENT", sub),
        }
    }

    fn clients(&self) -> Vec<ClientRow> {
        let mut rows: Vec<ClientRow> =
            self.ask(Message::ListClients).into_iter().flatten().collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    fn client_list(&self, request: &AdminRequest, args: &[&[u8]]) -> Answer {
        let filter = match Filter::parse_list(args) {
            Ok(filter) => filter,
            Err(problem) => return error(request, &problem.to_string()),
        };
        let now = self.parts.clock.unix_now();
        let mut text = Vec::new();
        for row in self.clients() {
            if filter.accepts(&row, request.client.id, now) {
                row.write(&mut text, now);
                text.push(b'\n');
            }
        }
        Answer::Now(request.reply(|reply| reply.verbatim(*b"txt", &text)))
    }

    fn client_info(&self, request: &AdminRequest) -> Answer {
        let mut text = Vec::new();
        request.client.write(&mut text, self.parts.clock.unix_now());
        text.push(b'\n');
        Answer::Now(request.reply(|reply| reply.verbatim(*b"txt", &text)))
    }

    fn client_kill(&self, request: &AdminRequest, args: &[&[u8]]) -> Answer {
        if let [addr] = args {
            return match self.kill(request, &Filter::of_addr(addr)) {
                (0, _) => error(request, "ERR No such client"),
                (_, is_self) => killed(request, is_self, |reply| reply.ok()),
            };
        }
        match Filter::parse_kill(args) {
            Ok(Filter { user: Some(user), .. }) if !self.parts.engine.acl().has_user(&user) => {
                let name = String::from_utf8_lossy(&user).into_owned();
                error(request, &FilterError::NoSuchUser(name).to_string())
            }
            Ok(filter) => {
                let (count, is_self) = self.kill(request, &filter);
                killed(request, is_self, |reply| reply.count(count))
            }
            Err(problem) => error(request, &problem.to_string()),
        }
    }

    fn client_unblock(&self, request: &AdminRequest, args: &[&[u8]]) -> Answer {
        let (id, with_error) = match args {
            [id] => (id, false),
            [id, how] if how.eq_ignore_ascii_case(b"timeout") => (id, false),
            [id, how] if how.eq_ignore_ascii_case(b"error") => (id, true),
            _ => {
                return error(request, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            }
        };
        let Some(id) = coney_resp::number::parse_i64(id) else {
            return error(request, "ERR value is not an integer or out of range");
        };
        let client = u64::try_from(id).unwrap_or(0);
        let count: usize =
            self.ask(|answer| Message::Unblock { client, with_error, answer }).into_iter().sum();
        Answer::Now(request.reply(|reply| reply.count(count)))
    }

    /// Ends the clients that `filter` means. Returns how many they were, and whether the one that
    /// asks is among them: it is to be closed after its reply.
    pub(super) fn kill(&self, request: &AdminRequest, filter: &Filter) -> (usize, bool) {
        let (me, now) = (request.client.id, self.parts.clock.unix_now());
        let mut ids: Vec<u64> = self
            .clients()
            .iter()
            .filter(|row| filter.accepts(row, me, now))
            .map(|row| row.id)
            .collect();
        let is_self = ids.contains(&me);
        ids.retain(|id| *id != me);
        let killed: usize = self.ask(|answer| Message::Kill(ids.clone(), answer)).into_iter().sum();
        (killed + usize::from(is_self), is_self)
    }
}

fn killed(request: &AdminRequest, is_self: bool, write: impl FnOnce(&mut Reply<'_>)) -> Answer {
    let reply = request.reply(write);
    if is_self { Answer::Close(reply) } else { Answer::Now(reply) }
}
