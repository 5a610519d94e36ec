//! Mail: what a worker has to say to clients, its own ones and those of other workers.
//!
//! Mail that depends on what was written leaves after the commit of the batch that was open then, so
//! whoever gets it finds what was written before it; it is lost with that batch. Then it goes into the
//! mailboxes of the workers that have readers, which are queues without locks. What happens while a mailbox
//! is full is up to the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coney_resp::{Protocol, Reply};
use crossbeam_queue::SegQueue;

use crate::client::Client;
use crate::executor::Executor;
use crate::pubsub::Message;
use crate::tracking::{self, Invalidated};

/// Bytes of mail that may wait for one worker.
pub const MAILBOX_BYTES_MAX: usize = 64 << 20;

/// See the module page.
#[derive(Debug)]
pub enum Mail {
    /// For subscribers.
    Message(Message),
    /// A command that was executed, as a line for those in MONITOR.
    Monitored(Vec<u8>),
    /// For clients that keep values of keys.
    Invalidated(Invalidated),
    /// The same, for the client that another one redirects its invalidations to.
    Redirected {
        /// Who reads it.
        client: u64,
        /// See [`Letter::Invalidated`].
        keys: Option<Vec<Vec<u8>>>,
    },
}

impl Mail {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Message(message) => message.bytes(),
                Self::Monitored(line) => line.len(),
                Self::Invalidated(invalidated) => invalidated.bytes(),
                Self::Redirected { keys, .. } => keys.iter().flatten().map(Vec::len).sum(),
            }
    }
}

/// What one client reads of a piece of mail.
#[derive(Clone, Copy, Debug)]
pub enum Letter<'a> {
    /// With the pattern, if it comes because of one.
    Message(&'a Message, Option<&'a [u8]>),
    /// See [`Mail::Monitored`].
    Monitored(&'a [u8]),
    /// The values of these keys are no longer good; `None`: of any key.
    Invalidated {
        /// Names of keys.
        keys: Option<&'a [&'a [u8]]>,
        /// Another client redirects them here.
        is_redirected: bool,
    },
    /// The client that this one redirects its invalidations to is gone.
    Broken(u64),
}

impl Letter<'_> {
    /// Writes it as the client reads it, if it can.
    pub fn write(&self, client: &mut Client, out: &mut Vec<u8>) {
        let reply = &mut Reply::new(out, client.protocol);
        match self {
            Self::Message(message, pattern) => message.write(*pattern, reply),
            Self::Monitored(line) => {
                reply.raw(b"+");
                reply.raw(line);
                reply.raw(b"\r\n");
            }
            Self::Invalidated { keys, is_redirected } => {
                tracking::write_invalidation(client, *keys, *is_redirected, reply);
            }
            Self::Broken(redirect) => {
                if let Some(tracking) = &mut client.tracking {
                    tracking.is_broken = true;
                }
                if client.protocol == Protocol::Resp3 {
                    reply.push(2);
                    reply.bulk(b"tracking-redir-broken");
                    reply.int(i64::try_from(*redirect).unwrap_or(i64::MAX));
                }
            }
        }
    }
}

/// Mail on its way into the mailboxes.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) mail: Arc<Mail>,
    /// Workers with readers.
    pub(crate) targets: Vec<usize>,
    /// It is lost if the open batch is.
    pub(crate) needs_batch: bool,
}

#[derive(Debug, Default)]
struct Mailbox {
    /// What is in the queue, or is just being put there.
    bytes: AtomicUsize,
    letters: SegQueue<Arc<Mail>>,
}

/// One for each worker.
#[derive(Debug)]
pub(crate) struct Mailboxes(Box<[Mailbox]>);

impl Mailboxes {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mailbox::default()).collect())
    }

    pub(crate) fn is_full(&self, worker: usize) -> bool {
        self.0[worker].bytes.load(Ordering::Relaxed) > MAILBOX_BYTES_MAX
    }

    fn post(&self, worker: usize, mail: &Arc<Mail>) {
        let mailbox = &self.0[worker];
        mailbox.bytes.fetch_add(mail.bytes(), Ordering::SeqCst);
        mailbox.letters.push(Arc::clone(mail));
    }

    fn has_some(&self, worker: usize) -> bool {
        self.0[worker].bytes.load(Ordering::SeqCst) > 0
    }

    fn take(&self, worker: usize) -> Vec<Arc<Mail>> {
        let mailbox = &self.0[worker];
        let take = |mail: Arc<Mail>| {
            mailbox.bytes.fetch_sub(mail.bytes(), Ordering::SeqCst);
            mail
        };
        (0..mailbox.letters.len()).map_while(|_| mailbox.letters.pop().map(take)).collect()
    }
}

impl Executor {
    /// Sends mail right after the next commit, whatever becomes of that.
    pub(crate) fn send(&mut self, mail: Mail, targets: Vec<usize>) {
        if !targets.is_empty() {
            self.outgoing.push(Outgoing { mail: Arc::new(mail), targets, needs_batch: false });
        }
    }

    /// What the commit does to mail.
    pub(crate) fn settle_mail(&mut self, is_committed: bool) {
        if !is_committed {
            self.outgoing.retain(|outgoing| !outgoing.needs_batch);
        }
        for outgoing in &mut self.outgoing {
            outgoing.needs_batch = false;
        }
    }

    /// After a commit: hands mail on, and returns the workers that have some then.
    pub fn hand_on_mail(&mut self) -> Vec<usize> {
        let mut workers = Vec::new();
        for Outgoing { mail, targets, .. } in self.outgoing.drain(..) {
            for worker in targets {
                self.engine.mailboxes.post(worker, &mail);
                if !workers.contains(&worker) {
                    workers.push(worker);
                }
            }
        }
        workers
    }

    /// Hands mail to the worker of a client at once. `false`: there is no such client.
    pub(crate) fn forward(&mut self, client: u64, mail: Mail) -> bool {
        let Some(worker) = self.engine.roster.worker_of(client) else { return false };
        self.engine.mailboxes.post(worker, &Arc::new(mail));
        self.note_called(worker);
        true
    }

    /// Whether mail waits for clients of this worker.
    pub fn has_mail(&self) -> bool {
        self.engine.mailboxes.has_some(self.id) || self.surplus() > 0
    }

    /// Takes the mail for clients of this worker.
    pub fn take_mail(&mut self) -> Vec<Arc<Mail>> {
        let mailboxes = &self.engine.mailboxes;
        let mut mail =
            if mailboxes.has_some(self.id) { mailboxes.take(self.id) } else { Vec::new() };
        if self.surplus() > 0 {
            mail.push(Arc::new(Mail::Invalidated(self.surplus_tracked())));
        }
        mail
    }

    /// Names the clients that a piece of mail is for, and what each of them reads; a client may read
    /// several letters.
    pub fn each_reader(&mut self, mail: &Mail, f: &mut dyn FnMut(u64, Letter<'_>)) {
        match mail {
            Mail::Message(message) => {
                self.each_subscriber(message, |client, pattern| {
                    f(client, Letter::Message(message, pattern));
                });
            }
            Mail::Monitored(line) => {
                self.monitors.iter().for_each(|client| f(*client, Letter::Monitored(line)));
            }
            Mail::Invalidated(invalidated) => self.each_tracker(invalidated, f),
            Mail::Redirected { client, keys } => {
                let keys: Option<Vec<&[u8]>> =
                    keys.as_ref().map(|keys| keys.iter().map(Vec::as_slice).collect());
                f(*client, Letter::Invalidated { keys: keys.as_deref(), is_redirected: true });
            }
        }
    }
}
