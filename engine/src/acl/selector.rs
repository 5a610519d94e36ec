//! What a set of rules allows: commands, keys, channels.

use coney_base::glob;
use coney_resp::Args;

use super::rule::RuleError;
use crate::command::{Categories, CommandSpec, KeySpec, table};

/// Why a command may not run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Denial {
    /// The command itself.
    Command,
    /// The key at this argument.
    Key(usize),
    /// The channel at this argument.
    Channel(usize),
}

/// A pattern of keys, and what may be done with those that match it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct KeyPattern {
    reads: bool,
    writes: bool,
    glob: Vec<u8>,
}

/// A command that is allowed for one value of its first argument only: `+select|0`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct FirstArg {
    command: usize,
    arg: Vec<u8>,
}

/// One selector of a user. A command may run if one selector allows all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selector {
    /// One bit for each row of the command table.
    commands: Vec<u64>,
    /// Commands that come with later versions are allowed too: the rules began with `+@all`.
    allows_future: bool,
    first_args: Vec<FirstArg>,
    /// The rules about commands since the last `+@all` or `-@all`, as ACL LIST shows them.
    command_rules: Vec<String>,
    allows_all_keys: bool,
    keys: Vec<KeyPattern>,
    allows_all_channels: bool,
    channels: Vec<Vec<u8>>,
}

impl Selector {
    /// Nothing is allowed.
    pub(crate) fn new() -> Self {
        Self {
            commands: vec![0; table::ALL.len().div_ceil(64)],
            allows_future: false,
            first_args: Vec::new(),
            command_rules: Vec::new(),
            allows_all_keys: false,
            keys: Vec::new(),
            allows_all_channels: false,
            channels: Vec::new(),
        }
    }

    /// Nothing can be refused.
    pub(crate) fn allows_everything(&self) -> bool {
        self.allows_future
            && self.command_rules.is_empty()
            && self.allows_all_keys
            && self.allows_all_channels
    }

    /// Applies one rule; see <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" | b"~*" => {
                self.allows_all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.allows_all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.allows_all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.allows_all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.set_all(true),
            b"nocommands" | b"-@all" => self.set_all(false),
            _ => match rule.split_first() {
                Some((b'~', glob)) => self.add_keys(true, true, glob)?,
                Some((b'%', rest)) => {
                    let at = rest.iter().position(|byte| *byte == b'~').ok_or(RuleError::Syntax)?;
                    let (flags, glob) = (&rest[..at], &rest[at + 1..]);
                    let has = |flag: u8| flags.iter().any(|byte| byte.eq_ignore_ascii_case(&flag));
                    let is_known = |byte: &u8| matches!(byte.to_ascii_lowercase(), b'r' | b'w');
                    if flags.is_empty() || !flags.iter().all(is_known) {
                        return Err(RuleError::Syntax);
                    }
                    self.add_keys(has(b'r'), has(b'w'), glob)?;
                }
                Some((b'&', glob)) => {
                    if self.allows_all_channels {
                        return Err(RuleError::AfterAllChannels);
                    }
                    check_pattern(glob)?;
                    if !self.channels.iter().any(|known| known == glob) {
                        self.channels.push(glob.to_vec());
                    }
                }
                Some((sign @ (b'+' | b'-'), _)) => {
                    self.apply_command(*sign == b'+', &lower[1..])?
                }
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn add_keys(&mut self, reads: bool, writes: bool, glob: &[u8]) -> Result<(), RuleError> {
        if self.allows_all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        check_pattern(glob)?;
        if reads && writes && glob == b"*" {
            self.allows_all_keys = true;
            self.keys.clear();
            return Ok(());
        }
        match self.keys.iter_mut().find(|known| known.glob == glob) {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.keys.push(KeyPattern { reads, writes, glob: glob.to_vec() }),
        }
        Ok(())
    }

    fn set_all(&mut self, is_allowed: bool) {
        self.commands.fill(if is_allowed { u64::MAX } else { 0 });
        self.allows_future = is_allowed;
        self.command_rules.clear();
        self.first_args.clear();
    }

    /// A rule about commands, in lower case, without its sign.
    fn apply_command(&mut self, is_allowed: bool, rule: &[u8]) -> Result<(), RuleError> {
        let text = std::str::from_utf8(rule).ok().ok_or(RuleError::UnknownCommand)?;
        if let Some(category) = text.strip_prefix('@') {
            let category =
                Categories::named(category.as_bytes()).ok_or(RuleError::UnknownCommand)?;
            for spec in table::ALL.iter().filter(|spec| spec.categories.intersects(category)) {
                self.set(spec, is_allowed);
            }
        } else if let Some(spec) = table::by_full_name(rule) {
            self.set(spec, is_allowed);
            for subcommand in spec.subcommands() {
                self.set(subcommand, is_allowed);
            }
        } else {
            let (command, arg) = text.split_once('|').ok_or(RuleError::UnknownCommand)?;
            if arg.contains('|') && table::by_full_name(command.as_bytes()).is_some() {
                return Err(RuleError::FirstArgOfSubcommand);
            }
            let spec = table::by_full_name(command.as_bytes()).ok_or(RuleError::UnknownCommand)?;
            if !spec.subcommands().is_empty() {
                return Err(RuleError::UnknownCommand);
            }
            if !is_allowed {
                return Err(RuleError::UnknownCommand);
            }
            if arg.is_empty() {
                return Err(RuleError::Syntax);
            }
            let first = FirstArg { command: spec.index(), arg: arg.as_bytes().to_vec() };
            if !self.first_args.contains(&first) {
                self.first_args.push(first);
            }
        }
        // A later rule about the same takes the place of the earlier.
        self.command_rules.retain(|known| {
            let known = &known[1..];
            known != text && !known.strip_prefix(text).is_some_and(|rest| rest.starts_with('|'))
        });
        self.command_rules.push(format!("{}{text}", if is_allowed { '+' } else { '-' }));
        Ok(())
    }

    fn set(&mut self, spec: &CommandSpec, is_allowed: bool) {
        let (word, bit) = (spec.index() / 64, 1 << (spec.index() % 64));
        if is_allowed {
            self.commands[word] |= bit;
        } else {
            self.commands[word] &= !bit;
        }
        self.first_args.retain(|first| first.command != spec.index());
    }

    /// Whether the command may run, and if not, why.
    pub(crate) fn check(&self, spec: &CommandSpec, args: Args<'_>) -> Result<(), Denial> {
        let is_allowed = self.commands[spec.index() / 64] >> (spec.index() % 64) & 1 == 1;
        if !is_allowed && !self.allows_first_arg(spec, args) {
            return Err(Denial::Command);
        }
        if !self.allows_all_keys {
            for keys in spec.keys {
                let (reads, writes) = access(spec, keys, args);
                for at in keys.indexes(args) {
                    let Some(key) = args.get(at) else { continue };
                    if !self.allows_key(key, reads, writes) {
                        return Err(Denial::Key(at));
                    }
                }
            }
        }
        if !self.allows_all_keys && matches!(spec.full_name, "sort" | "sort_ro") {
            self.check_sort(args)?;
        }
        if !self.allows_all_channels {
            let (range, is_pattern) = match spec.full_name {
                "publish" | "spublish" => (1..2, false),
                "subscribe" | "ssubscribe" => (1..args.len(), false),
                "psubscribe" => (1..args.len(), true),
                _ => return Ok(()),
            };
            for at in range {
                let Some(channel) = args.get(at) else { continue };
                if !self.allows_channel(channel, is_pattern) {
                    return Err(Denial::Channel(at));
                }
            }
        }
        Ok(())
    }

    /// Keys of SORT that its row does not tell: the target of STORE; and those that BY and GET make
    /// of elements, which may be any, so that all keys must be allowed (as in Redis).
    fn check_sort(&self, args: Args<'_>) -> Result<(), Denial> {
        for (at, word) in args.iter().enumerate().skip(2) {
            let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
            let Some(operand) = args.get(at + 1) else { break };
            let is_allowed = if is("store") {
                self.allows_key(operand, false, true)
            } else {
                !((is("by") || is("get")) && operand.contains(&b'*'))
            };
            if !is_allowed {
                return Err(Denial::Key(at + 1));
            }
        }
        Ok(())
    }

    fn allows_first_arg(&self, spec: &CommandSpec, args: Args<'_>) -> bool {
        let Some(arg) = args.get(1) else { return false };
        self.first_args
            .iter()
            .any(|first| first.command == spec.index() && arg.eq_ignore_ascii_case(&first.arg))
    }

    fn allows_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        self.keys.iter().any(|pattern| {
            (pattern.reads || !reads)
                && (pattern.writes || !writes)
                && glob::matches(&pattern.glob, key, false)
        })
    }

