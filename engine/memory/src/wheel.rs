//! A hierarchical timer wheel: deadlines in, what is due out.
//!
//! Every call with a deadline starts a timer and almost every one cancels it, so insertion and cancellation are what
//! must be cheap: a few shifts, one slot of a slab, one link in a list. Eight levels of 64 slots at ticks of 1 ms span
//! more than the 2^64 nanoseconds that a deadline can name, so there is no overflow list and no deadline too far.
//!
//! Does not: read a clock, wake anyone, or allocate in steady state (the slab reuses the places of old timers). It has
//! no maximum of its own: its owner has one for whatever it starts timers for.
//!
//! The level of a timer is the highest group of 6 bits in which its tick differs from the present one. So all timers
//! of a level lie ahead of the present within one turn of that level, every timer of a lower level is due before
//! any of a higher one, and finding the first is finding the lowest bit set.
//!
//! Invariants: a timer lies in the slot that `place` computes for it from the present tick, moved forward or not; a bit
//! of `occupied` is set where the list is not empty; all of one tick lie in one list in the order of insertion.
//!
//! Alternatives that lost: a binary heap (a cancellation costs log n and a move, or leaves a corpse until its
//! deadline, and calls that end after microseconds leave minutes' worth of corpses); a wheel with a slot per tick and
//! rounds counted per timer (each turn touches timers that are not due).

use crate::{Key, Slab};
use core::fmt;

/// The wheel's resolution: 1 ms.
pub const TICK_NS: u64 = 1_000_000;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
/// The end of a list.
const NONE: u32 = u32::MAX;

const _: () = assert!(SLOTS == u64::BITS as usize, "a level's occupancy is one u64");
const _: () = assert!(
    u64::MAX.div_ceil(TICK_NS) >> (SLOT_BITS * LEVELS as u32) == 0,
    "the levels span every deadline that u64 nanoseconds can name"
);

/// Names one timer of a [`TimerWheel`]; dead once the timer fired or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerKey(Key);

#[derive(Debug)]
struct Timer<T> {
    value: T,
    /// The tick it fires at: its deadline rounded up, or the present tick for one that was late already.
    tick: u64,
    previous: u32,
    next: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    level: u8,
    slot: u8,
}

impl Place {
    const fn level(self) -> usize {
        self.level as usize
    }

    const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// A list of timers by their slab index; both ends are `NONE` when it is empty.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const EMPTY: List = List { first: NONE, last: NONE };
}

/// Timers of one worker, each with a value to give back when it is due.
///
/// A deadline is rounded up to the next tick of 1 ms: no timer fires early, and none later than the first
/// [`expire`](Self::expire) a tick after its deadline. Timers fire in the order of their ticks, those of one tick in
/// the order of insertion.
///
/// ```
/// use corelane_memory::TimerWheel;
///
/// const MS: u64 = 1_000_000;
/// let mut wheel = TimerWheel::new(0);
/// wheel.insert(20 * MS, "deadline of call 1");
/// let answered = wheel.insert(10 * MS, "deadline of call 2");
/// assert_eq!(wheel.cancel(answered), Some("deadline of call 2"));
///
/// let mut due = Vec::new();
/// wheel.expire(19 * MS, &mut |what| due.push(what));
/// assert!(due.is_empty());
/// assert_eq!(wheel.next_deadline_ns(), Some(20 * MS));
/// wheel.expire(20 * MS, &mut |what| due.push(what));
/// assert_eq!(due, ["deadline of call 1"]);
/// assert_eq!(wheel.next_deadline_ns(), None);
/// ```
pub struct TimerWheel<T> {
    timers: Slab<Timer<T>>,
    /// The present: the last tick that was expired, or the one that is being worked on.
    tick: u64,
    /// For each level, a bit for each slot whose list is not empty.
    occupied: [u64; LEVELS],
    lists: [[List; SLOTS]; LEVELS],
}

impl<T> TimerWheel<T> {
    /// A wheel without timers whose present is `now_ns`.
    #[must_use]
    pub const fn new(now_ns: u64) -> TimerWheel<T> {
        // `NONE` is no index, so the slab must stop one short of it.
        TimerWheel::from_slab(now_ns, Slab::new(NONE))
    }

    /// A wheel with the memory for `capacity` timers taken now.
    #[must_use]
    pub fn with_capacity(now_ns: u64, capacity: u32) -> TimerWheel<T> {
        TimerWheel::from_slab(now_ns, Slab::with_capacity(NONE, capacity))
    }

    const fn from_slab(now_ns: u64, timers: Slab<Timer<T>>) -> TimerWheel<T> {
        TimerWheel {
            timers,
            tick: now_ns / TICK_NS,
            occupied: [0; LEVELS],
            lists: [[List::EMPTY; SLOTS]; LEVELS],
        }
    }

    /// Starts a timer that gives `value` to the first [`expire`](Self::expire) at or after `deadline_ns`, rounded up
    /// to a tick. One whose deadline has passed is due at once. One at `u64::MAX` never is: the tick after it is not
    /// a time.
    ///
    /// # Panics
    /// If 2^32 - 1 timers are running: whoever starts that many has lost count of them.
    pub fn insert(&mut self, deadline_ns: u64, value: T) -> TimerKey {
        let tick = deadline_ns.div_ceil(TICK_NS).max(self.tick);
        let place = self.place(tick);
        let timer = Timer { value, tick, previous: NONE, next: NONE, place };
        let Ok(key) = self.timers.insert(timer) else { panic!("2^32 - 1 timers are running") };
        self.append(key.index(), place);
        TimerKey(key)
    }

