//! What one worker knows about serving: its methods, where paths lead, and limits.
//!
//! Does not: own connections; the runtime does. Invariant: nothing here is borrowed while user code runs.

use std::rc::Rc;
use std::time::Duration;

use corelane_call::Status;
use corelane_observe::{WorkerCounters, Writer};
use corelane_wire::Instant;
use corelane_wire::hpack::Template;

use crate::admission::Admission;
use crate::dispatch::Panic;
use crate::methods::{Entry, Methods};
use crate::reply;
use crate::router::Router;

/// The limits of calls.
#[derive(Clone, Debug)]
pub(crate) struct CallLimits {
    /// For calls whose client sets no deadline.
    pub(crate) timeout: Option<Duration>,
    /// For all calls.
    pub(crate) timeout_max: Option<Duration>,
    /// Calls that one worker runs at once.
    pub(crate) calls_max: u32,
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) router: Router,
    pub(crate) methods: Vec<Entry>,
    pub(crate) limits: CallLimits,
    pub(crate) admission: Rc<Admission>,
    pub(crate) counters: Rc<Writer<WorkerCounters>>,
    /// The trailers of a call that has succeeded and set none.
    pub(crate) trailers: Template,
}

impl Worker {
    pub(crate) fn new(methods: Methods, limits: CallLimits, counters: Rc<Writer<WorkerCounters>>) -> Worker {
        let methods = methods.into_entries();
        Worker {
            router: Router::new(methods.iter().map(|entry| entry.path).collect()),
            methods,
            admission: Admission::new(limits.calls_max),
            limits,
            counters,
            trailers: reply::success_fields().into(),
        }
    }

    /// The method at `index`, which the router gave.
    #[inline]
    pub(crate) fn entry(&self, index: u32) -> &Entry {
        &self.methods[index as usize]
    }

    /// When a call that begins now must be over.
    #[inline]
    pub(crate) fn deadline(&self, asked: Option<Duration>, now: Instant) -> Option<Instant> {
        let wanted = asked.or(self.limits.timeout);
        let timeout = match (wanted, self.limits.timeout_max) {
            (Some(wanted), Some(max)) => wanted.min(max),
            (wanted, max) => wanted.or(max)?,
        };
        Some(now + timeout)
    }

    /// Notes a panic of user code; what the client hears of it.
    #[cold]
    pub(crate) fn panicked(&self, path: &str, panic: &Panic) -> Status {
        self.counters.panics.increment();
        tracing::error!(method = path, panic = panic.message(), "a handler panicked");
        Status::internal("handler panicked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_call::Interceptors;
    use corelane_observe::ShardSet;

    fn worker(timeout: Option<u64>, timeout_max: Option<u64>) -> Worker {
        let limits = CallLimits {
            timeout: timeout.map(Duration::from_secs),
            timeout_max: timeout_max.map(Duration::from_secs),
            calls_max: u32::MAX,
        };
        let counters = ShardSet::new(1).writer(0).unwrap();
        Worker::new(Methods::new(Interceptors::new()), limits, Rc::new(counters))
    }

    #[test]
    fn the_deadline_is_what_is_asked_for_within_the_maximum() {
        let now = Instant::from_nanos(7);
        let seconds = |worker: &Worker, asked: Option<u64>| {
            worker.deadline(asked.map(Duration::from_secs), now).map(|at| at.since(now).as_secs())
        };
        assert_eq!(seconds(&worker(None, None), None), None);
        assert_eq!(seconds(&worker(None, None), Some(5)), Some(5));
        assert_eq!(seconds(&worker(Some(3), None), None), Some(3));
        assert_eq!(seconds(&worker(Some(3), None), Some(5)), Some(5));
        assert_eq!(seconds(&worker(None, Some(4)), None), Some(4));
        assert_eq!(seconds(&worker(Some(3), Some(4)), Some(5)), Some(4));
        assert_eq!(seconds(&worker(Some(6), Some(4)), None), Some(4));
        assert_eq!(worker(None, None).deadline(Some(Duration::MAX), now), Some(Instant::MAX));
    }
}
