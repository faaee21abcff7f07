//! How criterion takes the steps of a hot path.

use std::time::{Duration, Instant};

use corelane_benches::paths::Path;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// Short, for there are many: a bench that is looked into gets `--measurement-time`.
pub(crate) fn config() -> Criterion {
    let times = Criterion::default().warm_up_time(Duration::from_millis(300));
    times.measurement_time(Duration::from_millis(1_500)).sample_size(30)
}

/// Times a path: a group's element is an operation of it. `make` is called only if the bench is wanted.
pub(crate) fn path<P: Path>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, make: impl Fn() -> P) {
    sized(group, name, 0, make);
}

/// As [`path`], with octets of payload in each operation.
pub(crate) fn sized<P: Path>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    octets: u64,
    make: impl Fn() -> P,
) {
    let mut path = None;
    let operations = make_once(&mut path, &make).operations();
    group.throughput(match octets {
        0 => Throughput::Elements(operations),
        _ => Throughput::ElementsAndBytes { elements: operations, bytes: operations * octets },
    });
    group.bench_function(name, |bencher| {
        let path = make_once(&mut path, &make);
        bencher.iter_custom(|steps| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..steps {
                path.prepare();
                let begun = Instant::now();
                path.step();
                elapsed += begun.elapsed();
            }
            elapsed
        });
    });
}

fn make_once<P>(path: &mut Option<P>, make: impl Fn() -> P) -> &mut P {
    path.get_or_insert_with(make)
}
