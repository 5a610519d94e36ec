//! BITOP: strings combined bit by bit. A shorter string ends in zeros.

use coney_resp::{Args, Reply};

use super::super::option::is;
use super::super::{CommandError, Context, Done};
use crate::meta::Header;
use crate::notify::Class;

/// How strings are combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In the first, and in none of the others.
    Diff,
    /// In one of the others, and not in the first.
    Diff1,
    /// In the first, and in one of the others.
    AndOr,
    /// In exactly one.
    One,
}

impl Operation {
    const NAMES: [(&'static str, Self); 8] = [
        ("AND", Self::And),
        ("OR", Self::Or),
        ("XOR", Self::Xor),
        ("NOT", Self::Not),
        ("DIFF", Self::Diff),
        ("DIFF1", Self::Diff1),
        ("ANDOR", Self::AndOr),
        ("ONE", Self::One),
    ];

    fn parse(name: &[u8], sources: usize) -> Result<Self, CommandError> {
        let named = Self::NAMES.iter().find(|(known, _)| is(name, known));
        let operation = named.map(|(_, operation)| *operation).ok_or(CommandError::Syntax)?;
        let (fits, text) = match operation {
            Self::And | Self::Or | Self::Xor | Self::One => (true, ""),
            Self::Not => (sources == 1, "ERR BITOP NOT must be called with a single source key."),
            Self::Diff => {
                (sources > 1, "ERR BITOP DIFF must be called with at least two source keys.")
            }
            Self::Diff1 => {
                (sources > 1, "ERR BITOP DIFF1 must be called with at least two source keys.")
            }
            Self::AndOr => {
                (sources > 1, "ERR BITOP ANDOR must be called with at least two source keys.")
            }
        };
        if fits { Ok(operation) } else { Err(CommandError::Text(text)) }
    }
}

/// What has been combined so far.
#[derive(Default)]
struct Combined {
    /// The result of And, Or, Xor and Not; the first string of Diff, Diff1 and AndOr; what exactly
    /// one string has, of One.
    main: Vec<u8>,
    /// What one of the other strings has; what more than one has, of One.
    others: Vec<u8>,
}

/// Combines `body` into `into`, byte by byte; both are taken as long as the longer one.
fn combine(into: &mut Vec<u8>, body: &[u8], f: impl Fn(u8, u8) -> u8) {
    if into.len() < body.len() {
        into.resize(body.len(), 0);
    }
    let (head, tail) = into.split_at_mut(body.len());
    for (byte, other) in head.iter_mut().zip(body) {
        *byte = f(*byte, *other);
    }
    for byte in tail {
        *byte = f(*byte, 0);
    }
}

impl Combined {
    fn add(&mut self, operation: Operation, is_first: bool, body: &[u8]) {
        match operation {
            _ if is_first => self.main.extend_from_slice(body),
            Operation::And => combine(&mut self.main, body, |a, b| a & b),
            Operation::Or => combine(&mut self.main, body, |a, b| a | b),
            Operation::Xor => combine(&mut self.main, body, |a, b| a ^ b),
            Operation::Not => {}
            Operation::Diff | Operation::Diff1 | Operation::AndOr => {
                combine(&mut self.others, body, |a, b| a | b);
            }
            Operation::One => {
                let len = self.main.len().max(body.len());
                self.main.resize(len, 0);
                self.others.resize(len, 0);
                let both = self.main.iter_mut().zip(&mut self.others);
                for ((one, more), byte) in both.zip(body) {
                    *more |= *one & byte;
                    *one = (*one ^ byte) & !*more;
                }
            }
        }
    }

    fn finish(mut self, operation: Operation) -> Vec<u8> {
        match operation {
            Operation::And | Operation::Or | Operation::Xor | Operation::One => {}
            Operation::Not => self.main.iter_mut().for_each(|byte| *byte = !*byte),
            Operation::Diff => combine(&mut self.main, &self.others, |a, b| a & !b),
            Operation::Diff1 => combine(&mut self.main, &self.others, |a, b| !a & b),
            Operation::AndOr => combine(&mut self.main, &self.others, |a, b| a & b),
        }
        self.main
    }
}

pub(in super::super) fn bit_op(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let (target, sources) = (&args[2], args.skip(3));
    let operation = Operation::parse(&args[1], sources.len())?;
    let old = ctx.for_write(target)?;
    let mut combined = Combined::default();
    for (at, key) in sources.iter().enumerate() {
        ctx.text(key, |body| combined.add(operation, at == 0, body.unwrap_or_default()))?;
    }
    let result = combined.finish(operation);
    if result.is_empty() {
        if old.live.is_some() {
            ctx.delete(target, old);
        }
    } else {
        ctx.put_text(target, old, &Header::STRING, &result);
        ctx.notify(Class::String, "set", target);
    }
    reply.count(result.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(operation: Operation, bits: &[bool]) -> bool {
        let (first, others) = (bits[0], &bits[1..]);
        let any_other = others.contains(&true);
        match operation {
            Operation::And => bits.iter().all(|bit| *bit),
            Operation::Or => bits.contains(&true),
            Operation::Xor => bits.iter().filter(|bit| **bit).count() % 2 == 1,
            Operation::Not => !first,
            Operation::Diff => first && !any_other,
            Operation::Diff1 => !first && any_other,
            Operation::AndOr => first && any_other,
            Operation::One => bits.iter().filter(|bit| **bit).count() == 1,
        }
    }

    proptest! {
        // What could break: strings of different lengths, and bits of the third string and later.
        #[test]
        fn every_bit_is_what_the_definition_says(
            strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5), 2..5),
            operation in proptest::sample::select(&Operation::NAMES[..]),
        ) {
            let (_, operation) = operation;
            let strings = if operation == Operation::Not { &strings[..1] } else { &strings[..] };
            let mut combined = Combined::default();
            for (at, string) in strings.iter().enumerate() {
                combined.add(operation, at == 0, string);
            }
            let result = combined.finish(operation);
            prop_assert_eq!(result.len(), strings.iter().map(Vec::len).max().unwrap());
            for (at, byte) in result.iter().enumerate() {
                for bit in 0..8 {
                    let is_set = |byte: u8| byte >> bit & 1 == 1;
                    let bits: Vec<bool> = strings
                        .iter()
                        .map(|string| is_set(string.get(at).copied().unwrap_or(0)))
                        .collect();
                    prop_assert_eq!(is_set(*byte), reference(operation, &bits));
                }
            }
        }
    }
}
