//! Blocking commands, between connections that belong to different workers. What could break is that
//! a client waits for ever, is served out of turn or twice, or keeps a place that it has left.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use coney_conversation::script::{encode, words};
use tempfile::TempDir;

use crate::support::{Client, Server, eventually};

/// So many connections that every one of two workers has some.
const CLIENTS: usize = 12;

fn send(client: &mut Client, line: &str) {
    client.send(&encode(&words(line).unwrap()));
}

fn next(client: &mut Client) -> String {
    client.reply().expect("a reply").to_string()
}

/// Sends a blocking command, and sees that it waits.
fn block(client: &mut Client, line: &str, observer: &mut Client) {
    let before = observer.info("blocked_clients");
    send(client, line);
    eventually("it waits", || observer.info("blocked_clients") == before + 1);
}

#[test]
fn clients_are_served_in_the_order_of_arrival() {
    for workers in ["1", "2"] {
        let server = Server::start(&["--workers", workers]);
        let mut observer = server.connect();
        for (wait, add) in [("BLPOP k 0", "RPUSH k"), ("BZPOPMIN k 0", "ZADD k")] {
            let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
            for client in &mut clients {
                block(client, wait, &mut observer);
            }
            let elements: Vec<String> = (0..CLIENTS)
                .map(|at| if add == "ZADD k" { format!("{at} m{at}") } else { format!("m{at}") })
                .collect();
            // The first alone, the others by one command.
            observer.ask(&format!("{add} {}", elements[0]));
            assert!(next(&mut clients[0]).contains("\"k\" \"m0\""));
            observer.ask(&format!("{add} {}", elements[1..].join(" ")));
            for (at, client) in clients.iter_mut().enumerate().skip(1) {
                let reply = next(client);
                assert!(reply.contains(&format!("\"k\" \"m{at}\"")), "{at}: {reply}");
            }
            eventually("nobody waits", || observer.info("blocked_clients") == 0);
            assert_eq!(observer.ask("EXISTS k"), ":0");
        }
    }
}

#[test]
fn who_waits_comes_before_a_command_that_follows_in_the_pipeline() {
    for workers in ["1", "2"] {
        let server = Server::start(&["--workers", workers]);
        let mut observer = server.connect();
        for (add, wait) in [
            ("RPUSH k x", "BLPOP k 0"),
            ("RPUSH k x", "BLMPOP 0 2 j k LEFT"),
            ("RPUSH k x", "BLMOVE k j LEFT RIGHT 0"),
            ("RPUSH k x", "BRPOPLPUSH k j 0"),
            ("ZADD k 1 x", "BZPOPMIN k 0"),
            ("ZADD k 1 x", "BZMPOP 0 1 k MIN"),
        ] {
            let (mut first, mut second) = (server.connect(), server.connect());
            block(&mut first, wait, &mut observer);
            let both = [add, wait].map(|line| encode(&words(line).unwrap())).concat();
            second.send(&both);
            assert_eq!(next(&mut second), ":1");
            let reply = next(&mut first);
            assert!(reply.contains("\"x\""), "{wait}: {reply}");
            eventually("the second waits", || observer.info("blocked_clients") == 1);
            observer.ask(add);
            assert_eq!(next(&mut second), reply);
            observer.ask("DEL j");
        }
    }
}

#[test]
fn every_element_is_taken_once() {
    let server = Server::start(&["--workers", "2"]);
    let mut takers: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let rounds = 100;
    let line = encode(&words("BRPOP a b 0").unwrap());
    for taker in &mut takers {
        taker.send(&line.repeat(rounds));
    }
    let mut givers: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    let total = CLIENTS * rounds;
    for at in 0..total {
        let key = ["a", "b"][at / 4 % 2];
        send(&mut givers[at % 4], &format!("LPUSH {key} {at}"));
    }
    let mut taken: Vec<String> = Vec::new();
    for taker in &mut takers {
        taken.extend((0..rounds).map(|_| next(taker).rsplit('"').nth(1).unwrap().to_owned()));
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), total);
    for (at, giver) in givers.iter_mut().enumerate() {
        for _ in (at..total).step_by(4) {
            next(giver);
        }
    }
    assert_eq!(givers[0].ask("EXISTS a b"), ":0");
}

#[test]
fn commands_end_when_their_time_is_over() {
    let server = Server::start(&["--workers", "2"]);
    for line in
        ["BLPOP k 0.05", "BZPOPMAX k j 0.01", "BLMOVE k j LEFT LEFT 0.01", "BLMPOP 0.02 1 k LEFT"]
    {
        let mut client = server.connect();
        send(&mut client, line);
        send(&mut client, "PING");
        assert_eq!(next(&mut client), "nilarray", "{line}");
        assert_eq!(next(&mut client), "+PONG", "{line}");
    }
    let mut client = server.connect();
    client.ask("RPUSH k x");
    assert_eq!(client.ask("BLPOP k 0.05"), "*2 \"k\" \"x\"");
    assert_eq!(client.info("blocked_clients"), 0);
}

