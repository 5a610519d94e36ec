//! COMMAND and HELP: the command table as clients read it.

use coney_base::glob;
use coney_resp::{Args, Reply};

use super::option::is;
use super::spec::{Categories, CommandSpec, Flags, KeySpec};
use super::{CommandError, Context, Done, table};

/// COMMAND without a subcommand: all rows.
pub(super) fn command(_: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.array(table::commands().count());
    for row in table::commands() {
        write_info(row, reply);
    }
    Ok(())
}

pub(super) fn count(_: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.count(table::commands().count());
    Ok(())
}

pub(super) fn info(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() == 2 {
        return command(ctx, args, reply);
    }
    reply.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match table::by_full_name(name) {
            Some(row) => write_info(row, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

fn write_info(row: &CommandSpec, reply: &mut Reply<'_>) {
    let (first, last, step) = row.key_range();
    reply.array(10);
    reply.bulk(row.full_name.as_bytes());
    reply.int(row.arity.number());
    write_set(reply, Flags::NAMES.iter().filter(|(flag, _)| row.flags.contains(*flag)), |name| {
        name.1.to_owned()
    });
    reply.int(first);
    reply.int(last);
    reply.int(step);
    let categories =
        Categories::NAMES.iter().filter(|(category, _)| row.categories.intersects(*category));
    write_set(reply, categories, |name| format!("@{}", name.1));
    reply.set(row.tips.len());
    for tip in row.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(row.keys.len());
    for keys in row.keys {
        write_key_spec(keys, reply);
    }
    if row.subcommands().is_empty() {
        reply.set(0);
    } else {
        reply.array(row.subcommands().len());
        for sub in row.subcommands() {
            write_info(sub, reply);
        }
    }
}

/// A set of simple strings.
fn write_set<T>(
    reply: &mut Reply<'_>,
    items: impl Iterator<Item = T> + Clone,
    text: impl Fn(T) -> String,
) {
    reply.set(items.clone().count());
    for item in items {
        reply.simple(&text(item));
    }
}

fn write_key_spec(keys: &KeySpec, reply: &mut Reply<'_>) {
    let pair = |name: &str, reply: &mut Reply<'_>| reply.bulk(name.as_bytes());
    reply.map(if keys.notes.is_some() { 4 } else { 3 });
    if let Some(notes) = keys.notes {
        pair("notes", reply);
        reply.bulk(notes.as_bytes());
    }
    pair("flags", reply);
    write_set(reply, keys.flags.iter(), |flag| (*flag).to_owned());
    pair("begin_search", reply);
    reply.map(2);
    pair("type", reply);
    if let Some(keyword) = keys.keyword {
        pair("keyword", reply);
        pair("spec", reply);
        reply.map(2);
        pair("keyword", reply);
        pair(keyword, reply);
        pair("startfrom", reply);
    } else {
        pair("index", reply);
        pair("spec", reply);
        reply.map(1);
        pair("index", reply);
    }
    reply.int(i64::from(keys.first));
    pair("find_keys", reply);
    reply.map(2);
    pair("type", reply);
    pair(if keys.is_counted { "keynum" } else { "range" }, reply);
    pair("spec", reply);
    reply.map(3);
    if keys.is_counted {
        pair("keynumidx", reply);
        reply.int(0);
        pair("firstkey", reply);
        reply.int(1);
        pair("keystep", reply);
        reply.int(i64::from(keys.step));
        return;
    }
    pair("lastkey", reply);
    reply.int(i64::from(keys.last));
    pair("keystep", reply);
    reply.int(i64::from(keys.step));
    pair("limit", reply);
    reply.int(if keys.keyword.is_some() && keys.last != 0 { 2 } else { 0 });
}

/// Without the `arguments`, which the table does not hold.
pub(super) fn docs(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() == 2 {
        reply.map(table::commands().count());
        for row in table::commands() {
            write_docs(row, reply);
        }
        return Ok(());
    }
    let rows = args.iter().skip(2).filter_map(table::by_full_name);
    reply.map(rows.clone().count());
    for row in rows {
        write_docs(row, reply);
    }
    Ok(())
}

fn write_docs(row: &CommandSpec, reply: &mut Reply<'_>) {
    let pair = |name: &str, value: &str, reply: &mut Reply<'_>| {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    };
    let subcommands = row.subcommands();
    let deprecated = if row.deprecated.is_some() { 3 } else { 0 };
    reply.bulk(row.full_name.as_bytes());
    reply.map(4 + deprecated + usize::from(!subcommands.is_empty()));
    pair("summary", row.summary, reply);
    pair("since", row.since, reply);
    pair("group", row.group.name(), reply);
    pair("complexity", row.complexity, reply);
    if let Some((since, instead)) = row.deprecated {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        pair("deprecated_since", since, reply);
        pair("replaced_by", instead, reply);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for sub in subcommands {
            write_docs(sub, reply);
        }
    }
}

pub(super) fn list(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let names: Vec<&str> = match (args.get(2), args.get(3), args.get(4)) {
        (None, ..) => table::ALL.iter().map(|row| row.full_name).collect(),
        (Some(filter), Some(by), Some(value)) if args.len() == 5 && is(filter, "FILTERBY") => {
            let rows = table::ALL.iter();
            if is(by, "MODULE") {
                Vec::new()
            } else if is(by, "ACLCAT") {
                let category = Categories::named(value).unwrap_or_default();
                rows.filter(|row| row.categories.intersects(category))
                    .map(|row| row.full_name)
                    .collect()
            } else if is(by, "PATTERN") {
                rows.filter(|row| glob::matches(value, row.full_name.as_bytes(), true))
                    .map(|row| row.full_name)
                    .collect()
            } else {
                return Err(CommandError::Syntax.into());
            }
        }
        _ => return Err(CommandError::Syntax.into()),
    };
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}

pub(super) fn getkeys(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (row, args) = inner_command(args)?;
    let target = sort_target(row, args);
    reply.array(row.keys_of(args).count() + target.iter().len());
    for key in row.keys_of(args).chain(target) {
        reply.bulk(key);
    }
    Ok(())
}

pub(super) fn getkeys_and_flags(
    _: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let (row, args) = inner_command(args)?;
    let target = sort_target(row, args);
    reply.array(row.keys_of(args).count() + target.iter().len());
    let mut write = |key: &[u8], flags: &[&str]| {
        reply.array(2);
        reply.bulk(key);
        write_set(reply, flags.iter(), |flag| (*flag).to_owned());
    };
    for keys in row.keys {
        for at in keys.indexes(args) {
            write(&args[at], key_flags(row, keys, args));
        }
    }
    if let Some(target) = target {
        write(target, &["OW", "update"]);
    }
    Ok(())
}

/// The key of STORE, which SORT's row cannot tell; of several the last one counts.
fn sort_target<'a>(row: &CommandSpec, args: Args<'a>) -> Option<&'a [u8]> {
    let (mut target, mut at) = (None, 2);
    while row.full_name == "sort"
        && let Some(option) = args.get(at)
    {
        at += if is(option, "LIMIT") { 3 } else { 1 };
        if is(option, "STORE") {
            target = args.get(at).or(target);
        }
        if is(option, "STORE") || is(option, "BY") || is(option, "GET") {
            at += 1;
        }
    }
    target
}

/// What happens to the keys of this very command.
fn key_flags(row: &CommandSpec, keys: &KeySpec, args: Args<'_>) -> &'static [&'static str] {
    if row.full_name == "set" {
        // `variable_flags`: the old value is only read with GET.
        let gets = args.iter().skip(3).any(|option| is(option, "GET"));
        return if gets { &["RW", "access", "update"] } else { &["OW", "update"] };
    }
    keys.flags
}

/// The command that follows in `args`, and its own arguments.
fn inner_command(args: Args<'_>) -> Result<(&'static CommandSpec, Args<'_>), CommandError> {
    let args = args.skip(2);
    let row = table::find(args)
        .map_err(|_unknown| CommandError::Text("ERR Invalid command specified"))?;
    if row.keys.is_empty() {
        return Err(CommandError::Text("ERR The command has no key arguments"));
    }
    if !row.arity.accepts(args.len()) {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    if row.keys_of(args).next().is_none() {
        return Err(CommandError::Text("ERR Invalid arguments specified for command"));
    }
    Ok((row, args))
}

/// HELP of any container, made of its rows.
pub(super) fn help(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(container) = table::command(&args[0]) else {
        return Err(CommandError::Syntax.into());
    };
    let subcommands = container.subcommands();
    reply.array(1 + 2 * subcommands.len());
    reply.simple(&format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.full_name.to_ascii_uppercase()
    ));
    for sub in subcommands {
        reply.simple(&sub.name().to_ascii_uppercase());
        reply.simple(&format!("    {}", sub.summary));
    }
    Ok(())
}
