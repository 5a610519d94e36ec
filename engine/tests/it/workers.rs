//! Several workers on one database, interleaved in one thread: latches, caches, FLUSHALL.

use std::sync::Arc;

use coney_engine::{Client, Engine, Executor, Park};
use coney_resp::OwnedArgs;
use tempfile::TempDir;

use crate::peer::{START, commit, execute, open, try_once};

struct Worker {
    executor: Executor,
    client: Client,
}

impl Worker {
    /// Tries once: the reply, or what the command waits for.
    fn try_ask(&mut self, line: &str) -> Result<String, &'static str> {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        match try_once(&mut self.executor, START, &mut self.client, args.as_args(), 0) {
            Ok(done) => Ok(String::from_utf8(done.reply).unwrap()),
            Err(Park::Latch) => Err("latch"),
            Err(Park::Stall) => Err("stall"),
            Err(Park::Job(_)) => Err("job"),
            Err(Park::Admin | Park::AdminQueue(_)) => Err("admin"),
            Err(Park::Paused) => Err("pause"),
            Err(Park::Wait { .. }) => Err("wait"),
        }
    }

    fn ask(&mut self, engine: &Arc<Engine>, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        let done = execute(engine, &mut self.executor, START, &mut self.client, args.as_args());
        String::from_utf8(done.reply).unwrap()
    }

    fn commit(&mut self) {
        commit(&mut self.executor);
    }
}

fn two_workers() -> (TempDir, Arc<Engine>, Worker, Worker) {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 2);
    let worker = |id| Worker {
        executor: Executor::new(Arc::clone(&engine), id),
        client: Client::new(id as u64 + 1),
    };
    let (a, b) = (worker(0), worker(1));
    (dir, engine, a, b)
}

#[test]
fn a_writer_waits_until_the_other_worker_committed() {
    let (_dir, engine, mut a, mut b) = two_workers();
    assert_eq!(a.try_ask("INCR k"), Ok(":1\r\n".to_owned()));
    assert_eq!(b.try_ask("INCR k"), Err("latch"));
    assert_eq!(b.try_ask("GET k"), Ok("$-1\r\n".to_owned()), "not committed yet");
    assert_eq!(a.try_ask("INCR k"), Ok(":2\r\n".to_owned()), "its own write is seen at once");
    a.commit();
    assert_eq!(b.try_ask("INCR k"), Ok(":3\r\n".to_owned()));
    b.commit();
    assert_eq!(a.ask(&engine, "GET k"), "$1\r\n3\r\n");
    assert_eq!(engine.count(0).keys, 1);
}

#[test]
fn no_cache_shows_what_another_worker_overwrote() {
    let (_dir, engine, mut a, mut b) = two_workers();
    for round in 0..50 {
        let (writer, reader) = if round % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        writer.ask(&engine, &format!("SET k {round}"));
        let before = reader.ask(&engine, "GET k");
        writer.commit();
        let after = reader.ask(&engine, "GET k");
        assert_eq!(after, format!("${}\r\n{round}\r\n", round.to_string().len()));
        assert_ne!(before, after, "round {round}");
        assert_eq!(reader.ask(&engine, "GET k"), after, "from the cache this time");
    }
    a.ask(&engine, "GET k");
    assert!(a.executor.cache_usage().hits > 0, "the caches are in use at all");
}

#[test]
fn flushall_waits_for_open_batches_and_keeps_new_ones_out() {
    let (_dir, engine, mut a, mut b) = two_workers();
    a.ask(&engine, "SET x 1");
    a.commit();
    assert_eq!(b.ask(&engine, "GET x"), "$1\r\n1\r\n", "b has it in its cache");
    assert_eq!(b.try_ask("SET y 1"), Ok("+OK\r\n".to_owned()));
    assert_eq!(a.try_ask("FLUSHALL"), Err("latch"), "b has an open batch");
    a.commit();
    assert_eq!(b.try_ask("SET z 1"), Ok("+OK\r\n".to_owned()), "b goes on with its open batch");
    b.commit();
    assert_eq!(b.try_ask("SET z 2"), Err("latch"), "but opens no new one");
    assert_eq!(a.try_ask("FLUSHALL"), Ok("+OK\r\n".to_owned()));
    assert_eq!(b.try_ask("SET z 2"), Err("latch"), "not before the flush is committed");
    assert_eq!(b.ask(&engine, "GET x"), "$1\r\n1\r\n", "not visible yet");
    a.commit();
    for key in ["x", "y", "z"] {
        assert_eq!(b.ask(&engine, &format!("GET {key}")), "$-1\r\n", "{key}");
        assert_eq!(a.ask(&engine, &format!("GET {key}")), "$-1\r\n", "{key}");
    }
    assert_eq!(engine.count(0).keys, 0);
    assert_eq!(b.try_ask("SET z 2"), Ok("+OK\r\n".to_owned()));
    b.commit();
    assert_eq!(a.ask(&engine, "DBSIZE"), ":1\r\n");
}

