//! What a handler may ask of the worker that runs it: the time, a pause, a fair yield.

use crate::clock::Clock;
use crate::timers::{Sleeper, Target};
use crate::worker::{self, Position, Worker};
use corelane_memory::TimerKey;
use corelane_observe::{WorkerCounters, Writer};
use corelane_wire::Instant;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The worker of this thread, or a panic that says what is wrong.
pub(crate) fn here(what: &str) -> Rc<Worker> {
    worker::current()
        .unwrap_or_else(|| panic!("corelane_runtime::{what} needs a worker, and this thread is none"))
}

/// What this worker counts: its own shard, which it shares with whoever serves on it.
///
/// # Panics
/// Off a worker.
#[must_use]
pub fn counters() -> Rc<Writer<WorkerCounters>> {
    here("counters").counters.clone()
}

/// Which of its engine's workers this is.
///
/// # Panics
/// Off a worker.
#[must_use]
pub fn position() -> Position {
    here("position").position
}

/// The time of this turn, on the worker's own clock: what the connection's events and deadlines are counted with.
///
/// # Panics
/// Off a worker.
#[must_use]
#[inline]
pub fn now() -> Instant {
    worker::now().unwrap_or_else(|| here("now").now())
}

/// The time on any thread, off a worker too: it counts from the same origin as [`now`], and is read anew.
#[must_use]
pub fn clock() -> Instant {
    Clock::start().read()
}

/// A number that no peer can guess: to seed a generator, to shuffle.
///
/// # Panics
/// Off a worker.
#[must_use]
pub fn seed() -> u64 {
    here("seed").seed()
}

/// Waits for `duration`.
///
/// # Panics
/// Off a worker.
pub fn sleep(duration: Duration) -> Sleep {
    let worker = here("sleep");
    // The turn may have begun a while ago, and a sleep is counted from now.
    let deadline = worker.read_clock() + duration;
    Sleep { deadline, started: None, worker }
}

/// Waits until `deadline`.
///
/// # Panics
/// Off a worker.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, started: None, worker: here("sleep_until") }
}

/// A pause; see [`sleep`] and [`sleep_until`].
#[must_use = "a pause does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    started: Option<(TimerKey, Rc<Sleeper>)>,
    worker: Rc<Worker>,
}

impl Sleep {
    /// When it ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        if let Some((_, sleeper)) = &self.started {
            if sleeper.over.get() {
                self.started = None;
                return Poll::Ready(());
            }
            let mut waker = sleeper.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let now = self.worker.now();
        if deadline <= now {
            return Poll::Ready(());
        }
        let sleeper = Rc::new(Sleeper::default());
        *sleeper.waker.borrow_mut() = Some(cx.waker().clone());
        let key = self.worker.timers.insert(now, deadline, Target::Sleep(sleeper.clone()));
        self.started = Some((key, sleeper));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((key, _)) = self.started.take() {
            self.worker.timers.cancel(key);
        }
    }
}

/// Lets everybody else have their turn: other connections, sockets, timers. Goes on a turn later.
///
/// # Panics
/// When polled off a worker.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        here("yield_now").ticker.wake_later(cx.waker().clone());
        Poll::Pending
    })
    .await;
}
