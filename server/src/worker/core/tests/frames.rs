//! Replies that are written into transmit frames while commands are executed, against the simple way
//! over the outbox. What could break: order, what a commit decides, and a rest that is lost or sent
//! twice when frames run out.

use coney_datapath::port::sim::Rng;

use super::*;
use crate::worker::fake::FakeFrames;

/// Room for anything.
const ENDLESS: usize = usize::MAX / 2;

impl Bench {
    /// Frames of a connection with `room` bytes.
    fn frames(&self, index: u32, room: usize) -> FakeFrames {
        FakeFrames { wire: Rc::clone(&self.wire), index, room, written: 0 }
    }

    /// Bytes arrive over a connection with frames; returns how many bytes of replies are in them.
    fn on_data_with(&mut self, index: u32, bytes: &[u8], room: usize) -> usize {
        let mut frames = self.frames(index, room);
        self.core.on_data(Core::key(0, ConnId { index, generation: 0 }), bytes, Some(&mut frames));
        frames.written
    }
}

#[test]
fn a_reply_that_depends_on_no_write_is_in_the_frames_at_once() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    bench.roundtrip(key, b"SET a 12345\r\n");
    assert_eq!(bench.on_data_with(0, b"GET a\r\nMGET a b\r\nNONSENSE\r\n", ENDLESS), 92);
    assert!(!bench.core.has_dirty(), "there is nothing to do for the session");
    let error = "-ERR unknown command 'NONSENSE', with args beginning with: \r\n";
    assert_eq!(bench.sent(0), format!("$5\r\n12345\r\n*2\r\n$5\r\n12345\r\n$-1\r\n{error}"));
    assert_eq!(bench.core.due.spare_buffers.len(), 1, "an idle session keeps no buffer");
    assert!(bench.core.sessions.get_mut(key).unwrap().outbox.has_no_buffer());
}

#[test]
fn a_reply_that_depends_on_a_write_is_not() {
    let mut bench = Bench::new(&[]);
    let (key, _) = (bench.connect(0), bench.connect(1));
    bench.roundtrip(key, b"SET a 1\r\n");
    assert_eq!(bench.on_data_with(0, b"GETSET a 2\r\n", ENDLESS), 0, "it writes");
    assert_eq!(bench.on_data_with(0, b"GET b\r\n", ENDLESS), 0, "behind one that writes");
    assert_eq!(bench.on_data_with(1, b"GET a\r\n", ENDLESS), 0, "it reads what was written");
    assert_eq!(bench.on_data_with(1, b"GET b\r\n", ENDLESS), 0, "behind one that did");
    bench.core.executor.give_up_batch();
    bench.core.fail_uncommitted(&StoreError::Behind);
    bench.finish_iteration();
    for (index, errors) in [(0, 2), (1, 2)] {
        assert_eq!(bench.sent(index).matches("-TRYAGAIN").count(), errors);
    }
}

#[test]
fn what_finds_no_frame_follows_through_the_outbox() {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    let value = "v".repeat(5000);
    bench.roundtrip(key, format!("SET a {value}\r\n").as_bytes());
    let written = bench.on_data_with(0, b"GET a\r\nGET a\r\nPING\r\n", 2000);
    assert_eq!(written, 2000);
    assert_eq!(bench.on_data_with(0, b"GET b\r\n", ENDLESS), 0, "earlier ones wait");
    bench.finish_iteration();
    let reply = format!("$5000\r\n{value}\r\n");
    assert_eq!(bench.sent(0), format!("{reply}{reply}+PONG\r\n$-1\r\n"));
    assert_eq!(bench.core.sessions.get_mut(key).unwrap().tx_bytes, 5 + 2 * 5009 + 7 + 5);
}

/// Keys that lie on the disk alone when a run begins.
const COLD_KEYS: u64 = 100;

/// A core over a database whose keys `cold0`, `cold1`, ... no cache has.
fn bench_with_cold_keys(settings: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(&[]);
    let key = bench.connect(0);
    for n in 0..COLD_KEYS {
        // Digits at random, so that a block has only a few of them although it is compressed.
        let mut rng = Rng::new(n + 1);
        let value: String = (0..150).map(|_| format!("{:020}", rng.below(u64::MAX))).collect();
        bench.roundtrip(key, format!("SET cold{n} {value}\r\n").as_bytes());
    }
    bench.engine.flush().unwrap();
    let Bench { core, engine, jobs, dir, .. } = bench;
    drop((core, engine, jobs));
    Bench::over(dir, settings)
}

