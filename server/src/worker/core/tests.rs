//! The core over a transport that does what the test says: ordering, waiting, back-pressure. What
//! could break is that a reply overtakes another, leaves too early, or never.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use coney_control::config::Config;
use coney_engine::{Engine, EngineConfig, Job};
use coney_xdp_prog::AccessList;
use crossbeam_channel::Receiver;
use tempfile::TempDir;

use super::*;
use crate::admin::AdminMessage;
use crate::worker::fake::{FakeTransport, Wire};
use crate::worker::inbox::Message;

mod frames;

/// A core with everything around it.
struct Bench {
    core: Core,
    transports: Vec<Box<dyn Transport>>,
    wire: Rc<RefCell<Wire>>,
    admin: Receiver<AdminMessage>,
    engine: Arc<Engine>,
    /// What the I/O pool, of [`IO_THREADS`] threads, would be doing.
    jobs: Receiver<Request>,
    _messages: Receiver<Message>,
    dir: TempDir,
}

const IO_THREADS: usize = 3;

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Self {
        Self::over(TempDir::new().unwrap(), settings)
    }

    /// Over what is in `dir`.
    fn over(dir: TempDir, settings: &[(&str, &str)]) -> Self {
        let mut config = Config::default();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        let engine_config = EngineConfig {
            block_cache_bytes: 8 << 20,
            // So large that nothing is flushed unless a test says so: then some reads would wait for the
            // I/O pool, whenever RocksDB happens to be done.
            write_buffer_bytes: 16 << 20,
            ..EngineConfig::new(dir.path())
        };
        let engine = Arc::new(Engine::open(engine_config).unwrap());
        let (handle, messages) = WorkerHandle::new(0).unwrap();
        let (admin_client, admin) = AdminClient::new();
        let (pool, jobs) = PoolClient::new(IO_THREADS);
        let core = Core::new(CoreParts {
            executor: Executor::new(Arc::clone(&engine), 0),
            runtime: Arc::new(Runtime::new(&config)),
            handle: Arc::new(handle),
            peers: Vec::new(),
            pool,
            admin: admin_client,
            sync: Arc::default(),
            rules: Arc::new(crate::access::rules(&config).unwrap()),
            transports: 1,
            clock: Clock::new(),
        });
        let wire = Rc::new(RefCell::new(Wire::default()));
        let transports: Vec<Box<dyn Transport>> = vec![Box::new(FakeTransport(Rc::clone(&wire)))];
        let mut bench =
            Self { core, transports, wire, admin, engine, jobs, _messages: messages, dir };
        bench.core.now = Instant::from_millis(1000);
        bench.core.unix_now = UnixMillis(1_700_000_000_000);
        bench
    }

    fn connect(&mut self, index: u32) -> SessionKey {
        self.connect_from(index, "127.0.0.1:5000")
    }

    fn connect_from(&mut self, index: u32, peer: &str) -> SessionKey {
        let key = Core::key(0, ConnId { index, generation: 0 });
        self.core.on_accept(key, peer.parse().unwrap(), "127.0.0.1:6379".parse().unwrap());
        key
    }

    /// What follows reception in an iteration of the worker.
    fn finish_iteration(&mut self) {
        self.core.retry_parked();
        self.core.commit();
        self.core.send_dirty(&mut self.transports);
    }

    /// What was sent to a client since the last call.
    fn sent(&self, index: u32) -> String {
        let bytes = self.wire.borrow_mut().sent.remove(&index).unwrap_or_default();
        String::from_utf8(bytes).unwrap()
    }

    fn roundtrip(&mut self, key: SessionKey, bytes: &[u8]) -> String {
        self.core.on_data(key, bytes, None);
        self.finish_iteration();
        self.sent(key.conn.index)
    }

    fn admin_requests(&self) -> usize {
        self.admin.try_iter().filter(|message| matches!(message, AdminMessage::Command(_))).count()
    }
}

