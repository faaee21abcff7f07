//! What a pick costs: each policy at 1,000 endpoints, alone and while a second thread picks too.
//!
//! `cargo bench -p corelane-benches --bench balance`. At most 20 ns, for `ring_hash` 60; `two` must not differ from `one`.
//! `pick` is the decision alone, `call` a decision with the start and the end of its call. Time advances by 20 ns a pick, so
//! that what happens once a millisecond happens about as often as it does in a process that does nothing but pick.
//!
//! Measured is the CPU time of the thread that picks, so that other processes on the machine count only for what they do to the
//! caches.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros make undocumented items.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use corelane_policy::balance::{
    Call, EndpointInfo, LoadReport, Pick, Picker, Policy, Publisher, Readiness, Shared, Worker,
};
use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};
use corelane_wire::Instant;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};

const ENDPOINTS: u32 = 1_000;
const NANOS_PER_PICK: u64 = 20;

#[derive(Clone, Copy, PartialEq)]
enum What {
    Pick,
    Call,
}

/// The CPU time of this thread; shown as wall time is.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A worker that does nothing but pick.
struct Bench {
    picker: Picker,
    now: u64,
    hashes: fastrand::Rng,
}

impl Bench {
    fn new(shared: &Arc<Shared>, index: usize) -> Bench {
        let rng = fastrand::Rng::with_seed(index as u64);
        let mut picker = Picker::new(shared.clone(), Worker { index, count: 2 }, rng.clone());
        let now = Instant::from_nanos(0);
        for (number, key) in picker.look().clone().order().iter().enumerate() {
            picker.set_readiness(*key, Readiness::Ready);
            let report = LoadReport {
                calls_per_second: 100.0 + number as f64,
                cpu_utilization: 0.5,
                ..LoadReport::default()
            };
            picker.report(now, *key, &report);
        }
        Bench { picker, now: 0, hashes: rng }
    }

    fn step(&mut self, what: What) {
        self.now += NANOS_PER_PICK;
        let now = Instant::from_nanos(self.now);
        let call = Call { hash: Some(self.hashes.u64(..)), avoid: &[] };
        let Pick::Ready { key, .. } = black_box(self.picker.pick(now, &call)) else {
            panic!("all are ready")
        };
        if what == What::Call {
            self.picker.start(now, key);
            self.picker.finish(now, key);
        }
    }
}

fn publisher(policy: &Policy) -> Publisher {
    let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
    let info = |number: u32| {
        EndpointInfo::new(format!("10.0.{}.{}:80", number / 256, number % 256)).weighing(1 + number % 7)
    };
    publisher.publish(policy, (0..ENDPOINTS).map(info).collect()).unwrap();
    publisher
}

fn policies() -> Vec<(&'static str, BalancerConfig)> {
    let weighted = WeightedRoundRobinConfig {
        blackout_period: Duration::ZERO,
        weight_expiration_period: Duration::MAX,
        ..WeightedRoundRobinConfig::default()
    };
    let ring =
        BalancerConfig::RingHash { min_ring_size: 1024, max_ring_size: 65_536, request_hash_header: None };
    let subset =
        BalancerConfig::RandomSubsetting { subset_size: 500, child: Box::new(BalancerConfig::RoundRobin) };
    vec![
        ("pick_first", BalancerConfig::PickFirst),
        ("round_robin", BalancerConfig::RoundRobin),
        ("weighted_round_robin", BalancerConfig::WeightedRoundRobin(weighted)),
        ("random", BalancerConfig::Random),
        ("weighted_random", BalancerConfig::WeightedRandom),
        ("least_request", BalancerConfig::LeastRequest { choice_count: 2 }),
        ("ring_hash", ring),
        ("core_local", BalancerConfig::CoreLocal),
        ("random_subsetting", subset),
    ]
}

fn picks(criterion: &mut Criterion<CpuTime>) {
    for (name, config) in policies() {
        for (what, title) in [(What::Pick, "pick"), (What::Call, "call")] {
            let mut group = criterion.benchmark_group(format!("{name}/{title}"));
            let publisher = publisher(&config.clone().into());
            group.bench_function("one", |bencher| {
                let mut bench = Bench::new(publisher.shared(), 0);
                bencher.iter(|| bench.step(what));
            });
            group.bench_function("two", |bencher| {
                let is_over = AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut other = Bench::new(publisher.shared(), 1);
                        while !is_over.load(Ordering::Relaxed) {
                            (0..1_000).for_each(|_| other.step(what));
                        }
                    });
                    let mut bench = Bench::new(publisher.shared(), 0);
                    bencher.iter(|| bench.step(what));
                    is_over.store(true, Ordering::Relaxed);
                });
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = picks
}
criterion_main!(benches);
