//! Calls as users make them: the server's share alone, and client and server over loopback by depth, payload and workers.
//!
//! `cargo bench -p corelane-benches --bench served`. Elements are calls or messages. `dispatch` is one worker in this thread, called over
//! a Unix socket by a script: protocol, dispatch, codec, and a read and a write for 100 calls. In `loopback` client and server have
//! workers on cores of their own as far as there are any; with one core, or none to spare, both share it and the figures say so little
//! about more.
#![allow(missing_docs)] // criterion's macros make undocumented items.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use corelane::client::{Channel, Engine, SharedChannel};
use corelane::server::{ServerHandle, Workers};
use corelane_benches::paths::codec::request;
use corelane_benches::paths::exchange::Extras;
use corelane_benches::paths::served::{EndToEnd, Served, Shape};
use corelane_benches::proto::Request;
use corelane_benches::proto::bench_client::BenchClient;
use corelane_benches::server;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::path;

fn dispatch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch");
    path(&mut group, "unary", || Served::new(Shape::Unary, Extras::None));
    path(&mut group, "unary with deadline and metadata", || {
        Served::new(Shape::Unary, Extras::DeadlineAndMetadata)
    });
    path(&mut group, "download", || Served::new(Shape::Download, Extras::None));
    path(&mut group, "upload", || Served::new(Shape::Upload, Extras::None));
    path(&mut group, "client and server on one worker, 1 call at once", || EndToEnd::new(1, 16));
    path(&mut group, "client and server on one worker, 100 calls at once", || EndToEnd::new(100, 16));
}

/// A server and a client on loopback.
struct Loopback {
    _server: ServerHandle,
    engine: Engine,
    channel: SharedChannel,
}

impl Loopback {
    /// So many workers on each side, the client's after the server's.
    fn new(workers: usize) -> Loopback {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let at = |first: usize| Workers::Cores((first..first + workers).map(|core| core % cores).collect());
        let server = server().workers(at(0)).start("127.0.0.1:0").expect("a server starts");
        let port = server.addresses()[0].as_tcp().expect("it is a TCP address").port();
        let engine = Engine::start(at(workers)).expect("a client starts");
        let channel = Channel::builder(format!("ipv4:127.0.0.1:{port}")).build().expect("the target is one");
        Loopback { _server: server, engine, channel }
    }

    /// Makes `calls` calls on each of `tasks` tasks of each worker; how long that took.
    fn run(&self, tasks: usize, calls: u64, order: &Request) -> Duration {
        let (sender, receiver) = std::sync::mpsc::channel();
        let begun = Instant::now();
        for number in 0..tasks * self.engine.workers() {
            let (sender, channel, order) = (sender.clone(), self.channel.clone(), order.clone());
            let task = move || async move {
                let client = BenchClient::new(channel.local());
                for _ in 0..calls {
                    client.unary(order.clone()).await.expect("the server answers");
                }
                sender.send(()).expect("the bench waits");
            };
            self.engine.spawn_on(number % self.engine.workers(), task).expect("the worker takes it");
        }
        drop(sender);
        assert_eq!(receiver.iter().count(), tasks * self.engine.workers(), "each task has ended well");
        begun.elapsed()
    }
}

fn loopback(criterion: &mut Criterion) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for workers in [1, 2].into_iter().filter(|workers| *workers <= cores) {
        let pair = Loopback::new(workers);
        let mut group = criterion.benchmark_group(format!("loopback, workers {workers}"));
        for (payload, name) in [(16, "16 B"), (1024, "1 KiB"), (64 * 1024, "64 KiB")] {
            let size = u32::try_from(payload).expect("it is small");
            let order = Request { response_size: size, ..request(payload) };
            for depth in [1, 10, 100] {
                let elements = (depth * workers) as u64;
                group.throughput(Throughput::ElementsAndBytes {
                    elements,
                    bytes: elements * 2 * u64::from(size),
                });
                group.bench_function(format!("unary {name}, depth {depth}"), |bencher| {
                    bencher.iter_custom(|times| pair.run(depth, times, &order));
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = support::config().sample_size(10);
    targets = dispatch, loopback
}
criterion_main!(benches);
