//! Two workers of one engine that take turns, for a tracer of memory accesses (`bench/lines`): it sees which cache
//! lines each of them uses, and simulates what would move between two cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use coney_bench::driver::Driver;
use coney_engine::{Engine, EngineConfig};

use crate::{Error, Keys, commands, fill};

/// Few: a tracer is slow.
const KEYS: u64 = 64;
const BATCHES: usize = 4;

/// A store here says whose turn begins; the last one says that nobody's is.
#[repr(align(64))]
struct Mark(AtomicU64);
static MARKS: [Mark; 3] = [const { Mark(AtomicU64::new(0)) }; 3];

fn mark(which: usize) {
    MARKS[which].0.store(1, Ordering::SeqCst);
}

/// So many iterations of each worker, after the line `marks` with the addresses that are stored to.
pub(crate) fn run(template: &str, keys: Keys, iterations: usize) -> Result<(), Error> {
    let [first, second, nobody] = MARKS.each_ref().map(|mark| std::ptr::from_ref(mark).addr());
    println!("marks {first:x} {second:x} {nobody:x}");
    let dir = tempfile::TempDir::new()?;
    let config = EngineConfig { workers: 2, ..EngineConfig::new(dir.path()) };
    let engine = Arc::new(Engine::open(config)?);
    let turn = Barrier::new(2);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (engine, turn) = (&engine, &turn);
            scope.spawn(move || {
                let mut driver = Driver::new(engine, worker);
                let batches = commands(template, keys, worker, (KEYS, BATCHES));
                let mut take_turns = |work: &mut dyn FnMut(&mut Driver)| {
                    for whose in 0..2 {
                        if whose == worker {
                            work(&mut driver);
                        }
                        turn.wait();
                    }
                };
                take_turns(&mut |driver| fill(driver, worker, keys, KEYS));
                // Caches fill.
                for batch in &batches {
                    take_turns(&mut |driver| driver.iteration(batch));
                }
                for batch in batches.iter().cycle().take(iterations) {
                    take_turns(&mut |driver| {
                        mark(worker);
                        driver.iteration(batch);
                        mark(2);
                    });
                }
            });
        }
    });
    Ok(())
}
