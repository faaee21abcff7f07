//! What a pick costs: each policy at 1,000 endpoints, alone and while a second thread picks too. And what a rate limit costs.
//!
//! `cargo bench -p corelane-benches --bench balance`. At most 20 ns, for `ring_hash` 60; `two` must not differ from `one`.
//! `pick` is the decision alone, `call` a decision with the start and the end of its call. Time advances by 20 ns a pick, so
//! that what happens once a millisecond happens about as often as it does in a process that does nothing but pick.
//!
//! Measured is the CPU time of the thread that picks, so that other processes on the machine count only for what they do to the
//! caches.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros make undocumented items.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use corelane_benches::paths::Path;
use corelane_benches::paths::balance::{Bench, Limited, What, publisher};
use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};

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
            group.throughput(Throughput::Elements(1));
            let publisher = publisher(&config.clone().into());
            group.bench_function("one", |bencher| {
                let mut bench = Bench::new(publisher.shared(), 0);
                bencher.iter(|| bench.pick(what));
            });
            group.bench_function("two", |bencher| {
                let is_over = AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut other = Bench::new(publisher.shared(), 1);
                        while !is_over.load(Ordering::Relaxed) {
                            (0..1_000).for_each(|_| other.pick(what));
                        }
                    });
                    let mut bench = Bench::new(publisher.shared(), 0);
                    bencher.iter(|| bench.pick(what));
                    is_over.store(true, Ordering::Relaxed);
                });
            });
            group.finish();
        }
    }
}

/// A limit is one number for all workers.
fn limits(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("rate limit");
    let mut limited = Limited::new();
    group.throughput(Throughput::Elements(limited.operations()));
    group.bench_function("one", |bencher| bencher.iter(|| limited.step()));
}

/// Short, for there are many.
fn config() -> Criterion<CpuTime> {
    let times = Criterion::default().with_measurement(CpuTime).warm_up_time(Duration::from_millis(200));
    times.measurement_time(Duration::from_secs(1)).sample_size(30)
}

criterion_group! {
    name = benches;
    config = config();
    targets = picks, limits
}
criterion_main!(benches);