/// Over kernel sockets too: an access list must not fail open when AF_XDP is not there.
#[test]
fn denied_clients_are_refused_unless_they_are_on_this_host() {
    let mut bench =
        Bench::new(&[("access-list-deny", "192.0.2.0/24 127.0.0.0/8"), ("protected-mode", "no")]);
    let mut accept = |index, peer: &str| {
        let key = Core::key(0, ConnId { index, generation: 0 });
        bench.core.on_accept(key, peer.parse().unwrap(), "127.0.0.1:6379".parse().unwrap())
    };
    assert!(!accept(0, "192.0.2.7:1"));
    assert!(!accept(1, "[::ffff:192.0.2.7]:1"));
    assert!(accept(2, "127.0.0.1:1"));
    assert!(accept(3, "198.51.100.7:1"));
    assert_eq!(bench.core.stats.rejected_connections, 2);
    assert_eq!(bench.core.sessions.len(), 2);
    let access = AccessList::new(&["192.0.2.0/24".parse().unwrap()], &[]).unwrap();
    let rules = Rules { access, ..Rules::default() };
    bench.core.set_rules(Arc::new(rules), &mut []);
    let mut accept = |index, peer: &str| {
        let key = Core::key(0, ConnId { index, generation: 0 });
        bench.core.on_accept(key, peer.parse().unwrap(), "127.0.0.1:6379".parse().unwrap())
    };
    assert!(accept(4, "192.0.2.7:1"));
    assert!(!accept(5, "198.51.100.7:1"));
}

#[test]
fn replies_to_writes_leave_after_the_commit() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.core.on_data(key, b"PING\r\nSET a 1\r\nGET a\r\n", None);
    bench.core.send_dirty(&mut bench.transports);
    assert_eq!(bench.sent(0), "+PONG\r\n", "the rest waits");
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "+OK\r\n$1\r\n1\r\n");
}

#[test]
fn commands_may_arrive_in_pieces_of_any_size() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nxy\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n" {
        bench.core.on_data(key, &[*byte], None);
    }
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "+OK\r\n$2\r\nxy\r\n");
}

#[test]
fn a_parked_command_holds_back_its_session_and_no_other() {
    let mut bench = Bench::new(&[]);
    let (waiting, other) = (bench.connect(0), bench.connect(1));
    let held = bench.core.on_data(waiting, b"SET a 1\r\nLASTSAVE\r\nGET a\r\n", None);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "+OK\r\n");
    assert_eq!(held, b"GET a\r\n".len(), "counts against the peer");
    assert_eq!(bench.roundtrip(other, b"GET a\r\n"), "$1\r\n1\r\n");
    assert_eq!(bench.admin_requests(), 1);
    bench.core.on_answer(waiting, b":17\r\n", false);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), ":17\r\n$1\r\n1\r\n", "in the order of the commands");
    assert_eq!(bench.wire.borrow().held.get(&0), Some(&0), "the peer may go on");
}

#[test]
fn an_answer_closes_the_connection_if_it_says_so() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    assert_eq!(bench.roundtrip(key, b"CLIENT KILL ID 1\r\nPING\r\n"), "");
    bench.core.on_answer(key, b":1\r\n", true);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), ":1\r\n", "and nothing of what came after");
    assert_eq!(bench.wire.borrow().closed, [0]);
}

#[test]
fn answers_for_sessions_that_are_gone_are_dropped() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.roundtrip(key, b"LASTSAVE\r\n");
    bench.core.on_close(key, CloseReason::Reset);
    bench.core.on_answer(key, b":17\r\n", false);
    bench.finish_iteration();
    let successor = Core::key(0, ConnId { index: 0, generation: 1 });
    bench.core.on_accept(successor, "127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    bench.core.on_answer(key, b":17\r\n", false);
    assert_eq!(bench.roundtrip(successor, b"PING\r\n"), "+PONG\r\n");
}

#[test]
fn a_full_queue_of_the_control_plane_is_tried_again() {
    let mut bench = Bench::new(&[]);
    let mut index = 0;
    while !bench.core.wants_retry() {
        let key = bench.connect(index);
        bench.core.on_data(key, b"LASTSAVE\r\n", None);
        index += 1;
        assert!(index < 100_000, "the queue has a limit");
    }
    assert_eq!(bench.core.retry_parked(), 0, "no progress");
    let queued = bench.admin_requests();
    assert_eq!(u32::try_from(queued).unwrap(), index - 1);
    bench.finish_iteration();
    assert!(!bench.core.wants_retry());
    assert_eq!(bench.admin_requests(), 1);
}

