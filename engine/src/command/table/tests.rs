use coney_resp::OwnedArgs;

use super::*;
use crate::command::spec::{Arity, Flags, Handler};

fn found(words: &[&str]) -> Result<&'static str, CommandError> {
    let args = OwnedArgs::from_parts(words);
    find(args.as_args()).map(|spec| spec.full_name).map_err(|refusal| refusal.error)
}

#[test]
fn every_row_is_found_by_its_name_in_any_case() {
    for (at, row) in ALL.iter().enumerate() {
        assert_eq!(row.index(), at);
        let words: Vec<&str> = row.full_name.split('|').collect();
        assert_eq!(found(&words), Ok(row.full_name));
        let words: Vec<String> = words.iter().map(|word| word.to_uppercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(found(&words), Ok(row.full_name));
        assert_eq!(by_full_name(row.full_name.as_bytes()).unwrap().full_name, row.full_name);
    }
}

#[test]
fn what_has_no_row_is_refused_by_name() {
    for name in ["", "G", "GETT", "get|", "config|get", "\u{0}", "acl|cat", "getrangegetrangeget"] {
        assert!(matches!(found(&[name]), Err(CommandError::Unknown(_))), "{name}");
    }
    assert_eq!(
        found(&["CONFIG", "nope"]),
        Err(CommandError::UnknownSubcommand(b"nope".to_vec(), "config"))
    );
    let Err(CommandError::Unknown(text)) = found(&["foo", "a", &"b".repeat(200), "c"]) else {
        panic!("foo is unknown");
    };
    let expected = format!(
        "ERR unknown command 'foo', with args beginning with: 'a' '{}' ",
        "b".repeat(128 - "'a' ".len())
    );
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn rows_say_what_the_executor_relies_on() {
    for row in &ALL {
        let name = row.full_name;
        assert!(!row.summary.is_empty() && !row.complexity.is_empty(), "{name}");
        assert!(row.summary.ends_with('.'), "{name}");
        if matches!(row.handler, Handler::Container) {
            assert_eq!(row.arity, Arity::AtLeast(2), "{name}: alone it must fail its arity check");
            assert!(!row.subcommands().is_empty(), "{name}");
        }
        if row.flags.contains(Flags::WRITE) {
            assert!(!matches!(row.handler, Handler::Slow(_)), "{name}: slow handlers only read");
        }
        assert!(
            !(row.flags.contains(Flags::WRITE) && row.flags.contains(Flags::READONLY)),
            "{name}"
        );
        for sub in row.subcommands() {
            assert!(sub.full_name.starts_with(&format!("{name}|")), "{name}");
        }
    }
}

#[test]
fn keys_are_found_among_the_arguments() {
    for (words, keys) in [
        (&["get", "k"][..], &["k"][..]),
        (&["mset", "a", "1", "b", "2"], &["a", "b"]),
        (&["del", "a", "b", "c"], &["a", "b", "c"]),
        (&["rename", "a", "b"], &["a", "b"]),
        (&["lcs", "a", "b", "LEN"], &["a", "b"]),
        (&["object", "encoding", "k"], &["k"]),
        (&["xread", "COUNT", "1", "streams", "a", "b", "0", "0"], &["a", "b"]),
        (&["xreadgroup", "GROUP", "g", "c", "STREAMS", "a", ">"], &["a"]),
        (&["xread", "COUNT", "1", "a"], &[]),
        (&["ping"], &[]),
    ] {
        let args = OwnedArgs::from_parts(words);
        let spec = find(args.as_args()).unwrap();
        let found: Vec<&[u8]> = spec.keys_of(args.as_args()).collect();
        let expected: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        assert_eq!(found, expected, "{words:?}");
    }
    assert_eq!(command(b"mset").unwrap().key_range(), (1, -1, 2));
    assert_eq!(command(b"rename").unwrap().key_range(), (1, 2, 1));
    assert_eq!(command(b"lcs").unwrap().key_range(), (1, 2, 1));
    assert_eq!(command(b"ping").unwrap().key_range(), (0, 0, 0));
    assert_eq!(command(b"xread").unwrap().key_range(), (0, 0, 0));
}
