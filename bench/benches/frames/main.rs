//! From a received request frame to the transmitted reply frame, in memory, by the number of open
//! connections that requests come from at random. What grows with their number is the cost of cache
//! misses.
//!
//! - `hot_get`: through the server's worker, from our TCP to the engine's cache and back.
//! - `tcp`: our TCP alone; whoever stands on it answers with a constant of the same length.
//! - `smoltcp`: the same frames through smoltcp, as a yardstick. It looks through all sockets for
//!   each segment, so that 10,000 are enough to see; which of them received, it is told.
//!
//! Times are those of a request of a burst of 32. Clients acknowledge each reply by a frame of its
//! own; `.../and_ack` contains the time for it. A request comes each microsecond, so that timers
//! run as in a server that is busy. `hot_get/pipeline_16` are bursts in which each connection sends 16
//! requests in one segment; times are those of a request, of all.
//!
//! `hot_get/value` is one request at a time, by the length of the value, with all segments and
//! acknowledgements that it takes. `hot_get/pipeline` is one segment of requests at a time, by their
//! number, and `hot_get/pipeline_16/value` one of 16, by the length of the values; times are those of a
//! request. `outbox/...` are the same without transmit frames for replies, which go through the
//! session's outbox. `.../bulk` is the time for a full segment of one connection, with what is answered to it.
//!
//! `bench/frames` makes a table of it.

use std::cell::{LazyCell, RefCell};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod clients;
mod ours;
mod smol;
mod wire_format;

use clients::{BURST, Clients, Server, Spent};
use ours::Replies;

const CONNS: [usize; 4] = [10, 1000, 10_000, 100_000];
/// Bytes of values, up to about what the cache takes.
const VALUE_LENS: [usize; 5] = [64, 1024, 4096, 16_384, 60_000];
/// Requests that arrive in one segment.
const DEPTHS: [usize; 4] = [1, 4, 16, 48];
/// How many do where it is a question of connections or values.
const DEPTH: usize = 16;
/// Bytes of the values that they ask for then.
const PIPELINED_VALUE_LENS: [usize; 3] = [64, 256, 1024];
/// Connections from which they are asked for.
const FETCHING_CONNS: usize = 10;
const SMOLTCP_CONNS_MAX: usize = 10_000;

/// Measures what `spent` takes of bursts of requests, for one request. The clients are made if the
/// benchmark was asked for.
fn requests<S: Server>(
    criterion: &mut Criterion,
    name: &str,
    (conns, depth): (usize, usize),
    clients: &LazyCell<RefCell<Clients<S>>, impl FnOnce() -> RefCell<Clients<S>>>,
    spent: impl Fn(&Spent) -> Duration,
) {
    let burst = (BURST.min(conns) * depth) as u64;
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::from_parameter(conns), |bencher| {
        let mut clients = clients.borrow_mut();
        bencher.iter_custom(|requests| {
            let bursts = requests.div_ceil(burst);
            let total: Duration = (0..bursts).map(|_| spent(&clients.burst(depth))).sum();
            // For a request, whatever the burst.
            total.mul_f64(requests as f64 / (bursts * burst) as f64)
        });
    });
    group.finish();
}

fn both<S: Server>(
    criterion: &mut Criterion,
    name: &str,
    (conns, depth): (usize, usize),
    make: impl FnOnce(usize) -> Clients<S>,
) {
    let clients = LazyCell::new(|| RefCell::new(make(conns)));
    requests(criterion, name, (conns, depth), &clients, |spent| spent.requests);
    let name = format!("{name}/and_ack");
    requests(criterion, &name, (conns, depth), &clients, |spent| spent.requests + spent.acks);
}

fn bulk<S: Server>(criterion: &mut Criterion, name: &str, make: impl Fn(usize) -> Clients<S>) {
    let mut group = criterion.benchmark_group(format!("{name}/bulk"));
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::from_parameter(1), |bencher| {
        let mut clients = make(1);
        bencher.iter_custom(|segments| {
            let bursts = segments.div_ceil(BURST as u64);
            let total: Duration = (0..bursts).map(|_| clients.bulk()).sum();
            total.mul_f64(segments as f64 / (bursts * BURST as u64) as f64)
        });
    });
    group.finish();
}

/// One pipeline at a time, of `depth` requests for values of `len` bytes; the time for a request.
fn fetches(
    criterion: &mut Criterion,
    (name, replies): (&str, Replies),
    parameter: impl Fn(usize, usize) -> usize,
    sizes: impl Iterator<Item = (usize, usize)>,
) {
    let server = if replies == Replies::InFrames { "hot_get" } else { "outbox" };
    let mut group = criterion.benchmark_group(format!("{server}/{name}"));
    for (depth, len) in sizes {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(parameter(depth, len)), |bencher| {
            let mut clients = ours::hot_get_of(FETCHING_CONNS, len, replies);
            bencher.iter_custom(|requests| {
                let pipelines = requests.div_ceil(depth as u64);
                let total: Duration = (0..pipelines).map(|_| clients.fetch(depth)).sum();
                total.mul_f64(requests as f64 / (pipelines * depth as u64) as f64)
            });
        });
    }
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    for conns in CONNS {
        both(criterion, "hot_get", (conns, 1), ours::hot_get);
        both(criterion, "hot_get/pipeline_16", (conns, DEPTH), ours::hot_get);
        both(criterion, "tcp", (conns, 1), ours::tcp);
        if conns <= SMOLTCP_CONNS_MAX {
            both(criterion, "smoltcp", (conns, 1), smol::clients);
        }
    }
    let (depth, len) = (|depth, _| depth, |_, len| len);
    for replies in [Replies::InFrames, Replies::ThroughOutbox] {
        let lens = VALUE_LENS.map(|len| (1, len));
        fetches(criterion, ("value", replies), len, lens.into_iter());
        let depths = DEPTHS.map(|depth| (depth, wire_format::VALUE_LEN));
        fetches(criterion, ("pipeline", replies), depth, depths.into_iter());
        let lens = PIPELINED_VALUE_LENS.map(|len| (DEPTH, len));
        fetches(criterion, ("pipeline_16/value", replies), len, lens.into_iter());
    }
    bulk(criterion, "tcp", ours::tcp);
    bulk(criterion, "smoltcp", smol::clients);
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group!(name = benches; config = config(); targets = frames);
criterion_main!(benches);