    /// Stops a timer and gives its value back; `None` if it fired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let timer = self.timers.remove(key.0)?;
        self.unlink(timer.place, timer.previous, timer.next);
        Some(timer.value)
    }

    /// Whether the timer still runs.
    #[must_use]
    pub fn contains(&self, key: TimerKey) -> bool {
        self.timers.contains(key.0)
    }

    /// When to call [`expire`](Self::expire) next, or `None` without timers.
    ///
    /// Exact (to the tick) for what is due within the present 64 ms; a timer further off is reported early, at the beginning of
    /// its slot, where `expire` moves it to a finer level: at most seven such steps until it fires. Never late.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let (_, start) = self.first()?;
        Some(start.saturating_mul(TICK_NS))
    }

    /// Moves the present to `now_ns` and gives `due` the value of every timer whose tick has come. A `now_ns` before
    /// the present changes nothing.
    pub fn expire(&mut self, now_ns: u64, due: &mut impl FnMut(T)) {
        let now = now_ns / TICK_NS;
        while let Some((place, start)) = self.first() {
            if start > now {
                break;
            }
            debug_assert!(self.tick <= start, "no list lies in the past");
            self.tick = start;
            if place.level == 0 {
                self.fire(place, due);
            } else {
                self.refine(place);
            }
        }
        // What is left lies in slots that begin after `now`, so its place is the same from there.
        self.tick = self.tick.max(now);
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Takes the timers of one tick out. Each is gone before its value is handed over, so a panic in `due` loses
    /// that one only.
    fn fire(&mut self, place: Place, due: &mut impl FnMut(T)) {
        while let Some((key, next)) = self.head(place) {
            let timer = self.timers.remove(key).expect("a linked timer is in the slab");
            self.unlink(place, NONE, next);
            due(timer.value);
        }
    }

    /// Spreads the timers of a slot that has become the present over the levels below.
    fn refine(&mut self, place: Place) {
        let mut index = self.lists[place.level()][place.slot()].first;
        self.lists[place.level()][place.slot()] = List::EMPTY;
        self.occupied[place.level()] &= !(1 << place.slot);
        while index != NONE {
            let (_, timer) = self.timers.at(index).expect("a linked timer is in the slab");
            let (tick, next) = (timer.tick, timer.next);
            let finer = self.place(tick);
            debug_assert!(
                finer.level < place.level,
                "the present is in this slot, so they differ further down only"
            );
            self.append(index, finer);
            index = next;
        }
    }

    /// The first list that is not empty, and the tick at which its slot begins. The lowest level comes first, and no
    /// level has anything behind the present, so the lowest bit is the next.
    fn first(&self) -> Option<(Place, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = SLOT_BITS * to_u32(level);
        let turn = self.tick >> shift >> SLOT_BITS << SLOT_BITS;
        let start = (turn | u64::from(slot)) << shift;
        Some((place_of(to_u32(level), slot), start))
    }

    /// Where a timer of this tick, present or to come, belongs.
    fn place(&self, tick: u64) -> Place {
        // `| 63`: what differs in the last group only, or not at all, is level 0.
        let differ = (self.tick ^ tick) | (SLOTS as u64 - 1);
        let level = differ.ilog2() / SLOT_BITS;
        let slot = (tick >> (SLOT_BITS * level)) & (SLOTS as u64 - 1);
        place_of(level, u32::try_from(slot).expect("six bits"))
    }

    /// The first timer of a list and the index of the one behind it.
    fn head(&self, place: Place) -> Option<(Key, u32)> {
        let first = self.lists[place.level()][place.slot()].first;
        let (key, timer) = self.timers.at(first)?;
        Some((key, timer.next))
    }

    /// Links a timer of the slab to the end of a list.
    fn append(&mut self, index: u32, place: Place) {
        let list = &mut self.lists[place.level()][place.slot()];
        let last = core::mem::replace(&mut list.last, index);
        if last == NONE {
            list.first = index;
            self.occupied[place.level()] |= 1 << place.slot;
        } else {
            self.timer_at(last).next = index;
        }
        let timer = self.timer_at(index);
        timer.previous = last;
        timer.next = NONE;
        timer.place = place;
    }

    /// Closes the gap that a timer of this list, already out of the slab, leaves between its neighbours.
    fn unlink(&mut self, place: Place, previous: u32, next: u32) {
        match previous {
            NONE => self.lists[place.level()][place.slot()].first = next,
            _ => self.timer_at(previous).next = next,
        }
        match next {
            NONE => self.lists[place.level()][place.slot()].last = previous,
            _ => self.timer_at(next).previous = previous,
        }
        if self.lists[place.level()][place.slot()].first == NONE {
            self.occupied[place.level()] &= !(1 << place.slot);
        }
    }

    fn timer_at(&mut self, index: u32) -> &mut Timer<T> {
        self.timers.at_mut(index).expect("a linked timer is in the slab").1
    }
}

impl<T> fmt::Debug for TimerWheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerWheel")
            .field("len", &self.len())
            .field("now_ns", &(self.tick.saturating_mul(TICK_NS)))
            .field("next_deadline_ns", &self.next_deadline_ns())
            .finish()
    }
}

fn place_of(level: u32, slot: u32) -> Place {
    debug_assert!(level < 8 && slot < 64);
    Place {
        level: u8::try_from(level).expect("one of eight levels"),
        slot: u8::try_from(slot).expect("one of 64 slots"),
    }
}

fn to_u32(level: usize) -> u32 {
    u32::try_from(level).expect("one of eight levels")
}

#[cfg(test)]
mod tests;
