//! Where workers wait for each other before the load starts, so that it starts on all connections at once.
//!
//! A barrier that can fail: a worker that cannot connect drops its seat, and nobody waits for it any more.
//!
//! Does not: time out. A worker that hangs while it connects has a time limit of its own.
//!
//! Invariant: either every seat's wait succeeds, or none that ends after a seat was dropped does.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Workers that have neither arrived nor given up.
    missing: usize,
    given_up: bool,
}

/// One worker's place.
#[derive(Debug)]
pub(crate) struct Seat {
    gate: Arc<Gate>,
    has_arrived: bool,
}

/// Another worker could not start, so the run cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another worker could not start")
    }
}

impl std::error::Error for GivenUp {}

/// The seats of a gate that opens when all of them wait.
pub(crate) fn seats(count: usize) -> Vec<Seat> {
    let state = Mutex::new(State { missing: count, given_up: false });
    let gate = Arc::new(Gate { state, changed: Condvar::new() });
    (0..count).map(|_| Seat { gate: gate.clone(), has_arrived: false }).collect()
}

impl Seat {
    /// Blocks until every seat waits.
    ///
    /// # Errors
    /// If a seat was dropped without waiting.
    ///
    /// # Panics
    /// If it waits a second time.
    pub(crate) fn wait(&mut self) -> Result<(), GivenUp> {
        assert!(!self.has_arrived, "a seat waits once");
        self.has_arrived = true;
        let mut state = self.gate.lock();
        state.missing -= 1;
        self.gate.changed.notify_all();
        while state.missing > 0 && !state.given_up {
            state = self.gate.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.given_up { Err(GivenUp) } else { Ok(()) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.has_arrived {
            self.gate.lock().given_up = true;
            self.gate.changed.notify_all();
        }
    }
}

impl Gate {
    /// Nothing panics while the lock is held, so poison would mean nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_gate_opens_for_all_when_the_last_one_waits() {
        let waits = seats(3).into_iter().map(|mut seat| thread::spawn(move || seat.wait()));
        let waits: Vec<_> = waits.collect();
        assert!(waits.into_iter().all(|wait| wait.join().unwrap() == Ok(())));
    }

    #[test]
    fn one_that_gives_up_frees_those_that_wait_and_those_that_come() {
        let mut seats = seats(3);
        let mut early = seats.pop().unwrap();
        let mut late = seats.pop().unwrap();
        let early = thread::spawn(move || early.wait());
        drop(seats);
        assert_eq!(early.join().unwrap(), Err(GivenUp));
        assert_eq!(late.wait(), Err(GivenUp));
    }
}
