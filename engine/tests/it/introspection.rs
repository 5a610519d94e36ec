//! What conversations cannot say: replies about the whole table, and commands newer than the Redis
//! that conversations are held with.

use coney_conversation::Value;
use coney_engine::command::table;

use crate::peer::EnginePeer;

fn value(reply: &str) -> Value {
    let (value, len) = Value::parse(reply.as_bytes()).unwrap().unwrap();
    assert_eq!(len, reply.len());
    value
}

fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Aggregate(_, _, elements) => elements,
        other => panic!("an aggregate, not {other}"),
    }
}

#[test]
fn every_way_to_list_the_table_lists_all_of_it() {
    let mut peer = EnginePeer::new();
    let commands = table::ALL.iter().filter(|row| !row.is_subcommand()).count();
    assert_eq!(peer.ask("COMMAND COUNT"), format!(":{commands}\r\n"));
    for line in ["COMMAND", "COMMAND INFO"] {
        assert_eq!(elements(value(&peer.ask(line))).len(), commands, "{line}");
    }
    assert_eq!(elements(value(&peer.ask("COMMAND DOCS"))).len(), 2 * commands);
    for line in ["COMMAND LIST", "COMMAND LIST FILTERBY PATTERN *"] {
        let all = elements(value(&peer.ask(line)));
        assert_eq!(all.len(), table::ALL.len(), "{line}: subcommands too");
    }
    let mut in_a_category = 0;
    for category in ["fast", "slow"] {
        in_a_category += elements(value(&peer.ask(&format!("ACL CAT {category}")))).len();
    }
    assert_eq!(in_a_category, table::ALL.len(), "each row is either fast or slow");
    peer.ask("HELLO 3");
    for line in ["COMMAND", "COMMAND DOCS"] {
        value(&peer.ask(line));
    }
}

#[test]
fn docs_tell_what_is_deprecated_and_nest_subcommands() {
    let mut peer = EnginePeer::new();
    let docs = value(&peer.ask("COMMAND DOCS getset nope")).to_string();
    assert!(docs.starts_with("*2 \"getset\" *14 \"summary\""), "{docs}");
    assert!(docs.contains("\"doc_flags\" *1 +deprecated \"deprecated_since\" \"6.2.0\""), "{docs}");
    peer.ask("HELLO 3");
    let docs = value(&peer.ask("COMMAND DOCS object")).to_string();
    assert!(docs.contains("\"subcommands\" %5 \"object|encoding\" %4 \"summary\""), "{docs}");
}

#[test]
fn help_is_made_of_the_rows() {
    let mut peer = EnginePeer::new();
    let containers =
        table::ALL.iter().filter(|row| row.subcommands().iter().any(|sub| sub.name() == "help"));
    for container in containers {
        let lines = elements(value(&peer.ask(&format!("{} HELP", container.full_name))));
        assert_eq!(lines.len(), 1 + 2 * container.subcommands().len());
        let first = lines[0].to_string();
        assert!(first.starts_with(&format!("+{}", container.full_name.to_uppercase())), "{first}");
    }
}

#[test]
fn client_libraries_may_name_themselves() {
    let mut peer = EnginePeer::new();
    assert_eq!(peer.ask("CLIENT SETINFO lib-name redis-py"), "+OK\r\n");
    assert_eq!(peer.ask("CLIENT SETINFO LIB-VER 5.0.0"), "+OK\r\n");
    assert_eq!(
        peer.ask("CLIENT SETINFO lib-name a\nb"),
        "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n"
    );
    assert_eq!(peer.ask("CLIENT SETINFO foo bar"), "-ERR Unrecognized option 'foo'\r\n");
    assert_eq!(peer.ask("CLIENT NO-TOUCH ON"), "+OK\r\n");
    assert_eq!(peer.ask("CLIENT NO-TOUCH maybe"), "-ERR syntax error\r\n");
}

// As Redis 7.0 replies.
#[test]
fn the_target_of_sort_is_one_of_its_keys() {
    let mut peer = EnginePeer::new();
    for (line, target) in [
        ("SORT a STORE b", "b"),
        ("SORT a BY store GET store STORE c store d", "d"),
        ("SORT a LIMIT 0 store store x", "x"),
    ] {
        let keys = peer.ask(&format!("COMMAND GETKEYS {line}"));
        assert_eq!(keys, format!("*2\r\n$1\r\na\r\n$1\r\n{target}\r\n"), "{line}");
    }
    assert_eq!(peer.ask("COMMAND GETKEYS SORT_RO a STORE b"), "*1\r\n$1\r\na\r\n");
    let flags = value(&peer.ask("COMMAND GETKEYSANDFLAGS SORT k1 STORE k2")).to_string();
    assert_eq!(flags, r#"*2 *2 "k1" *2 +RO +access *2 "k2" *2 +OW +update"#);
}
