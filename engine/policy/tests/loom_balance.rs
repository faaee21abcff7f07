//! Every interleaving of what workers share when they balance: counts of calls, weights of reports, the version of the list.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p corelane-policy --release --test loom_balance`
//!
//! The files are compiled into this program once more, on loom's atomics. The list itself is in an `ArcSwap`, which knows nothing
//! of loom: relaxed stores stand for it, so that only the version's own orderings can publish them.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)] // it is written as a part of the library
#[path = "../src/balance/ledger.rs"]
mod ledger;
#[allow(unreachable_pub, dead_code)]
#[path = "../src/balance/stats.rs"]
mod stats;
#[allow(unreachable_pub, dead_code)]
#[path = "../src/balance/version.rs"]
mod version;

use corelane_wire::Instant;
use ledger::{Ledger, Tick};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use stats::EndpointStats;
use std::time::Duration;
use version::Version;

const FOREVER: Duration = Duration::MAX;

/// The tick number `number`.
fn tick(number: u64) -> Tick {
    Tick::of(Instant::from_nanos(number << 20))
}

/// Two workers start and finish calls in ticks of their own, and one goes away: the total is the sum of what is left, and at no
/// moment has anyone seen more calls than there were.
#[test]
fn no_call_is_lost_or_counted_twice() {
    loom::model(|| {
        let stats = Arc::new(EndpointStats::default());
        let worker = |stats: &EndpointStats| {
            let mut ledger = Ledger::default();
            ledger.grow(1);
            ledger.start(0, stats, tick(1));
            ledger.start(0, stats, tick(2));
            assert!(ledger.load(0, tick(2)).unwrap() <= 4);
            ledger.finish(0, stats, tick(3));
            ledger
        };
        let other = thread::spawn({
            let stats = stats.clone();
            move || worker(&stats).forget(0, &stats)
        });
        let mut ledger = worker(&stats);
        other.join().unwrap();
        assert_eq!(stats.outstanding(), 1);
        ledger.settle(0, &stats, tick(4));
        assert_eq!(ledger.load(0, tick(4)), Some(1));
        ledger.forget(0, &stats);
        assert_eq!(stats.outstanding(), 0);
    });
}

/// A worker that sees a report's time sees its weight, never the 0 from before it; with two who report, one of theirs.
#[test]
fn a_report_is_seen_whole() {
    loom::model(|| {
        let stats = Arc::new(EndpointStats::default());
        let reporters = [(2.0, 10), (3.0, 20)].map(|(weight, at)| {
            let stats = stats.clone();
            thread::spawn(move || stats.report(weight, Instant::from_nanos(at), FOREVER))
        });
        let seen = stats.weight(Instant::from_nanos(30), Duration::ZERO, FOREVER);
        assert!([None, Some(2.0), Some(3.0)].contains(&seen), "{seen:?}");
        for reporter in reporters {
            reporter.join().unwrap();
        }
        let seen = stats.weight(Instant::from_nanos(30), Duration::ZERO, FOREVER);
        assert!([Some(2.0), Some(3.0)].contains(&seen), "{seen:?}");
    });
}

/// Two change something and bump; a worker that saw a version sees what it announces, and after the last one everything.
#[test]
fn whoever_sees_a_version_sees_the_change() {
    loom::model(|| {
        let shared = Arc::new((Version::default(), AtomicU32::new(0), EndpointStats::default()));
        let publisher = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.store(1, Ordering::Relaxed); // the list
                shared.0.bump();
            }
        });
        let watcher = thread::spawn({
            let shared = shared.clone();
            move || {
                assert!(shared.2.set_ejected(true));
                shared.0.bump();
            }
        });
        let version = shared.0.current();
        let (list, ejected) = (shared.1.load(Ordering::Relaxed), shared.2.is_ejected());
        assert!(u64::from(list) + u64::from(ejected) >= version);
        publisher.join().unwrap();
        watcher.join().unwrap();
        assert_eq!(shared.0.current(), 2);
        assert_eq!((shared.1.load(Ordering::Relaxed), shared.2.is_ejected()), (1, true));
    });
}

/// However ready connections come and go on two workers, what was reported before none was there does not count after.
#[test]
fn a_new_first_connection_begins_without_weight() {
    loom::model(|| {
        let stats = Arc::new(EndpointStats::default());
        let worker = |stats: &EndpointStats| {
            stats.worker_is_ready();
            stats.worker_is_not_ready();
        };
        let other = thread::spawn({
            let stats = stats.clone();
            move || worker(&stats)
        });
        worker(&stats);
        other.join().unwrap();
        stats.report(2.0, Instant::from_nanos(5), FOREVER);
        stats.worker_is_ready();
        assert_eq!(stats.weight(Instant::from_nanos(9), Duration::ZERO, FOREVER), None);
    });
}
