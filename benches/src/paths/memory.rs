//! Slab, timer wheel and mailbox, on one thread.

use std::hint::black_box;

use corelane_memory::{Drained, Key, Mailbox, Slab, TimerKey, TimerWheel};

use super::Path;

/// Operations in a step.
const TIMES: u64 = 1_000;
/// Entries that are there all the time: as many as a busy worker has calls.
const STANDING: u64 = 200;
const MS: u64 = 1_000_000;

/// Puts a value in, finds it, takes it out.
pub struct Stored {
    slab: Slab<u64>,
    keys: Vec<Key>,
}

impl Stored {
    /// With some entries.
    #[must_use]
    pub fn new() -> Stored {
        let mut slab = Slab::new(1_000);
        let keys = (0..STANDING).map(|value| slab.insert(value).expect("there is room")).collect();
        Stored { slab, keys }
    }
}

impl Default for Stored {
    fn default() -> Stored {
        Stored::new()
    }
}

impl Path for Stored {
    fn operations(&self) -> u64 {
        TIMES
    }

    fn step(&mut self) {
        // The oldest goes each time, so that places are not used in order.
        for value in 0..TIMES {
            let new = self.slab.insert(black_box(value)).expect("there is room");
            let old = std::mem::replace(&mut self.keys[(value % STANDING) as usize], new);
            assert!(black_box(self.slab.get(old)).is_some());
            black_box(self.slab.remove(old));
        }
    }
}

/// Starts the deadline of a call and cancels it with the answer.
pub struct Cancelled {
    wheel: TimerWheel<u64>,
    keys: Vec<TimerKey>,
    now_ns: u64,
}

impl Cancelled {
    /// With some timers.
    #[must_use]
    pub fn new() -> Cancelled {
        let mut wheel = TimerWheel::new(0);
        let keys = (0..STANDING).map(|value| wheel.insert(deadline(0, value), value)).collect();
        Cancelled { wheel, keys, now_ns: 0 }
    }
}

impl Default for Cancelled {
    fn default() -> Cancelled {
        Cancelled::new()
    }
}

/// Between 50 ms and about 10 s from now.
fn deadline(now_ns: u64, number: u64) -> u64 {
    now_ns + (50 + number * 7_919 % 10_000) * MS
}

impl Path for Cancelled {
    fn operations(&self) -> u64 {
        TIMES
    }

    fn step(&mut self) {
        for value in 0..TIMES {
            let new = self.wheel.insert(deadline(self.now_ns, value), value);
            let old = std::mem::replace(&mut self.keys[(value % STANDING) as usize], new);
            assert!(self.wheel.cancel(black_box(old)).is_some(), "none is due");
        }
        // A turn: time goes on a little, and nothing is due.
        self.now_ns += MS;
        self.wheel.expire(self.now_ns, &mut |_| panic!("all are cancelled before"));
    }
}

/// Starts timers and lets them fire.
pub struct Expired {
    wheel: TimerWheel<u64>,
    now_ns: u64,
}

impl Expired {
    /// Without any.
    #[must_use]
    pub fn new() -> Expired {
        let mut path = Expired { wheel: TimerWheel::new(0), now_ns: 0 };
        path.step();
        path
    }
}

impl Default for Expired {
    fn default() -> Expired {
        Expired::new()
    }
}

impl Path for Expired {
    fn operations(&self) -> u64 {
        TIMES
    }

    fn step(&mut self) {
        for value in 0..TIMES {
            self.wheel.insert(deadline(self.now_ns, value), value);
        }
        // A whole turn of the third level, so that every step begins in the same place.
        self.now_ns += (1 << 18) * MS;
        let mut fired = 0;
        self.wheel.expire(self.now_ns, &mut |_| fired += 1);
        assert_eq!(fired, TIMES);
    }
}

/// Posts messages and takes them out, some at a time.
pub struct Posted {
    mailbox: Mailbox<u64>,
}

impl Posted {
    /// Empty.
    #[must_use]
    pub fn new() -> Posted {
        Posted { mailbox: Mailbox::new(64) }
    }
}

impl Default for Posted {
    fn default() -> Posted {
        Posted::new()
    }
}

impl Path for Posted {
    fn operations(&self) -> u64 {
        TIMES
    }

    fn step(&mut self) {
        for _ in 0..TIMES / 10 {
            for value in 0..10 {
                let _ = black_box(self.mailbox.push(black_box(value))).expect("it was emptied");
            }
            let mut sum = 0;
            assert_eq!(self.mailbox.drain(64, |value| sum += value), Drained::Empty);
            assert_eq!(sum, 45);
        }
    }
}