#[test]
fn what_the_transport_does_not_take_waits_for_room() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.wire.borrow_mut().room = Some(3);
    assert_eq!(bench.roundtrip(key, b"PING\r\n"), "+PO");
    bench.wire.borrow_mut().room = None;
    assert_eq!(bench.roundtrip(key, b"PING\r\n"), "", "it said that it is full");
    bench.core.on_writable(key);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "NG\r\n+PONG\r\n");
}

#[test]
fn a_session_with_much_unsent_output_executes_nothing_more() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    let value = "v".repeat(1 << 20);
    bench.roundtrip(
        key,
        format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048576\r\n{value}\r\n").as_bytes(),
    );
    bench.wire.borrow_mut().room = Some(0);
    let gets = 100;
    let held = bench.core.on_data(key, b"GET a\r\n".repeat(gets).as_slice(), None);
    bench.finish_iteration();
    let executed = OUTPUT_PAUSE_BYTES.div_ceil(value.len() + 12);
    assert_eq!(held, (gets - executed) * b"GET a\r\n".len());
    assert!(bench.core.output_bytes < OUTPUT_PAUSE_BYTES + 2 * value.len());
    bench.wire.borrow_mut().room = None;
    let mut received = 0;
    while received < gets * (value.len() + 12) {
        bench.core.on_writable(key);
        bench.finish_iteration();
        let len = bench.sent(0).len();
        assert!(len > 0, "it goes on until everything is answered");
        received += len;
    }
    assert_eq!(received, gets * (value.len() + 12));
    assert_eq!(bench.core.output_bytes, 0);
}

#[test]
fn an_output_limit_ends_the_session() {
    let mut bench = Bench::new(&[("client-output-buffer-limit", "normal 1mb 0 0")]);
    let key = bench.connect(0);
    bench.wire.borrow_mut().room = Some(0);
    let text = "x".repeat(600_000);
    let echo = format!("*2\r\n$4\r\nECHO\r\n$600000\r\n{text}\r\n");
    bench.roundtrip(key, echo.as_bytes());
    assert!(bench.wire.borrow().aborted.is_empty());
    bench.roundtrip(key, echo.as_bytes());
    assert_eq!(bench.wire.borrow().aborted, [0]);
    assert_eq!(bench.core.stats.output_limit_disconnections, 1);
}

#[test]
fn a_subscriber_above_the_soft_limit_is_ended_after_some_time() {
    let limits = "pubsub 10mb 100kb 5";
    let mut bench = Bench::new(&[("client-output-buffer-limit", limits)]);
    let (slow, other) = (bench.connect(0), bench.connect(1));
    bench.roundtrip(slow, b"SUBSCRIBE news\r\n");
    bench.wire.borrow_mut().room = Some(0);
    let publish =
        format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$200000\r\n{}\r\n", "x".repeat(200_000));
    bench.roundtrip(other, publish.as_bytes());
    bench.core.deliver_mail();
    bench.finish_iteration();
    for (secs, is_ended) in [(5, false), (7, true)] {
        bench.core.now = Instant::from_millis(secs * 1000);
        bench.core.close_slow_readers(&mut bench.transports);
        assert_eq!(bench.wire.borrow().aborted == [0], is_ended, "after {secs} s");
    }
    assert_eq!(bench.core.stats.output_limit_disconnections, 1);
}

