//! Clients as CLIENT LIST and CLIENT INFO describe them, and which of them CLIENT KILL means.
//!
//! Sources: <https://redis.io/docs/latest/commands/client-list/>, `client-kill`.

use std::net::SocketAddr;

use coney_base::UnixMillis;

/// One client as its worker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// CLIENT ID.
    pub id: u64,
    /// The peer's address.
    pub addr: SocketAddr,
    /// Our address.
    pub laddr: SocketAddr,
    /// The worker that serves it.
    pub worker: usize,
    /// The connection's slot in its transport: what stands in for a file descriptor.
    pub conn_index: u32,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// When it connected.
    pub created: UnixMillis,
    /// Seconds since it sent something.
    pub idle_secs: u64,
    /// Its database.
    pub table: u16,
    /// Bytes received but not executed.
    pub query_buffer_bytes: usize,
    /// Bytes of memory for them.
    pub query_buffer_capacity: usize,
    /// Bytes of the arguments of a command that waits.
    pub argument_bytes: usize,
    /// Replies not yet sent, in bytes.
    pub output_bytes: usize,
    /// Bytes of memory for them.
    pub output_capacity: usize,
    /// Last command, subcommand included.
    pub command: &'static str,
    /// It waits in a blocking command.
    pub is_waiting: bool,
    /// It is in MONITOR.
    pub is_monitor: bool,
    /// CLIENT TRACKING.
    pub tracking: Option<TrackingRow>,
    /// It is about to be closed.
    pub is_closing: bool,
    /// RESP version.
    pub resp: u8,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Its ACL user.
    pub user: Vec<u8>,
    /// Channels, patterns and shard channels that it is subscribed to.
    pub subscriptions: [usize; 3],
    /// Commands since MULTI.
    pub queued: Option<usize>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
}

/// How a client tracks keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackingRow {
    /// The client that is told instead; 0: none.
    pub redirect: u64,
    /// By prefixes.
    pub is_broadcast: bool,
    /// The client that is told instead is gone.
    pub is_broken: bool,
}

/// Memory of a session that holds nothing, as far as CLIENT LIST's `tot-mem` counts it.
const SESSION_BYTES: usize = 512;

impl ClientRow {
    fn is_subscriber(&self) -> bool {
        self.subscriptions != [0; 3]
    }

