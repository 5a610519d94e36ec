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

fn value(rng: &mut Rng) -> String {
    let len = match rng.below(12) {
        0 => 60_000 + rng.below(10_000),
        1..=3 => 900 + rng.below(700),
        _ => rng.below(60),
    };
    let letter = char::from(b'a' + u8::try_from(rng.below(26)).unwrap());
    letter.to_string().repeat(usize::try_from(len).unwrap())
}

fn command(rng: &mut Rng, only_reads: bool) -> Vec<String> {
    let key = |rng: &mut Rng| format!("k{}", rng.below(4));
    let words = match rng.below(if only_reads { 10 } else { 20 }) {
        0..=3 => vec!["GET".into(), key(rng)],
        4 => vec!["MGET".into(), key(rng), key(rng), key(rng), "none".into()],
        5 => vec!["LRANGE".into(), "list".into(), "0".into(), "5".into()],
        6 => vec!["STRLEN".into(), key(rng)],
        7 => vec!["ECHO".into(), value(rng)],
        8 => vec!["GET".into(), "list".into()],
        9 => vec!["NONSENSE".into()],
        10..=12 => vec!["SET".into(), key(rng), value(rng)],
        13 => vec!["GETSET".into(), key(rng), value(rng)],
        14 => vec!["GETDEL".into(), key(rng)],
        15 => vec!["APPEND".into(), key(rng), value(rng)],
        16 => vec!["INCR".into(), key(rng)],
        17..=18 => vec!["RPUSH".into(), "list".into(), value(rng)],
        _ => vec!["LPOP".into(), "list".into()],
    };
    let mut bytes = vec![words];
    if rng.below(10) == 0 {
        let name: &[&str] = if rng.below(4) == 0 { &["DISCARD"] } else { &["EXEC"] };
        bytes.insert(0, vec!["MULTI".into()]);
        bytes.push(vec!["GET".into(), key(rng)]);
        bytes.push(name.iter().map(|&word| word.to_owned()).collect());
    }
    let encode = |words: &Vec<String>| {
        let args = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), args.collect::<String>())
    };
    bytes.iter().map(encode).collect()
}

/// Random pipelines of three clients, in random pieces, with commits that fail now and then.
/// Returns the bytes that went through frames, and all.
fn compare(seed: u64, iterations: usize) -> (usize, usize) {
    let mut rng = Rng::new(seed);
    let (mut fast, mut simple) = (Bench::new(&[]), Bench::new(&[]));
    for bench in [&mut fast, &mut simple] {
        for index in 0..3 {
            bench.connect(index);
        }
    }
    let (mut written, mut replied) = (0, 0);
    for iteration in 0..iterations {
        let only_reads = rng.below(2) == 0;
        for _ in 0..=rng.below(3) {
            let index = u32::try_from(rng.below(3)).unwrap();
            let commands = (0..=rng.below(4)).flat_map(|_| command(&mut rng, only_reads));
            let bytes = commands.collect::<String>().into_bytes();
            let cut = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let room = match rng.below(4) {
                    0 => usize::try_from(rng.below(3000)).unwrap(),
                    1 => 0,
                    _ => ENDLESS,
                };
                written += fast.on_data_with(index, piece, room);
                let key = Core::key(0, ConnId { index, generation: 0 });
                simple.core.on_data(key, piece, None);
            }
        }
        let fails = rng.below(5) == 0;
        for bench in [&mut fast, &mut simple] {
            if fails {
                bench.core.executor.give_up_batch();
                bench.core.fail_uncommitted(&StoreError::Behind);
            }
            bench.finish_iteration();
            bench.core.send_dirty(&mut bench.transports);
        }
        // A flush would make some reads wait for the I/O pool, whenever RocksDB happens to be done.
        assert!(fast.jobs.is_empty() && simple.jobs.is_empty(), "everything is in the memtable");
        for index in 0..3 {
            let (fast, simple) = (fast.sent(index), simple.sent(index));
            assert_eq!(fast, simple, "seed {seed}, iteration {iteration}, client {index}");
            replied += simple.len();
        }
    }
    for bench in [&mut fast, &mut simple] {
        assert_eq!(bench.core.output_bytes, 0);
    }
    let bytes = |bench: &Bench| bench.core.stats.tx_bytes;
    assert_eq!(bytes(&fast), bytes(&simple));
    (written, replied)
}

#[test]
fn frames_and_outbox_together_send_what_the_outbox_alone_would() {
    let (mut written, mut replied) = (0, 0);
    for seed in 1..=12 {
        let (of_frames, of_all) = compare(seed, 60);
        written += of_frames;
        replied += of_all;
    }
    let share = written * 100 / replied;
    assert!((5..95).contains(&share), "{share} % went through frames");
}