// What could break: readers that wait along, and writes that are refused and happen all the same.
#[test]
fn a_write_that_waits_too_long_for_compactions_fails_and_is_forgotten() {
    let mut bench = Bench::new(&[("write-stall-timeout", "5")]);
    let (writer, reader) = (bench.connect(0), bench.connect(1));
    assert_eq!(bench.roundtrip(writer, b"SET first 1\r\n"), "+OK\r\n");
    // Memtables fill up, and nobody flushes them.
    bench.engine.stop_background_work();
    // Half a megabyte a commit: RocksDB lets 16 MB a second through before it lets nothing through, and
    // this is faster on any machine.
    let pairs: String =
        (0..8).map(|n| format!("$4\r\nbig{n}\r\n$60000\r\n{}\r\n", "x".repeat(60_000))).collect();
    let big = format!("*17\r\n$4\r\nMSET\r\n{pairs}");
    let mut reply = "+OK\r\n".to_owned();
    for _ in 0..10_000 {
        reply = bench.roundtrip(writer, big.as_bytes());
        if reply.is_empty() {
            break;
        }
    }
    assert_eq!(reply, "", "writes are stalled");
    assert!(
        bench.core.stats.commit_stalls > 0,
        "{:?} {}",
        bench.core.stats,
        bench.core.executor.stats.fetches
    );
    assert_eq!(bench.roundtrip(writer, b"SET second 2\r\n"), "");
    assert_eq!(bench.roundtrip(reader, b"GET first\r\n"), "$1\r\n1\r\n", "reads go on");
    bench.core.now = bench.core.now + Duration::from_secs(4);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "");
    bench.core.now = bench.core.now + Duration::from_secs(2);
    bench.finish_iteration();
    let refused = bench.sent(0);
    assert!(refused.starts_with("-TRYAGAIN"), "{refused}");
    assert_eq!(bench.roundtrip(reader, b"GET second\r\n"), "$-1\r\n");
}

#[test]
fn with_sync_always_replies_wait_for_the_disk() {
    let mut bench = Bench::new(&[("sync", "always")]);
    let (writer, reader) = (bench.connect(0), bench.connect(1));
    assert_eq!(bench.roundtrip(writer, b"SET a 1\r\nPING\r\n"), "");
    assert_eq!(bench.roundtrip(reader, b"PING\r\n"), "+PONG\r\n", "it wrote nothing");
    assert!(bench.core.awaits_disk());
    assert!(!bench.core.has_durable_news(bench.engine.durable_ticket()));
    bench.engine.sync_wal().unwrap();
    let ticket = bench.engine.durable_ticket();
    assert!(bench.core.has_durable_news(ticket));
    bench.core.on_durable(ticket);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "+OK\r\n+PONG\r\n");
    assert!(!bench.core.awaits_disk());
}

#[test]
fn a_failed_sync_ends_the_connections_whose_writes_wait_for_it() {
    let mut bench = Bench::new(&[("sync", "always")]);
    let (writer, reader) = (bench.connect(0), bench.connect(1));
    bench.roundtrip(writer, b"SET a 1\r\n");
    bench.core.on_sync_failed(&mut bench.transports);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "", "nobody knows whether it survives");
    assert_eq!(bench.wire.borrow().closed, [0]);
    assert_eq!(bench.roundtrip(reader, b"PING\r\n"), "+PONG\r\n");
}

#[test]
fn what_was_sent_before_the_end_is_answered_before_the_close() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.core.on_data(key, b"SET a 1\r\nGET a\r\n", None);
    bench.core.on_eof(key);
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "+OK\r\n$1\r\n1\r\n");
    assert_eq!(bench.wire.borrow().closed, [0]);
}

#[test]
fn a_broken_protocol_is_answered_and_closed() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    assert_eq!(
        bench.roundtrip(key, b"PING\r\n*x\r\nPING\r\n"),
        "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"
    );
    assert_eq!(bench.wire.borrow().closed, [0]);
    let held = bench.core.on_data(key, b"PING\r\n", None);
    assert_eq!(held, 0, "nothing is executed any more");
}

#[test]
fn clients_from_elsewhere_and_clients_too_many_are_refused() {
    let mut bench = Bench::new(&[("maxclients", "1")]);
    bench.connect_from(0, "192.0.2.7:1000");
    bench.finish_iteration();
    assert!(bench.sent(0).starts_with("-DENIED "));
    let first = bench.connect(1);
    bench.connect(2);
    bench.finish_iteration();
    assert_eq!(bench.sent(1), "", "the stranger, still closing, takes no place");
    assert_eq!(bench.sent(2), "-ERR max number of clients reached\r\n");
    bench.core.on_close(first, CloseReason::Finished);
    let next = bench.connect(3);
    assert_eq!(bench.roundtrip(next, b"PING\r\n"), "+PONG\r\n");
    assert_eq!(bench.core.stats.rejected_connections, 2);
}

