//! Arguments that nobody else is to read: passwords, wherever commands are shown (MONITOR, SLOWLOG).

use coney_resp::Args;

use crate::command::table;

/// What is shown instead.
const REDACTED: &[u8] = b"(redacted)";

/// Settings whose values are secrets.
const SECRET_SETTINGS: [&[u8]; 2] = [b"requirepass", b"masterauth"];

/// The arguments of a command as they may be shown.
pub fn shown(args: Args<'_>) -> impl ExactSizeIterator<Item = &[u8]> {
    let name = table::find(args).map_or("", |spec| spec.full_name);
    // How many of the next arguments are secret.
    let mut secret = 0_usize;
    args.iter().enumerate().map(move |(at, arg)| {
        let is_secret = secret > 0;
        secret = secret.saturating_sub(1);
        match name {
            "auth" if at == 0 => secret = usize::MAX,
            // As in Redis, even whose password it is.
            "acl|setuser" if at == 1 => secret = usize::MAX,
            "hello" if at > 1 && !is_secret && arg.eq_ignore_ascii_case(b"AUTH") => secret = 2,
            "config|set" if at > 1 && at % 2 == 0 => {
                let is_named = |name: &&[u8]| arg.eq_ignore_ascii_case(name);
                secret = usize::from(SECRET_SETTINGS.iter().any(is_named));
            }
            _ => {}
        }
        if is_secret { REDACTED } else { arg }
    })
}

#[cfg(test)]
mod tests {
    use coney_resp::OwnedArgs;

    use super::*;

    #[test]
    fn nobody_reads_passwords() {
        for (line, expected) in [
            ("AUTH u p", "AUTH (redacted) (redacted)"),
            ("HELLO 3 auth u p SETNAME n", "HELLO 3 auth (redacted) (redacted) SETNAME n"),
            ("HELLO 3 AUTH auth p SETNAME n", "HELLO 3 AUTH (redacted) (redacted) SETNAME n"),
            ("acl setUser u >p", "acl setUser (redacted) (redacted)"),
            ("ACL GETUSER u", "ACL GETUSER u"),
            (
                "CONFIG SET port 1 RequirePass p hz 2",
                "CONFIG SET port 1 RequirePass (redacted) hz 2",
            ),
            ("CONFIG SET port requirepass", "CONFIG SET port requirepass"),
            ("SET auth p", "SET auth p"),
            ("nonsense p", "nonsense p"),
        ] {
            let args = OwnedArgs::from_parts(&line.split(' ').collect::<Vec<_>>());
            let words: Vec<&[u8]> = shown(args.as_args()).collect();
            assert_eq!(String::from_utf8(words.join(&b' ')).unwrap(), expected);
        }
    }
}
