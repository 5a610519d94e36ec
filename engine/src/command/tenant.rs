//! TABLE: named tables. See [`crate::tenant`].

use coney_resp::{Args, Reply};

use super::option::{self, int, is};
use super::{CommandError, Context, SlowContext};
use crate::engine::Engine;
use crate::tenant::{BOUND, Quota, is_name};

type SlowDone = Result<(), CommandError>;

/// The database that SELECT names, by its number or by its name.
pub(super) fn database_of(engine: &Engine, arg: &[u8]) -> Result<u16, CommandError> {
    if is_name(arg)
        && let Some(tenant) = engine.tenants.get(arg)
    {
        return Ok(tenant.table);
    }
    option::database(arg, engine.tables())
}

impl Context<'_> {
    /// Refuses a database that the client's user may not enter.
    pub(super) fn check_entry(&self, database: u16) -> Result<(), CommandError> {
        if self.client.bound_table().is_some() && database != self.client.database {
            return Err(BOUND);
        }
        Ok(())
    }
}

/// Reads `MAXKEYS n`, `MAXCOMMANDS n` and `MAXBYTES n`, and with `table` also `DB n`, from argument `at` on.
fn options(
    args: Args<'_>,
    mut at: usize,
    quota: &mut Quota,
    mut table: Option<&mut Option<u16>>,
    tables: u16,
) -> SlowDone {
    while let Some(option) = args.get(at) {
        let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
        let limit = || {
            let number = u64::try_from(int(value)?);
            number.map_err(|_negative| CommandError::Text("ERR a limit must not be negative"))
        };
        if is(option, "MAXKEYS") {
            quota.keys_max = limit()?;
        } else if is(option, "MAXCOMMANDS") {
            quota.commands_max = limit()?;
        } else if is(option, "MAXBYTES") {
            quota.bytes_max = limit()?;
        } else if let (true, Some(table)) = (is(option, "DB"), &mut table) {
            **table = Some(option::database(value, tables)?);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    Ok(())
}

pub(super) fn create(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let name = &args[2];
    if !is_name(name) {
        return Err(CommandError::Text(
            "ERR a table's name is a word of at most 64 bytes that is no number",
        ));
    }
    let (mut quota, mut table) = (Quota::default(), None);
    let tables = ctx.engine.tables();
    options(args, 3, &mut quota, Some(&mut table), tables)?;
    let number = ctx.engine.tenants.create(&ctx.engine.store, name, table, tables, quota)?;
    ctx.engine.measure_tables()?;
    reply.int(i64::from(number));
    Ok(())
}

pub(super) fn set(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    // All options are looked at before anything changes.
    options(args, 3, &mut Quota::default(), None, 0)?;
    let tenants = &ctx.engine.tenants;
    tenants.set(&ctx.engine.store, &args[2], |quota| {
        // Just read.
        options(args, 3, quota, None, 0).ok();
    })?;
    ctx.engine.measure_tables()?;
    reply.ok();
    Ok(())
}

pub(super) fn drop_name(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    ctx.engine.tenants.drop_name(&ctx.engine.store, &args[2])?;
    ctx.engine.measure_tables()?;
    reply.ok();
    Ok(())
}

pub(super) fn list(ctx: &SlowContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    ctx.engine.measure_unlimited_tables();
    let all = ctx.engine.named_tables();
    reply.array(all.len());
    for table in all {
        reply.map(1 + table.fields.len());
        reply.bulk(b"name");
        reply.bulk(&table.name);
        for (name, value) in table.fields {
            reply.bulk(name.as_bytes());
            reply.int(value);
        }
    }
    Ok(())
}
