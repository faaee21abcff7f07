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

// The lib's own tests under `--cfg loom` run on loom's atomics; loom is a dev-dependency, so nothing else can.
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

#[cfg(all(test, loom))]
mod loom_tests {
    //! Every interleaving, and every value that the memory model lets a load return, of small casts.

    use super::*;
    use alloc::collections::VecDeque;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// The real bell: a count of unread rings that one sleeps on. Its mutex is released before anything is looked at,
    /// as a socket would not order the queue's memory for us either.
    #[derive(Default)]
    struct Real {
        unread: Mutex<usize>,
        changed: Condvar,
    }

    impl Real {
        fn ring(&self) {
            *self.unread.lock().unwrap() += 1;
            self.changed.notify_one();
        }

        /// Sleeps until there is a ring, then takes all of them, as one read of a socket does.
        fn silence(&self) {
            let mut unread = self.unread.lock().unwrap();
            while *unread == 0 {
                unread = self.changed.wait(unread).unwrap();
            }
            *unread = 0;
        }
    }

    /// Loom reports a deadlock if the owner sleeps on while something is in the queue: the lost wake-up.
    #[test]
    fn loom_no_message_is_left_behind() {
        loom::model(|| {
            let shared = Arc::new((Doorbell::new(), Real::default(), Mutex::new(VecDeque::new())));
            let producers: [_; 2] = core::array::from_fn(|number| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (bell, real, queue) = &*shared;
                    queue.lock().unwrap().push_back(number);
                    if bell.ring() == Wake::Ring {
                        real.ring();
                    }
                })
            });
            let (bell, real, queue) = &*shared;
            let mut seen = 0;
            while seen < 2 {
                real.silence();
                bell.arm();
                while queue.lock().unwrap().pop_front().is_some() {
                    seen += 1;
                }
            }
            for producer in producers {
                producer.join().unwrap();
            }
        });
    }

    /// The queue above synchronises by its own mutex and so would forgive a weak bell. Here the things are published
    /// by relaxed stores: only the bell's own orderings can make them visible. Whoever was told `AlreadyRung` relies
    /// on a visit that another one's ring brings about.
    #[test]
    fn loom_the_bell_alone_publishes() {
        loom::model(|| {
            let shared = Arc::new((Doorbell::new(), [AtomicUsize::new(0), AtomicUsize::new(0)]));
            let ring = |shared: &Arc<(Doorbell, [AtomicUsize; 2])>, number: usize| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (bell, things) = &*shared;
                    things[number].store(1, Ordering::Relaxed);
                    bell.ring()
                })
            };
            let producers = [ring(&shared, 0), ring(&shared, 1)];
            let (bell, things) = &*shared;
            // One visit of the owner, at any moment: it must see the thing of every ring that it erased.
            let was_rung = bell.is_rung();
            bell.arm();
            let visit: usize = things.iter().map(|thing| thing.load(Ordering::Relaxed)).sum();
            if was_rung {
                assert!(visit >= 1, "a ring was erased and its thing not seen");
            }
            let wakes = producers.map(|producer| producer.join().unwrap());
            assert!(wakes.contains(&Wake::Ring), "someone must ring");
            if !bell.is_rung() {
                // The visit erased the last ring, so none of the real rings still to come is relied upon.
                assert_eq!(visit, 2, "the bell is silent, so everything must have been seen");
            }
        });
    }
}
