//! What a row of the command table says.

use std::iter::StepBy;
use std::ops::Range;

use coney_resp::Args;

use super::option::is;
use super::{FastHandler, SlowHandler};

/// How many arguments a command takes, its name included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arity {
    /// Just so many.
    Exactly(u8),
    /// So many or more.
    AtLeast(u8),
}

impl Arity {
    /// Whether a command may have `count` arguments, its name included.
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Self::Exactly(wanted) => count == usize::from(wanted),
            Self::AtLeast(wanted) => count >= usize::from(wanted),
        }
    }

    /// As COMMAND INFO shows it: negative for "or more".
    pub fn number(self) -> i64 {
        match self {
            Self::Exactly(count) => i64::from(count),
            Self::AtLeast(count) => -i64::from(count),
        }
    }
}

/// A set of command flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u32);

impl Flags {
    /// Changes data.
    pub const WRITE: Self = Self(1);
    /// Reads data.
    pub const READONLY: Self = Self(1 << 1);
    /// May make the data grow.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not from scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// Allowed while the data is being loaded.
    pub const LOADING: Self = Self(1 << 5);
    /// Allowed on a replica whose data is stale.
    pub const STALE: Self = Self(1 << 6);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 7);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// Refused while data is loaded in the background.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 9);
    /// Not inside a transaction.
    pub const NO_MULTI: Self = Self(1 << 10);
    /// Allowed while a script blocks the server.
    pub const ALLOW_BUSY: Self = Self(1 << 11);

    /// May wait for other clients.
    pub const BLOCKING: Self = Self(1 << 15);
    /// Its time does not count for the slow log.
    pub const SKIP_SLOWLOG: Self = Self(1 << 13);
    /// Publishes or subscribes.
    pub const PUBSUB: Self = Self(1 << 14);

    /// Its keys cannot be told from their positions alone.
    pub const MOVABLEKEYS: Self = Self(1 << 12);

    /// Every flag and its name, in the order in which COMMAND INFO lists them.
    pub(super) const NAMES: [(Self, &'static str); 16] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_ASYNC_LOADING, "no_async_loading"),
        (Self::NO_MULTI, "no_multi"),
        (Self::ALLOW_BUSY, "allow_busy"),
        (Self::MOVABLEKEYS, "movablekeys"),
    ];

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn union(all: &[Self]) -> Self {
        let mut sum = 0;
        let mut at = 0;
        while at < all.len() {
            sum |= all[at].0;
            at += 1;
        }
        Self(sum)
    }
}

/// A set of ACL categories.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Categories(u32);

impl Categories {
    pub(super) const KEYSPACE: Self = Self(1);
    const READ: Self = Self(1 << 1);
    const WRITE: Self = Self(1 << 2);
    pub(super) const STRING: Self = Self(1 << 3);
    pub(super) const HASH: Self = Self(1 << 4);
    pub(super) const SET: Self = Self(1 << 5);
    pub(super) const SORTEDSET: Self = Self(1 << 6);
    pub(super) const LIST: Self = Self(1 << 7);
    pub(super) const ADMIN: Self = Self(1 << 8);
    const FAST: Self = Self(1 << 9);
    const SLOW: Self = Self(1 << 10);
    pub(super) const DANGEROUS: Self = Self(1 << 11);
    pub(crate) const CONNECTION: Self = Self(1 << 12);
    pub(super) const BITMAP: Self = Self(1 << 13);
    pub(super) const STREAM: Self = Self(1 << 14);
    pub(super) const BLOCKING: Self = Self(1 << 15);
    pub(super) const TRANSACTION: Self = Self(1 << 16);
    pub(super) const PUBSUB: Self = Self(1 << 17);
    pub(super) const HYPERLOGLOG: Self = Self(1 << 18);
    pub(super) const GEO: Self = Self(1 << 19);

    /// Every category that Redis has, in its order, with what belongs to it here.
    pub(super) const NAMES: [(Self, &'static str); 21] = [
        (Self::KEYSPACE, "keyspace"),
        (Self::READ, "read"),
        (Self::WRITE, "write"),
        (Self::SET, "set"),
        (Self::SORTEDSET, "sortedset"),
        (Self::LIST, "list"),
        (Self::HASH, "hash"),
        (Self::STRING, "string"),
        (Self::BITMAP, "bitmap"),
        (Self::HYPERLOGLOG, "hyperloglog"),
        (Self::GEO, "geo"),
        (Self::STREAM, "stream"),
        (Self::PUBSUB, "pubsub"),
        (Self::ADMIN, "admin"),
        (Self::FAST, "fast"),
        (Self::SLOW, "slow"),
        (Self::BLOCKING, "blocking"),
        (Self::DANGEROUS, "dangerous"),
        (Self::CONNECTION, "connection"),
        (Self::TRANSACTION, "transaction"),
        (Self(0), "scripting"),
    ];

    /// Whether one of `other` is set.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The category of this name.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| is(name, known)).map(|(category, _)| *category)
    }

