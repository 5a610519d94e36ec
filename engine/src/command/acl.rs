//! What of ACL can be told without ACL users: everybody is the default user.

use coney_resp::{Args, Reply};

use super::option::is;
use super::spec::{Categories, CommandSpec};
use super::{CommandError, Context, Done, table};
use crate::client::DEFAULT_USER;

pub(super) fn whoami(_: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk(DEFAULT_USER.as_bytes());
    Ok(())
}

pub(super) fn users(_: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.array(1);
    reply.bulk(DEFAULT_USER.as_bytes());
    Ok(())
}

pub(super) fn cat(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(name) = args.get(2) else {
        reply.array(Categories::NAMES.len());
        for (_, name) in Categories::NAMES {
            reply.bulk(name.as_bytes());
        }
        return Ok(());
    };
    if args.len() > 3 {
        let given = String::from_utf8_lossy(&args[1]).into_owned();
        return Err(CommandError::Owned(format!(
            "ERR unknown subcommand or wrong number of arguments for '{given}'. Try ACL HELP."
        ))
        .into());
    }
    let Some(category) = category(name) else {
        let name = String::from_utf8_lossy(name);
        return Err(CommandError::Owned(format!("ERR Unknown category '{name}'")).into());
    };
    let rows = || table::ALL.iter().filter(|row| row.categories.intersects(category));
    reply.array(rows().count());
    for CommandSpec { full_name, .. } in rows() {
        reply.bulk(full_name.as_bytes());
    }
    Ok(())
}

/// The category of this name.
pub(super) fn category(name: &[u8]) -> Option<Categories> {
    Categories::NAMES.iter().find(|(_, other)| is(name, other)).map(|(category, _)| *category)
}
