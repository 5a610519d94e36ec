//! CLIENT TRACKING, PAUSE and MONITOR, between connections that belong to different workers. What could
//! break is that a client keeps an old value and is not told, or is told of what it did not read.

use coney_conversation::script::{encode, words};

use crate::support::{Client, Server, eventually};

/// So many connections that every one of two workers has some.
const CLIENTS: usize = 8;

fn send(client: &mut Client, line: &str) {
    client.send(&encode(&words(line).unwrap()));
}

fn next(client: &mut Client) -> String {
    client.reply().expect("a reply").to_string()
}

/// Clients that track, with RESP3.
fn trackers(server: &Server, how: &str) -> Vec<Client> {
    let track = |mut client: Client| {
        client.ask("HELLO 3");
        assert_eq!(client.ask(&format!("CLIENT TRACKING ON {how}")), "+OK");
        client
    };
    (0..CLIENTS).map(|_| track(server.connect())).collect()
}

/// The client has been told nothing but what it asked for.
fn is_silent(client: &mut Client) {
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn readers_are_told_once_when_a_key_changes() {
    let server = Server::start(&["--workers", "2"]);
    let mut writer = server.connect();
    writer.ask("MSET a 1 b 1 c 1");
    let mut readers = trackers(&server, "");
    for reader in &mut readers {
        reader.ask("GET a");
        reader.ask("MGET b nothing");
    }
    for (line, key) in [("SET a 2", "a"), ("PEXPIRE b 1", "b"), ("LPUSH nothing x", "nothing")] {
        writer.ask(line);
        for reader in &mut readers {
            assert_eq!(next(reader), format!(">2 \"invalidate\" *1 \"{key}\""), "{line}");
        }
    }
    eventually("it expires", || writer.ask("EXISTS b") == ":0");
    // Forgotten until they are read again.
    writer.ask("MSET a 3 b 3 c 3");
    readers.iter_mut().for_each(is_silent);
    for reader in &mut readers {
        reader.ask("GET c");
    }
    writer.ask("FLUSHALL");
    for reader in &mut readers {
        assert_eq!(next(reader), ">2 \"invalidate\" nil");
    }
    assert_eq!(writer.info("tracking_clients"), CLIENTS as u64);
    drop(readers);
    eventually("nobody tracks", || writer.info("tracking_clients") == 0);
}

#[test]
fn a_value_that_was_read_is_never_old_without_a_word() {
    const ROUNDS: usize = 200;
    let server = Server::start(&["--workers", "2"]);
    let mut readers = trackers(&server, "");
    let mut writers = [server.connect(), server.connect()];
    for round in 0..ROUNDS {
        let writer = &mut writers[round % 2];
        // Reads and the write are under way at the same time.
        send(writer, &format!("SET k {round}"));
        for reader in &mut readers {
            send(reader, "GET k");
        }
        next(writer);
        let now = format!("\"{round}\"");
        for reader in &mut readers {
            let mut has_old = None;
            while has_old.is_none() {
                let reply = next(reader);
                if !reply.starts_with('>') {
                    has_old = Some(reply != now);
                }
            }
            if has_old == Some(true) {
                assert_eq!(next(reader), ">2 \"invalidate\" *1 \"k\"");
            }
        }
    }
}

#[test]
fn prefixes_loops_and_options_are_heeded() {
    let server = Server::start(&["--workers", "2"]);
    let mut writer = server.connect();
    let mut broadcast = trackers(&server, "BCAST PREFIX user: PREFIX item: NOLOOP");
    writer.ask("MSET user:1 a user:2 b other c item:1 d");
    for client in &mut broadcast {
        let told = [next(client), next(client)];
        assert!(told.contains(&">2 \"invalidate\" *1 \"item:1\"".to_owned()), "{told:?}");
        let users = told.iter().find(|told| told.contains("user:1")).unwrap();
        assert!(users.contains("*2") && users.contains("user:2"), "{users}");
    }
    broadcast[0].ask("SET user:9 x");
    is_silent(&mut broadcast[0]);
    assert_eq!(next(&mut broadcast[1]), ">2 \"invalidate\" *1 \"user:9\"");
    let mut chooser = trackers(&server, "OPTIN").remove(0);
    chooser.ask("GET other");
    chooser.ask("CLIENT CACHING YES");
    chooser.ask("GET item:1");
    writer.ask("MSET other x item:1 y");
    assert_eq!(next(&mut chooser), ">2 \"invalidate\" *1 \"item:1\"");
    is_silent(&mut chooser);
}

#[test]
fn messages_are_redirected_to_another_client() {
    let server = Server::start(&["--workers", "2"]);
    let mut writer = server.connect();
    let mut listeners: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut readers: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (listener, reader) in listeners.iter_mut().zip(&mut readers) {
        let id = listener.ask("CLIENT ID").replace(':', "");
        listener.ask("SUBSCRIBE __redis__:invalidate");
        reader.ask("HELLO 3");
        assert_eq!(reader.ask(&format!("CLIENT TRACKING ON REDIRECT {id}")), "+OK");
        assert_eq!(reader.ask("CLIENT GETREDIR"), format!(":{id}"));
        reader.ask("GET k");
    }
    writer.ask("SET k 1");
    for listener in &mut listeners {
        assert_eq!(next(listener), "*3 \"message\" \"__redis__:invalidate\" *1 \"k\"");
    }
    drop(listeners);
    eventually("they are gone", || writer.info("connected_clients") == 1 + CLIENTS as u64);
    for reader in &mut readers {
        reader.ask("GET k");
    }
    writer.ask("SET k 2");
    for reader in &mut readers {
        assert!(next(reader).starts_with(">2 \"tracking-redir-broken\" :"));
        assert!(reader.ask("CLIENT TRACKINGINFO").contains("broken_redirect"));
    }
}

#[test]
fn the_table_of_tracked_keys_is_bounded() {
    let server = Server::start(&["--workers", "2", "--set", "tracking-table-max-keys=10"]);
    let mut reader = trackers(&server, "").remove(0);
    for at in 0..100 {
        send(&mut reader, &format!("GET {at}"));
    }
    let (mut replies, mut told) = (0, 0);
    while replies < 100 || told < 80 {
        match next(&mut reader).as_str() {
            "nil" => replies += 1,
            _ => told += 1,
        }
    }
    assert!(server.connect().info("tracking_total_keys") <= 10);
}

// What could break: the new bound waits for the next key that somebody reads.
#[test]
fn a_lower_bound_of_tracked_keys_holds_at_once() {
    let server = Server::start(&["--workers", "2"]);
    let mut readers = trackers(&server, "");
    for reader in &mut readers {
        for key in ["a", "b", "c"] {
            assert_eq!(reader.ask(&format!("GET {key}")), "nil");
        }
    }
    let mut admin = server.connect();
    admin.ask("CONFIG SET tracking-table-max-keys 2");
    for reader in &mut readers {
        for _ in 0..2 {
            assert!(next(reader).starts_with(">2 \"invalidate\""));
        }
    }
    assert_eq!(admin.info("tracking_total_keys"), 2);
}

// What could break: who has quit counts as long as it does not close its side.
#[test]
fn who_quits_tracks_nothing() {
    let server = Server::start(&["--workers", "2"]);
    let mut readers = trackers(&server, "");
    let mut admin = server.connect();
    assert_eq!(admin.info("tracking_clients"), CLIENTS as u64);
    for reader in &mut readers {
        assert_eq!(reader.ask("QUIT"), "+OK");
    }
    eventually("they track nothing", || admin.info("tracking_clients") == 0);
}

#[test]
fn a_pause_holds_writes_or_everything_until_its_end() {
    let server = Server::start(&["--workers", "2"]);
    let mut admin = server.connect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients[0].ask("MULTI");
    clients[0].ask("SET k 0");
    admin.ask("CLIENT PAUSE 100000 WRITE");
    for client in &mut clients[1..] {
        assert_eq!(client.ask("GET k"), "nil");
        send(client, "INCR n");
        send(client, "PING");
    }
    send(&mut clients[0], "EXEC");
    assert_eq!(admin.ask("GET n"), "nil");
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(next(&mut clients[0]), "*1 +OK");
    for client in &mut clients[1..] {
        assert!(next(client).starts_with(':'));
        assert_eq!(next(client), "+PONG");
    }
    assert_eq!(admin.ask("GET n"), format!("\"{}\"", CLIENTS - 1));
    // It ends by itself.
    admin.ask("CLIENT PAUSE 50");
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "+PONG");
    }
}

