//! What a command that stopped waits for.

use coney_base::UnixMillis;
use coney_resp::Args;

use super::{Executor, Park};
use crate::client::Client;
use crate::command::{self, CommandSpec, Flags, Stop, table};
use crate::job::{Job, Purpose, SlowCommand};
use crate::key;

/// Adds the keys of a command that is not executed yet to those that are fetched, up to `most` in all.
/// What is no command of ours has none.
pub fn fetch_too(table: u16, args: Args<'_>, most: usize, keys: &mut Vec<Vec<u8>>) {
    if let Ok(spec) = table::find(args)
        && spec.arity.accepts(args.len())
    {
        let room = most.saturating_sub(keys.len());
        keys.extend(meta_keys(spec, table, args).take(room));
    }
}

fn meta_keys<'a>(
    spec: &CommandSpec,
    table: u16,
    args: Args<'a>,
) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    spec.keys_of(args).map(move |user_key| {
        let mut meta_key = Vec::new();
        key::write_meta_key(&mut meta_key, table, user_key);
        meta_key
    })
}

impl Executor {
    /// What the command that stopped waits for.
    pub(super) fn park(
        &mut self,
        spec: &'static CommandSpec,
        client: &mut Client,
        now: UnixMillis,
        args: Args<'_>,
        stop: Stop,
    ) -> Park {
        // It is of several commands, of which each may write.
        let is_exec = client.transaction.is_some();
        match stop {
            Stop::Fetch if self.missed_element => {
                self.stats.fetches += 1;
                self.park_on_pool(spec, client, now, args, Purpose::Rehearse)
            }
            // It reads committed data only, and must see what this client wrote before it: also keys
            // that it does not latch (SORT).
            Stop::TooLong if self.has_uncommitted(client) => {
                self.commit_requested = true;
                Park::Latch
            }
            Stop::TooLong if is_exec || spec.flags.contains(Flags::WRITE) => {
                match self.hold(client) {
                    Some(hold) => {
                        let stripes = self.held_stripes(hold).to_vec();
                        let edges = self.edges_of(&stripes);
                        let purpose = Purpose::Build { hold, stripes, edges };
                        self.park_on_pool(spec, client, now, args, purpose)
                    }
                    None => {
                        self.commit_requested = true;
                        Park::Latch
                    }
                }
            }
            Stop::TooLong => {
                self.stats.pool_reads += 1;
                self.end_call(now, spec, client, args);
                self.park_on_pool(spec, client, now, args, Purpose::Reply)
            }
            Stop::Latch => {
                self.stats.latch_waits += 1;
                Park::Latch
            }
            Stop::Stall => Park::Stall,
            // Nobody writes meanwhile what is watched, or what the transaction latched.
            Stop::Ask => match self.hold(client) {
                Some(_) => Park::AdminQueue(command::transaction::questions(client)),
                None => {
                    self.commit_requested = true;
                    Park::Latch
                }
            },
            Stop::Wait(timeout_ms) => {
                self.wait(spec, client, args);
                Park::Wait { timeout_ms }
            }
            Stop::Fetch => {
                self.stats.fetches += 1;
                let mut keys: Vec<Vec<u8>> = meta_keys(spec, client.table, args).collect();
                // The key that was missed may be in another table (COPY, MOVE).
                if !keys.contains(&self.meta_key) {
                    keys.push(self.meta_key.clone());
                }
                Park::Job(Box::new(Job::Fetch(keys)))
            }
            Stop::Error(_) | Stop::Close => unreachable!("these end the command"),
        }
    }

    pub(super) fn park_on_pool(
        &mut self,
        spec: &'static CommandSpec,
        client: &Client,
        now: UnixMillis,
        args: Args<'_>,
        purpose: Purpose,
    ) -> Park {
        let command = SlowCommand {
            spec,
            args: args.to_owned(),
            database: client.database,
            protocol: client.protocol,
            now,
            random: self.next_random(),
            client: client.id,
            state: self.state_for_pool(client, &purpose),
            stopwatch: self.stopwatch.another(),
            purpose,
        };
        Park::Job(Box::new(Job::Command(Box::new(command))))
    }
}
