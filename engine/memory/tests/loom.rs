//! Every interleaving of small casts around the doorbell, and every value that the memory model lets a load return.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p corelane-memory --features std --release --test loom`
//!
//! The doorbell's file is compiled into this program once more, on loom's atomics. The mailbox's queue is crossbeam's, which
//! knows nothing of loom; the protocol around it is what is ours, so a queue behind loom's mutex stands for it.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)] // it is written as a part of the library
#[path = "../src/doorbell.rs"]
mod doorbell;

use doorbell::{Doorbell, Wake};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::collections::VecDeque;

/// The real bell: a count of unread rings that one sleeps on. Its mutex is released before anything is looked at,
/// as a socket would not order the queue's memory for us either.
#[derive(Default)]
struct Real {
    unread: Mutex<usize>,
    changed: Condvar,
}

impl Real {
    fn ring(&self) {
        *self.unread.lock().unwrap() += 1;
        self.changed.notify_one();
    }

    /// Sleeps until there is a ring, then takes all of them, as one read of a socket does.
    fn silence(&self) {
        let mut unread = self.unread.lock().unwrap();
        while *unread == 0 {
            unread = self.changed.wait(unread).unwrap();
        }
        *unread = 0;
    }
}

/// Loom reports a deadlock if the owner sleeps on while something is in the queue: the lost wake-up.
#[test]
fn no_message_is_left_behind() {
    loom::model(|| {
        let shared = Arc::new((Doorbell::new(), Real::default(), Mutex::new(VecDeque::new())));
        let producers: [_; 2] = core::array::from_fn(|number| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (bell, real, queue) = &*shared;
                queue.lock().unwrap().push_back(number);
                if bell.ring() == Wake::Ring {
                    real.ring();
                }
            })
        });
        let (bell, real, queue) = &*shared;
        let mut seen = 0;
        while seen < 2 {
            real.silence();
            bell.arm();
            while queue.lock().unwrap().pop_front().is_some() {
                seen += 1;
            }
        }
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// The queue above synchronises by its own mutex and so would forgive a weak bell. Here the things are published
/// by relaxed stores: only the bell's own orderings can make them visible. Whoever was told `AlreadyRung` relies
/// on a visit that another one's ring brings about.
#[test]
fn the_bell_alone_publishes() {
    loom::model(|| {
        let shared = Arc::new((Doorbell::new(), [AtomicUsize::new(0), AtomicUsize::new(0)]));
        let ring = |shared: &Arc<(Doorbell, [AtomicUsize; 2])>, number: usize| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (bell, things) = &*shared;
                things[number].store(1, Ordering::Relaxed);
                bell.ring()
            })
        };
        let producers = [ring(&shared, 0), ring(&shared, 1)];
        let (bell, things) = &*shared;
        // One visit of the owner, at any moment: it must see the thing of every ring that it erased.
        let was_rung = bell.is_rung();
        bell.arm();
        let visit: usize = things.iter().map(|thing| thing.load(Ordering::Relaxed)).sum();
        if was_rung {
            assert!(visit >= 1, "a ring was erased and its thing not seen");
        }
        let wakes = producers.map(|producer| producer.join().unwrap());
        assert!(wakes.contains(&Wake::Ring), "someone must ring");
        if !bell.is_rung() {
            // The visit erased the last ring, so none of the real rings still to come is relied upon.
            assert_eq!(visit, 2, "the bell is silent, so everything must have been seen");
        }
    });
}
