//! Named tables. What could break is that a tenant reaches the keys of another, or more than its limits
//! allow.

use coney_conversation::script::{encode, words};
use tempfile::TempDir;

use crate::support::{Client, Server, eventually};

const BOUND: &str = "-NOPERM this user is bound to its table";

#[test]
fn tenants_stay_in_their_tables() {
    let server = Server::start(&["--workers", "2"]);
    let mut admin = server.connect();
    assert_eq!(admin.ask("TABLE CREATE shop"), ":15");
    assert_eq!(admin.ask("TABLE CREATE blog DB 3"), ":3");
    admin.ask("SET k default");
    for name in ["shop", "blog"] {
        let user = format!("ACL SETUSER {name} on >secret ~* &* +@all -@admin table={name}");
        assert_eq!(admin.ask(&user), "+OK");
        assert_eq!(admin.ask(&format!("SELECT {name}")), "+OK");
        assert_eq!(admin.ask(&format!("SET k {name}")), "+OK");
    }
    assert!(admin.ask("ACL LIST").contains("table=shop"));
    let mut tenants: Vec<_> = (0..8)
        .map(|at| {
            let (name, mut client) = (["shop", "blog"][at % 2], server.connect());
            assert_eq!(client.ask(&format!("AUTH {name} secret")), "+OK");
            (name, client)
        })
        .collect();
    for (name, client) in &mut tenants {
        assert_eq!(client.ask("GET k"), format!("\"{name}\""));
        assert_eq!(client.ask("DBSIZE"), ":1");
        for line in ["SELECT 0", "COPY k j DB 0", "MOVE k 0", "FLUSHALL"] {
            assert_eq!(client.ask(line), BOUND, "{line}");
        }
        assert_eq!(client.ask(&format!("SELECT {name}")), "+OK");
        assert!(client.ask("TABLE LIST").starts_with("-NOPERM"));
        client.ask("MULTI");
        client.ask("SELECT 0");
        client.ask("GET k");
        assert_eq!(client.ask("EXEC"), format!("*2 {BOUND} \"{name}\""));
    }
    // A connected client goes where its user belongs now.
    admin.ask("ACL SETUSER shop table=blog");
    let (_, client) = &mut tenants[0];
    assert_eq!(client.ask("GET k"), "\"blog\"");
    assert_eq!(admin.ask("TABLE DROP blog"), "+OK");
    assert_eq!(
        server.connect().ask("AUTH blog secret"),
        "-NOPERM the table that this user is bound to does not exist"
    );
    assert_eq!(admin.ask("SELECT blog"), "-ERR value is not an integer or out of range");
}

#[test]
fn limits_hold_and_outlast_a_restart() {
    let dir = TempDir::new().unwrap();
    let server = Server::start_in(dir.path(), &["--workers", "2"]);
    let mut client = server.connect();
    assert_eq!(client.ask("TABLE CREATE shop MAXKEYS 2"), ":15");
    server.stop();
    let server = Server::start_in(dir.path(), &["--workers", "2"]);
    let mut client = server.connect();
    assert_eq!(
        client.ask("TABLE LIST"),
        "*1 *14 \"name\" \"shop\" \"db\" :15 \"keys\" :0 \"bytes\" :0 \"maxkeys\" :2 \"maxcommands\" :0 \"maxbytes\" :0"
    );
    client.ask("SELECT shop");
    client.ask("SET a 1");
    client.ask("SET b 1");
    let full = "-QUOTA the table holds as many keys as it may. Delete some first";
    assert_eq!(client.ask("SET c 1"), full);
    assert_eq!(client.ask("GET a"), "\"1\"");
    assert_eq!(client.ask("MULTI"), "+OK");
    assert_eq!(client.ask("SET c 1"), full);
    assert!(client.ask("EXEC").starts_with("-EXECABORT"));
    client.ask("DEL a");
    assert_eq!(client.ask("SET c 1"), "+OK");
    assert_eq!(client.ask("TABLE SET shop MAXKEYS 0 MAXCOMMANDS 10"), "+OK");
    let busy = "-QUOTA the table allows no more commands in this second. Try again later";
    // At once, so that they fall into one second, or two.
    client.send(&encode(&words("GET b").unwrap()).repeat(100));
    let refused = (0..100).filter(|_| client.reply().unwrap().to_string() == busy).count();
    assert!(refused >= 80, "{refused} of 100");
    assert_eq!(client.ask("PING"), "+PONG");
    eventually("the next second", || client.ask("GET b") == "\"1\"");
    client.ask("SELECT 0");
    assert!((0..20).all(|_| client.ask("GET b") == "nil"));
}

#[test]
fn a_full_table_gets_room_again_when_something_is_deleted() {
    let server = Server::start(&["--workers", "2"]);
    let mut client = server.connect();
    assert_eq!(client.ask("TABLE CREATE shop MAXBYTES 1000000"), ":15");
    client.ask("SELECT shop");
    // What does not become smaller when it is compressed.
    let mut seed = 1_u64;
    let mut value = || -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        };
        (0..50_000).map(|_| next()).collect()
    };
    let mut set = |client: &mut Client, at: usize| {
        client.send(&encode(&[b"SET".to_vec(), format!("k{at}").into_bytes(), value()]));
        client.reply().unwrap().to_string()
    };
    let written = (0..100).take_while(|at| set(&mut client, *at) == "+OK").count();
    assert!((15..=25).contains(&written), "{written} values");
    assert!(client.ask("SET k v").starts_with("-QUOTA the table takes as many bytes as it may"));
    assert_eq!(client.ask("STRLEN k0"), ":50000");
    let info = client.ask_text("INFO tables");
    assert!(info.contains("table_shop:db=15,keys="), "{info}");
    assert!(info.contains(",maxbytes=1000000"), "{info}");
    (0..written).for_each(|at| drop(client.ask(&format!("DEL k{at}"))));
    eventually("there is room", || client.ask("SET k v") == "+OK");
}

#[test]
fn tables_are_named_once() {
    let server = Server::start(&["--set", "databases=3"]);
    let mut client = server.connect();
    assert_eq!(client.ask("TABLE CREATE a"), ":2");
    assert_eq!(client.ask("TABLE CREATE a"), "-ERR there is a table of this name already");
    assert_eq!(client.ask("TABLE CREATE b DB 2"), "-ERR the database has a name already");
    assert_eq!(client.ask("TABLE CREATE b DB 3"), "-ERR DB index is out of range");
    assert_eq!(client.ask("TABLE CREATE b MAXKEYS -1"), "-ERR a limit must not be negative");
    assert_eq!(client.ask("TABLE CREATE b MAXKEYS"), "-ERR syntax error");
    assert!(client.ask("TABLE CREATE 7").starts_with("-ERR a table's name"));
    assert_eq!(client.ask("TABLE CREATE b"), ":1");
    assert!(client.ask("TABLE CREATE c").starts_with("-ERR no database is free"));
    assert_eq!(client.ask("TABLE SET c MAXKEYS 1"), "-ERR there is no table of this name");
    assert_eq!(client.ask("TABLE DROP c"), "-ERR there is no table of this name");
    assert!(client.ask("ACL SETUSER u table=7").contains("a table's name is a word"));
}