#[test]
fn whoever_disconnects_leaves_its_place_to_the_next() {
    let server = Server::start(&["--workers", "2"]);
    let mut observer = server.connect();
    let mut waiting: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut waiting {
        block(client, "BLPOP k 0", &mut observer);
    }
    assert!(observer.ask_text("CLIENT LIST").contains("flags=b"));
    let mut last = waiting.pop().unwrap();
    drop(waiting);
    eventually("one is left", || observer.info("blocked_clients") == 1);
    observer.ask("RPUSH k x");
    assert_eq!(next(&mut last), "*2 \"k\" \"x\"");
}

#[test]
fn elements_that_move_on_serve_those_who_wait_there() {
    let server = Server::start(&["--workers", "2"]);
    let mut observer = server.connect();
    let [mut mover, mut taker] = [server.connect(), server.connect()];
    block(&mut taker, "BLPOP to 0", &mut observer);
    block(&mut mover, "BLMOVE from to LEFT RIGHT 0", &mut observer);
    // The wrong kind serves nobody.
    observer.ask("ZADD from 1 x");
    observer.ask("DEL from");
    observer.ask("MULTI");
    observer.ask("RPUSH from e");
    observer.ask("BLPOP nothing 0");
    assert_eq!(observer.ask("EXEC"), "*2 :1 nilarray");
    assert_eq!(next(&mut mover), "\"e\"");
    assert_eq!(next(&mut taker), "*2 \"to\" \"e\"");
}

#[test]
fn readers_of_a_stream_all_get_what_is_added_behind_where_they_began() {
    let server = Server::start(&["--workers", "2"]);
    let mut observer = server.connect();
    observer.ask("XADD s 1-1 a 1");
    let mut readers: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for reader in &mut readers {
        block(reader, "XREAD BLOCK 0 STREAMS none s 0 $", &mut observer);
    }
    observer.ask("XADD s 1-2 b 2");
    for reader in &mut readers {
        assert_eq!(next(reader), "*1 *2 \"s\" *1 *2 \"1-2\" *2 \"b\" \"2\"");
        assert_eq!(reader.ask("XREAD BLOCK 10 STREAMS s $"), "nilarray");
    }
}

#[test]
fn waiting_clients_are_unblocked() {
    let server = Server::start(&["--workers", "2"]);
    let mut observer = server.connect();
    for at in 0..4 {
        let mut client = server.connect();
        let id = client.ask("CLIENT ID").replace(':', "");
        assert_eq!(observer.ask(&format!("CLIENT UNBLOCK {id}")), ":0");
        block(&mut client, "BLPOP k 100", &mut observer);
        let (how, reply) =
            [(" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"), ("", "nilarray")]
                [at % 2];
        assert_eq!(observer.ask(&format!("CLIENT UNBLOCK {id}{how}")), ":1");
        assert_eq!(next(&mut client), reply);
        assert_eq!(client.ask("PING"), "+PONG");
    }
    assert_eq!(observer.info("blocked_clients"), 0);
}

#[test]
fn entries_go_to_one_consumer_of_each_group_in_the_order_of_arrival() {
    for workers in ["1", "2"] {
        let server = Server::start(&["--workers", workers]);
        let mut observer = server.connect();
        observer.ask("XGROUP CREATE s g $ MKSTREAM");
        observer.ask("XGROUP CREATE s h $");
        let mut consumers: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
        for (at, consumer) in consumers.iter_mut().enumerate() {
            let line = format!("XREADGROUP GROUP g c{at} BLOCK 0 COUNT 1 STREAMS s >");
            block(consumer, &line, &mut observer);
        }
        let mut other = server.connect();
        block(&mut other, "XREADGROUP BLOCK 0 GROUP h c NOACK STREAMS s >", &mut observer);
        let mut reader = server.connect();
        block(&mut reader, "XREAD BLOCK 0 STREAMS s $", &mut observer);
        // They exist although they have read nothing.
        assert_eq!(observer.ask("XGROUP CREATECONSUMER s g c3"), ":0");
        observer.ask("XADD s 1-1 f 0");
        let first = "*1 *2 \"s\" *1 *2 \"1-1\" *2 \"f\" \"0\"";
        for client in [&mut consumers[0], &mut other, &mut reader] {
            assert_eq!(next(client), first);
        }
        for at in 1..CLIENTS {
            send(&mut observer, &format!("XADD s 1-{} f {at}", at + 1));
        }
        for _ in 1..CLIENTS {
            next(&mut observer);
        }
        for (at, consumer) in consumers.iter_mut().enumerate().skip(1) {
            let entry = format!("*1 *2 \"s\" *1 *2 \"1-{}\" *2 \"f\" \"{at}\"", at + 1);
            assert_eq!(next(consumer), entry);
        }
        let summary = observer.ask("XPENDING s g");
        assert!(summary.starts_with(&format!("*4 :{CLIENTS} \"1-1\"")), "{summary}");
        assert!(observer.ask("XPENDING s h").starts_with("*4 :0"));
        eventually("nobody waits", || observer.info("blocked_clients") == 0);
    }
}