#[test]
fn a_flushall_whose_client_is_gone_does_not_keep_the_others_out() {
    let (_dir, _engine, mut a, mut b) = two_workers();
    assert_eq!(b.try_ask("SET y 1"), Ok("+OK\r\n".to_owned()));
    assert_eq!(a.try_ask("FLUSHALL"), Err("latch"));
    a.commit();
    b.commit();
    // The iteration in which a asks no more.
    a.commit();
    assert_eq!(b.try_ask("SET y 2"), Ok("+OK\r\n".to_owned()));
}

#[test]
fn flushall_takes_its_own_workers_open_batch_along() {
    let (_dir, engine, mut a, _b) = two_workers();
    assert_eq!(a.try_ask("MSET x 1 y 2"), Ok("+OK\r\n".to_owned()));
    assert_eq!(a.try_ask("FLUSHALL"), Ok("+OK\r\n".to_owned()), "however busy the worker is");
    assert_eq!(a.try_ask("GET x"), Err("stall"), "first it must be committed");
    a.commit();
    assert_eq!(a.ask(&engine, "GET x"), "$-1\r\n");
    assert_eq!(a.ask(&engine, "SET x 1"), "+OK\r\n");
    a.commit();
    assert_eq!(engine.count(0).keys, 1);
}

#[test]
fn flushdb_leaves_the_other_tables_writes_of_its_batch_alone() {
    let (_dir, engine, mut a, _b) = two_workers();
    a.ask(&engine, "SET x 0");
    a.ask(&engine, "SELECT 1");
    a.ask(&engine, "SET x 1");
    assert_eq!(a.ask(&engine, "FLUSHDB"), "+OK\r\n");
    assert_eq!(a.ask(&engine, "GET x"), "$-1\r\n");
    assert_eq!((engine.count(0).keys, engine.count(1).keys), (1, 0));
    a.ask(&engine, "SELECT 0");
    assert_eq!(a.ask(&engine, "GET x"), "$1\r\n0\r\n");
}

#[test]
fn a_command_of_several_keys_takes_all_of_them_or_none() {
    let (_dir, engine, mut a, mut b) = two_workers();
    assert_eq!(a.try_ask("SET k2 a"), Ok("+OK\r\n".to_owned()));
    assert_eq!(b.try_ask("MSET k1 b k2 b k3 b"), Err("latch"));
    assert_eq!(b.executor.write_count(), 0);
    b.commit();
    assert_eq!(a.try_ask("MSET k1 a k3 a"), Ok("+OK\r\n".to_owned()), "b let go of k1");
    a.commit();
    assert_eq!(b.ask(&engine, "MGET k1 k2 k3"), "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n");
}

#[test]
fn expiry_by_one_worker_is_seen_by_the_other() {
    let (_dir, engine, mut a, mut b) = two_workers();
    a.ask(&engine, "SET k v PX 100");
    a.commit();
    assert_eq!(b.ask(&engine, "GET k"), "$1\r\nv\r\n");
    let later = coney_base::UnixMillis(START.0 + 100);
    let due = engine.due(later, 10).unwrap();
    assert_eq!(due.len(), 1);
    // Somebody gives the key a new life meanwhile.
    b.ask(&engine, "PERSIST k");
    b.commit();
    a.executor.expire(later, &due);
    a.commit();
    assert_eq!(b.ask(&engine, "GET k"), "$1\r\nv\r\n");
    assert_eq!((engine.count(0).keys, engine.count(0).expires), (1, 0));
    assert_eq!(engine.due(later, 10).unwrap(), [], "the record is gone");
}

// What could break: a look at the index that starts behind a record.
#[test]
fn a_deadline_in_the_past_is_found_after_later_ones_were_seen() {
    let (_dir, engine, mut a, mut b) = two_workers();
    a.ask(&engine, "SET late v PX 5000");
    a.commit();
    assert_eq!(engine.due(START, 10).unwrap(), [], "only the late one, which is not due");
    b.ask(&engine, "SET early v PXAT 5");
    b.ask(&engine, "SET soon v PX 1");
    b.commit();
    let later = coney_base::UnixMillis(START.0 + 1);
    let due = engine.due(later, 10).unwrap();
    assert_eq!(due.len(), 2);
    a.executor.expire(later, &due);
    a.commit();
    assert_eq!(engine.count(0).keys, 1);
    assert_eq!(engine.due(later, 10).unwrap(), []);
    let end = coney_base::UnixMillis(START.0 + 5000);
    let due = engine.due(end, 10).unwrap();
    a.executor.expire(end, &due);
    a.commit();
    assert_eq!(engine.due(end, 10).unwrap(), [], "an empty index");
    b.ask(&engine, "SET again v PXAT 7");
    b.commit();
    assert_eq!(engine.due(end, 10).unwrap().len(), 1);
    assert_eq!(engine.due(end, 10).unwrap().len(), 1, "until it is removed");
}
