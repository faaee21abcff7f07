//! A bounded queue from any thread to one worker, with the wake-up question answered.
//!
//! The queue is crossbeam's `ArrayQueue`; the [`Doorbell`] beside it says who must ring. Accepted
//! sockets handed over, wakers called by foreign threads and control messages come in this way: cold paths all,
//! which is why one queue with many writers is enough, and lanes per pair of cores are not worth their memory.
//!
//! Does not: wake, block, or grow. A full mailbox gives the message back.
//!
//! Invariant: a message in the queue is either going to be seen by a visit under way or rung for (`doorbell.rs`
//! has the argument and the loom tests). That holds as long as an owner who stops early comes back by itself.

use crate::doorbell::{Doorbell, Wake};
use core::fmt;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

/// How a visit to the mailbox ended.
#[must_use = "after `More` no ring will come for what is left"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing was left: sleep, the next message rings.
    Empty,
    /// The budget is used up and something may be left, for which nobody will ring: come back.
    More,
}

/// A bounded mailbox: many push, one worker pops.
///
/// ```
/// use corelane_memory::{Drained, Mailbox, Wake};
///
/// let mailbox = Mailbox::new(2);
/// assert_eq!(mailbox.push("a"), Ok(Wake::Ring)); // now ring the worker's bell
/// assert_eq!(mailbox.push("b"), Ok(Wake::AlreadyRung));
/// assert_eq!(mailbox.push("c"), Err("c")); // full
///
/// // The worker wakes, reads its bell empty, then:
/// let mut seen = Vec::new();
/// assert_eq!(mailbox.drain(16, |message| seen.push(message)), Drained::Empty);
/// assert_eq!(seen, ["a", "b"]);
/// assert_eq!(mailbox.push("d"), Ok(Wake::Ring));
/// ```
pub struct Mailbox<T> {
    queue: ArrayQueue<T>,
    /// On its own line: the owner's `arm` would otherwise slow every writer's look at the queue.
    bell: CachePadded<Doorbell>,
}

impl<T> Mailbox<T> {
    /// A mailbox for at most `capacity` messages.
    ///
    /// # Panics
    /// If `capacity` is 0.
    #[must_use]
    pub fn new(capacity: usize) -> Mailbox<T> {
        Mailbox { queue: ArrayQueue::new(capacity), bell: CachePadded::new(Doorbell::new()) }
    }

    /// Puts a message in, from any thread, and says whether the owner must be woken for it.
    ///
    /// # Errors
    /// Gives the message back when the mailbox is full; whoever filled it rings, or has rung, for the owner.
    pub fn push(&self, message: T) -> Result<Wake, T> {
        self.queue.push(message)?;
        Ok(self.bell.ring())
    }

    /// For the owner, before the first [`pop`](Self::pop) of a visit and after its real bell was read empty.
    /// From here on a push asks for a ring again.
    pub fn arm(&self) {
        self.bell.arm();
    }

    /// For the owner: the oldest message.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// A whole visit of the owner: arms, then hands at most `budget` messages to `take`, oldest first.
    pub fn drain(&self, budget: usize, mut take: impl FnMut(T)) -> Drained {
        self.arm();
        for _ in 0..budget {
            match self.pop() {
                Some(message) => take(message),
                None => return Drained::Empty,
            }
        }
        if self.is_empty() { Drained::Empty } else { Drained::More }
    }

    /// How many messages wait, roughly: others push meanwhile.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no message waits, roughly: others push meanwhile.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The most messages that can wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::vec::Vec;
    use std::{thread, vec};

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let mailbox = Mailbox::new(1);
        assert_eq!(mailbox.push(1), Ok(Wake::Ring));
        assert_eq!(mailbox.push(2), Err(2));
        assert_eq!((mailbox.len(), mailbox.capacity()), (1, 1));
        assert_eq!(mailbox.pop(), Some(1));
        assert!(mailbox.is_empty());
    }

    #[test]
    fn popping_without_arming_asks_for_no_second_ring() {
        let mailbox = Mailbox::new(4);
        assert_eq!(mailbox.push(1), Ok(Wake::Ring));
        assert_eq!(mailbox.pop(), Some(1));
        assert_eq!(mailbox.push(2), Ok(Wake::AlreadyRung));
        mailbox.arm();
        assert_eq!(mailbox.push(3), Ok(Wake::Ring));
    }

    #[test]
    fn a_visit_stops_at_its_budget_and_says_so() {
        let mailbox = Mailbox::new(4);
        for number in 0..4 {
            let _ = mailbox.push(number).unwrap();
        }
        let mut seen = vec![];
        assert_eq!(mailbox.drain(3, |number| seen.push(number)), Drained::More);
        assert_eq!(mailbox.drain(1, |number| seen.push(number)), Drained::Empty);
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(mailbox.drain(0, |_| ()), Drained::Empty);
    }

    /// Real threads, a real bell (a channel), an owner that sleeps whenever nothing is left: every message arrives, in
    /// its sender's order. A lost wake-up would leave the owner asleep until the senders are gone, and messages behind.
    #[test]
    fn nothing_is_lost_between_threads() {
        const SENDERS: usize = 3;
        const EACH: usize = 2_000;
        let mailbox = Mailbox::new(8);
        let (bell, woken) = mpsc::channel::<()>();
        let mut next = [0_usize; SENDERS];
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (mailbox, bell) = (&mailbox, bell.clone());
                scope.spawn(move || {
                    for number in 0..EACH {
                        let mut message = (sender, number);
                        let wake = loop {
                            match mailbox.push(message) {
                                Ok(wake) => break wake,
                                Err(back) => message = back,
                            }
                            thread::yield_now();
                        };
                        if wake == Wake::Ring {
                            bell.send(()).expect("the owner listens until all senders are gone");
                        }
                    }
                });
            }
            drop(bell);
            while woken.recv().is_ok() {
                let mut drained = Drained::More;
                while drained == Drained::More {
                    drained = mailbox.drain(5, |(sender, number)| {
                        assert_eq!(next[sender], number);
                        next[sender] += 1;
                    });
                }
            }
        });
        assert_eq!(next.to_vec(), vec![EACH; SENDERS] as Vec<usize>);
    }
}