#[test]
fn monitors_read_what_all_workers_execute() {
    let server = Server::start(&["--workers", "2"]);
    let mut monitors: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for monitor in &mut monitors {
        assert_eq!(monitor.ask("MONITOR"), "+OK");
    }
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.ask("SELECT 3");
        client.ask("MULTI");
        client.ask("SET a \"b c\"");
        client.ask("EXEC");
        client.ask("CONFIG GET port");
        client.ask("AUTH secret");
    }
    for monitor in &mut monitors {
        // Without the escapes of the notation.
        let mut lines: Vec<String> = (0..10).map(|_| next(monitor).replace('\\', "")).collect();
        assert!(lines.iter().all(|line| !line.contains("CONFIG") && !line.contains("secret")));
        lines.retain(|line| line.contains("\"EXEC\"") || line.contains("\"SET\" \"a\" \"b c\""));
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains(" [3 127.0.0.1:")), "{lines:?}");
        assert!(lines[0].contains("SET"), "{lines:?}");
    }
    drop(monitors);
    eventually("they are gone", || clients[0].info("connected_clients") == 2);
}

#[test]
fn commands_are_timed() {
    let server = Server::start(&["--workers", "2", "--set", "slowlog-log-slower-than=0"]);
    let mut client = server.connect();
    for at in 0..20 {
        client.ask(&format!("SET k{at} v"));
    }
    client.ask("SMEMBERS s");
    let stats = client.ask_text("INFO commandstats");
    let line = stats.lines().find(|line| line.starts_with("cmdstat_set:")).unwrap();
    assert!(line.contains("calls=20,") && !line.contains("usec=0,"), "{line}");
    assert!(client.ask("SLOWLOG GET -1").contains("\"SMEMBERS\" \"s\""));
    let histogram = client.ask("LATENCY HISTOGRAM set smembers nothing");
    assert!(histogram.contains("\"set\" *4 \"calls\" :20 \"histogram_usec\""), "{histogram}");
    assert!(histogram.contains("\"smembers\""), "{histogram}");
    assert_eq!(client.ask("LATENCY LATEST"), "*0");
    // DEBUG SLEEP takes as long as it says.
    client.ask("CONFIG SET latency-monitor-threshold 20");
    client.ask("DEBUG SLEEP 0.03");
    eventually("it is noted", || client.ask("LATENCY LATEST").contains("\"command\""));
    assert!(client.ask("LATENCY HISTORY command").starts_with("*1 *2 :"));
    assert!(client.ask_text("LATENCY DOCTOR").contains("command: 1 samples"));
    assert_eq!(client.ask("LATENCY RESET command"), ":1");
    client.ask("CONFIG RESETSTAT");
    assert!(!client.ask_text("INFO commandstats").contains("cmdstat_set:"));
}