    /// Appends the line of CLIENT LIST, without its end, in the format of Redis 7.2.
    pub fn write(&self, out: &mut Vec<u8>, now: UnixMillis) {
        let age = now.0.saturating_sub(self.created.0) / 1000;
        let mut flags = String::new();
        for (is_set, flag) in [
            (self.is_subscriber(), 'P'),
            (self.queued.is_some(), 'x'),
            (self.is_waiting, 'b'),
            (self.is_monitor, 'O'),
            (self.tracking.is_some(), 't'),
            (self.tracking.is_some_and(|tracking| tracking.is_broken), 'R'),
            (self.tracking.is_some_and(|tracking| tracking.is_broadcast), 'B'),
            (self.is_closing, 'c'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
        ] {
            if is_set {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let [sub, psub, ssub] = self.subscriptions;
        let multi = self.queued.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        let text = |out: &mut Vec<u8>, text: String| out.extend_from_slice(text.as_bytes());
        text(
            out,
            format!(
                "id={} addr={} laddr={} fd={} name=",
                self.id, self.addr, self.laddr, self.conn_index
            ),
        );
        out.extend_from_slice(&self.name);
        let total =
            SESSION_BYTES + self.query_buffer_capacity + self.argument_bytes + self.output_capacity;
        text(
            out,
            format!(
                " age={age} idle={} flags={flags} db={} sub={sub} psub={psub} ssub={ssub} multi={multi} qbuf={} \
                 qbuf-free={} argv-mem={} multi-mem=0 rbs={} rbp={} obl={} oll=0 omem={} \
                 tot-mem={total} events={} cmd={} user=",
                self.idle_secs,
                self.table,
                self.query_buffer_bytes,
                self.query_buffer_capacity.saturating_sub(self.query_buffer_bytes),
                self.argument_bytes,
                self.output_capacity,
                self.output_bytes,
                self.output_bytes,
                self.output_bytes,
                if self.output_bytes > 0 { "rw" } else { "r" },
                self.command,
            ),
        );
        out.extend_from_slice(&self.user);
        let redirect = self
            .tracking
            .map_or(-1, |tracking| i64::try_from(tracking.redirect).unwrap_or(i64::MAX));
        text(out, format!(" redir={redirect} resp={} lib-name=", self.resp));
        out.extend_from_slice(&self.lib_name);
        out.extend_from_slice(b" lib-ver=");
        out.extend_from_slice(&self.lib_ver);
    }
}

/// Which clients a CLIENT LIST or CLIENT KILL means: those that fit everything given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// One of these.
    pub ids: Vec<u64>,
    /// With this peer's address, as `ip:port`.
    pub addr: Option<Vec<u8>>,
    /// With this address of ours, as `ip:port`.
    pub laddr: Option<Vec<u8>>,
    /// Of this type.
    pub class: Option<Class>,
    /// Of this user.
    pub user: Option<Vec<u8>>,
    /// Connected for at least as many seconds.
    pub age_secs_min: Option<u64>,
    /// Not the one who asks.
    pub skips_me: bool,
}

/// A type of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ordinary ones.
    Normal,
    /// Subscribers.
    PubSub,
    /// Primaries and replicas: there are none.
    Other,
}

/// Why the arguments of CLIENT LIST or CLIENT KILL mean nothing. Displayed as the reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts are the documentation")]
pub enum FilterError {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR Invalid client ID")]
    InvalidId,
    #[error("ERR client-id should be greater than 0")]
    KillId,
    #[error("ERR Unknown client type '{0}'")]
    UnknownType(String),
    #[error("ERR No such user '{0}'")]
    NoSuchUser(String),
    #[error("ERR maxage is not an integer or out of range")]
    MaxAge,
}

impl Filter {
    /// The arguments after CLIENT LIST: nothing, `TYPE type`, or `ID id ...`.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse_list(args: &[&[u8]]) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        match args {
            [] => {}
            [word, class] if word.eq_ignore_ascii_case(b"TYPE") => {
                filter.class = Some(parse_class(class)?);
            }
            [word, ids @ ..] if word.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
                for id in ids {
                    let id = parse_u64(id).ok_or(FilterError::InvalidId)?;
                    filter.ids.push(id);
                }
            }
            _ => return Err(FilterError::Syntax),
        }
        Ok(filter)
    }

    /// The arguments after CLIENT KILL in its new form: pairs of a filter and its value.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse_kill(args: &[&[u8]]) -> Result<Self, FilterError> {
        let mut filter = Self { skips_me: true, ..Self::default() };
        let (pairs, rest) = args.as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() {
            return Err(FilterError::Syntax);
        }
        for [word, value] in pairs {
            match word.to_ascii_uppercase().as_slice() {
                b"ID" => {
                    let id = parse_u64(value).filter(|id| *id > 0).ok_or(FilterError::KillId)?;
                    filter.ids = vec![id];
                }
                b"TYPE" => filter.class = Some(parse_class(value)?),
                b"ADDR" => filter.addr = Some(value.to_vec()),
                b"LADDR" => filter.laddr = Some(value.to_vec()),
                b"USER" => filter.user = Some(value.to_vec()),
                b"MAXAGE" => {
                    let secs = parse_u64(value).ok_or(FilterError::MaxAge)?;
                    filter.age_secs_min = Some(secs);
                }
                b"SKIPME" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => filter.skips_me = true,
                    b"no" => filter.skips_me = false,
                    _ => return Err(FilterError::Syntax),
                },
                _ => return Err(FilterError::Syntax),
            }
        }
        Ok(filter)
    }

    /// CLIENT KILL in its old form: one address.
    pub fn of_addr(addr: &[u8]) -> Self {
        Self { addr: Some(addr.to_vec()), ..Self::default() }
    }

    /// The clients of a user.
    pub fn of_user(user: &[u8]) -> Self {
        Self { user: Some(user.to_vec()), ..Self::default() }
    }

    /// Whether `row` is meant; `me` is the id of the client that asks.
    pub fn accepts(&self, row: &ClientRow, me: u64, now: UnixMillis) -> bool {
        let is = |wanted: &Option<Vec<u8>>, addr: SocketAddr| {
            wanted.as_ref().is_none_or(|wanted| *wanted == addr.to_string().as_bytes())
        };
        let age_secs = now.0.saturating_sub(row.created.0) / 1000;
        (self.ids.is_empty() || self.ids.contains(&row.id))
            && is(&self.addr, row.addr)
            && is(&self.laddr, row.laddr)
            && self.user.as_ref().is_none_or(|user| *user == row.user)
            && self.class.is_none_or(|class| class == class_of(row))
            && self.age_secs_min.is_none_or(|min| age_secs >= min)
            && !(self.skips_me && row.id == me)
    }
}

fn class_of(row: &ClientRow) -> Class {
    if row.is_subscriber() { Class::PubSub } else { Class::Normal }
}

fn parse_class(word: &[u8]) -> Result<Class, FilterError> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Class::Normal),
        b"pubsub" => Ok(Class::PubSub),
        b"master" | b"replica" | b"slave" => Ok(Class::Other),
        _ => Err(FilterError::UnknownType(String::from_utf8_lossy(word).into_owned())),
    }
}