fn value(rng: &mut Rng) -> String {
    let len = match rng.below(16) {
        0 => 20_000 + rng.below(10_000),
        1..=4 => 900 + rng.below(700),
        _ => rng.below(60),
    };
    let letter = char::from(b'a' + u8::try_from(rng.below(26)).unwrap());
    letter.to_string().repeat(usize::try_from(len).unwrap())
}

/// Words with a blank between them.
fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// What changes how later commands are answered, or whether.
fn of_the_connection(rng: &mut Rng) -> Vec<String> {
    words(match rng.below(12) {
        0..=1 => "HELLO 3",
        2 => "HELLO 2",
        3 => "HELLO 9",
        4 => "CLIENT REPLY OFF",
        5..=6 => "CLIENT REPLY SKIP",
        7..=10 => "CLIENT REPLY ON",
        _ => "QUIT",
    })
}

fn failing(rng: &mut Rng) -> Vec<String> {
    words(match rng.below(6) {
        0 => "NONSENSE",
        1 => "GET",
        2 => "GET list",
        3 => "INCR cold0",
        4 => "SET k0 v EX never",
        _ => "MGET k0 list cold1 none",
    })
}

fn command(rng: &mut Rng, only_reads: bool) -> Vec<String> {
    let key = |rng: &mut Rng| format!("k{}", rng.below(4));
    let cold = |rng: &mut Rng| format!("cold{}", rng.below(COLD_KEYS));
    match rng.below(if only_reads { 14 } else { 26 }) {
        0..=3 => vec!["GET".into(), key(rng)],
        4 => vec!["MGET".into(), key(rng), key(rng), key(rng), "none".into()],
        5 => vec!["LRANGE".into(), "list".into(), "0".into(), "5".into()],
        6 => vec!["STRLEN".into(), key(rng)],
        7 => vec!["ECHO".into(), value(rng)],
        8 => vec!["GET".into(), "none".into()],
        9..=10 => failing(rng),
        11 => of_the_connection(rng),
        12 => vec!["GET".into(), cold(rng)],
        13 => vec!["MGET".into(), key(rng), cold(rng), cold(rng)],
        14..=16 => vec!["SET".into(), key(rng), value(rng)],
        17 => vec!["GETSET".into(), key(rng), value(rng)],
        18 => vec!["GETDEL".into(), key(rng)],
        19 => vec!["APPEND".into(), key(rng), value(rng)],
        20 => vec!["INCR".into(), key(rng)],
        21..=22 => vec!["RPUSH".into(), "list".into(), value(rng)],
        23 => vec!["APPEND".into(), cold(rng), value(rng)],
        24 => vec!["GETDEL".into(), cold(rng)],
        _ => vec!["LPOP".into(), "list".into()],
    }
}

/// The bytes of a command, or of a few that belong together, or of none.
fn request(rng: &mut Rng, only_reads: bool) -> String {
    let mut commands = vec![command(rng, only_reads)];
    if rng.below(10) == 0 {
        commands.insert(0, words("MULTI"));
        commands.push(vec!["GET".into(), format!("k{}", rng.below(4))]);
        commands.push(words(if rng.below(4) == 0 { "DISCARD" } else { "EXEC" }));
    }
    let encode = |words: &Vec<String>| {
        let args = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), args.collect::<String>())
    };
    let mut bytes: String = commands.iter().map(encode).collect();
    if rng.below(150) == 0 {
        bytes.push_str("*1\r\n!3\r\n");
    }
    bytes
}

impl Bench {
    /// The I/O pool does its jobs.
    fn run_jobs(&mut self) {
        while let Ok(Request { session, job, .. }) = self.jobs.try_recv() {
            let done = self.engine.run(job);
            self.core.on_job_done(session, done);
        }
    }

    /// The log is brought to the disk.
    fn sync(&mut self) {
        self.engine.sync_wal().unwrap();
        self.core.on_durable(self.engine.durable_ticket());
        self.core.send_dirty(&mut self.transports);
    }

    /// The peers of connections that were closed open them again; returns whose they were.
    fn reconnect(&mut self) -> Vec<u32> {
        let mut closed = std::mem::take(&mut self.wire.borrow_mut().closed);
        closed.sort_unstable();
        for &index in &closed {
            let key = Core::key(0, ConnId { index, generation: 0 });
            self.core.on_close(key, CloseReason::Finished);
            self.connect(index);
        }
        closed
    }
}

