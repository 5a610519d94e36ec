//! The pieces of the hot path, each for itself: parsing and writing RESP, the codec of keys, the hot-key
//! cache, building a batch, headers and checksums of segments.
//!
//! A piece that got slower shows here before it shows in a request; what a request costs in all is in the
//! benchmarks `commands` and `frames`.
//!
//! `cargo bench --workspace --bench pieces [-- FILTER]`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use coney_datapath::tcp::seq::Seq;
use coney_datapath::wire::checksum::{Sum, pseudo_header};
use coney_datapath::wire::{ipv4, tcp};
use coney_engine::batch::Batch;
use coney_engine::cache::Cache;
use coney_engine::key::{MetaKey, write_meta_key};
use coney_resp::parse::{Limits, Parser, Scratch, Step};
use coney_resp::{Protocol, Reply};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const VALUE: [u8; 64] = [b'v'; 64];
const LIMITS: Limits = Limits { bulk_len_max: 512 << 20, authenticated: true };
const KEYS: u64 = 1 << 16;
const TCP: u8 = 6;

fn user_key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn parse_all(mut bytes: &[u8], scratch: &mut Scratch) -> usize {
    let mut parser = Parser::default();
    let mut args = 0;
    while let Ok(Step::Command { consumed }) = parser.next(bytes, LIMITS, scratch) {
        args += scratch.args(bytes).len();
        bytes = &bytes[consumed..];
    }
    args
}

fn resp(criterion: &mut Criterion) {
    let key = user_key(7);
    let get = request(&[b"GET", &key]);
    let set = request(&[b"SET", &key, &VALUE]);
    let mut scratch = Scratch::default();
    let mut group = criterion.benchmark_group("resp");
    for (name, bytes, commands) in [
        ("parse_get", get.clone(), 1),
        ("parse_set", set, 1),
        ("parse_16_gets", get.repeat(16), 16),
    ] {
        group.throughput(Throughput::Elements(commands));
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse_all(black_box(&bytes), &mut scratch));
        });
    }
    let mut out = Vec::with_capacity(4096);
    group.throughput(Throughput::Elements(1));
    group.bench_function("write_bulk_64", |bencher| {
        bencher.iter(|| {
            out.clear();
            Reply::new(&mut out, Protocol::Resp2).bulk(black_box(&VALUE));
            out.len()
        });
    });
    group.bench_function("write_integer", |bencher| {
        bencher.iter(|| {
            out.clear();
            Reply::new(&mut out, Protocol::Resp2).int(black_box(1_234_567));
            out.len()
        });
    });
    group.finish();
}

fn keys(criterion: &mut Criterion) {
    let key = user_key(7);
    let mut out = Vec::with_capacity(64);
    let mut group = criterion.benchmark_group("key");
    group.bench_function("write_meta_key", |bencher| {
        bencher.iter(|| {
            write_meta_key(&mut out, 0, black_box(&key));
            out.len()
        });
    });
    write_meta_key(&mut out, 0, &key);
    group.bench_function("parse_meta_key", |bencher| {
        bencher.iter(|| MetaKey::parse(black_box(&out)).map(|key| key.position()));
    });
    group.finish();
}

/// Meta keys in an order that no prefetcher guesses.
fn meta_keys() -> Vec<Vec<u8>> {
    let keys = (0..KEYS).map(|number| {
        let mut out = Vec::new();
        write_meta_key(&mut out, 0, &user_key(number.wrapping_mul(40_503) % KEYS));
        out
    });
    keys.collect()
}

fn cache(criterion: &mut Criterion) {
    let keys = meta_keys();
    let mut cache = Cache::new(1 << 30);
    for key in &keys {
        cache.put(key, &VALUE, 0);
    }
    let mut missing = Cache::new(1 << 20);
    let mut turns = keys.iter().cycle();
    let mut group = criterion.benchmark_group("cache");
    group.bench_function("hit_of_65536", |bencher| {
        bencher.iter(|| turns.next().and_then(|key| cache.get(key, 0)).map(<[u8]>::len));
    });
    group.bench_function("miss", |bencher| {
        bencher.iter(|| turns.next().and_then(|key| missing.get(key, 0)).map(<[u8]>::len));
    });
    group.bench_function("overwrite", |bencher| {
        bencher.iter(|| {
            if let Some(key) = turns.next() {
                cache.put(key, &VALUE, 0);
            }
        });
    });
    group.finish();
}

fn batch(criterion: &mut Criterion) {
    const PUTS: usize = 256;
    let keys = meta_keys();
    let mut batch = Batch::new();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(PUTS as u64));
    group.bench_function("256_puts", |bencher| {
        bencher.iter(|| {
            batch.clear();
            for key in keys.iter().take(PUTS) {
                batch.put_meta(key, &[&VALUE]);
            }
            batch.as_bytes().len()
        });
    });
    group.finish();
}

fn segments(criterion: &mut Criterion) {
    let header = tcp::Header {
        src_port: 40_000,
        dst_port: 6379,
        seq: Seq(1),
        ack: Seq(2),
        flags: tcp::Flags::ACK,
        window: 512,
        options: tcp::Options {
            timestamps: Some(tcp::Timestamps { value: 3, echo: 4 }),
            ..tcp::Options::default()
        },
    };
    let mut segment = vec![0; header.len()];
    header.write(&mut segment).expect("the buffer has the header's length");
    segment.extend_from_slice(&VALUE);
    let header_len = header.len();
    let mut group = criterion.benchmark_group("segment");
    group.bench_function("parse", |bencher| {
        bencher.iter(|| tcp::Header::parse(black_box(&segment)).map(|(header, _)| header.ack));
    });
    let mut out = segment.clone();
    group.bench_function("write", |bencher| {
        bencher.iter(|| black_box(&header).write(&mut out[..header_len]));
    });
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for len in [64, 1460, 8960] {
        let bytes = vec![7; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("checksum_{len}"), |bencher| {
            bencher.iter(|| {
                let sum: Sum = pseudo_header(address, address, TCP, len);
                sum.plus(black_box(&bytes)).finish()
            });
        });
    }
    let mut packet = [0; ipv4::HEADER_LEN + 64];
    let ip = ipv4::Header {
        src: Ipv4Addr::new(192, 0, 2, 1),
        dst: Ipv4Addr::new(192, 0, 2, 2),
        protocol: TCP,
        traffic_class: 0,
    };
    let (head, _) = packet.split_first_chunk_mut().expect("the packet has a header");
    ip.write(head, 64).expect("64 bytes are not too long");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse_ipv4", |bencher| {
        bencher.iter(|| ipv4::Header::parse(black_box(&packet)).map(|(header, _)| header.src));
    });
    group.finish();
}

criterion_group!(pieces, resp, keys, cache, batch, segments);
criterion_main!(pieces);