    /// A pattern that somebody subscribes to is allowed only if it is one of ours, to the letter.
    fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels.iter().any(|allowed| {
            if is_pattern { allowed == channel } else { glob::matches(allowed, channel, false) }
        })
    }

    /// Rules about commands that lead here: `+@all -get`.
    pub(crate) fn describe_commands(&self) -> String {
        let mut text = if self.allows_future { "+@all" } else { "-@all" }.to_owned();
        for rule in &self.command_rules {
            text.push(' ');
            text.push_str(rule);
        }
        text
    }

    /// Rules about keys that lead here.
    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        if self.allows_all_keys {
            return b"~*".to_vec();
        }
        let rules: Vec<Vec<u8>> = self
            .keys
            .iter()
            .map(|pattern| {
                let prefix: &[u8] = match (pattern.reads, pattern.writes) {
                    (true, false) => b"%R~",
                    (false, true) => b"%W~",
                    _ => b"~",
                };
                [prefix, &pattern.glob].concat()
            })
            .collect();
        rules.join(&b' ')
    }

    /// Rules about channels that lead here.
    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        if self.allows_all_channels {
            return b"&*".to_vec();
        }
        let rules: Vec<Vec<u8>> =
            self.channels.iter().map(|channel| [b"&", channel.as_slice()].concat()).collect();
        rules.join(&b' ')
    }

    /// All rules that lead here.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut rules = self.describe_keys();
        if !rules.is_empty() {
            rules.push(b' ');
        }
        let channels = self.describe_channels();
        rules.extend_from_slice(if channels.is_empty() { b"resetchannels" } else { &channels });
        rules.push(b' ');
        rules.extend_from_slice(self.describe_commands().as_bytes());
        rules
    }
}

/// Whether the command reads values of these keys, and whether it writes them.
fn access(spec: &CommandSpec, keys: &KeySpec, args: Args<'_>) -> (bool, bool) {
    let has = |flag: &str| keys.flags.contains(&flag);
    // SET reads with GET only.
    let reads = has("access")
        && (spec.full_name != "set"
            || args.iter().skip(3).any(|option| option.eq_ignore_ascii_case(b"get")));
    (reads, has("insert") || has("update") || has("delete"))
}

fn check_pattern(glob: &[u8]) -> Result<(), RuleError> {
    let is_plain = |byte: &u8| !byte.is_ascii_whitespace() && *byte != 0;
    if glob.iter().all(is_plain) { Ok(()) } else { Err(RuleError::Syntax) }
}
