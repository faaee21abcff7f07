//! Pinned homes for futures and streams, used over and over: a call whose handler is ready at once allocates nothing.
//!
//! A future is put into a boxed `Option` that is pinned for good; when it is done the `Option` is set to `None` in place,
//! and the box goes back to the free list. Only a call that stays pending is given an index.
//!
//! Does not: poll. Invariant: a home is either in the hands of a poll, at its index, or on the free list; on the free list
//! it is vacant. Alternative that lost: the stack for the first poll, which cannot be moved to the heap afterwards.

use std::cell::RefCell;
use std::pin::Pin;

use corelane_memory::Slab;

/// A home for one future (or stream).
pub(crate) type Home<T> = Pin<Box<Option<T>>>;

/// What can be emptied and used again.
pub(crate) trait Reuse {
    /// A vacant one.
    fn vacant() -> Self;
    /// Whether it holds nothing of a call.
    fn is_vacant(&self) -> bool;
    /// Drops what it holds: user code, which may panic.
    fn vacate(&mut self);
}

impl<T> Reuse for Home<T> {
    fn vacant() -> Self {
        Box::pin(None)
    }

    #[inline]
    fn is_vacant(&self) -> bool {
        self.is_none()
    }

    #[inline]
    fn vacate(&mut self) {
        self.set(None);
    }
}

/// Free homes kept for reuse, per method and worker: what a burst took beyond it goes back to the allocator.
const FREE_MAX: usize = 1024;

/// Vacant homes, the one used last on top: its bytes are in the cache.
pub(crate) struct Vacant<H>(RefCell<Vec<H>>);

impl<H: Reuse> Vacant<H> {
    pub(crate) fn new() -> Vacant<H> {
        Vacant(RefCell::new(Vec::new()))
    }

    /// A vacant home.
    #[inline]
    pub(crate) fn take(&self) -> H {
        let free = self.0.borrow_mut().pop();
        free.unwrap_or_else(H::vacant)
    }

    /// Takes a home back. It must be vacant: dropping what it held is user code, which runs outside of any borrow.
    #[inline]
    pub(crate) fn give_back(&self, home: H) {
        debug_assert!(home.is_vacant());
        let mut free = self.0.borrow_mut();
        if free.len() < FREE_MAX {
            free.push(home);
        }
    }
}

/// The homes of one method's calls.
pub(crate) struct Slots<H> {
    vacant: Vacant<H>,
    /// Calls that stay pending; `None` while one of them is being polled.
    running: RefCell<Slab<Option<H>>>,
}

impl<H: Reuse> Slots<H> {
    pub(crate) fn new() -> Slots<H> {
        Slots { vacant: Vacant::new(), running: RefCell::new(Slab::new(u32::MAX)) }
    }

    /// A vacant home.
    #[inline]
    pub(crate) fn vacant(&self) -> H {
        self.vacant.take()
    }

    /// Takes a home back, which must be vacant.
    #[inline]
    pub(crate) fn give_back(&self, home: H) {
        self.vacant.give_back(home);
    }

    /// Keeps a pending call's home and names it.
    pub(crate) fn keep(&self, home: H) -> u32 {
        let key = self.running.borrow_mut().insert(Some(home));
        key.ok().expect("connections and streams are limited far below 2^32").index()
    }

    /// Takes out the home of a pending call, to poll or to empty it.
    pub(crate) fn take(&self, index: u32) -> Option<H> {
        self.running.borrow_mut().at_mut(index)?.1.take()
    }

    /// Puts a home back that was taken out and is still pending.
    pub(crate) fn put_back(&self, index: u32, home: H) {
        let mut running = self.running.borrow_mut();
        let (_, place) = running.at_mut(index).expect("the index stays taken while its home is out");
        *place = Some(home);
    }

    /// Frees the index of a call that is over; its home was taken out before.
    pub(crate) fn forget(&self, index: u32) {
        let mut running = self.running.borrow_mut();
        let key = running.at(index).map(|(key, _)| key);
        if let Some(home) = key.and_then(|key| running.remove(key)) {
            debug_assert!(home.is_none(), "forgotten with a call in it, which is now dropped under a borrow");
        }
    }

    /// Pending calls.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.running.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_used_again() {
        let slots = Slots::<Home<u8>>::new();
        let mut home = slots.vacant();
        let address = &raw const *home;
        home.set(Some(7));
        home.vacate();
        slots.give_back(home);
        assert_eq!(&raw const *slots.vacant(), address);
    }

    #[test]
    fn a_pending_call_keeps_its_index_until_it_is_forgotten() {
        let slots = Slots::<Home<u8>>::new();
        let mut home = slots.vacant();
        home.set(Some(7));
        let index = slots.keep(home);
        let home = slots.take(index).unwrap();
        assert!(slots.take(index).is_none(), "out for a poll");
        slots.put_back(index, home);
        assert_eq!(slots.running(), 1);
        let mut home = slots.take(index).unwrap();
        slots.forget(index);
        home.vacate();
        slots.give_back(home);
        assert_eq!(slots.running(), 0);
        assert!(slots.take(index).is_none());
    }
}
