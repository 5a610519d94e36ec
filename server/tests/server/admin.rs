//! INFO, CLIENT, DEBUG, SAVE and SLOWLOG: what could break is what tools read, and that asking
//! disturbs those who work.

use crate::support::{Server, eventually};

#[test]
fn info_has_what_clients_read() {
    let server = Server::start(&["--workers", "2"]);
    let mut client = server.connect();
    client.ask("SET a 1");
    client.ask("GET a");
    client.ask("GET b");
    client.ask("INCR a x");
    let text = client.ask_text("INFO");
    for line in [
        "redis_version:7.2.0",
        "redis_mode:standalone",
        "connected_clients:1",
        "keyspace_hits:1",
        "keyspace_misses:1",
        "role:master",
        "cluster_enabled:0",
        "db0:keys=1,expires=0,avg_ttl=0",
        "errorstat_ERR:count=1",
        "aof_enabled:1",
        "datapath:kernel",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    assert!(client.info("used_memory") > 1 << 20);
    assert!(client.info("used_memory_rss") > 1 << 20);
    assert!(client.info("sequence") > 0);
    let stats = client.ask_text("INFO commandstats");
    assert!(stats.contains("cmdstat_get:calls=2,"), "{stats}");
    assert!(stats.contains("cmdstat_incr:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1"));
    assert!(stats.contains("cmdstat_info:calls=5,"), "the control plane's commands count: {stats}");
    assert!(!stats.contains("# Server"));
    assert_eq!(client.ask("CONFIG RESETSTAT"), "+OK");
    assert_eq!(client.info("keyspace_hits"), 0);
}

#[test]
fn clients_are_listed_filtered_and_killed() {
    let server = Server::start(&["--workers", "2"]);
    let mut admin = server.connect();
    let mut named = server.connect();
    assert_eq!(named.ask("CLIENT SETNAME worker-bee"), "+OK");
    assert_eq!(named.ask("SELECT 3"), "+OK");
    let id = named.ask("CLIENT ID").trim_start_matches(':').to_owned();
    let line = admin.ask_text(&format!("CLIENT LIST ID {id}"));
    assert!(line.starts_with(&format!("id={id} addr=127.0.0.1:")), "{line}");
    assert!(line.contains(" name=worker-bee ") && line.contains(" db=3 "), "{line}");
    assert!(line.contains(" cmd=client|id "), "{line}");
    assert_eq!(admin.ask_text("CLIENT LIST").lines().count(), 2);
    assert_eq!(admin.ask_text("CLIENT LIST TYPE pubsub"), "");
    assert!(admin.ask_text("CLIENT INFO").contains(" cmd=client|info "));
    assert_eq!(admin.ask("CLIENT KILL ID 999999"), ":0");
    assert_eq!(admin.ask("CLIENT KILL 127.0.0.1:1"), "-ERR No such client");
    assert_eq!(admin.ask(&format!("CLIENT KILL ID {id}")), ":1");
    assert!(named.is_closed());
    let addr = server.connect().stream.local_addr().unwrap();
    let mut by_addr = server.connect();
    let own = by_addr.stream.local_addr().unwrap();
    assert_ne!(addr, own);
    assert_eq!(by_addr.ask("PING"), "+PONG");
    assert_eq!(admin.ask(&format!("CLIENT KILL {own}")), "+OK");
    assert!(by_addr.is_closed());
    assert_eq!(admin.ask("CLIENT KILL TYPE normal SKIPME no"), ":1", "the reply comes first");
    assert!(admin.is_closed());
}

#[test]
fn debug_sleep_delays_only_the_one_who_asks() {
    let server = Server::start(&["--workers", "1"]);
    let mut sleeper = server.connect();
    let mut other = server.connect();
    sleeper.send(b"DEBUG SLEEP 0.5\r\nPING\r\n");
    for _ in 0..50 {
        assert_eq!(other.ask("PING"), "+PONG");
    }
    assert_eq!(other.info("waiting_clients"), 2, "the sleeper and the one who asks");
    assert_eq!(sleeper.reply().unwrap().to_string(), "+OK");
    assert_eq!(sleeper.reply().unwrap().to_string(), "+PONG");
    assert_eq!(other.ask("DEBUG SLEEP x"), "-ERR value is not a valid float");
}

#[test]
fn commands_that_waited_are_in_the_slow_log() {
    let server = Server::start(&["--set", "slowlog-log-slower-than=100000"]);
    let mut client = server.connect();
    assert_eq!(client.ask("SLOWLOG LEN"), ":0");
    assert_eq!(client.ask("DEBUG SLEEP 0.2"), "+OK");
    // On a busy machine, others may be in it too.
    let sleep = "*3 \"DEBUG\" \"SLEEP\" \"0.2\" \"127.0.0.1:";
    eventually("it is logged", || client.ask("SLOWLOG GET -1").contains(sleep));
    assert_ne!(client.ask("SLOWLOG LEN"), ":0");
    assert_eq!(client.ask("SLOWLOG RESET"), "+OK");
    assert!(!client.ask("SLOWLOG GET -1").contains(sleep));
}

/// By the text of `INFO commandstats`.
fn assert_was_called_once(stats: &str, name: &str) {
    let row = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
    assert!(row.is_some_and(|row| row.contains("calls=1,usec=")), "{name}: {row:?}");
}

#[test]
fn commands_of_a_transaction_are_timed_by_themselves() {
    let server = Server::start(&["--set", "slowlog-log-slower-than=0"]);
    let mut client = server.connect();
    for line in ["CONFIG RESETSTAT", "MULTI", "SET k 1", "SADD s a b", "INCR k"] {
        client.ask(line);
    }
    assert_eq!(client.ask("EXEC"), "*3 +OK :2 :2");
    eventually("all are logged", || {
        let log = client.ask("SLOWLOG GET -1");
        ["\"SET\" \"k\" \"1\"", "\"SADD\" \"s\" \"a\" \"b\"", "\"INCR\" \"k\""]
            .iter()
            .all(|command| log.matches(command).count() == 1)
    });
    let log = client.ask("SLOWLOG GET -1");
    assert!(!log.contains("\"EXEC\""), "{log}");
    let stats = client.ask_text("INFO commandstats latencystats everything");
    for name in ["set", "sadd", "incr", "exec"] {
        assert_was_called_once(&stats, name);
    }
    client.ask("CONFIG SET slowlog-log-slower-than 100000");
    for line in ["MULTI", "SET k 1", "SMEMBERS s", "INCR k"] {
        client.ask(line);
    }
    assert_eq!(client.ask("EXEC"), "*3 +OK *2 \"a\" \"b\" :2");
    let histogram = client.ask("LATENCY HISTOGRAM smembers incr");
    assert!(histogram.contains("\"smembers\" *4 \"calls\" :1"), "{histogram}");
    assert!(histogram.contains("\"incr\" *4 \"calls\" :2"), "{histogram}");
}

// It reads too much for a worker, and the pool owns no clock.
#[test]
fn commands_of_a_transaction_on_the_pool_are_timed_by_themselves() {
    let server = Server::start(&["--set", "slowlog-log-slower-than=0"]);
    let mut client = server.connect();
    for line in ["CONFIG RESETSTAT", "MULTI", "KEYS nothing*", "SET k 1", "INCR k"] {
        client.ask(line);
    }
    assert_eq!(client.ask("EXEC"), "*3 *0 +OK :2");
    assert_eq!(client.info("pool_writes"), 1, "it was executed there");
    assert_eq!(client.ask("PING next"), "\"next\"");
    eventually("the next one is logged", || {
        client.ask("SLOWLOG GET -1").contains("\"PING\" \"next\"")
    });
    let log = client.ask("SLOWLOG GET -1");
    for command in ["\"KEYS\" \"nothing*\"", "\"SET\" \"k\" \"1\"", "\"INCR\" \"k\""] {
        assert_eq!(log.matches(command).count(), 1, "{command}: {log}");
    }
    assert!(!log.contains("\"EXEC\""), "{log}");
    let stats = client.ask_text("INFO commandstats");
    for name in ["keys", "set", "incr", "exec"] {
        assert_was_called_once(&stats, name);
    }
}

#[test]
fn what_a_paused_transaction_took_is_not_the_next_commands() {
    let server = Server::start(&["--set", "slowlog-log-slower-than=0"]);
    let (mut client, mut admin) = (server.connect(), server.connect());
    client.ask("MULTI");
    client.ask("SET paused 1");
    assert_eq!(admin.ask("CLIENT PAUSE 100 WRITE"), "+OK");
    assert_eq!(client.ask("EXEC"), "*1 +OK");
    assert_eq!(client.ask("PING next"), "\"next\"");
    eventually("the next one is logged", || {
        admin.ask("SLOWLOG GET -1").contains("\"PING\" \"next\"")
    });
    // It waited, and says nothing of its speed.
    let log = admin.ask("SLOWLOG GET -1");
    assert!(!log.contains("\"SET\" \"paused\""), "{log}");
}

#[test]
fn passwords_are_not_in_the_slow_log() {
    let server = Server::start(&["--set", "slowlog-log-slower-than=0"]);
    let mut client = server.connect();
    for line in [
        "ACL SETUSER ann on >hush +@all",
        "AUTH ann hush",
        "CONFIG SET requirepass hush",
        "HELLO 2 AUTH ann hush",
        "MULTI",
        "CONFIG SET requirepass hush",
        "ACL SETUSER ann >hush",
        "EXEC",
        "PING last",
    ] {
        let reply = client.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    eventually("all are logged", || {
        let log = client.ask("SLOWLOG GET -1");
        log.contains("\"requirepass\" \"(redacted)\"") && log.contains("\"PING\" \"last\"")
    });
    let log = client.ask("SLOWLOG GET -1");
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn saving_is_answered_honestly() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.ask("SET key value");
    assert_eq!(client.ask("SAVE"), "+OK");
    let saved: u64 = client.ask("LASTSAVE").trim_start_matches(':').parse().unwrap();
    assert!(saved > 1_600_000_000);
    assert!(client.info("sst_bytes") > 0, "the memtable is a table on disk now");
    assert_eq!(client.ask("BGSAVE"), "+Background saving started");
    eventually("it ended", || client.info("rdb_bgsave_in_progress") == 0);
    assert_eq!(client.ask("GET key"), "\"value\"");
}
