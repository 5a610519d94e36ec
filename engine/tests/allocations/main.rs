//! Handlers of the hottest commands do not allocate: not on a hit, not on a miss, not on a write.
//!
//! Alone in its process, because it counts what the process allocates.

mod sys;

use std::sync::Arc;

use coney_base::UnixMillis;
use coney_engine::{Client, CommitOutcome, Engine, EngineConfig, Executor, Outcome};
use coney_resp::{OwnedArgs, Protocol, Reply, Sink};

const NOW: UnixMillis = UnixMillis(1_704_067_200_000);
const KEYS: usize = 100;

/// What transmit frames do, without a frame.
struct Frames;

impl Sink for Frames {
    fn write(&mut self, parts: &[&[u8]]) -> usize {
        parts.iter().map(|part| part.len()).sum()
    }

    fn take_back(&mut self, _len: usize) {}
}

#[test]
fn the_hottest_commands_allocate_nothing() {
    let before = sys::allocations();
    drop(std::hint::black_box(vec![0_u8; 10]));
    assert_eq!(sys::allocations() - before, 1, "allocations are counted");
    let dir = tempfile::TempDir::new().unwrap();
    let engine = Arc::new(Engine::open(EngineConfig::new(dir.path())).unwrap());
    let mut executor = Executor::new(engine, 0);
    let mut client = Client::new(1);
    let mut out = Vec::with_capacity(1 << 16);
    let mut frames = Frames;
    let commands = |words: &[&str]| -> Vec<OwnedArgs> {
        (0..KEYS)
            .map(|number| {
                let key = number.to_string();
                let words: Vec<&str> =
                    words.iter().map(|word| if *word == "KEY" { &key } else { *word }).collect();
                OwnedArgs::from_parts(&words)
            })
            .collect()
    };
    for words in [
        &["SET", "KEY", "12345"][..],
        &["GET", "KEY"],
        &["INCR", "KEY"],
        &["SET", "KEY", "7", "EX", "100", "XX"],
        &["EXISTS", "KEY"],
        &["TTL", "KEY"],
        &["APPEND", "KEY", "8"],
        &["DEL", "KEY"],
        &["GET", "KEY"],
        &["PING"],
    ] {
        let commands = commands(words);
        // The first round lets the buffers that are reused grow to their size; in the last, replies go
        // to frames.
        for round in 0..3 {
            let mut allocations = 0;
            for args in &commands {
                out.clear();
                let args = args.as_args();
                let before = sys::allocations();
                let mut reply = if round < 2 {
                    Reply::new(&mut out, Protocol::Resp2)
                } else {
                    Reply::with_sink(&mut out, Protocol::Resp2, &mut frames)
                };
                let outcome = executor.execute(NOW, &mut client, args, &mut reply, 0);
                allocations += sys::allocations() - before;
                assert!(matches!(outcome, Outcome::Done), "{words:?}: {outcome:?}");
            }
            if round > 0 {
                assert_eq!(allocations, 0, "{words:?}");
            }
            assert!(!matches!(executor.commit(), CommitOutcome::Failed(_)));
        }
    }
}
