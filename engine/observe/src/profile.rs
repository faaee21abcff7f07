//! Where a worker's time goes, while somebody wants to know.
//!
//! A worker whose profile is on cuts its time into laps: at each step it notes what the time since the last one was spent on.
//! So the laps add up to the time for which the profile was on; nothing is counted twice, and nothing is missing.
//!
//! Does not: read a clock, which the runtime does, or know what a turn is. While the switch is off nothing here is written.
//!
//! Invariant: what a shard holds is written by its worker alone. The switch is the one thing that others write, so it is apart.

use crate::counter::Counter;
use crate::histogram::{Histogram, HistogramSnapshot};
use crate::shards::Observed;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

macro_rules! named {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name in figures.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// What the time between two steps of a worker was spent on.
    Lap {
        /// Outside of all turns: the kernel's work under io_uring, the runtime, accepting, waiting for something to do.
        Outside = "outside",
        /// Taking what came from sockets. Under epoll the kernel's copy is part of it.
        Receive = "receive",
        /// Frames, headers, TLS: from bytes to events.
        Wire = "wire",
        /// Calls: decoding, interceptors, the handlers themselves, encoding.
        Handlers = "handlers",
        /// From what was produced to a write that is under way. Under epoll the kernel's copy is part of it.
        Transmit = "transmit",
        /// Tasks that belong to no connection.
        Tasks = "tasks",
    }
}

named! {
    /// The four kinds of calls.
    CallKind {
        /// One request, one response.
        Unary = "unary",
        /// Many requests, one response.
        ClientStreaming = "client_streaming",
        /// One request, many responses.
        ServerStreaming = "server_streaming",
        /// Many requests, many responses.
        Bidi = "bidi",
    }
}

/// Whether workers note where their time goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profiling {
    /// They do not, which costs nothing.
    #[default]
    Off,
    /// They do: a call then takes some clock readings more, 20 to 30 ns each.
    On,
}

/// Turns the profiles of an engine's workers on and off, from any thread. Clones are the same switch.
///
/// ```
/// use corelane_observe::{ProfileSwitch, Profiling};
///
/// let switch = ProfileSwitch::default();
/// assert_eq!(switch.get(), Profiling::Off);
/// switch.clone().set(Profiling::On);
/// assert_eq!(switch.get(), Profiling::On);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProfileSwitch(Arc<AtomicBool>);

impl ProfileSwitch {
    /// Turns them on or off. Each worker obeys at its next turn, an idle one within a second.
    pub fn set(&self, profiling: Profiling) {
        // Relaxed, here and below: the switch is all there is to see, and one turn sooner or later does not matter.
        self.0.store(profiling == Profiling::On, Ordering::Relaxed);
    }

    /// What was set last.
    #[must_use]
    pub fn get(&self) -> Profiling {
        if self.is_on() { Profiling::On } else { Profiling::Off }
    }

    /// Whether they are on: for the workers, at every turn.
    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! profile_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a worker notes while its profile is on.
        #[derive(Debug, Default)]
        pub struct ProfileCounters {
            $($(#[$doc])* pub $name: Counter,)*
            laps_ns: [Counter; Lap::ALL.len()],
            calls_ns: [Histogram; CallKind::ALL.len()],
        }

        /// What workers noted while their profiles were on.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProfileSnapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// The time spent on each, in the order of [`Lap::ALL`].
            pub laps_ns: [u64; Lap::ALL.len()],
            /// How long calls took, in nanoseconds, in the order of [`CallKind::ALL`].
            pub calls_ns: [HistogramSnapshot; CallKind::ALL.len()],
        }

        impl ProfileCounters {
            fn add_numbers_to(&self, into: &mut ProfileSnapshot) {
                $(into.$name = into.$name.wrapping_add(self.$name.get());)*
            }
        }