/// What happened in runs of [`compare`].
#[derive(Debug, Default)]
struct Seen {
    /// Bytes that were written into frames, and not taken back at once.
    framed: usize,
    replied: usize,
    parked: u64,
    closed: usize,
    resp3_nulls: usize,
    errors: usize,
    /// Iterations after which replies waited for the disk.
    awaited_disk: usize,
}

/// Random pipelines of three clients, in random pieces, with commits that fail now and then, keys that
/// the I/O pool fetches, and a disk that takes its time.
fn compare(seed: u64, iterations: usize, settings: &[(&str, &str)], seen: &mut Seen) {
    let mut rng = Rng::new(seed);
    let (mut fast, mut simple) = (bench_with_cold_keys(settings), bench_with_cold_keys(settings));
    for bench in [&mut fast, &mut simple] {
        for index in 0..3 {
            bench.connect(index);
        }
    }
    for iteration in 0..=iterations {
        let is_last = iteration == iterations;
        let only_reads = rng.below(2) == 0;
        for _ in 0..if is_last { 0 } else { 1 + rng.below(3) } {
            let index = u32::try_from(rng.below(3)).unwrap();
            let requests = (0..=rng.below(5)).map(|_| request(&mut rng, only_reads));
            let bytes = requests.collect::<String>().into_bytes();
            let cut = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let room = match rng.below(4) {
                    0 => usize::try_from(rng.below(3000)).unwrap(),
                    1 => 0,
                    _ => ENDLESS,
                };
                seen.framed += fast.on_data_with(index, piece, room);
                let key = Core::key(0, ConnId { index, generation: 0 });
                simple.core.on_data(key, piece, None);
                if rng.below(2) == 0 {
                    [&mut fast, &mut simple].into_iter().for_each(Bench::run_jobs);
                }
            }
            // Which blocks RocksDB has is not the same in both; what clients do to each other must be.
            [&mut fast, &mut simple].into_iter().for_each(Bench::run_jobs);
        }
        let fails = !is_last && rng.below(5) == 0;
        // In the end nothing is left to wait for.
        let syncs = is_last || rng.below(3) == 0;
        for bench in [&mut fast, &mut simple] {
            if fails {
                bench.core.executor.give_up_batch();
                bench.core.fail_uncommitted(&StoreError::Behind);
            }
            bench.finish_iteration();
            bench.core.send_dirty(&mut bench.transports);
            if syncs {
                bench.sync();
            }
        }
        for index in 0..3 {
            let (fast, simple) = (fast.sent(index), simple.sent(index));
            assert_eq!(fast, simple, "seed {seed}, iteration {iteration}, client {index}");
            seen.replied += simple.len();
            seen.resp3_nulls += simple.matches("\r\n_\r\n").count();
            seen.errors += simple.matches("\r\n-").count();
        }
        let closed = fast.reconnect();
        assert_eq!(closed, simple.reconnect(), "seed {seed}, iteration {iteration}");
        seen.closed += closed.len();
        seen.awaited_disk += usize::from(simple.core.awaits_disk());
    }
    for bench in [&mut fast, &mut simple] {
        assert_eq!(bench.core.output_bytes, 0);
        seen.parked += bench.core.stats.parked;
    }
    let stats = [&fast, &simple].map(|bench| &bench.core.stats);
    let [fast, simple] = stats.map(|stats| (stats.tx_bytes, &stats.errors));
    assert_eq!(fast, simple, "seed {seed}");
}

#[test]
fn frames_and_outbox_together_send_what_the_outbox_alone_would() {
    let mut seen = Seen::default();
    (1..=8).for_each(|seed| compare(seed, 60, &[], &mut seen));
    let share = seen.framed * 100 / seen.replied;
    assert!((5..95).contains(&share), "{share} % went through frames");
    let Seen { parked, closed, resp3_nulls, errors, .. } = seen;
    assert!(parked.min(closed as u64) > 10 && resp3_nulls.min(errors) > 20, "{seen:?}");
    assert_eq!(seen.awaited_disk, 0);
}

#[test]
fn so_they_do_if_writes_wait_for_the_disk() {
    let mut seen = Seen::default();
    (101..=108).for_each(|seed| compare(seed, 60, &[("sync", "always")], &mut seen));
    let share = seen.framed * 100 / seen.replied;
    assert!((5..95).contains(&share), "{share} % went through frames");
    assert!(seen.awaited_disk > 50 && seen.parked > 10, "{seen:?}");
}
