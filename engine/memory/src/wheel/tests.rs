//! The wheel beside a sorted map, and the corners by hand.

use super::*;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use proptest::prelude::*;

const MS: u64 = TICK_NS;

fn expired<T>(wheel: &mut TimerWheel<T>, now_ns: u64) -> Vec<T> {
    let mut due = Vec::new();
    wheel.expire(now_ns, &mut |value| due.push(value));
    wheel.check_invariants();
    due
}

impl<T> TimerWheel<T> {
    /// Counts the timers through the lists and holds each against the place that it should have.
    fn check_invariants(&self) {
        let mut count = 0;
        for level in 0..LEVELS {
            for slot in 0..SLOTS {
                let list = self.lists[level][slot];
                assert_eq!(self.occupied[level] >> slot & 1 == 1, list.first != NONE);
                let (mut index, mut previous) = (list.first, NONE);
                while let Some((_, timer)) = self.timers.at(index) {
                    assert_eq!(timer.previous, previous);
                    assert_eq!((timer.place.level(), timer.place.slot()), (level, slot));
                    assert_eq!(self.place(timer.tick), timer.place);
                    count += 1;
                    (previous, index) = (index, timer.next);
                }
                assert_eq!((index, list.last), (NONE, previous));
            }
        }
        assert_eq!(count, self.len());
    }
}

#[test]
fn fires_at_the_tick_after_the_deadline_and_not_before() {
    let mut wheel = TimerWheel::new(0);
    wheel.insert(5 * MS + 1, ());
    assert_eq!(expired(&mut wheel, 6 * MS - 1).len(), 0);
    assert_eq!(wheel.next_deadline_ns(), Some(6 * MS));
    assert_eq!(expired(&mut wheel, 6 * MS).len(), 1);
}

#[test]
fn a_deadline_on_a_tick_fires_at_that_tick() {
    let mut wheel = TimerWheel::new(0);
    wheel.insert(5 * MS, ());
    assert_eq!(expired(&mut wheel, 5 * MS - 1).len(), 0);
    assert_eq!(expired(&mut wheel, 5 * MS).len(), 1);
}

#[test]
fn what_is_late_already_is_due_at_once() {
    let mut wheel = TimerWheel::new(100 * MS);
    wheel.insert(0, "long ago");
    wheel.insert(100 * MS, "now");
    assert_eq!(wheel.next_deadline_ns(), Some(100 * MS));
    assert_eq!(expired(&mut wheel, 100 * MS), ["long ago", "now"]);
}

#[test]
fn one_leap_over_everything_keeps_the_order() {
    let mut wheel = TimerWheel::new(3 * MS);
    let deadlines =
        [4_000_000 * MS, 70 * MS, 64 * MS, 63 * MS, 4_096 * MS, 4_097 * MS, 262_144 * MS, 10 * MS];
    for deadline in deadlines {
        wheel.insert(deadline, deadline);
    }
    let mut sorted = deadlines;
    sorted.sort_unstable();
    assert_eq!(expired(&mut wheel, 5_000_000 * MS), sorted);
    assert!(wheel.is_empty());
}

#[test]
fn timers_of_one_tick_fire_in_the_order_of_insertion_from_whatever_level() {
    let mut wheel = TimerWheel::new(0);
    wheel.insert(5_000 * MS, "two levels up");
    assert_eq!(expired(&mut wheel, 4_990 * MS).len(), 0);
    wheel.insert(5_000 * MS - 1, "near");
    wheel.insert(5_000 * MS, "nearer");
    assert_eq!(expired(&mut wheel, 5_000 * MS), ["two levels up", "near", "nearer"]);
}

#[test]
fn a_cancelled_timer_neither_fires_nor_is_cancelled_twice() {
    let mut wheel = TimerWheel::new(0);
    let keys: Vec<_> = (0..5).map(|number| wheel.insert(9 * MS, number)).collect();
    for number in [2_usize, 0, 4] {
        assert!(wheel.contains(keys[number]));
        assert_eq!(wheel.cancel(keys[number]).map(|n| n as usize), Some(number));
        assert_eq!(wheel.cancel(keys[number]), None);
        wheel.check_invariants();
    }
    assert_eq!(expired(&mut wheel, 9 * MS), [1, 3]);
    assert_eq!(wheel.cancel(keys[1]), None);
}

#[test]
fn the_key_of_a_fired_timer_does_not_cancel_its_successor() {
    let mut wheel = TimerWheel::new(0);
    let old = wheel.insert(MS, "old");
    assert_eq!(expired(&mut wheel, MS), ["old"]);
    let new = wheel.insert(2 * MS, "new");
    assert_eq!(wheel.cancel(old), None);
    assert_eq!(wheel.cancel(new), Some("new"));
}

#[test]
fn the_end_of_time_is_far_away_but_a_place() {
    let mut wheel = TimerWheel::new(7 * MS);
    let never = wheel.insert(u64::MAX, "never");
    wheel.insert(u64::MAX - u64::MAX % MS, "the last tick");
    assert_eq!(expired(&mut wheel, u64::MAX / 2).len(), 0);
    assert_eq!(expired(&mut wheel, u64::MAX), ["the last tick"]);
    assert_eq!(wheel.next_deadline_ns(), Some(u64::MAX));
    assert_eq!(wheel.cancel(never), Some("never"));
    let mut late = TimerWheel::new(u64::MAX);
    late.insert(u64::MAX - MS, ());
    assert_eq!(expired(&mut late, u64::MAX).len(), 1);
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut wheel = TimerWheel::new(50 * MS);
    wheel.insert(60 * MS, ());
    assert_eq!(expired(&mut wheel, 10 * MS).len(), 0);
    assert_eq!(wheel.next_deadline_ns(), Some(60 * MS));
    assert_eq!(expired(&mut wheel, 60 * MS).len(), 1);
}

