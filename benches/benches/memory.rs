//! What a worker's own things cost: slab, timer wheel, and the mailbox between two threads.
//!
//! `cargo bench -p corelane-benches --bench memory`.
#![allow(missing_docs)] // criterion's macros make undocumented items.

mod support;

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corelane_benches::paths::memory::{Cancelled, Expired, Posted, Stored};
use corelane_memory::Mailbox;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::path;

const MESSAGES: u64 = 10_000;

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    path(&mut group, "slab: insert, find, remove", Stored::new);
    path(&mut group, "timer wheel: insert and cancel", Cancelled::new);
    path(&mut group, "timer wheel: insert and expire", Expired::new);
    path(&mut group, "mailbox: push and drain", Posted::new);
}

/// A thread posts as fast as it can, this one takes: neither sleeps.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("mailbox: from another thread", |bencher| {
        let mailbox = Arc::new(Mailbox::new(1_024));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if mailbox.push(1u64).is_err() {
                        spin_loop();
                    }
                }
            });
            bencher.iter_custom(|times| {
                let begun = Instant::now();
                (0..times).for_each(|_| take(&mailbox));
                begun.elapsed().max(Duration::from_nanos(1))
            });
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

fn take(mailbox: &Mailbox<u64>) {
    let mut taken = 0;
    while taken < MESSAGES {
        let before = taken;
        let _ = mailbox.drain(256, |message| taken += message);
        if taken == before {
            // On one core the other thread must run for anything to come.
            thread::yield_now();
        }
    }
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = one_thread, two_threads
}
criterion_main!(benches);
