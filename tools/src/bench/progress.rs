//! How far a run is: counters that the workers write and the main thread reads, and the bar drawn from them.
//!
//! Does not: measure. The figures come from the recorders when all is over.
//!
//! Invariant: a cell has one writer, its worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bench::recorder::Call;
use crate::bench::schedule::Plan;
use crate::bench::units;

/// Often enough to look alive, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(200);

/// One worker's counters, on a cache line of their own (two, for prefetching in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Cell {
    calls: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
}

impl Cell {
    /// For the cell's worker: a call has ended.
    pub(crate) fn ended(&self, call: &Call<'_>) {
        // One writer, so a load and a store lose nothing and spare the locked addition. Relaxed: each number stands
        // alone, and a reader that sees it a little late draws the bar a little late.
        let add = |counter: &AtomicU64, amount| {
            counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
        };
        add(&self.calls, 1);
        add(&self.errors, u64::from(call.outcome.is_err()));
        add(&self.bytes, call.traffic.bytes());
    }
}

/// The sum of the cells, the warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) bytes: u64,
}

/// What main thread and workers share.
#[derive(Debug)]
pub(crate) struct Board {
    cells: Vec<Cell>,
    stop: Arc<AtomicBool>,
}

impl Board {
    pub(crate) fn new(workers: usize) -> Board {
        Board { cells: (0..workers).map(|_| Cell::default()).collect(), stop: Arc::default() }
    }

    pub(crate) fn cells(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn cell(&self, worker: usize) -> &Cell {
        &self.cells[worker]
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        // Relaxed: see `Cell::ended`.
        let sum = |of: fn(&Cell) -> &AtomicU64| {
            self.cells.iter().map(|cell| of(cell).load(Ordering::Relaxed)).sum()
        };
        Snapshot {
            calls: sum(|cell| &cell.calls),
            errors: sum(|cell| &cell.errors),
            bytes: sum(|cell| &cell.bytes),
        }
    }

    /// The flag that ends the run, for a signal's handler.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Ends the run.
    #[cfg(test)]
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        // Relaxed: nothing is published with the flag, and a worker that sees it late makes another call.
        self.stop.load(Ordering::Relaxed)
    }
}

/// A thread that draws the bar until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Draws a bar on stderr; where that is no terminal, nothing.
pub(crate) fn watch(board: Arc<Board>, plan: Plan) -> Watch {
    let (over, wait) = channel();
    let bar = bar(&plan);
    let thread = thread::spawn(move || {
        let start = Instant::now();
        let mut last = Snapshot::default();
        while wait.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let now = board.snapshot();
            bar.set_position(position(&plan, start.elapsed(), now));
            bar.set_message(line(last, now, INTERVAL));
            last = now;
        }
        bar.finish_and_clear();
    });
    Watch { over: Some(over), thread: Some(thread) }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // It panics only if drawing does, and then a figure is not worth losing for it.
            let _ = thread.join();
        }
    }
}

fn bar(plan: &Plan) -> ProgressBar {
    let total = plan.duration_ns.map_or(plan.calls, |duration| Some(millis(plan.warm_up_ns + duration)));
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{elapsed_precise} [{bar:30}] {percent:>3}% {msg}"),
        None => (ProgressBar::new_spinner(), "{elapsed_precise} {spinner} {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(
        ProgressStyle::with_template(template).expect("the template is sound").progress_chars("=> "),
    );
    bar
}

/// How far along: in milliseconds where the time ends the run, else in calls.
fn position(plan: &Plan, elapsed: Duration, now: Snapshot) -> u64 {
    match plan.duration_ns {
        Some(duration_ns) => {
            let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
            millis(elapsed_ns.min(plan.warm_up_ns + duration_ns))
        }
        None => now.calls.min(plan.calls.unwrap_or(u64::MAX)),
    }
}

const fn millis(ns: u64) -> u64 {
    ns / 1_000_000
}

fn line(last: Snapshot, now: Snapshot, interval: Duration) -> String {
    let per_second = |before: u64, after: u64| units::ratio(after - before) / interval.as_secs_f64();
    let mut line = format!(
        "{} calls, {}/s, {}",
        units::count(now.calls),
        units::rounded(per_second(last.calls, now.calls)),
        units::byte_rate(per_second(last.bytes, now.bytes)),
    );
    if now.errors > 0 {
        line.push_str(&format!(", {} errors", units::count(now.errors)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::schedule::Pace;

    const TIMED: Plan = Plan {
        pace: Pace::Closed,
        warm_up_ns: 1_000_000_000,
        duration_ns: Some(9_000_000_000),
        calls: None,
        drain_ns: 0,
    };

    #[test]
    fn a_run_with_an_end_is_as_far_as_its_time_and_else_as_its_calls() {
        let now = Snapshot { calls: 30, errors: 0, bytes: 0 };
        assert_eq!(position(&TIMED, Duration::from_secs(4), now), 4_000);
        assert_eq!(position(&TIMED, Duration::from_secs(40), now), 10_000);
        let counted = Plan { duration_ns: None, calls: Some(20), ..TIMED };
        assert_eq!(position(&counted, Duration::from_secs(4), now), 20);
        assert_eq!((bar(&TIMED).length(), bar(&counted).length()), (Some(10_000), Some(20)));
        assert_eq!(bar(&Plan { calls: None, ..counted }).length(), None);
    }

    #[test]
    fn the_line_shows_what_happened_since_the_last_one() {
        let last = Snapshot { calls: 1_000, errors: 0, bytes: 0 };
        let now = Snapshot { calls: 3_000, errors: 0, bytes: 500_000 };
        assert_eq!(line(last, now, Duration::from_millis(200)), "3,000 calls, 10,000/s, 2.50 MB/s");
        let failing = Snapshot { errors: 7, ..now };
        assert_eq!(line(now, failing, Duration::from_millis(200)), "3,000 calls, 0/s, 0 B/s, 7 errors");
    }

    #[test]
    fn a_watch_ends_when_it_is_dropped() {
        let board = Arc::new(Board::new(1));
        drop(watch(board.clone(), TIMED));
        assert_eq!(Arc::strong_count(&board), 1);
    }
}