#[test]
fn following_the_next_deadline_reaches_any_timer_in_eight_steps() {
    for deadline in [1, 63, 64, 100, 4_095, 4_096, 1 << 20, (1 << 40) + 12_345, u64::MAX / MS] {
        let mut wheel = TimerWheel::new(0);
        wheel.insert(deadline * MS, ());
        let mut steps = 0;
        while let Some(next) = wheel.next_deadline_ns() {
            assert!(next <= deadline * MS);
            let due = expired(&mut wheel, next);
            assert_eq!(due.len(), usize::from(next == deadline * MS));
            steps += 1;
        }
        assert!(steps <= LEVELS, "{deadline} took {steps}");
    }
}

#[test]
fn steady_state_takes_no_more_memory() {
    let mut wheel = TimerWheel::with_capacity(0, 100);
    let capacity = wheel.timers.capacity();
    for turn in 0..1_000_u64 {
        let keys: Vec<_> = (0..50).map(|n| wheel.insert((turn + n * 97) * MS, n)).collect();
        for key in keys {
            wheel.cancel(key);
        }
        wheel.insert((turn + 20) * MS, 0);
        expired(&mut wheel, turn * MS);
    }
    assert_eq!(wheel.timers.capacity(), capacity);
    assert_eq!(wheel.len(), 20);
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u64),
    InsertAt(u64),
    Cancel(usize),
    Advance(u64),
    Follow,
}

/// Distances of every magnitude, so that every level takes part.
fn distance() -> impl Strategy<Value = u64> {
    (0..62_u32, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => distance().prop_map(Op::Insert),
        1 => prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)].prop_map(Op::InsertAt),
        3 => any::<usize>().prop_map(Op::Cancel),
        2 => (0..45_u32, any::<u64>()).prop_map(|(bits, noise)| Op::Advance(noise & ((1 << bits) - 1))),
        3 => Just(Op::Follow),
    ]
}

/// What the wheel should do, as a sorted map from (tick, number of insertion) to the timer.
struct Model {
    wheel: TimerWheel<u64>,
    sorted: BTreeMap<(u64, u64), TimerKey>,
    now_ns: u64,
    count: u64,
}

impl Model {
    fn insert(&mut self, deadline_ns: u64) {
        let tick = deadline_ns.div_ceil(MS).max(self.now_ns / MS);
        let key = self.wheel.insert(deadline_ns, self.count);
        self.sorted.insert((tick, self.count), key);
        self.count += 1;
    }

    fn cancel(&mut self, choice: usize) {
        if self.sorted.is_empty() {
            return;
        }
        let (&(tick, number), &key) = self.sorted.iter().nth(choice % self.sorted.len()).expect("not empty");
        assert_eq!(self.wheel.cancel(key), Some(number));
        assert_eq!(self.wheel.cancel(key), None);
        self.sorted.remove(&(tick, number));
    }

    fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        let later = self.sorted.split_off(&(self.now_ns / MS + 1, 0));
        let due = core::mem::replace(&mut self.sorted, later);
        let expected: Vec<u64> = due.keys().map(|(_, number)| *number).collect();
        assert_eq!(expired(&mut self.wheel, now_ns), expected);
        assert!(due.values().all(|key| !self.wheel.contains(*key)));
    }

    fn check(&self) {
        self.wheel.check_invariants();
        assert_eq!(self.wheel.len(), self.sorted.len());
        let first = self.sorted.keys().next().map(|(tick, _)| tick.saturating_mul(MS));
        match (self.wheel.next_deadline_ns(), first) {
            (None, None) => {}
            (Some(next), Some(first)) => {
                assert!(next <= first, "next {next} is after the first, {first}");
                // Early by at most the slot: the distance from now at least halves in each of 64ths.
                let near = first / MS / 64 == self.now_ns / MS / 64;
                assert!(!near || next == first, "within the present 64 ms it is exact");
                assert!(
                    next > self.now_ns || next == first,
                    "an early answer must be ahead, or it would spin"
                );
            }
            (next, first) => panic!("the wheel says {next:?}, the map {first:?}"),
        }
    }
}

proptest! {
    #[test]
    fn does_what_a_sorted_map_does(
        start in prop_oneof![Just(0), distance(), Just(u64::MAX)],
        ops in prop::collection::vec(op(), 0..150),
    ) {
        let mut model = Model { wheel: TimerWheel::new(start), sorted: BTreeMap::new(), now_ns: start, count: 0 };
        for op in ops {
            match op {
                Op::Insert(distance) => model.insert(model.now_ns.saturating_add(distance)),
                Op::InsertAt(deadline) => model.insert(deadline),
                Op::Cancel(choice) => model.cancel(choice),
                Op::Advance(distance) => model.advance_to(model.now_ns.saturating_add(distance)),
                Op::Follow => if let Some(next) = model.wheel.next_deadline_ns() {
                    model.advance_to(next);
                },
            }
            model.check();
        }
    }
}