        impl ProfileSnapshot {
            /// The figures that are one number, by name.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

profile_counters! {
    /// Turns of connections.
    turns,
    /// Events that connections handed to their sessions: with `turns` the batch that a turn takes in.
    events,
    /// Calls that were polled because they were woken.
    polls,
    /// Reads that brought something.
    reads,
    /// Bytes that they brought.
    read_bytes,
    /// Writes that took something.
    writes,
    /// Bytes that they took.
    write_bytes,
    /// The part of [`Lap::Outside`] that the worker waited, for work or for its core: what the kernel did not count
    /// as the thread's processor time. Noted ten times a second by a busy worker, once by an idle one.
    waiting_ns,
}

impl ProfileCounters {
    /// Adds to the time spent on this.
    #[inline]
    pub fn spent(&self, lap: Lap, duration_ns: u64) {
        self.laps_ns[lap as usize].add(duration_ns);
    }

    /// A call of this kind was answered after this time.
    pub fn answered(&self, kind: CallKind, duration_ns: u64) {
        self.calls_ns[kind as usize].record(duration_ns);
    }
}

impl Observed for ProfileCounters {
    type Snapshot = ProfileSnapshot;

    fn add_to(&self, into: &mut ProfileSnapshot) {
        self.add_numbers_to(into);
        for (sum, counter) in into.laps_ns.iter_mut().zip(&self.laps_ns) {
            *sum = sum.wrapping_add(counter.get());
        }
        for (sum, histogram) in into.calls_ns.iter_mut().zip(&self.calls_ns) {
            histogram.add_to(sum);
        }
    }
}

impl ProfileSnapshot {
    /// The time spent on this.
    #[must_use]
    pub fn lap_ns(&self, lap: Lap) -> u64 {
        self.laps_ns[lap as usize]
    }

    /// The time for which the profile was on.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.laps_ns.iter().sum()
    }

    /// How long calls of one kind took.
    #[must_use]
    pub fn calls_of(&self, kind: CallKind) -> &HistogramSnapshot {
        &self.calls_ns[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_and_every_kind_is_counted_apart() {
        let counters = ProfileCounters::default();
        for (amount, lap) in (1..).zip(Lap::ALL) {
            counters.spent(*lap, amount);
        }
        for (amount, kind) in (1..).zip(CallKind::ALL) {
            counters.answered(*kind, amount);
        }
        let seen = counters.snapshot();
        for (amount, lap) in (1..).zip(Lap::ALL) {
            assert_eq!(seen.lap_ns(*lap), amount, "{}", lap.name());
        }
        for (amount, kind) in (1..).zip(CallKind::ALL) {
            assert_eq!(
                (seen.calls_of(*kind).count(), seen.calls_of(*kind).max()),
                (1, amount),
                "{}",
                kind.name()
            );
        }
        assert_eq!(seen.total_ns(), 1 + 2 + 3 + 4 + 5 + 6);
    }

    #[test]
    fn profiles_are_summed() {
        let (a, b) = (ProfileCounters::default(), ProfileCounters::default());
        a.turns.add(3);
        b.turns.add(4);
        b.waiting_ns.add(9);
        a.answered(CallKind::Bidi, 7);
        b.answered(CallKind::Bidi, 7);
        let mut sum = a.snapshot();
        b.add_to(&mut sum);
        assert_eq!((sum.turns, sum.waiting_ns, sum.calls_of(CallKind::Bidi).count()), (7, 9, 2));
        let named: Vec<_> = sum.numbers().filter(|(_, number)| *number != 0).collect();
        assert_eq!(named, [("turns", 7), ("waiting_ns", 9)]);
    }

    #[test]
    fn a_switch_is_shared_by_its_clones() {
        let switch = ProfileSwitch::default();
        let other = switch.clone();
        other.set(Profiling::On);
        assert!(switch.is_on());
        switch.set(Profiling::Off);
        assert_eq!(other.get(), Profiling::Off);
    }
}