#[test]
fn waitaof_waits_for_the_disk_and_wait_in_vain() {
    for sync in ["sync=always", "sync=everysec", "sync=off"] {
        let server = Server::start(&["--workers", "2", "--set", sync]);
        let mut clients = [server.connect(), server.connect()];
        for client in &mut clients {
            for at in 0..5 {
                send(client, &format!("SET k {at}"));
                send(client, "WAITAOF 1 0 0");
                assert_eq!(next(client), "+OK");
                assert_eq!(next(client), "*2 :1 :0", "{sync}");
            }
            assert_eq!(client.ask("WAITAOF 1 1 20"), "*2 :1 :0");
            assert_eq!(client.ask("WAIT 0 0"), ":0");
            assert_eq!(client.ask("WAIT 1 20"), ":0");
            client.ask("MULTI");
            client.ask("SET k x");
            client.ask("WAIT 1 0");
            assert_eq!(client.ask("EXEC"), "*2 +OK :0");
        }
        let mut waiting = server.connect();
        let id = waiting.ask("CLIENT ID").replace(':', "");
        send(&mut waiting, "WAIT 1 0");
        let [observer, _] = &mut clients;
        eventually("it waits", || observer.info("blocked_clients") == 1);
        assert_eq!(observer.ask(&format!("CLIENT UNBLOCK {id}")), ":1");
        assert_eq!(next(&mut waiting), ":0");
    }
}
