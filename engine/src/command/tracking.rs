//! CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO; CLIENT PAUSE, UNPAUSE; MONITOR. See
//! [`crate::tracking`], [`crate::pause`] and [`crate::monitor`].

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use super::blocking::Timeout;
use super::option::{int, is};
use super::{CommandError, Context, Done, group_syntax};
use crate::tracking::{Mode, PREFIXES_MAX, Tracking};

/// What CLIENT TRACKING says.
#[derive(Default)]
struct Options {
    redirect: u64,
    is_broadcast: bool,
    is_opt_in: bool,
    is_opt_out: bool,
    no_loop: bool,
    prefixes: Vec<Vec<u8>>,
}

impl Options {
    fn parse(ctx: &Context<'_>, args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 3;
        while let Some(option) = args.get(at) {
            at += 1;
            let value = args.get(at);
            if is(option, "BCAST") {
                options.is_broadcast = true;
            } else if is(option, "OPTIN") {
                options.is_opt_in = true;
            } else if is(option, "OPTOUT") {
                options.is_opt_out = true;
            } else if is(option, "NOLOOP") {
                options.no_loop = true;
            } else if let (true, Some(id)) = (is(option, "REDIRECT"), value) {
                at += 1;
                if options.redirect != 0 {
                    return Err(CommandError::Text(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                options.redirect = u64::try_from(int(id)?).unwrap_or(0);
                if ctx.exec.engine.roster.worker_of(options.redirect).is_none() {
                    return Err(CommandError::Text(
                        "ERR The client ID you want redirect to does not exist",
                    ));
                }
            } else if let (true, Some(prefix)) = (is(option, "PREFIX"), value) {
                at += 1;
                options.prefixes.push(prefix.to_vec());
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether the options go together, and with how the client tracks already.
    fn check(&self, now: Option<&Tracking>) -> Result<(), CommandError> {
        let error = |is_wrong: bool, text| match is_wrong {
            true => Err(CommandError::Text(text)),
            false => Ok(()),
        };
        error(
            !self.is_broadcast && !self.prefixes.is_empty(),
            "ERR PREFIX option requires BCAST mode to be enabled",
        )?;
        error(
            now.is_some_and(|now| now.is_broadcast() != self.is_broadcast),
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and \
             then re-enabling it with a different mode.",
        )?;
        error(
            self.is_broadcast && (self.is_opt_in || self.is_opt_out),
            "ERR OPTIN and OPTOUT are not compatible with BCAST",
        )?;
        error(
            self.is_opt_in && self.is_opt_out,
            "ERR You can't specify both OPTIN mode and OPTOUT mode",
        )?;
        let mode = now.map(|now| now.mode);
        error(
            self.is_opt_in && mode == Some(Mode::OptOut)
                || self.is_opt_out && mode == Some(Mode::OptIn),
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
             then re-enabling it with a different mode.",
        )?;
        self.check_prefixes(now)
    }

    fn check_prefixes(&self, now: Option<&Tracking>) -> Result<(), CommandError> {
        let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let there = now.into_iter().flat_map(|now| &now.prefixes);
            let (kind, other) = match there.into_iter().find(|there| overlap(there, prefix)) {
                Some(there) => ("an existing", there),
                None => {
                    let mut others = self.prefixes.iter().skip(at + 1);
                    match others.find(|other| overlap(other, prefix)) {
                        Some(other) => ("another provided", other),
                        None => continue,
                    }
                }
            };
            return Err(CommandError::Owned(format!(
                "ERR Prefix '{}' overlaps with {kind} prefix '{}'. Prefixes for a single client must \
                 not overlap.",
                String::from_utf8_lossy(prefix),
                String::from_utf8_lossy(other)
            )));
        }
        let count = self.prefixes.len() + now.map_or(0, |now| now.prefixes.len());
        if count > PREFIXES_MAX {
            return Err(CommandError::Text("ERR too many prefixes: at most 1024 for a client"));
        }
        Ok(())
    }

    fn into_tracking(self, now: Option<&Tracking>) -> Tracking {
        let mode = match (self.is_broadcast, self.is_opt_in, self.is_opt_out) {
            (true, ..) => Mode::Broadcast,
            (false, true, _) => Mode::OptIn,
            (false, false, true) => Mode::OptOut,
            (false, false, false) => Mode::Always,
        };
        let mut prefixes = now.map(|now| now.prefixes.clone()).unwrap_or_default();
        if self.is_broadcast && self.prefixes.is_empty() {
            // All keys.
            prefixes.insert(Vec::new());
        }
        prefixes.extend(self.prefixes);
        Tracking {
            redirect: self.redirect,
            mode,
            no_loop: self.no_loop,
            prefixes,
            is_caching: false,
            is_broken: false,
        }
    }
}

pub(super) fn tracking(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let options = Options::parse(ctx, args)?;
    if is(&args[2], "ON") {
        let now = ctx.client.tracking.as_deref();
        options.check(now)?;
        let tracking = options.into_tracking(now);
        ctx.exec.start_tracking(ctx.client, tracking);
    } else if is(&args[2], "OFF") {
        ctx.exec.stop_tracking(ctx.client);
    } else {
        return Err(CommandError::Syntax.into());
    }
    reply.ok();
    Ok(())
}

pub(super) fn caching(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(tracking) = &mut ctx.client.tracking else {
        return Err(CommandError::Text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
             OPTOUT mode enabled",
        )
        .into());
    };
    let (mode, error) = if is(&args[2], "YES") {
        (
            Mode::OptIn,
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        )
    } else if is(&args[2], "NO") {
        (
            Mode::OptOut,
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        )
    } else {
        return Err(CommandError::Syntax.into());
    };
    if tracking.mode != mode {
        return Err(CommandError::Text(error).into());
    }
    tracking.is_caching = true;
    reply.ok();
    Ok(())
}

/// 0: to nobody; -1: the client does not track.
fn redirect(ctx: &Context<'_>) -> i64 {
    let tracking = ctx.client.tracking.as_ref();
    tracking.map_or(-1, |tracking| i64::try_from(tracking.redirect).unwrap_or(i64::MAX))
}

pub(super) fn getredir(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(redirect(ctx));
    Ok(())
}

pub(super) fn trackinginfo(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut flags = Vec::new();
    let mut prefixes = Vec::new();
    match &ctx.client.tracking {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            match (tracking.mode, tracking.is_caching) {
                (Mode::Always, _) => {}
                (Mode::Broadcast, _) => flags.push("bcast"),
                (Mode::OptIn, false) => flags.push("optin"),
                (Mode::OptIn, true) => flags.extend(["optin", "caching-yes"]),
                (Mode::OptOut, false) => flags.push("optout"),
                (Mode::OptOut, true) => flags.extend(["optout", "caching-no"]),
            }
            if tracking.no_loop {
                flags.push("noloop");
            }
            if tracking.is_broken {
                flags.push("broken_redirect");
            }
            prefixes.extend(&tracking.prefixes);
        }
    }
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(redirect(ctx));
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}

pub(super) fn pause(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() > 4 {
        return Err(group_syntax(args).into());
    }
    let is_for_all = match args.get(3) {
        None => true,
        Some(mode) if is(mode, "ALL") => true,
        Some(mode) if is(mode, "WRITE") => false,
        Some(_) => {
            return Err(CommandError::Text("ERR CLIENT PAUSE mode must be WRITE or ALL").into());
        }
    };
    let timeout_ms = Timeout::millis(&args[2])?.as_millis();
    let until = UnixMillis(ctx.now.0.saturating_add(timeout_ms));
    ctx.exec.engine.pause.start(ctx.now, until, is_for_all);
    reply.ok();
    Ok(())
}

pub(super) fn unpause(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    ctx.exec.engine.pause.end();
    ctx.exec.call_all_workers();
    reply.ok();
    Ok(())
}

pub(super) fn monitor(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if ctx.exec.in_transaction {
        return Err(CommandError::Text("ERR MONITOR isn't allowed for DENY BLOCKING client").into());
    }
    ctx.exec.start_monitoring(ctx.client);
    reply.ok();
    Ok(())
}
