//! What blocking commands share: their timeouts, and what they do when they find nothing.

use coney_resp::{Args, Reply};

use super::option::int;
use super::{CommandError, Context, Done, Stop};
use crate::key;
use crate::meta::Kind;

/// How long a blocking command may wait, in milliseconds; 0: for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timeout(u64);

impl Timeout {
    /// Of seconds, with a fraction; rounded up (`getTimeoutFromObjectOrReply` in Redis).
    pub(super) fn seconds(arg: &[u8]) -> Result<Self, CommandError> {
        let seconds: Option<f64> = std::str::from_utf8(arg).ok().and_then(|text| text.parse().ok());
        let no_float = CommandError::Text("ERR timeout is not a float or out of range");
        let millis = seconds.filter(|seconds| !seconds.is_nan()).ok_or(no_float)? * 1000.0;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a bound, which is a power of two as double"
        )]
        if millis > i64::MAX as f64 {
            return Err(CommandError::Text("ERR timeout is out of range"));
        }
        if millis.ceil() < 0.0 {
            return Err(CommandError::Text("ERR timeout is negative"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "neither negative nor larger than what 63 bits hold"
        )]
        let millis = millis.ceil() as u64;
        Ok(Self(millis))
    }

    /// In milliseconds.
    pub(super) fn as_millis(self) -> u64 {
        self.0
    }

    /// Of whole milliseconds.
    pub(super) fn millis(arg: &[u8]) -> Result<Self, CommandError> {
        let millis = int(arg)
            .map_err(|_nan| CommandError::Text("ERR timeout is not an integer or out of range"))?;
        let negative = CommandError::Text("ERR timeout is negative");
        u64::try_from(millis).map(Self).map_err(|_negative| negative)
    }
}

/// Nothing is there: waits, or inside a transaction leaves `nothing` as the reply.
pub(super) fn wait<'r>(
    ctx: &Context<'_>,
    timeout: Timeout,
    reply: &mut Reply<'r>,
    nothing: impl FnOnce(&mut Reply<'r>),
) -> Done {
    // What is found on the pool stays there: the keys are held. What a rehearsal replies is nobody's.
    if ctx.exec.in_transaction || !ctx.exec.is_worker() {
        nothing(reply);
        return Ok(());
    }
    Err(Stop::Wait(timeout.0))
}

/// Whether what is at a key belongs to a client that has waited for it longer, and has only not been
/// called yet, or not come to it. Latches the key.
pub(super) fn gives_way(ctx: &mut Context<'_>, key: &[u8], kind: Kind) -> Result<bool, Stop> {
    let waits = &ctx.exec.engine.waits;
    if waits.is_empty() || ctx.exec.in_transaction || !ctx.exec.is_worker() {
        return Ok(false);
    }
    if ctx.for_write(key)?.live.is_none_or(|header| header.kind != kind) {
        return Ok(false);
    }
    let mut awaited = Vec::new();
    key::write_meta_key(&mut awaited, ctx.client.database, key);
    let is_anothers = ctx.exec.engine.waits.is_anothers(&awaited, kind, ctx.client.id);
    ctx.exec.gave_way |= is_anothers;
    Ok(is_anothers)
}

/// The keys of a command whose last argument is the timeout.
pub(super) fn keys_of(args: Args<'_>) -> impl Iterator<Item = &[u8]> {
    args.iter().skip(1).take(args.len().saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_redis_reads_them() {
        for (text, millis) in [("0", 0), ("1", 1000), ("0.0001", 1), ("1.5", 1500), ("-0", 0)] {
            assert_eq!(Timeout::seconds(text.as_bytes()), Ok(Timeout(millis)), "{text}");
        }
        for (text, error) in [
            ("-1", CommandError::Text("ERR timeout is negative")),
            ("x", CommandError::Text("ERR timeout is not a float or out of range")),
            ("nan", CommandError::Text("ERR timeout is not a float or out of range")),
            ("1e18", CommandError::Text("ERR timeout is out of range")),
        ] {
            assert_eq!(Timeout::seconds(text.as_bytes()), Err(error), "{text}");
        }
    }
}
