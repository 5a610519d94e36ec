//! Work that may wait for the device: done on a thread of the I/O pool, never on a worker.

use coney_base::UnixMillis;
use coney_resp::{OwnedArgs, Protocol, Reply};

use crate::command::{CommandSpec, Handler, SlowContext};
use crate::engine::Engine;

/// What a parked command needs.
#[derive(Debug)]
pub enum Job {
    /// Bring these meta keys into memory; then the command is executed again.
    Fetch(Vec<Vec<u8>>),
    /// Execute the whole command.
    Command(SlowCommand),
}

/// A command that runs on the pool, with read access only.
#[derive(Debug)]
pub struct SlowCommand {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) args: OwnedArgs,
    pub(crate) table: u16,
    pub(crate) protocol: Protocol,
    pub(crate) now: UnixMillis,
    /// A random number, for RANDOMKEY.
    pub(crate) random: u64,
}

/// The outcome of a [`Job`].
#[derive(Debug)]
pub enum JobDone {
    /// The keys are in memory: execute the command again.
    Fetched,
    /// The reply, in RESP.
    Replied(Vec<u8>),
}

impl Engine {
    /// Does a job. Waits for the device if it has to.
    pub fn run(&self, job: Job) -> JobDone {
        match job {
            Job::Fetch(keys) => {
                self.fetch(&keys);
                JobDone::Fetched
            }
            Job::Command(command) => JobDone::Replied(self.run_slow(&command)),
        }
    }

    fn run_slow(&self, command: &SlowCommand) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, command.protocol);
        let context = SlowContext {
            engine: self,
            table: command.table,
            now: command.now,
            random: command.random,
        };
        let Handler::Slow(handler) = command.spec.handler else {
            unreachable!("only slow commands become jobs");
        };
        if let Err(error) = handler(&context, command.args.as_args(), &mut reply) {
            reply.truncate(0);
            error.write(&mut reply, command.spec.full_name);
        }
        out
    }
}
