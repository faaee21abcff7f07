//! Wakers of calls: made once for each slot of a connection and used for every call that comes to live in it.
//!
//! On the owner's thread a wake is a flag and an entry in the connection's inbox. From any other thread it goes
//! through the worker's mailbox. A waker may outlive its call and its connection: a late wake finds nobody, or polls a
//! later call of the same slot once for nothing, which every future must bear.

use crate::home::{Home, Letter};
use crate::worker;
use corelane_memory::Key;
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

/// One call slot of a connection: its waker and its timer.
#[derive(Default)]
struct CallSlot {
    waker: Option<(Arc<CallWaker>, Waker)>,
    timer: Option<corelane_memory::TimerKey>,
    serial: u32,
}

/// The call slots of one connection, by number. Grows to the highest slot in use and is reused from then on.
#[derive(Default)]
pub(crate) struct CallSlots {
    slots: Vec<CallSlot>,
}

impl CallSlots {
    fn slot(&mut self, slot: u32) -> &mut CallSlot {
        let index = usize::try_from(slot).expect("a u32 fits where Linux runs");
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, CallSlot::default);
        }
        &mut self.slots[index]
    }

    fn get(&self, slot: u32) -> Option<&CallSlot> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    /// The waker of a slot, made at the first request.
    pub(crate) fn waker(&mut self, slot: u32, connection: Key, home: &Arc<Home>) -> &Waker {
        let made = self.slot(slot).waker.get_or_insert_with(|| {
            let woken = AtomicBool::new(false);
            let call = Arc::new(CallWaker { home: home.clone(), connection, slot, woken });
            (call.clone(), Waker::from(call))
        });
        &made.1
    }

    /// Takes note of a slot's wake.
    pub(crate) fn take_wake(&self, slot: u32) {
        if let Some((call, _)) = self.get(slot).and_then(|slot| slot.waker.as_ref()) {
            call.take();
        }
    }

    /// Remembers a timer; gives the one that it replaces.
    pub(crate) fn set_timer(&mut self, slot: u32, timer: impl FnOnce(u32) -> corelane_memory::TimerKey) {
        let slot = self.slot(slot);
        slot.serial = slot.serial.wrapping_add(1);
        slot.timer = Some(timer(slot.serial));
    }

    /// Forgets the timer of a slot; gives it, to be cancelled.
    pub(crate) fn take_timer(&mut self, slot: u32) -> Option<corelane_memory::TimerKey> {
        let index = usize::try_from(slot).ok()?;
        self.slots.get_mut(index)?.timer.take()
    }

    /// Whether the timer with this number is still wanted; if so it is over now.
    pub(crate) fn timer_fired(&mut self, slot: u32, serial: u32) -> bool {
        let Some(slot) = usize::try_from(slot).ok().and_then(|index| self.slots.get_mut(index)) else {
            return false;
        };
        slot.serial == serial && slot.timer.take().is_some()
    }

    /// Slots whose wake waits in its flag, because the mailbox was full.
    pub(crate) fn woken(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            slot.waker.as_ref().is_some_and(|(call, _)| call.is_woken()).then_some(index)
        })
    }

    /// Frees the slots: for a connection without calls that has gone quiet.
    pub(crate) fn shrink(&mut self) {
        if self.slots.iter().all(|slot| slot.timer.is_none()) {
            self.slots = Vec::new();
        }
    }

    /// All timers, at the end of the connection.
    pub(crate) fn take_timers(&mut self) -> impl Iterator<Item = corelane_memory::TimerKey> {
        self.slots.iter_mut().filter_map(|slot| slot.timer.take())
    }
}
