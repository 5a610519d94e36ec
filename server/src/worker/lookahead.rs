//! A look at the commands that come next in a pipeline.
//!
//! With many keys, most of a command's time is spent waiting for memory: the entry of its key is in
//! no CPU cache. One command after the other waits alone; looked up side by side, up to
//! [`COMMANDS_MAX`] wait together. So the commands are delimited twice, which is cheap, and the
//! entries of their keys are touched before the first of them is executed.
//!
//! With keys that are on the device only, the same holds for the device: when a command has to wait for
//! its keys, those of the commands behind it are fetched along with them.

use coney_engine::executor::fetch_too;
use coney_engine::{Executor, Job, key};
use coney_resp::{Limits, Parser, Scratch, Step};

/// Commands looked at together: enough misses for the CPU to overlap, few enough entries to stay
/// in its first-level cache until they are needed.
const COMMANDS_MAX: usize = 16;
/// Commands and keys whose fetch begins together: enough for a device's queue.
const FETCHED_COMMANDS_MAX: usize = 64;
const FETCHED_KEYS_MAX: usize = 128;

/// See the module page.
#[derive(Debug, Default)]
pub(super) struct Lookahead {
    scratch: Scratch,
    prefixes: Vec<u64>,
}

impl Lookahead {
    /// Looks at the commands at the start of `bytes` and returns how many bytes they are. What
    /// turns out to be no command is left to the one who executes.
    pub(super) fn warm(
        &mut self,
        executor: &Executor,
        table: u16,
        bytes: &[u8],
        limits: Limits,
    ) -> usize {
        let mut parser = Parser::default();
        let mut at = 0;
        self.prefixes.clear();
        for _ in 0..COMMANDS_MAX {
            let rest = bytes.get(at..).unwrap_or_default();
            match parser.next(rest, limits, &mut self.scratch) {
                // A single command has nothing to wait together with.
                Ok(Step::Command { consumed }) if consumed == bytes.len() => return consumed,
                Ok(Step::Command { consumed }) => {
                    // By far the most commands have their first key here; for others, nothing is
                    // found, or touched in vain.
                    if let Some(user_key) = self.scratch.args(rest).get(1) {
                        self.prefixes.push(key::meta_prefix(table, user_key));
                    }
                    at += consumed;
                }
                Ok(Step::Nothing { consumed }) => at += consumed,
                Ok(Step::Incomplete) | Err(_) => break,
            }
        }
        executor.warm(&self.prefixes);
        at
    }

    /// If `job` fetches keys, it also fetches those of the commands at the start of `bytes`.
    pub(super) fn fetch_too(&mut self, job: &mut Job, table: u16, bytes: &[u8], limits: Limits) {
        let Job::Fetch(keys) = job else { return };
        let mut parser = Parser::default();
        let mut at = 0;
        for _ in 0..FETCHED_COMMANDS_MAX {
            let rest = bytes.get(at..).unwrap_or_default();
            match parser.next(rest, limits, &mut self.scratch) {
                Ok(Step::Command { consumed }) => {
                    fetch_too(table, self.scratch.args(rest), FETCHED_KEYS_MAX, keys);
                    at += consumed;
                }
                Ok(Step::Nothing { consumed }) => at += consumed,
                Ok(Step::Incomplete) | Err(_) => break,
            }
        }
    }
}
