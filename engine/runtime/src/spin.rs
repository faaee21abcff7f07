//! Spinning: a worker that has just worked asks its kernel again and again, for a while, before it sleeps.
//!
//! A sleep costs whoever ends it a wake-up, 10 to 20 us on a virtual machine, which is several times what a small call costs.
//! The price is the CPU time of all looks in vain, so it is off unless it is asked for, and adaptive: waits that bring nothing
//! several times in a row end it, and it comes back when work comes as densely as spinning needs. An idle worker sleeps.
//!
//! monoio asks its kernel without waiting for it, and takes what has completed, whenever a task is runnable after all of them had
//! their turn. So two parties wake one another: the *crank*, a task, and the *look*, which is part of the runtime's main future
//! and therefore polled after all tasks that are runnable. One look is one `io_uring_enter` (or `epoll_wait`) that waits for nothing,
//! 0.2 to 0.4 us; leaving the kernel is also what has it post completions (COOP_TASKRUN).
//!
//! Alternatives that lost: a task that wakes itself is put in front of all others and polled twice as often as there are tasks;
//! two tasks that wake one another are polled as often as there are others, before the kernel is asked.
//!
//! Does not: work in a runtime that somebody else runs ([`crate::run_local`]): its main future is not ours.
//!
//! Invariant: without a budget nothing here ever runs; all that is left is one branch a turn.

use crate::limits::{SPIN_GAPS_MAX, SPIN_GAPS_MIN, SPIN_MAX, SPIN_MISSES_MAX, SPIN_WAKE};
use crate::signal::Signal;
use crate::worker::{Worker, nanos};
use corelane_wire::Instant;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

/// What comes of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Work had come, or still may: look again. Says whether it was what the wait was for.
    Again(Outcome),
    /// Sleep until there is work. Says whether a wait has just been in vain.
    Sleep(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A wait brought work.
    Hit,
    /// A wait was in vain.
    Miss,
    /// Neither.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Looks again and again; so many looks in vain since the last work.
    Waiting { looks: u32 },
    /// Sleeps until there is work, and waits again then.
    Asleep,
    /// Sleeps however much work there is, until it came after so many short gaps in a row.
    Paused { gaps: u32 },
}

/// Decides whether to look again. Knows neither clock nor kernel.
#[derive(Debug)]
struct Pace {
    budget_ns: u64,
    state: State,
    /// When work was last seen.
    worked: Instant,
    /// Waits in vain in a row.
    misses: u32,
    /// Short gaps in a row that end the next pause.
    gaps_wanted: u32,
}

impl Pace {
    fn new(budget: Duration) -> Pace {
        Pace {
            budget_ns: nanos(budget.min(SPIN_MAX)),
            state: State::Asleep,
            worked: Instant::default(),
            misses: 0,
            gaps_wanted: SPIN_GAPS_MIN,
        }
    }

    /// After everybody had their turn: `has_worked` says whether there was work among it.
    fn look(&mut self, now: Instant, has_worked: bool) -> Verdict {
        if has_worked {
            let gap_ns = now.as_nanos().saturating_sub(self.worked.as_nanos());
            self.worked = now;
            return self.go_on(gap_ns);
        }
        match self.state {
            State::Waiting { looks }
                if now.as_nanos() < self.worked.as_nanos().saturating_add(self.budget_ns) =>
            {
                self.state = State::Waiting { looks: looks.saturating_add(1) };
                Verdict::Again(Outcome::Open)
            }
            State::Waiting { .. } => {
                self.miss();
                Verdict::Sleep(Outcome::Miss)
            }
            State::Asleep | State::Paused { .. } => Verdict::Sleep(Outcome::Open),
        }
    }

    /// There was work, so long after the last.
    fn go_on(&mut self, gap_ns: u64) -> Verdict {
        let outcome = match self.state {
            // At the first look it says nothing: it may be that our own write has completed. We would not have slept.
            State::Waiting { looks: 0 } | State::Asleep => Outcome::Open,
            State::Waiting { .. } => {
                self.misses = 0;
                self.gaps_wanted = SPIN_GAPS_MIN;
                Outcome::Hit
            }
            State::Paused { gaps } => {
                // Half of such a gap may be the wake-ups, here and at the peer, that spinning is to spare.
                let is_short = gap_ns <= self.budget_ns.saturating_add(nanos(SPIN_WAKE));
                let gaps = if is_short { gaps + 1 } else { 0 };
                if gaps < self.gaps_wanted {
                    self.state = State::Paused { gaps };
                    return Verdict::Sleep(Outcome::Open);
                }
                self.misses = 0;
                Outcome::Open
            }
        };
        self.state = State::Waiting { looks: 0 };
        Verdict::Again(outcome)
    }

