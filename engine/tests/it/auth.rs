//! A password: who may do what before giving it.

use coney_engine::Client;
use coney_resp::{OwnedArgs, Protocol};

use crate::peer::{EnginePeer, START, execute};

fn ask(peer: &mut EnginePeer, client: &mut Client, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let args = OwnedArgs::from_parts(&words);
    let done = execute(&peer.engine, &mut peer.executor, START, client, args.as_args());
    String::from_utf8(done.reply).unwrap()
}

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

#[test]
fn without_the_password_only_the_ways_in_and_out_are_open() {
    let mut peer = EnginePeer::new();
    peer.engine.acl().set_requirepass(Some(b"secret".to_vec()));
    let mut client = Client::new(1);
    client.authenticated = false;
    for line in ["PING", "GET k", "KEYS *", "CLIENT ID", "COMMAND", "CONFIG GET *"] {
        assert_eq!(ask(&mut peer, &mut client, line), NOAUTH, "{line}");
    }
    // Existence and arity are looked at first, as in Redis.
    assert!(ask(&mut peer, &mut client, "NOPE").starts_with("-ERR unknown command"));
    assert!(ask(&mut peer, &mut client, "GET").starts_with("-ERR wrong number"));
    assert!(ask(&mut peer, &mut client, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(client.protocol, Protocol::Resp2);
    for line in ["AUTH x", "AUTH secre", "AUTH secret1", "AUTH nobody secret", "HELLO 3 AUTH a b"] {
        assert_eq!(ask(&mut peer, &mut client, line), WRONGPASS, "{line}");
    }
    assert_eq!(ask(&mut peer, &mut client, "AUTH secret"), "+OK\r\n");
    assert_eq!(ask(&mut peer, &mut client, "PING"), "+PONG\r\n");
}

#[test]
fn reset_forgets_the_password_and_hello_takes_it() {
    let mut peer = EnginePeer::new();
    peer.engine.acl().set_requirepass(Some(b"secret".to_vec()));
    let mut client = Client::new(1);
    assert_eq!(ask(&mut peer, &mut client, "PING"), "+PONG\r\n");
    assert_eq!(ask(&mut peer, &mut client, "RESET"), "+RESET\r\n");
    assert_eq!(ask(&mut peer, &mut client, "PING"), NOAUTH);
    assert!(ask(&mut peer, &mut client, "HELLO 3 AUTH default secret").starts_with("%7\r\n"));
    assert_eq!(ask(&mut peer, &mut client, "GET k"), "_\r\n");
}

#[test]
fn categories_of_types_cover_the_commands_beyond_redis() {
    let mut peer = EnginePeer::new();
    assert_eq!(peer.ask("ACL SETUSER reader on nopass ~* +@hash"), "+OK\r\n");
    assert_eq!(peer.ask("ACL DRYRUN reader HRANGEBYLEX h - +"), "+OK\r\n");
    let refused = peer.ask("ACL DRYRUN reader ZAGGREGATE z 0 1 SUM");
    assert!(refused.contains("no permissions to run the 'zaggregate' command"), "{refused}");
}