    /// These and those that follow from flags (`setImplicitACLCategories` in Redis).
    const fn with_implied(self, flags: Flags) -> Self {
        let mut sum = self.0;
        if flags.contains(Flags::WRITE) {
            sum |= Self::WRITE.0;
        }
        if flags.contains(Flags::READONLY) {
            sum |= Self::READ.0;
        }
        if flags.contains(Flags::ADMIN) {
            sum |= Self::ADMIN.0 | Self::DANGEROUS.0;
        }
        sum |= if flags.contains(Flags::FAST) { Self::FAST.0 } else { Self::SLOW.0 };
        Self(sum)
    }
}

/// What kind of command it is, for documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Places, in sorted sets.
    Geo,
    /// Lists.
    List,
    /// Strings as arrays of bits.
    Bitmap,
    /// Streams.
    Stream,
    /// MULTI and what belongs to it.
    Transactions,
    /// Publish and subscribe.
    PubSub,
    /// Approximate counts of different elements.
    HyperLogLog,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
}

impl Group {
    /// The name that COMMAND DOCS shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Geo => "geo",
            Self::List => "list",
            Self::Bitmap => "bitmap",
            Self::Stream => "stream",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::HyperLogLog => "hyperloglog",
            Self::Connection => "connection",
            Self::Server => "server",
        }
    }
}

/// Which arguments are keys, and what happens to them. (`key-specs` of COMMAND INFO.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// Index of the first key.
    pub first: u8,
    /// Index of the last key, counted from the first; -1: all arguments to the end.
    pub last: i8,
    /// Distance from key to key.
    pub step: u8,
    /// Redis's names of what happens to them, such as `RW` and `update`.
    pub flags: &'static [&'static str],
    /// The argument `first` is the number of keys that follow it; `last` does not matter.
    pub is_counted: bool,
    /// The keys are the first half of what follows this word, which is looked for from argument
    /// `first` on; if `last` is 0, the one argument that follows it, wherever it stands.
    pub keyword: Option<&'static str>,
    /// What the flags cannot say.
    pub notes: Option<&'static str>,
}

impl KeySpec {
    pub(super) const fn new(first: u8, last: i8, step: u8, flags: &'static [&'static str]) -> Self {
        Self { first, last, step, flags, is_counted: false, keyword: None, notes: None }
    }

    /// Keys whose number is argument `at`, in front of them. (`keynum` of COMMAND INFO.)
    pub(super) const fn counted(at: u8, step: u8, flags: &'static [&'static str]) -> Self {
        Self { first: at, last: 0, step, flags, is_counted: true, keyword: None, notes: None }
    }

    /// Keys behind a word, as many as there are other arguments behind them.
    pub(super) const fn after(
        keyword: &'static str,
        first: u8,
        flags: &'static [&'static str],
    ) -> Self {
        Self {
            first,
            last: -1,
            step: 1,
            flags,
            is_counted: false,
            keyword: Some(keyword),
            notes: None,
        }
    }

    /// The key behind a word that is an option.
    pub(super) const fn option(
        keyword: &'static str,
        first: u8,
        flags: &'static [&'static str],
    ) -> Self {
        Self { last: 0, ..Self::after(keyword, first, flags) }
    }

    /// Whether only the arguments tell where the keys are.
    const fn is_movable(&self) -> bool {
        self.is_counted || self.keyword.is_some()
    }

    pub(super) const fn noted(self, notes: &'static str) -> Self {
        Self { notes: Some(notes), ..self }
    }

    /// The indexes of the keys among the arguments.
    pub(crate) fn indexes<'a>(self, args: Args<'a>) -> impl Iterator<Item = usize> + use<'a> {
        // An option may be repeated, and its word may be a key: all that may be keys are.
        let option = self.keyword.filter(|_| self.last == 0);
        let optional = option.into_iter().flat_map(move |word| {
            let is_it = move |at: &usize| args.get(*at).is_some_and(|arg| is(arg, word));
            (usize::from(self.first)..args.len().saturating_sub(1)).filter(is_it).map(|at| at + 1)
        });
        let fixed = if option.is_some() { (0..0).step_by(1) } else { self.range(args) };
        fixed.chain(optional)
    }

    /// The indexes of the keys, if they are one behind the other.
    fn range(self, args: Args<'_>) -> StepBy<Range<usize>> {
        let (first, step) = (usize::from(self.first), usize::from(self.step));
        if let Some(keyword) = self.keyword {
            let is_it = |arg: &[u8]| arg.eq_ignore_ascii_case(keyword.as_bytes());
            let at = args.iter().skip(first).position(is_it);
            let begin = at.map_or(args.len(), |at| first + at + 1);
            return (begin..begin + args.len().saturating_sub(begin) / 2).step_by(step);
        }
        if self.is_counted {
            let count = args.get(first).and_then(coney_resp::number::parse_i64).unwrap_or(0);
            let count = usize::try_from(count).unwrap_or(0);
            let end = count.saturating_mul(step).saturating_add(first + 1);
            // A number that cannot be true stands for no keys.
            let end = if end > args.len() { first + 1 } else { end };
            return (first + 1..end).step_by(step);
        }
        let end = match usize::try_from(self.last) {
            Ok(last) => args.len().min(first + last + 1),
            // -1 is the last argument.
            Err(_negative) => (args.len() + 1).saturating_sub(self.last.unsigned_abs().into()),
        };
        (first..end).step_by(step)
    }
}

