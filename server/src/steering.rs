//! The XDP program on a thread of its own: no other keeps the privilege to change it.

use std::thread::JoinHandle;

use coney_xdp_prog::{Counters, Error, Program, Rules};
use crossbeam_channel::{Receiver, Sender, bounded};

/// Requests that may wait; the admin thread asks one at a time.
const REQUESTS_MAX: usize = 1;

/// Asks the program's thread. Frames are steered as long as one of these exists.
#[derive(Clone, Debug)]
pub(crate) struct Steering(Sender<Request>);

enum Request {
    SetRules(Box<Rules>, Sender<Result<(), Error>>),
    Counters(Sender<Result<Counters, Error>>),
}

impl Steering {
    /// Starts the thread. It inherits the privileges of the caller.
    ///
    /// # Errors
    /// There is no thread left.
    pub(crate) fn start(program: Program) -> Result<(Self, JoinHandle<()>), std::io::Error> {
        let (sender, requests) = bounded(REQUESTS_MAX);
        let thread = std::thread::Builder::new()
            .name("coney-steering".to_owned())
            .spawn(move || run(&program, &requests))?;
        Ok((Self(sender), thread))
    }

    /// See [`Program::set_rules`].
    pub(crate) fn set_rules(&self, rules: &Rules) -> Result<(), Error> {
        self.ask(|answer| Request::SetRules(Box::new(rules.clone()), answer))
    }

    /// See [`Program::counters`].
    pub(crate) fn counters(&self) -> Result<Counters, Error> {
        self.ask(Request::Counters)
    }

    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> T {
        let (sender, answer) = bounded(1);
        self.0.send(request(sender)).expect("the thread lives as long as somebody can ask it");
        answer.recv().expect("it answers, or its panic ends the process")
    }
}

fn run(program: &Program, requests: &Receiver<Request>) {
    for request in requests {
        // Who asked waits for the answer.
        match request {
            Request::SetRules(rules, answer) => answer.send(program.set_rules(&rules)).ok(),
            Request::Counters(answer) => answer.send(program.counters()).ok(),
        };
    }
}