    fn miss(&mut self) {
        self.misses += 1;
        self.state = State::Asleep;
        if self.misses >= SPIN_MISSES_MAX {
            self.state = State::Paused { gaps: 0 };
            // Each pause without a hit since the last one is harder to end.
            self.gaps_wanted = (self.gaps_wanted * 2).min(SPIN_GAPS_MAX);
        }
    }
}

/// See the module.
pub(crate) struct Spinner {
    pace: RefCell<Pace>,
    /// Nothing has been heard of work since the last look. Never set without a budget.
    awaits: Cell<bool>,
    /// The look is to be woken when there is work.
    asleep: Cell<bool>,
    look: OnceCell<Waker>,
    crank: OnceCell<Waker>,
}

impl Spinner {
    pub(crate) fn new(budget: Duration) -> Spinner {
        Spinner {
            pace: RefCell::new(Pace::new(budget)),
            awaits: Cell::new(false),
            asleep: Cell::new(false),
            look: OnceCell::new(),
            crank: OnceCell::new(),
        }
    }

    /// Whether it has a budget.
    pub(crate) fn is_on(&self) -> bool {
        self.pace.borrow().budget_ns != 0
    }

    /// There is work: a turn begins.
    #[inline]
    pub(crate) fn stir(&self) {
        if self.awaits.get() {
            self.rouse();
        }
    }

    #[cold]
    fn rouse(&self) {
        self.awaits.set(false);
        if self.asleep.replace(false) {
            self.look.get().into_iter().for_each(Waker::wake_by_ref);
        }
    }

    /// The task: it lives until `over`, and has the look come once more whenever it is woken.
    pub(crate) async fn crank(&self, over: &Signal) {
        over.unless(poll_fn(|cx| -> Poll<()> {
            self.crank.get_or_init(|| cx.waker().clone());
            self.look.get().into_iter().for_each(Waker::wake_by_ref);
            Poll::Pending
        }))
        .await;
    }
}