#[test]
fn consumers_that_lose_their_group_or_stream_are_told() {
    let server = Server::start(&["--workers", "2"]);
    let mut observer = server.connect();
    let no_group = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for (loss, error) in [
        ("XGROUP DESTROY s g", no_group),
        ("DEL s", no_group),
        ("RENAME s t", no_group),
        ("PEXPIRE s 1", no_group),
        ("FLUSHDB", no_group),
        ("SET s x", wrong),
    ] {
        observer.ask("DEL s");
        observer.ask("XGROUP CREATE s g $ MKSTREAM");
        let mut consumers: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
        for (at, consumer) in consumers.iter_mut().enumerate() {
            let line = format!("XREADGROUP GROUP g c{at} BLOCK 0 STREAMS s >");
            block(consumer, &line, &mut observer);
        }
        observer.ask(loss);
        for consumer in &mut consumers {
            assert_eq!(next(consumer), error, "{loss}");
        }
    }
    assert_eq!(observer.info("blocked_clients"), 0);
}

#[test]
fn a_consumer_with_a_history_never_waits() {
    let server = Server::start(&["--workers", "2"]);
    let mut client = server.connect();
    client.ask("XGROUP CREATE s g $ MKSTREAM");
    assert_eq!(client.ask("XREADGROUP GROUP g c BLOCK 0 STREAMS s 0"), "*1 *2 \"s\" *0");
    assert_eq!(client.ask("XREADGROUP GROUP g c BLOCK 20 STREAMS s >"), "nilarray");
    client.ask("MULTI");
    client.ask("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    assert_eq!(client.ask("EXEC"), "*1 nilarray");
}

/// Sends a command; the reply, or `None` when the server is gone.
fn try_ask(client: &mut Client, line: &str) -> Option<String> {
    client.stream.write_all(&encode(&words(line).unwrap())).ok()?;
    client.reply().map(|reply| reply.to_string())
}

/// The elements of a list.
fn elements(client: &mut Client, key: &str) -> Vec<String> {
    let reply = client.ask(&format!("LRANGE {key} 0 -1"));
    reply.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

// What could break: an element that was taken is there again, or one that was added is nowhere.
#[test]
fn a_crash_neither_loses_nor_doubles_what_is_moved_and_taken() {
    const TAKERS: usize = 4;
    const ACKNOWLEDGED_MIN: usize = 1000;
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        let server = Server::start_in(dir.path(), &["--workers", "2"]);
        let count = AtomicUsize::new(0);
        let (mut added, mut taken) = (Vec::new(), Vec::new());
        std::thread::scope(|scope| {
            let givers: Vec<_> = (0..2)
                .map(|giver| {
                    let (mut client, count) = (server.connect(), &count);
                    scope.spawn(move || {
                        let mut added = Vec::new();
                        for number in 0.. {
                            let name = format!("{round}:{giver}:{number}");
                            let line = format!("RPUSH from {name}");
                            if try_ask(&mut client, &line).is_none() {
                                break;
                            }
                            added.push(name);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        added
                    })
                })
                .collect();
            for _ in 0..2 {
                let mut client = server.connect();
                scope.spawn(
                    move || while try_ask(&mut client, "BLMOVE from q LEFT RIGHT 0").is_some() {},
                );
            }
            let takers: Vec<_> = (0..TAKERS)
                .map(|_| {
                    let mut client = server.connect();
                    scope.spawn(move || {
                        let mut taken = Vec::new();
                        while let Some(reply) = try_ask(&mut client, "BLPOP q 0") {
                            taken.push(reply.rsplit('"').nth(1).unwrap().to_owned());
                        }
                        taken
                    })
                })
                .collect();
            eventually("enough is added", || count.load(Ordering::SeqCst) >= ACKNOWLEDGED_MIN);
            server.kill();
            givers.into_iter().for_each(|giver| added.extend(giver.join().unwrap()));
            takers.into_iter().for_each(|taker| taken.extend(taker.join().unwrap()));
        });
        let server = Server::start_in(dir.path(), &["--workers", "2"]);
        let mut client = server.connect();
        let left = [elements(&mut client, "from"), elements(&mut client, "q")].concat();
        let all: BTreeSet<&String> = left.iter().chain(&taken).collect();
        assert_eq!(all.len(), left.len() + taken.len(), "something is there twice");
        let lost = added.iter().filter(|name| !all.contains(name)).count();
        assert!(
            lost <= TAKERS,
            "{lost} elements are nowhere, of which {TAKERS} may be on their way"
        );
        client.ask("DEL from q");
        server.stop();
    }
}