/// Who executes a command, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handler {
    /// On the worker; never waits.
    Fast(FastHandler),
    /// On the I/O pool, with read access to committed data.
    Slow(SlowHandler),
    /// The control plane.
    Admin,
    /// Nobody: its subcommands are the commands.
    Container,
}

/// Arguments of a command that cannot take long.
const QUICK_ARGS_MAX: usize = 16;

/// One row of the command table. Everything that can be stated of a command as data.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Lower case; `container|subcommand` for a subcommand.
    pub full_name: &'static str,
    /// Arguments it takes.
    pub arity: Arity,
    /// Flags.
    pub flags: Flags,
    /// Keys among the arguments.
    pub keys: &'static [KeySpec],
    /// ACL categories, those that follow from the flags included.
    pub categories: Categories,
    /// Hints for clients and proxies (`command tips`).
    pub tips: &'static [&'static str],
    /// Group of the documentation.
    pub group: Group,
    /// Redis version that introduced it.
    pub since: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Time it takes.
    pub complexity: &'static str,
    /// Since when it should not be used any more, and what instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    pub(crate) handler: Handler,
    /// Its place in the table.
    pub(super) index: u16,
    /// Place of its first subcommand in the table, and how many there are.
    pub(super) subcommands: (u16, u16),
}

impl CommandSpec {
    pub(super) const fn new(
        full_name: &'static str,
        arity: Arity,
        group: Group,
        since: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            full_name,
            arity,
            flags: Flags(0),
            keys: &[],
            categories: Categories(0).with_implied(Flags(0)),
            tips: &[],
            group,
            since,
            summary: "",
            complexity: "",
            deprecated: None,
            handler,
            index: 0,
            subcommands: (0, 0),
        }
    }

    /// Flags and the categories that do not follow from them.
    pub(super) const fn flags(self, flags: &[Flags], categories: &[Categories]) -> Self {
        let flags = Flags::union(flags);
        let mut explicit = 0;
        let mut at = 0;
        while at < categories.len() {
            explicit |= categories[at].0;
            at += 1;
        }
        Self { flags, categories: Categories(explicit).with_implied(flags), ..self }
    }

    pub(super) const fn keys(self, keys: &'static [KeySpec]) -> Self {
        let mut flags = self.flags;
        let mut at = 0;
        while at < keys.len() {
            if keys[at].is_movable() {
                flags = Flags(flags.0 | Flags::MOVABLEKEYS.0);
            }
            at += 1;
        }
        Self { keys, flags, ..self }
    }

    pub(super) const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    pub(super) const fn docs(self, complexity: &'static str, summary: &'static str) -> Self {
        Self { complexity, summary, ..self }
    }

    pub(super) const fn deprecated(self, since: &'static str, instead: &'static str) -> Self {
        Self { deprecated: Some((since, instead)), ..self }
    }

    /// The name as the client types it after its container's, in lower case.
    pub fn name(&self) -> &'static str {
        self.full_name.split_once('|').map_or(self.full_name, |(_, name)| name)
    }

    /// Whether it is a subcommand.
    pub fn is_subcommand(&self) -> bool {
        self.full_name.contains('|')
    }

    /// Its place in [`super::table::ALL`].
    pub fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// Its subcommands.
    pub fn subcommands(&self) -> &'static [Self] {
        let (first, count) = (usize::from(self.subcommands.0), usize::from(self.subcommands.1));
        super::table::ALL.get(first..first + count).unwrap_or_default()
    }

    /// Whether it may take a worker longer than a few microseconds: what Redis does not call fast,
    /// but strings, and anything with many arguments.
    pub fn may_be_long(&self, args: Args<'_>) -> bool {
        let is_quick = self.flags.contains(Flags::FAST) || self.group == Group::String;
        !is_quick || args.len() > QUICK_ARGS_MAX
    }

    /// Whether the control plane answers it.
    pub fn is_admin(&self) -> bool {
        matches!(self.handler, Handler::Admin)
    }

    /// The keys among `args`.
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.keys.iter().flat_map(move |keys| keys.indexes(args)).filter_map(move |at| args.get(at))
    }

    /// Index of the first key, of the last (negative: from the end), and the step between keys; all
    /// zero without keys. (The form before key specs.)
    pub fn key_range(&self) -> (i64, i64, i64) {
        let last_of = |spec: &KeySpec| match spec.last {
            0.. => i64::from(spec.first) + i64::from(spec.last),
            last => i64::from(last),
        };
        match self.keys {
            // What is counted cannot be told in this form.
            [] => (0, 0, 0),
            [only] if only.is_movable() => (0, 0, 0),
            [first, rest @ ..] if rest.iter().any(KeySpec::is_movable) => {
                (i64::from(first.first), last_of(first), i64::from(first.step))
            }
            [only] => (i64::from(only.first), last_of(only), i64::from(only.step)),
            [first, .., last] => (i64::from(first.first), last_of(last), 1),
        }
    }
}