/// The look: to be awaited by the main future of the worker's runtime. Never ends.
pub(crate) async fn spin<T>(worker: &Worker) -> T {
    let spinner = &worker.spinner;
    poll_fn(|cx| {
        spinner.look.get_or_init(|| cx.waker().clone());
        let has_worked = !spinner.awaits.replace(true);
        let verdict = spinner.pace.borrow_mut().look(worker.read_clock(), has_worked);
        let (Verdict::Again(outcome) | Verdict::Sleep(outcome)) = verdict;
        match outcome {
            Outcome::Hit => worker.counters.spin_hits.increment(),
            Outcome::Miss => worker.counters.spin_misses.increment(),
            Outcome::Open => {}
        }
        if matches!(verdict, Verdict::Again(_)) {
            worker.counters.spin_looks.increment();
            spinner.crank.get().into_iter().for_each(Waker::wake_by_ref);
        } else {
            spinner.asleep.set(true);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_micros(50);

    /// A pace and its time.
    struct Worker {
        pace: Pace,
        now: Instant,
    }

    impl Worker {
        fn new() -> Worker {
            Worker { pace: Pace::new(BUDGET), now: Instant::from_nanos(1_000_000) }
        }

        /// Looks once a microsecond until it sleeps; gives the number of looks.
        fn wait(&mut self) -> u32 {
            for looks in 0.. {
                self.now = self.now + Duration::from_micros(1);
                match self.pace.look(self.now, false) {
                    Verdict::Again(outcome) => assert_eq!(outcome, Outcome::Open),
                    Verdict::Sleep(_) => return looks,
                }
            }
            unreachable!("it goes on for ever")
        }

        /// Work comes after so many microseconds, with a look at each of them if it does not sleep.
        fn work_after(&mut self, micros: u64) -> Verdict {
            for _ in 1..micros {
                self.now = self.now + Duration::from_micros(1);
                let is_asleep = matches!(self.pace.state, State::Asleep | State::Paused { .. });
                if !is_asleep {
                    self.pace.look(self.now, false);
                }
            }
            self.now = self.now + Duration::from_micros(1);
            self.pace.look(self.now, true)
        }

        /// So many waits in vain.
        fn miss(&mut self, times: u32) {
            for _ in 0..times {
                assert_eq!(self.work_after(1_000), Verdict::Again(Outcome::Open));
                self.wait();
            }
        }

        /// Short gaps until it spins again; gives their number.
        fn resume(&mut self) -> u32 {
            (1..10_000).find(|_| matches!(self.work_after(60), Verdict::Again(_))).unwrap()
        }
    }

    #[test]
    fn a_wait_takes_the_budget_and_no_longer() {
        let mut worker = Worker::new();
        assert_eq!(worker.work_after(1), Verdict::Again(Outcome::Open));
        assert_eq!(worker.wait(), 49);
        assert_eq!(worker.pace.look(worker.now, false), Verdict::Sleep(Outcome::Open));
    }

    #[test]
    fn a_budget_is_cut_to_the_limit() {
        assert_eq!(Pace::new(Duration::MAX).budget_ns, nanos(SPIN_MAX));
    }

    #[test]
    fn work_within_the_budget_is_a_hit_and_begins_a_wait_anew() {
        let mut worker = Worker::new();
        worker.work_after(1);
        for _ in 0..100 {
            assert_eq!(worker.work_after(40), Verdict::Again(Outcome::Hit));
        }
        assert_eq!(worker.wait(), 49);
    }

    #[test]
    fn waits_in_vain_end_the_spinning() {
        let mut worker = Worker::new();
        worker.miss(SPIN_MISSES_MAX);
        assert_eq!(worker.work_after(1_000), Verdict::Sleep(Outcome::Open));
        assert_eq!(worker.wait(), 0);
    }

    #[test]
    fn what_completes_at_once_hides_no_miss() {
        let mut worker = Worker::new();
        for _ in 0..SPIN_MISSES_MAX {
            assert_eq!(worker.work_after(1_000), Verdict::Again(Outcome::Open));
            // Its answer has left.
            assert_eq!(worker.work_after(1), Verdict::Again(Outcome::Open));
            worker.wait();
        }
        assert_eq!(worker.work_after(1_000), Verdict::Sleep(Outcome::Open));
    }

    #[test]
    fn a_hit_forgives_earlier_misses() {
        let mut worker = Worker::new();
        for _ in 0..10 {
            // The wait after the last hit makes one more.
            worker.miss(SPIN_MISSES_MAX - 2);
            assert_eq!(worker.work_after(1_000), Verdict::Again(Outcome::Open));
            assert_eq!(worker.work_after(40), Verdict::Again(Outcome::Hit));
        }
    }

    #[test]
    fn dense_work_brings_it_back_and_sparse_work_does_not() {
        let mut worker = Worker::new();
        worker.miss(SPIN_MISSES_MAX);
        for _ in 0..100 {
            // One gap of them is too long.
            assert_eq!(worker.work_after(1_000), Verdict::Sleep(Outcome::Open));
            assert_eq!(worker.work_after(60), Verdict::Sleep(Outcome::Open));
        }
        worker.work_after(1_000);
        assert_eq!(worker.resume(), 2 * SPIN_GAPS_MIN);
    }

    #[test]
    fn a_return_that_does_not_pay_makes_the_next_one_harder() {
        let mut worker = Worker::new();
        worker.miss(SPIN_MISSES_MAX);
        let mut wanted = 2 * SPIN_GAPS_MIN;
        for _ in 0..20 {
            assert_eq!(worker.resume(), wanted);
            worker.wait();
            worker.miss(SPIN_MISSES_MAX - 1);
            wanted = (2 * wanted).min(SPIN_GAPS_MAX);
        }
        assert_eq!(wanted, SPIN_GAPS_MAX);
        worker.resume();
        worker.work_after(40);
        worker.wait();
        worker.miss(SPIN_MISSES_MAX - 1);
        assert_eq!(worker.resume(), 2 * SPIN_GAPS_MIN);
    }
}
