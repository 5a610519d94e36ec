//! What a connection carries from command to command.

use std::net::SocketAddr;
use std::sync::Arc;

use coney_resp::Protocol;

use crate::acl::user::User;
use crate::acl::{Acl, DEFAULT_USER};
use crate::pubsub::Subscriptions;
use crate::stream::StreamId;
use crate::tracking::Tracking;
use crate::transaction::Transaction;
use crate::wait::Place;
use crate::watch::Watch;

/// State of one client. The server owns it, and lends it to each command.
#[derive(Clone, Debug)]
pub struct Client {
    /// CLIENT ID: unique over all workers and never reused.
    pub id: u64,
    /// Protocol version, changed by HELLO.
    pub protocol: Protocol,
    /// Database, changed by SELECT.
    pub database: u16,
    /// The table that this database is ([`crate::databases`]); found when a command begins.
    pub table: u16,
    /// The client has given the password, or none is required.
    pub authenticated: bool,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// Name of the last command, for CLIENT LIST.
    pub last_command: &'static str,
    /// Commands executed.
    pub commands: u64,
    /// Who it is, as of [`Client::acl_version`]; `None`: the default user.
    user: Option<Arc<User>>,
    acl_version: u64,
    /// Its user was bound to a table since it was brought to one.
    pub(crate) needs_binding: bool,
    /// The batch of its worker that this client last wrote in.
    pub(crate) wrote_in_batch: Option<u64>,
    /// Since MULTI.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// SUBSCRIBE and its like.
    pub subscriptions: Subscriptions,
    /// Since WATCH.
    pub(crate) watched: Vec<Arc<Watch>>,
    /// Its place in the queues of the keys that its blocking command waits for.
    pub(crate) waits: Option<Box<Place>>,
    /// Which ticket its WAITAOF waits for.
    pub awaited_ticket: Option<u64>,
    /// It is in MONITOR.
    pub is_monitor: bool,
    /// Since CLIENT TRACKING.
    pub tracking: Option<Box<Tracking>>,
    /// Where it comes from, for MONITOR.
    pub addr: Option<SocketAddr>,
    /// Behind which entries its XREAD waits, in the order of its keys.
    pub(crate) stream_ends: Vec<StreamId>,
}

/// Whether replies are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// Every reply.
    #[default]
    On,
    /// No reply until CLIENT REPLY ON.
    Off,
    /// CLIENT REPLY SKIP is being executed.
    SkipNext,
    /// The reply of the present command is skipped.
    Skip,
}

impl Client {
    /// A client that just connected.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            protocol: Protocol::Resp2,
            database: 0,
            table: 0,
            authenticated: true,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            last_command: "NULL",
            commands: 0,
            user: None,
            acl_version: 0,
            needs_binding: false,
            wrote_in_batch: None,
            transaction: None,
            subscriptions: Subscriptions::default(),
            watched: Vec::new(),
            waits: None,
            awaited_ticket: None,
            is_monitor: false,
            tracking: None,
            addr: None,
            stream_ends: Vec::new(),
        }
    }

    /// Commands that wait for EXEC; `None`: no MULTI.
    pub fn queued(&self) -> Option<usize> {
        self.transaction.as_ref().map(|transaction| transaction.queue.len())
    }

    /// Whether its blocking command waits for elements.
    pub fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// The control plane has answered what EXEC asked it ([`crate::Park::AdminQueue`]); EXEC is to be
    /// executed again.
    pub fn take_answers(&mut self, replies: Vec<Vec<u8>>) {
        if let Some(transaction) = &mut self.transaction {
            transaction.answers = Some(Arc::new(replies));
        }
    }

    /// RESET: everything but identity and library back to the beginning.
    pub fn reset(&mut self, authenticated: bool) {
        self.transaction = None;
        self.protocol = Protocol::Resp2;
        self.database = 0;
        self.authenticated = authenticated;
        self.user = None;
        self.acl_version = 0;
        self.name = Vec::new();
        self.no_evict = false;
        self.no_touch = false;
        self.reply_mode = ReplyMode::On;
    }

    /// Name of its user.
    pub fn user_name(&self) -> &[u8] {
        self.user.as_ref().map_or(DEFAULT_USER.as_bytes(), |user| &user.name)
    }

    /// The name of the table that its user is bound to.
    pub(crate) fn bound_table(&self) -> Option<&[u8]> {
        self.user.as_ref()?.table.as_deref()
    }

    /// It gave this user's password.
    pub(crate) fn log_in(&mut self, user: Arc<User>) {
        self.user = Some(user);
        self.acl_version = 0;
        self.authenticated = true;
    }

    /// Its user was deleted: it is a stranger again.
    pub(crate) fn log_out(&mut self) {
        self.user = None;
        self.acl_version = 0;
        self.authenticated = false;
    }

    /// Its user as the rules are now; `None`: there is no such user any more.
    pub(crate) fn user(&mut self, acl: &Acl) -> Option<&User> {
        let version = acl.version();
        if self.acl_version != version {
            let user = acl.get(self.user_name())?;
            self.needs_binding |=
                user.table.is_some() && user.table.as_deref() != self.bound_table();
            self.user = Some(user);
            self.acl_version = version;
        }
        self.user.as_deref()
    }

    /// Whether the reply of the command that just ended may be sent; asked once for each.
    pub fn take_reply_permission(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::SkipNext => {
                self.reply_mode = ReplyMode::Skip;
                false
            }
            ReplyMode::Skip => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }
}