fn parse_u64(text: &[u8]) -> Option<u64> {
    u64::try_from(coney_resp::number::parse_i64(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ClientRow {
        ClientRow {
            id: 7,
            addr: "127.0.0.1:4000".parse().unwrap(),
            laddr: "127.0.0.1:6379".parse().unwrap(),
            worker: 0,
            conn_index: 3,
            name: b"me".to_vec(),
            created: UnixMillis(10_000),
            idle_secs: 2,
            table: 1,
            query_buffer_bytes: 5,
            query_buffer_capacity: 8,
            argument_bytes: 0,
            output_bytes: 0,
            output_capacity: 0,
            command: "client|list",
            is_waiting: false,
            is_monitor: false,
            tracking: None,
            is_closing: false,
            resp: 2,
            no_evict: false,
            no_touch: false,
            user: b"default".to_vec(),
            subscriptions: [0; 3],
            queued: None,
            lib_name: b"lib".to_vec(),
            lib_ver: b"1".to_vec(),
        }
    }

    #[test]
    fn a_line_has_the_fields_of_redis_in_its_order() {
        let mut out = Vec::new();
        row().write(&mut out, UnixMillis(15_500));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id=7 addr=127.0.0.1:4000 laddr=127.0.0.1:6379 fd=3 name=me age=5 idle=2 flags=N db=1 \
             sub=0 psub=0 ssub=0 multi=-1 qbuf=5 qbuf-free=3 argv-mem=0 multi-mem=0 rbs=0 rbp=0 \
             obl=0 oll=0 omem=0 tot-mem=520 events=r cmd=client|list user=default redir=-1 resp=2 \
             lib-name=lib lib-ver=1"
        );
    }

    #[test]
    fn subscribers_are_a_type_of_their_own() {
        let row = ClientRow { subscriptions: [1, 0, 2], queued: Some(3), ..row() };
        let mut out = Vec::new();
        row.write(&mut out, UnixMillis(15_500));
        let line = String::from_utf8(out).unwrap();
        assert!(line.contains(" flags=Px db=1 sub=1 psub=0 ssub=2 multi=3 "), "{line}");
        for (class, is_meant) in [(&b"pubsub"[..], true), (b"normal", false)] {
            let filter = Filter::parse_list(&[b"type", class]).unwrap();
            assert_eq!(filter.accepts(&row, 7, UnixMillis(15_500)), is_meant);
        }
    }

    #[test]
    fn list_filters_by_type_or_by_ids() {
        let now = UnixMillis(15_000);
        let accepts =
            |args: &[&[u8]]| Filter::parse_list(args).map(|filter| filter.accepts(&row(), 7, now));
        assert_eq!(accepts(&[]), Ok(true));
        assert_eq!(accepts(&[b"type", b"normal"]), Ok(true));
        assert_eq!(accepts(&[b"TYPE", b"pubsub"]), Ok(false));
        assert_eq!(accepts(&[b"ID", b"1", b"7"]), Ok(true));
        assert_eq!(accepts(&[b"ID", b"1"]), Ok(false));
        assert_eq!(accepts(&[b"ID"]), Err(FilterError::Syntax));
        assert_eq!(accepts(&[b"ID", b"x"]), Err(FilterError::InvalidId));
        assert_eq!(accepts(&[b"TYPE", b"x"]), Err(FilterError::UnknownType("x".to_owned())));
    }

    #[test]
    fn kill_combines_filters_and_spares_the_asker_unless_told_otherwise() {
        let now = UnixMillis(15_000);
        let accepts = |me, args: &[&[u8]]| {
            Filter::parse_kill(args).map(|filter| filter.accepts(&row(), me, now))
        };
        assert_eq!(accepts(1, &[b"ID", b"7"]), Ok(true));
        assert_eq!(accepts(7, &[b"ID", b"7"]), Ok(false));
        assert_eq!(accepts(7, &[b"ID", b"7", b"SKIPME", b"no"]), Ok(true));
        assert_eq!(accepts(1, &[b"ADDR", b"127.0.0.1:4000", b"USER", b"default"]), Ok(true));
        assert_eq!(accepts(1, &[b"LADDR", b"127.0.0.1:4000"]), Ok(false));
        assert_eq!(accepts(1, &[b"MAXAGE", b"5"]), Ok(true));
        assert_eq!(accepts(1, &[b"MAXAGE", b"6"]), Ok(false));
        assert_eq!(accepts(1, &[b"ID", b"0"]), Err(FilterError::KillId));
        assert_eq!(accepts(1, &[b"ID"]), Err(FilterError::Syntax));
        assert_eq!(accepts(1, &[b"USER", b"x"]), Ok(false));
        assert!(Filter::of_addr(b"127.0.0.1:4000").accepts(&row(), 7, now));
    }
}
