//! The stopwatch of a worker's profile: at each step of a turn it notes what the time since the last step was spent on.
//!
//! While the profile is off a step is a load and a branch that is never taken, and no clock is read. The steps of the loop over
//! events are too many even for that: the loop exists twice, and [`Watch`] says which one this is.
//!
//! Does not: decide when it is on; the engine's switch does, which is looked at when a turn begins.
//!
//! Invariant: within a turn it is on or off throughout, so every lap that is closed was opened.

use crate::clock::{self, Clock};
use corelane_observe::{CallKind, Lap, ProfileSwitch, WorkerCounters, Writer};
use corelane_wire::Instant;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How old the last look at the thread's own clock may be when a turn begins: it is a system call.
const LOOK_AGE: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Profile {
    switch: ProfileSwitch,
    counters: Rc<Writer<WorkerCounters>>,
    clock: Clock,
    on: Cell<bool>,
    /// When the last lap ended.
    last: Cell<Instant>,
    /// When, and at which processor time of the thread, waiting was noted last; `None` before the first time.
    looked: Cell<Option<(Instant, u64)>>,
}

impl Profile {
    pub(crate) fn new(switch: ProfileSwitch, counters: Rc<Writer<WorkerCounters>>, clock: Clock) -> Profile {
        let (on, last, looked) = (Cell::new(false), Cell::default(), Cell::new(None));
        Profile { switch, counters, clock, on, last, looked }
    }

    /// A turn of whatever kind begins: what came before was outside.
    #[inline]
    pub(crate) fn begin(&self, now: Instant) {
        if self.switch.is_on() || self.on.get() {
            self.begin_watched(now);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_watched(&self, now: Instant) {
        let on = self.switch.is_on();
        if self.on.replace(on) {
            self.close(Lap::Outside, now);
        } else {
            self.looked.set(None);
        }
        self.last.set(now);
        let is_old = |(then, _)| now.since(then) >= LOOK_AGE;
        if on && self.looked.get().is_none_or(is_old) {
            self.look(now);
        }
    }

    /// Whether it is on.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// A step has ended, and this is what it was spent on.
    #[inline]
    pub(crate) fn lap(&self, lap: Lap) {
        if self.on.get() {
            self.lap_watched(lap);
        }
    }

    #[cold]
    #[inline(never)]
    fn lap_watched(&self, lap: Lap) {
        self.close(lap, self.clock.read());
    }

    fn close(&self, lap: Lap, now: Instant) {
        let since = now.since(self.last.replace(now));
        self.counters.profile.spent(lap, crate::worker::nanos(since));
    }

    /// A read or a write of so many bytes has completed.
    #[inline]
    pub(crate) fn moved(&self, lap: Lap, bytes: u64) {
        if self.on.get() {
            self.moved_watched(lap, bytes);
        }
    }

    #[cold]
    #[inline(never)]
    fn moved_watched(&self, lap: Lap, bytes: u64) {
        let profile = &self.counters.profile;
        let (count, sum) = match lap {
            Lap::Transmit => (&profile.writes, &profile.write_bytes),
            _ => (&profile.reads, &profile.read_bytes),
        };
        count.increment();
        sum.add(bytes);
        self.lap_watched(lap);
    }

    /// A connection's turn has ended, in which it took in so many events and polled so many calls.
    #[cold]
    #[inline(never)]
    pub(crate) fn turned(&self, events: u32, polls: u32) {
        let profile = &self.counters.profile;
        profile.turns.increment();
        profile.events.add(u64::from(events));
        profile.polls.add(u64::from(polls));
        // What came last is a look whether there is more to read.
        self.lap_watched(Lap::Receive);
    }

    /// A call that began then has just been answered.
    #[cold]
    #[inline(never)]
    pub(crate) fn answered(&self, kind: CallKind, started: Instant) {
        self.counters.profile.answered(kind, crate::worker::nanos(self.clock.read().since(started)));
    }

    /// Once a second at least: notes how much of the time this thread did not run.
    pub(crate) fn look(&self, now: Instant) {
        let Some(cpu) = clock::thread_cpu_ns() else { return };
        let counted = &self.counters.cpu_ns;
        counted.add(cpu.saturating_sub(counted.get()));
        if !self.on.get() {
            return;
        }
        if let Some((then, cpu_then)) = self.looked.replace(Some((now, cpu))) {
            let waited = crate::worker::nanos(now.since(then)).saturating_sub(cpu.saturating_sub(cpu_then));
            self.counters.profile.waiting_ns.add(waited);
        }
    }
}

/// Which of the two loops over events this is.
pub(crate) trait Watch {
    /// A step has ended.
    fn lap(profile: &Profile, lap: Lap);
}

/// The profile is on.
pub(crate) enum Watched {}

/// The profile is off.
pub(crate) enum Unwatched {}

impl Watch for Watched {
    fn lap(profile: &Profile, lap: Lap) {
        profile.lap_watched(lap);
    }
}

impl Watch for Unwatched {
    #[inline(always)]
    fn lap(_: &Profile, _: Lap) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_observe::{Observed, Profiling, ShardSet};

    fn profile(switch: &ProfileSwitch) -> Profile {
        let shard = ShardSet::new(1).writer(0).unwrap();
        Profile::new(switch.clone(), Rc::new(shard), Clock::start())
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn off_it_notes_nothing() {
        let profile = profile(&ProfileSwitch::default());
        profile.begin(at(5));
        profile.lap(Lap::Wire);
        profile.moved(Lap::Receive, 9);
        profile.begin(at(70));
        profile.look(at(80));
        assert!(!profile.is_on());
        assert_eq!(
            profile.counters.profile.snapshot(),
            ShardSet::<WorkerCounters>::new(1).snapshot().profile
        );
    }

    #[test]
    fn on_the_phases_add_up_to_the_time_from_the_first_turn_to_the_last() {
        let switch = ProfileSwitch::default();
        let profile = profile(&switch);
        profile.begin(at(1));
        switch.set(Profiling::On);
        assert!(!profile.is_on(), "a turn under way goes on as it began");
        profile.begin(at(100));
        profile.close(Lap::Receive, at(130));
        profile.close(Lap::Wire, at(150));
        profile.close(Lap::Handlers, at(190));
        profile.begin(at(1_000));
        switch.set(Profiling::Off);
        profile.close(Lap::Wire, at(1_001));
        profile.begin(at(1_500));
        profile.begin(at(9_000));
        let seen = profile.counters.profile.snapshot();
        let laps = [Lap::Receive, Lap::Wire, Lap::Handlers, Lap::Outside];
        assert_eq!(laps.map(|lap| seen.lap_ns(lap)), [30, 21, 40, 810 + 499]);
        assert_eq!(seen.total_ns(), 1_500 - 100);
    }

    #[test]
    fn waiting_is_what_the_thread_did_not_run() {
        let switch = ProfileSwitch::default();
        let profile = profile(&switch);
        switch.set(Profiling::On);
        profile.begin(at(0));
        profile.look(at(0));
        assert_eq!(profile.counters.profile.waiting_ns.get(), 0);
        // An hour, of which this test runs a moment.
        let hour = 3_600_000_000_000;
        profile.look(at(hour));
        let waited = profile.counters.profile.waiting_ns.get();
        assert!(waited > hour / 2 && waited <= hour, "{waited}");
    }
}
