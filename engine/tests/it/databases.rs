//! SWAPDB where several workers, transactions or a restart take part. Replies in general are in the
//! conversations.

use coney_engine::Park;
use tempfile::TempDir;

use crate::peer::{START, Worker, open, two_workers};

#[test]
fn what_was_swapped_is_so_after_a_restart() {
    let dir = TempDir::new().unwrap();
    {
        let engine = open(&dir, 1);
        let mut worker = Worker::new(&engine, 0);
        worker.say(&["SET k zero", "SELECT 2", "SET k two", "SET l two", "SWAPDB 0 2"]);
        worker.say(&["SWAPDB 1 2", "SELECT 5", "SWAPDB 5 6", "SWAPDB 6 5"]);
        worker.commit();
    }
    let engine = open(&dir, 1);
    assert_eq!([0, 1, 2].map(|database| engine.count(database).keys), [2, 1, 0]);
    let mut worker = Worker::new(&engine, 0);
    assert_eq!(worker.ask("GET k"), "$3\r\ntwo\r\n");
    worker.ask("SELECT 1");
    assert_eq!(worker.ask("GET k"), "$4\r\nzero\r\n");
    worker.commit();
    engine.check().unwrap();
}

#[test]
fn nobody_else_sees_it_before_the_commit() {
    let (_dir, mut a, mut b) = two_workers();
    a.say(&["SET k zero", "SELECT 1", "SET k one"]);
    a.commit();
    assert_eq!(a.try_ask("SWAPDB 0 1").unwrap(), "+OK\r\n");
    assert!(matches!(a.try_ask("GET k"), Err(Park::Stall)), "whose tables are whose is open");
    assert_eq!(b.ask("GET k"), "$4\r\nzero\r\n");
    assert!(matches!(b.try_ask("SET k b"), Err(Park::Latch)), "the other works alone");
    a.commit();
    assert_eq!(b.ask("GET k"), "$3\r\none\r\n");
    assert_eq!(b.ask("SET k b"), "+OK\r\n");
    b.commit();
    a.ask("SELECT 0");
    assert_eq!(a.ask("GET k"), "$1\r\nb\r\n");
}

#[test]
fn it_waits_for_the_open_batches_of_others() {
    let (_dir, mut a, mut b) = two_workers();
    b.ask("SET k b");
    assert!(matches!(a.try_ask("SWAPDB 0 1"), Err(Park::Latch)));
    a.commit();
    b.commit();
    assert_eq!(a.ask("SWAPDB 0 1"), "+OK\r\n");
    a.commit();
    b.ask("SELECT 1");
    assert_eq!(b.ask("GET k"), "$1\r\nb\r\n");
}

#[test]
fn a_transaction_that_is_taken_back_swaps_nothing() {
    let (_dir, mut a, mut b) = two_workers();
    a.say(&["SET k zero", "MULTI", "SWAPDB 0 1", "SET k new", "SWAPDB 1 2"]);
    a.commit();
    b.ask("SET other v");
    assert!(matches!(a.try_ask("EXEC"), Err(Park::Latch)), "the other has an open batch");
    a.commit();
    assert_eq!(a.engine.count(0).keys, 1);
    b.commit();
    assert_eq!(a.ask("EXEC"), "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    a.commit();
    assert_eq!([0, 1, 2].map(|database| a.engine.count(database).keys), [1, 0, 2]);
    assert_eq!(a.ask("GET k"), "$3\r\nnew\r\n");
}

#[test]
fn deadlines_go_with_the_keys() {
    let (_dir, mut a, mut b) = two_workers();
    a.say(&["SET k v PX 10", "SWAPDB 0 1"]);
    a.commit();
    // This worker has executed nothing since, and knows tables only.
    let later = coney_base::UnixMillis(START.0 + 1000);
    let due = b.engine.due(later, 16).unwrap();
    b.executor.expire(later, &due);
    b.commit();
    assert_eq!(b.engine.count(1).keys, 0);
}