#[test]
fn idle_clients_end_and_waiting_ones_do_not() {
    let mut bench = Bench::new(&[]);
    let (_idle, waiting) = (bench.connect(0), bench.connect(1));
    bench.roundtrip(waiting, b"LASTSAVE\r\n");
    bench.core.now = bench.core.now + Duration::from_secs(11);
    bench.core.close_idle(Duration::from_secs(10), &mut bench.transports);
    assert_eq!(bench.wire.borrow().closed, [0]);
}

#[test]
fn errors_are_counted_by_their_code() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.roundtrip(key, b"SET a x\r\nINCR a\r\nNONSENSE\r\nHELLO 9\r\nLASTSAVE\r\n");
    bench.core.on_answer(key, b"-ERR no\r\n", false);
    let row = bench.core.report(&bench.transports);
    assert_eq!(row.error_replies, 4);
    assert_eq!(row.errors, [("ERR".to_owned(), 3), ("NOPROTO".to_owned(), 1)]);
}

#[test]
fn commands_that_waited_for_long_go_to_the_slow_log() {
    let mut bench = Bench::new(&[("slowlog-log-slower-than", "5000")]);
    let key = bench.connect(0);
    for (wait_ms, expected) in [(4, 0), (5, 1)] {
        bench.roundtrip(key, b"LASTSAVE\r\n");
        bench.core.now = bench.core.now + Duration::from_millis(wait_ms);
        bench.core.on_answer(key, b":1\r\n", false);
        let slow = bench
            .admin
            .try_iter()
            .filter(|message| matches!(message, AdminMessage::Slow(entry) if entry.micros == 5000))
            .count();
        assert_eq!(slow, expected, "after {wait_ms} ms");
    }
}

#[test]
fn a_stopping_worker_answers_what_it_has_and_closes() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.connect(1);
    bench.core.on_data(key, b"SET a 1\r\n", None);
    bench.core.end_all();
    bench.finish_iteration();
    assert_eq!(bench.sent(0), "+OK\r\n");
    assert_eq!(bench.wire.borrow().closed, [0, 1]);
}

// One cold key after the other would wait for the device as often as there are keys.
#[test]
fn cold_keys_of_a_pipeline_are_fetched_together_and_answered_in_order() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    for n in 0..20 {
        bench.roundtrip(key, format!("SET key{n} value{n}\r\n").as_bytes());
    }
    bench.engine.flush().unwrap();
    let Bench { core, engine, jobs, dir, .. } = bench;
    drop((core, engine, jobs));
    let mut bench = Bench::over(dir, &[]);
    let key = bench.connect(0);
    let pipeline: String = (0..16).map(|n| format!("GET key{n}\r\n")).collect();
    bench.core.on_data(key, format!("{pipeline}PING\r\n").as_bytes(), None);
    bench.finish_iteration();
    let requests: Vec<Request> = bench.jobs.try_iter().collect();
    let lens = requests.iter().map(|request| match &request.job {
        Job::Fetch(keys) => keys.len(),
        Job::Command(command) => panic!("{command:?}"),
    });
    assert_eq!(lens.collect::<Vec<_>>(), [6, 6, 4], "one for each thread");
    for request in requests {
        assert_eq!(bench.sent(0), "", "nothing before all are there");
        let done = bench.engine.run(request.job);
        bench.core.on_job_done(key, done);
        bench.finish_iteration();
    }
    let replies: String =
        (0..16).map(|n| format!("value{n}")).map(|v| format!("${}\r\n{v}\r\n", v.len())).collect();
    assert_eq!(bench.sent(0), replies + "+PONG\r\n");
    assert_eq!(bench.jobs.len(), 0, "and nothing else was fetched");
    assert_eq!(bench.core.executor.stats.fetches, 1);
}
