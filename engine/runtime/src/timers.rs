//! A worker's timers: one wheel, one alarm of the kernel, and no system call for a timer that another one precedes.
//!
//! Timers are set by the thousand (a deadline for each call) and nearly all are cancelled. The wheel takes them in constant
//! time; the alarm is only touched when a timer is set that is due before everything the alarm would ring for. Whoever has a
//! turn looks with [`Timers::is_due`], a comparison, so timers also go off while the worker never waits.

use crate::backend::Alarm;
use corelane_memory::{Key, TimerKey, TimerWheel};
use corelane_wire::Instant;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// Bytes that a timer takes in the wheel: what it is about, when, and its neighbours in a list.
const TIMER_BYTES: usize = size_of::<Target>() + 32;

/// Who is told that a timer went off.
pub(crate) enum Target {
    /// A call of a connection; the number tells this timer from later ones of the same slot.
    Call { connection: Key, slot: u32, serial: u32 },
    /// A connection itself.
    Connection(Key),
    /// A handler that sleeps.
    Sleep(Rc<Sleeper>),
    /// The look over all connections.
    Sweep,
    /// The end of a drain's grace.
    DrainOver,
}

/// What a sleeping future and its timer share.
#[derive(Default)]
pub(crate) struct Sleeper {
    pub(crate) over: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
}

/// See the module.
pub(crate) struct Timers {
    wheel: RefCell<TimerWheel<Target>>,
    /// No timer is due before this.
    next_ns: Cell<u64>,
    /// What the alarm is set to.
    armed_ns: Cell<u64>,
    alarm: Alarm,
}

impl Timers {
    pub(crate) fn new(alarm: Alarm, now: Instant) -> Timers {
        Timers {
            wheel: RefCell::new(TimerWheel::new(now.as_nanos())),
            next_ns: Cell::new(u64::MAX),
            armed_ns: Cell::new(u64::MAX),
            alarm,
        }
    }

    /// Tells `target` at `at`, not before it, at the latest a millisecond and one turn after it.
    pub(crate) fn insert(&self, now: Instant, at: Instant, target: Target) -> TimerKey {
        let at_ns = at.as_nanos();
        let key = self.wheel.borrow_mut().insert(at_ns, target);
        if at_ns < self.next_ns.get() {
            self.next_ns.set(at_ns);
            self.arm(now);
        }
        key
    }

    pub(crate) fn cancel(&self, key: TimerKey) {
        // The target is dropped after the borrow has ended: it may be a sleeper with a waker of anybody's.
        let target = self.wheel.borrow_mut().cancel(key);
        drop(target);
    }

    /// Whether [`expire`](Self::expire) has anything to do.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.as_nanos() >= self.next_ns.get()
    }

    /// Moves what is due to `due`; nobody is told while the wheel is borrowed.
    pub(crate) fn expire(&self, now: Instant, due: &mut Vec<Target>) {
        let mut wheel = self.wheel.borrow_mut();
        wheel.expire(now.as_nanos(), &mut |target| due.push(target));
        self.next_ns.set(wheel.next_deadline_ns().unwrap_or(u64::MAX));
    }

    /// Sets the alarm if it would ring too late.
    fn arm(&self, now: Instant) {
        let next = self.next_ns.get();
        if next < self.armed_ns.get() {
            let after = Instant::from_nanos(next).since(now);
            match self.alarm.set(after) {
                Ok(()) => self.armed_ns.set(next),
                // Nothing in the manual applies to a valid descriptor and a valid time.
                Err(error) => tracing::error!(%error, "cannot set the worker's timer"),
            }
        }
    }

    /// How many timers are set.
    pub(crate) fn len(&self) -> usize {
        self.wheel.borrow().len()
    }

    /// Bytes of those timers.
    pub(crate) fn table_bytes(&self) -> usize {
        self.len() * TIMER_BYTES
    }

    /// Waits for the alarm.
    pub(crate) async fn gone_off(&self) -> std::io::Result<()> {
        self.alarm.gone_off().await
    }

    /// The alarm went off and what was due was told: sets it for what comes next.
    pub(crate) fn rearm(&self, now: Instant) {
        self.armed_ns.set(u64::MAX);
        self.arm(now);
    }
}
