//! The command table: one row for each command, and how a row is found.
//!
//! The rows are in files by group. They are joined, numbered and hashed at compile time; finding
//! one takes a hash of the first eight bytes of the name and, nearly always, one comparison.

use coney_resp::Args;

use super::spec::CommandSpec;
use super::{CommandError, Refusal};

mod bitmap;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod pubsub;
mod server;
mod set;
mod stream;
mod string;
mod transaction;
mod zset;

const GROUPS: [&[CommandSpec]; 14] = [
    string::ROWS,
    generic::ROWS,
    hash::ROWS,
    set::ROWS,
    zset::ROWS,
    geo::ROWS,
    list::ROWS,
    bitmap::ROWS,
    stream::ROWS,
    transaction::ROWS,
    pubsub::ROWS,
    hyperloglog::ROWS,
    connection::ROWS,
    server::ROWS,
];

const ROWS_COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// Every row: commands, each followed by its subcommands.
pub static ALL: [CommandSpec; ROWS_COUNT] = numbered();

/// Longest name of a command.
const NAME_LEN_MAX: usize = 20;
/// Slots of the index, a power of two; mostly empty, so that few names collide.
const SLOTS: usize = 1024;
const EMPTY: u16 = u16::MAX;

/// Open addressing: the row's place, or [`EMPTY`].
static INDEX: [u16; SLOTS] = indexed();

/// Finds the row of a command, or of a subcommand if the command has some.
pub(crate) fn find(args: Args<'_>) -> Result<&'static CommandSpec, Refusal> {
    let name = args.get(0).unwrap_or_default();
    let Some(spec) = command(name) else {
        return Err(Refusal { spec: None, error: CommandError::Unknown(unknown(args)) });
    };
    let Some(sub) = args.get(1).filter(|_| spec.subcommands.1 > 0) else { return Ok(spec) };
    let found = spec.subcommands().iter().find(|row| is_name(row.name(), sub));
    found.ok_or_else(|| Refusal {
        spec: None,
        error: CommandError::UnknownSubcommand(sub.to_vec(), spec.full_name),
    })
}

/// The place in [`ALL`] of the command that these arguments mean.
pub fn index_of(args: Args<'_>) -> Option<usize> {
    find(args).ok().map(CommandSpec::index)
}

/// The row of the command of this name; no subcommands.
pub fn command(name: &[u8]) -> Option<&'static CommandSpec> {
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let mut slot = hash(name);
    loop {
        // An empty slot holds no row's place.
        let spec = ALL.get(usize::from(INDEX[slot]))?;
        if is_name(spec.full_name, name) {
            return Some(spec);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// The row of `config` or `config|get`.
pub(crate) fn by_full_name(name: &[u8]) -> Option<&'static CommandSpec> {
    match name.iter().position(|&byte| byte == b'|') {
        None => command(name),
        Some(bar) => command(&name[..bar])?
            .subcommands()
            .iter()
            .find(|row| is_name(row.name(), &name[bar + 1..])),
    }
}

/// All commands, without subcommands.
pub(crate) fn commands() -> impl Iterator<Item = &'static CommandSpec> + Clone {
    ALL.iter().filter(|row| !row.is_subcommand())
}

fn is_name(name: &str, given: &[u8]) -> bool {
    name.as_bytes().eq_ignore_ascii_case(given)
}

/// The text of the error for an unknown command: quotes at most 128 bytes of it and of its
/// arguments, as Redis does.
fn unknown(args: Args<'_>) -> Vec<u8> {
    const QUOTED_LEN_MAX: usize = 128;
    let head = |bytes: &'_ [u8], len: usize| bytes.get(..len).unwrap_or(bytes).to_vec();
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(head(args.get(0).unwrap_or_default(), QUOTED_LEN_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for arg in args.skip(1).iter() {
        let quoted = text.len() - start;
        if quoted >= QUOTED_LEN_MAX {
            break;
        }
        text.push(b'\'');
        text.extend(head(arg, QUOTED_LEN_MAX - quoted));
        text.extend_from_slice(b"' ");
    }
    text
}

const fn hash(name: &[u8]) -> usize {
    let mut word = name.len() as u64;
    let mut at = 0;
    while at < name.len() && at < 8 {
        // Letters in lower case; what else this maps to one is told apart by the comparison.
        word = word.wrapping_mul(0x0100_0000_01b3) ^ (name[at] | 0x20) as u64;
        at += 1;
    }
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SLOTS
}

const fn numbered() -> [CommandSpec; ROWS_COUNT] {
    let mut all = [string::ROWS[0]; ROWS_COUNT];
    let mut at = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            all[at] = GROUPS[group][row];
            all[at].index = number(at);
            at += 1;
            row += 1;
        }
        group += 1;
    }
    let mut parent = 0;
    while parent < all.len() {
        let mut end = parent + 1;
        while end < all.len() && is_child(all[end].full_name, all[parent].full_name) {
            end += 1;
        }
        all[parent].subcommands = (number(parent + 1), number(end - parent - 1));
        parent += 1;
    }
    all
}

const fn indexed() -> [u16; SLOTS] {
    let mut index = [EMPTY; SLOTS];
    let mut at = 0;
    while at < ALL.len() {
        let name = ALL[at].full_name.as_bytes();
        if !contains_bar(name) {
            assert!(name.len() <= NAME_LEN_MAX, "NAME_LEN_MAX is too small");
            let mut slot = hash(name);
            while index[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            index[slot] = number(at);
        }
        at += 1;
    }
    index
}

const fn contains_bar(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if name[at] == b'|' {
            return true;
        }
        at += 1;
    }
    false
}

const fn is_child(name: &str, parent: &str) -> bool {
    let (name, parent) = (name.as_bytes(), parent.as_bytes());
    if name.len() <= parent.len() || name[parent.len()] != b'|' {
        return false;
    }
    let mut at = 0;
    while at < parent.len() {
        if name[at] != parent[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn number(value: usize) -> u16 {
    assert!(value < EMPTY as usize, "the table is small");
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let value = value as u16;
    value
}

#[cfg(test)]
mod tests;
