//! What the protocol itself costs: a unary call through a server's connection, from the bytes of its request to the bytes of
//! its reply, without a socket, a handler or a message.
//!
//! `cargo bench -p corelane-benches`. Quote medians, and both sides from one run.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros make undocumented items.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use corelane_wire::connection::{Config, Connection, Event, Role};
use corelane_wire::frame::EndStream;
use corelane_wire::hpack::{Decoder, Encoder, ListLimits, Outcome};
use corelane_wire::{FieldList, Instant};

const CALLS: u64 = 100;
const NOW: Instant = Instant::from_nanos(1);

fn list(fields: &[(&str, &str)]) -> FieldList {
    let mut list = FieldList::new();
    for (name, value) in fields {
        list.push(name.as_bytes(), value.as_bytes());
    }
    list
}

/// What h2load sends with each call.
fn request() -> FieldList {
    list(&[
        (":method", "POST"),
        (":path", "/bench.v1.Bench/Unary"),
        (":scheme", "http"),
        (":authority", "127.0.0.1:50051"),
        ("user-agent", "bench"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("content-length", "25"),
    ])
}

/// A client and a server that have exchanged their settings and one batch of calls.
struct Pair {
    client: Connection,
    server: Connection,
    request: FieldList,
    head: FieldList,
    trailers: FieldList,
}

impl Pair {
    fn new() -> Pair {
        let mut pair = Pair {
            client: Connection::new(Role::Client, Config::default(), NOW),
            server: Connection::new(Role::Server, Config::default(), NOW),
            request: request(),
            head: list(&[(":status", "200"), ("content-type", "application/grpc")]),
            trailers: list(&[("grpc-status", "0")]),
        };
        for _ in 0..2 {
            let bytes = pair.requests();
            pair.serve(&bytes);
            pair.finish();
        }
        pair
    }

    /// The bytes of a batch of requests.
    fn requests(&mut self) -> Vec<u8> {
        for _ in 0..CALLS {
            let key = self.client.open(&self.request, EndStream::No).unwrap();
            self.client.stream(key).unwrap().send_data(&[0; 25], EndStream::Yes).unwrap();
        }
        self.client.transmit(NOW);
        std::mem::take(self.client.output())
    }

    /// Reads a batch of requests and answers it; says how many calls that were.
    fn serve(&mut self, bytes: &[u8]) -> u64 {
        let (mut at, mut calls) = (0, 0);
        loop {
            let received = self.server.receive(NOW, &bytes[at..]).unwrap();
            at += received.consumed;
            let Some(event) = received.event else { break };
            if let Event::Data { key, end_stream: true, .. } = event {
                calls += 1;
                self.server.stream(key).unwrap().send_headers(&self.head, EndStream::No).unwrap();
                let stream = self.server.stream(key).unwrap();
                stream.send_with(EndStream::No, |out| out.extend_from_slice(&[0; 23])).unwrap();
                self.server.stream(key).unwrap().send_trailers(&self.trailers).unwrap();
            }
        }
        self.server.transmit(NOW);
        calls
    }

    /// Hands the replies to the client.
    fn finish(&mut self) {
        let bytes = std::mem::take(self.server.output());
        let mut at = 0;
        loop {
            let received = self.client.receive(NOW, &bytes[at..]).unwrap();
            at += received.consumed;
            if received.event.is_none() {
                break;
            }
        }
        assert_eq!(self.client.streams_count(), 0, "every call was answered");
    }
}

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(CALLS));
    let pair = std::cell::RefCell::new(Pair::new());
    group.bench_function("100 unary calls, server", |bencher| {
        bencher.iter_batched(
            || {
                let mut pair = pair.borrow_mut();
                pair.finish();
                pair.requests()
            },
            |bytes| assert_eq!(pair.borrow_mut().serve(&bytes), CALLS),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn hpack(criterion: &mut Criterion) {
    let (mut encoder, mut decoder, fields) = (Encoder::new(4096), Decoder::new(4096), request());
    let limits = ListLimits { size_max: 16 * 1024, fields_max: 100 };
    let (mut block, mut decoded) = (Vec::new(), FieldList::new());
    for _ in 0..2 {
        block.clear();
        decoded.clear();
        encoder.encode(&fields, &mut block);
        assert_eq!(decoder.decode(&block, limits, &mut decoded), Ok(Outcome::Complete));
    }
    assert_eq!(decoded, fields);
    let mut group = criterion.benchmark_group("hpack");
    group.throughput(Throughput::Elements(fields.len() as u64));
    group.bench_function("decode a request that came before", |bencher| {
        bencher.iter(|| {
            decoded.clear();
            decoder.decode(&block, limits, &mut decoded).unwrap()
        });
    });
    let mut out = Vec::new();
    group.bench_function("encode a request that went before", |bencher| {
        bencher.iter(|| {
            out.clear();
            encoder.encode(&fields, &mut out);
        });
    });
    group.finish();
}

criterion_group!(benches, exchange, hpack);
criterion_main!(benches);
