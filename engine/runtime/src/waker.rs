//! Wakers of calls: made once for each slot of a connection and used for every call that comes to live in it.
//!
//! On the owner's thread a wake is a flag and an entry in the connection's inbox. From any other thread it goes
//! through the worker's mailbox. A waker may outlive its call and its connection: a late wake finds nobody, or polls a
//! later call of the same slot once for nothing, which every future must bear.

use crate::home::{Home, Letter};
use crate::worker;
use corelane_memory::{Key, TimerKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// What the wakers of one call slot share.
pub(crate) struct CallWaker {
    home: Arc<Home>,
    connection: Key,
    slot: u32,
    /// Called, and not yet taken note of.
    woken: AtomicBool,
}

impl CallWaker {
    /// For the owner, before it polls the call because of a wake: from here on a wake counts anew. Says whether there was one.
    pub(crate) fn take(&self) -> bool {
        // Acquire pairs with the Release in `wake_by_ref`: what was done before the wake is seen by the poll. A swap and
        // not a store: a waker that finds the flag up relies on our seeing, now, what it did before.
        self.woken.swap(false, Ordering::Acquire)
    }

    /// For a scan: whether a wake waits.
    pub(crate) fn is_woken(&self) -> bool {
        // Relaxed: `take` follows before anything is concluded from this.
        self.woken.load(Ordering::Relaxed)
    }
}

impl Wake for CallWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: see `take`. No Acquire: nothing that the owner wrote is read here.
        if self.woken.swap(true, Ordering::Release) {
            return;
        }
        if !worker::wake_here(self.home.id, self.connection, self.slot) {
            self.home.post(Letter::Wake { connection: self.connection, slot: self.slot });
        }
    }
}

/// The waker of a slot, and what it leads to.
type Made = (Arc<CallWaker>, Waker);

/// The timer of one call slot.
#[derive(Default)]
struct SlotTimer {
    key: Option<TimerKey>,
    /// How many were set before.
    serial: u32,
}

/// The call slots of one connection, by number: their wakers and their timers. Grows to the highest slot in use and is reused from
/// then on. Wakers and timers lie apart: many a connection has calls that wait and none with a deadline.
#[derive(Default)]
pub(crate) struct CallSlots {
    wakers: Box<[Option<Made>]>,
    timers: Box<[SlotTimer]>,
}

/// Places that are added at once, at least.
const SLOTS_MIN: usize = 4;

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("a u32 fits where Linux runs")
}

/// The place of a slot.
#[inline]
fn place<T: Default>(places: &mut Box<[T]>, slot: u32) -> &mut T {
    let index = index(slot);
    if index >= places.len() {
        extend(places, index + 1);
    }
    &mut places[index]
}

/// Makes so many places, or a quarter more than there were: slots come one by one.
#[cold]
fn extend<T: Default>(places: &mut Box<[T]>, len: usize) {
    let mut more = std::mem::take(places).into_vec();
    let len = len.max(more.len() + (more.len() / 4).max(SLOTS_MIN));
    more.reserve_exact(len - more.len());
    more.resize_with(len, T::default);
    *places = more.into_boxed_slice();
}

impl CallSlots {
    fn call(&self, slot: u32) -> Option<&CallWaker> {
        self.wakers.get(index(slot))?.as_ref().map(|(call, _)| &**call)
    }

    /// The waker of a slot, made at the first request.
    pub(crate) fn waker(&mut self, slot: u32, connection: Key, home: &Arc<Home>) -> &Waker {
        let made = place(&mut self.wakers, slot).get_or_insert_with(|| {
            let woken = AtomicBool::new(false);
            let call = Arc::new(CallWaker { home: home.clone(), connection, slot, woken });
            (call.clone(), Waker::from(call))
        });
        &made.1
    }

    /// Takes note of a slot's wake.
    pub(crate) fn take_wake(&self, slot: u32) {
        if let Some(call) = self.call(slot) {
            call.take();
        }
    }

    /// Remembers a timer in place of one that has been taken, or none.
    pub(crate) fn set_timer(&mut self, slot: u32, timer: impl FnOnce(u32) -> TimerKey) {
        let of_slot = place(&mut self.timers, slot);
        of_slot.serial = of_slot.serial.wrapping_add(1);
        of_slot.key = Some(timer(of_slot.serial));
    }

    /// Forgets the timer of a slot; gives it, to be cancelled.
    pub(crate) fn take_timer(&mut self, slot: u32) -> Option<TimerKey> {
        self.timers.get_mut(index(slot))?.key.take()
    }

    /// Whether the timer with this number is still wanted; if so it is over now.
    pub(crate) fn timer_fired(&mut self, slot: u32, serial: u32) -> bool {
        let of_slot = self.timers.get_mut(index(slot));
        of_slot.is_some_and(|timer| timer.serial == serial && timer.key.take().is_some())
    }

    /// Slots whose wake waits in its flag, because the mailbox was full.
    pub(crate) fn woken(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&*self.wakers).filter_map(|(slot, waker)| {
            waker.as_ref().is_some_and(|(call, _)| call.is_woken()).then_some(slot)
        })
    }

    /// Frees the slots: for a connection without calls that has gone quiet.
    pub(crate) fn shrink(&mut self) {
        if self.timers.iter().all(|timer| timer.key.is_none()) {
            *self = CallSlots::default();
        }
    }

    /// All timers, at the end of the connection.
    pub(crate) fn take_timers(&mut self) -> impl Iterator<Item = TimerKey> {
        self.timers.iter_mut().filter_map(|timer| timer.key.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_by_a_quarter() {
        let mut places: Box<[u64]> = Box::default();
        let mut counts = Vec::new();
        for slot in 0..=100 {
            *place(&mut places, slot) = 1;
            if counts.last() != Some(&places.len()) {
                counts.push(places.len());
            }
        }
        assert_eq!(counts, [4, 8, 12, 16, 20, 25, 31, 38, 47, 58, 72, 90, 112]);
        *place(&mut places, 500) = 1;
        assert_eq!((places.len(), places.iter().sum()), (501, 102_u64));
    }

    #[test]
    fn a_timer_is_told_from_those_that_its_slot_had_before() {
        let mut wheel = corelane_memory::TimerWheel::new(0);
        let mut slots = CallSlots::default();
        slots.set_timer(3, |serial| wheel.insert(1, serial));
        slots.set_timer(3, |serial| wheel.insert(1, serial));
        assert!(!slots.timer_fired(3, 1) && !slots.timer_fired(7, 1));
        assert!(slots.timer_fired(3, 2));
        assert!(!slots.timer_fired(3, 2), "it is over");
        slots.set_timer(3, |serial| wheel.insert(1, serial));
        slots.shrink();
        assert!(slots.take_timer(3).is_some(), "kept as long as it is set");
        slots.shrink();
        assert_eq!((slots.timers.len(), slots.take_timer(3)), (0, None));
    }
}
