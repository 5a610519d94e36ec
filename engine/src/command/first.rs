//! The arguments of LMPOP and ZMPOP, and of BLMPOP and BZMPOP behind their timeout:
//! `numkeys key [key ...] end [COUNT count]`.

use coney_resp::Args;
use coney_resp::number::parse_i64;

use super::CommandError;
use super::option::is;

/// From the first of several keys that has something, so many elements are to be popped, at one end.
#[derive(Debug)]
pub(super) struct First<K, E> {
    /// The keys, in the client's order.
    pub(super) keys: K,
    /// The end as the command's type knows it.
    pub(super) end: E,
    /// At most so many elements, one at least.
    pub(super) count: u64,
}

/// `args[1]` is the number of keys; `end_of` reads the word behind them.
pub(super) fn parse<'a, E, F>(
    args: Args<'a>,
    end_of: F,
) -> Result<First<impl Iterator<Item = &'a [u8]> + use<'a, E, F>, E>, CommandError>
where
    F: FnOnce(&[u8]) -> Result<E, CommandError>,
{
    let keys_count = positive(&args[1], "ERR numkeys should be greater than 0")?;
    let keys_count = usize::try_from(keys_count).unwrap_or(usize::MAX);
    let end_at = keys_count.checked_add(2).ok_or(CommandError::Syntax)?;
    let end = end_of(args.get(end_at).ok_or(CommandError::Syntax)?)?;
    let mut count = None;
    let mut at = end_at + 1;
    while let Some(option) = args.get(at) {
        let value = args.get(at + 1).filter(|_| count.is_none() && is(option, "COUNT"));
        let value = value.ok_or(CommandError::Syntax)?;
        count = Some(positive(value, "ERR count should be greater than 0")?);
        at += 2;
    }
    let keys = args.iter().skip(2).take(keys_count);
    Ok(First { keys, end, count: count.unwrap_or(1) })
}

/// A number from 1.
fn positive(arg: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = parse_i64(arg).and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or(CommandError::Text(error))
}

#[cfg(test)]
mod tests {
    use coney_resp::OwnedArgs;

    use super::*;

    /// Keys, end and count, as one line.
    fn told(line: &str) -> Result<String, CommandError> {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        let end_of = |arg: &[u8]| match arg {
            b"UP" => Ok(true),
            b"DOWN" => Ok(false),
            _ => Err(CommandError::Syntax),
        };
        let First { keys, end, count } = parse(args.as_args(), end_of)?;
        let keys: Vec<_> = keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        Ok(format!("{} {end} {count}", keys.join(",")))
    }

    // What could break: a key taken for the end or an option, and options in other orders than Redis reads.
    #[test]
    fn keys_end_and_count_are_told_apart() {
        let numkeys = Err(CommandError::Text("ERR numkeys should be greater than 0"));
        let count = Err(CommandError::Text("ERR count should be greater than 0"));
        let syntax = Err(CommandError::Syntax);
        for (line, expected) in [
            ("xMPOP 1 a UP", Ok("a true 1".to_owned())),
            ("xMPOP 2 UP COUNT DOWN count 7", Ok("UP,COUNT false 7".to_owned())),
            ("xMPOP 2 a a UP", Ok("a,a true 1".to_owned())),
            ("xMPOP 0 UP", numkeys.clone()),
            ("xMPOP x a UP", numkeys),
            ("xMPOP 2 a UP", syntax.clone()),
            ("xMPOP 1 a SIDE", syntax.clone()),
            ("xMPOP 9223372036854775807 a UP", syntax.clone()),
            ("xMPOP 1 a UP COUNT", syntax.clone()),
            ("xMPOP 1 a UP LIMIT 1", syntax.clone()),
            ("xMPOP 1 a UP COUNT 1 COUNT 2", syntax),
            ("xMPOP 1 a UP COUNT 0", count.clone()),
            ("xMPOP 1 a UP COUNT 9223372036854775808", count),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }
}
