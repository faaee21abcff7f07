//! The question "must I wake the owner?", as one bit between many threads and one.
//!
//! A ring of the real bell (a byte into a socket, say) is a system call, so of all who bring something between two
//! visits of the owner only the first may make it. The bit says who that is.
//!
//! The protocol, and its order is the point:
//! - whoever brings something: publish it, then [`Doorbell::ring`]; on [`Wake::Ring`], ring the real bell.
//! - the owner, woken: silence the real bell (read its bytes), then [`Doorbell::arm`], then look at everything.
//!
//! Whatever is published before `arm` is seen by the look that follows; whatever is published after finds the
//! bit clear and rings. Nothing falls between. If the owner armed after looking, a thing brought in between would be
//! neither seen nor rung for; if it silenced the real bell after arming, it could swallow the ring that is meant for
//! its next visit.
//!
//! Does not: wake anyone, carry anything, or count rings.
//!
//! Alternative that lost: the eventfd-style "always write": correct without a bit, at one system call per message.

// `tests/loom.rs` compiles this file on loom's atomics; loom is a dev-dependency, so only tests can.
#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicBool, Ordering};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, Ordering};

/// Whether the real bell has to be rung.
#[must_use = "the owner sleeps on unless `Ring` is acted upon"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The owner does not know yet: wake it.
    Ring,
    /// Someone else's ring is on its way, and the owner looks after it.
    AlreadyRung,
}

/// One bit: has the owner been rung for since it last looked?
///
/// ```
/// use corelane_memory::{Doorbell, Wake};
///
/// let bell = Doorbell::new();
/// assert_eq!(bell.ring(), Wake::Ring); // the first wakes the owner …
/// assert_eq!(bell.ring(), Wake::AlreadyRung); // … and the rest need not
/// bell.arm(); // the owner comes, and looks after this
/// assert_eq!(bell.ring(), Wake::Ring);
/// ```
#[derive(Debug)]
pub struct Doorbell {
    rung: AtomicBool,
}

impl Doorbell {
    /// A bell that nobody rang.
    #[must_use]
    #[cfg(not(all(test, loom)))]
    pub const fn new() -> Doorbell {
        Doorbell { rung: AtomicBool::new(false) }
    }

    /// A bell that nobody rang; loom's atomics are not const.
    #[cfg(all(test, loom))]
    pub fn new() -> Doorbell {
        Doorbell { rung: AtomicBool::new(false) }
    }

    /// For whoever brought something: call it *after* that was published.
    pub fn ring(&self) -> Wake {
        // Release pairs with the Acquire in `arm`: what was published before this call is visible to the owner
        // after its `arm`. Relaxed would let the owner find `true` here and still an empty queue, then sleep with
        // a message in it. A swap, because only a read-modify-write keeps the release sequence of an earlier ringer
        // alive (a plain store would cut off what that one published) and names exactly one first.
        // No Acquire: nothing that the owner wrote is read because of the answer.
        if self.rung.swap(true, Ordering::Release) { Wake::AlreadyRung } else { Wake::Ring }
    }

    /// For the owner: call it *before* looking, and after the real bell was silenced.
    pub fn arm(&self) {
        // Acquire pairs with the Release in `ring`, see there. A swap rather than a store: a store reads nothing, so
        // it could overwrite a `true` without becoming ordered after the publication that this `true` announces.
        // No Release: whoever rings next takes nothing from us.
        self.rung.swap(false, Ordering::Acquire);
    }

    /// Whether a ring is pending, for figures and assertions; the answer may be old by the time it is read.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        // Relaxed: no one may conclude anything about published things from this.
        self.rung.load(Ordering::Relaxed)
    }
}

impl Default for Doorbell {
    fn default() -> Doorbell {
        Doorbell::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_after_arming_has_to_ring() {
        let bell = Doorbell::default();
        assert!(!bell.is_rung());
        for _ in 0..3 {
            assert_eq!(bell.ring(), Wake::Ring);
            assert_eq!(bell.ring(), Wake::AlreadyRung);
            assert!(bell.is_rung());
            bell.arm();
            assert!(!bell.is_rung());
        }
    }
}
