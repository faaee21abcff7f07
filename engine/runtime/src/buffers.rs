//! A worker's buffers: large ones to receive into, bounded and waited for in order, and spare ones for output.
//!
//! Does not: own the small receive buffer of a connection, or the output that waits in one.
//!
//! Invariant: while somebody waits, a buffer that comes back goes to the first who does and never to the pool.

use crate::inbox::{Inbox, signal};
use crate::limits::{OUTPUT_BYTES, OUTPUT_SPARE_BYTES_MAX, OUTPUT_SPARES_MAX};
use corelane_memory::BufferPool;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that lie in buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Large receive buffers, out or here.
    pub(crate) large_bytes: usize,
    /// Spare output buffers.
    pub(crate) spare_bytes: usize,
}

/// See the module.
pub(crate) struct Buffers {
    pool: RefCell<BufferPool>,
    waiting: RefCell<VecDeque<Rc<Inbox>>>,
    spares: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    pub(crate) fn new(bytes: usize, count_max: usize) -> Buffers {
        Buffers {
            pool: RefCell::new(BufferPool::new(bytes, count_max)),
            waiting: RefCell::default(),
            spares: RefCell::new(Vec::with_capacity(OUTPUT_SPARES_MAX)),
        }
    }

    /// A large receive buffer, unless others wait for one already.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        if self.has_waiting() { None } else { self.pool.borrow_mut().take() }
    }

    /// Queues for a large receive buffer: it will lie in the inbox.
    pub(crate) fn wait(&self, inbox: &Rc<Inbox>) {
        self.waiting.borrow_mut().push_back(inbox.clone());
    }

    /// No longer queues.
    pub(crate) fn forget(&self, inbox: &Rc<Inbox>) {
        self.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, inbox));
    }

    /// Takes a large receive buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let next = self.waiting.borrow_mut().pop_front();
        match next {
            Some(inbox) => {
                buffer.clear();
                inbox.granted.set(Some(buffer));
                inbox.signal(signal::GRANTED);
            }
            None => self.pool.borrow_mut().give(buffer),
        }
    }

    /// Frees the large buffers that nobody has needed since this was called last.
    pub(crate) fn trim(&self) {
        self.pool.borrow_mut().trim_unused();
    }

    /// Whether somebody waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// How many connections cannot go on without a buffer.
    pub(crate) fn awaited(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// How much lies in buffers.
    pub(crate) fn levels(&self) -> Levels {
        let pool = self.pool.borrow();
        Levels {
            large_bytes: (pool.outstanding() + pool.free()) * pool.size(),
            spare_bytes: self.spares.borrow().iter().map(Vec::capacity).sum(),
        }
    }

    /// An empty buffer for output: the one used last, whose bytes are in the cache.
    pub(crate) fn take_spare(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(OUTPUT_BYTES))
    }

    /// Keeps a buffer for later output, if it is of a size worth keeping.
    pub(crate) fn give_spare(&self, mut buffer: Vec<u8>) {
        let mut spares = self.spares.borrow_mut();
        let worth_it = (OUTPUT_BYTES..=OUTPUT_SPARE_BYTES_MAX).contains(&buffer.capacity());
        if worth_it && spares.len() < OUTPUT_SPARES_MAX {
            buffer.clear();
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Origin;
    use corelane_memory::Key;

    fn inbox(index: u32) -> Rc<Inbox> {
        Rc::new(Inbox::new(Key::from_parts(index, 1), Origin::Accepted))
    }

    #[test]
    fn waiting_connections_are_served_in_order_and_before_newcomers() {
        let buffers = Buffers::new(64, 1);
        let held = buffers.take().unwrap();
        let (first, second) = (inbox(0), inbox(1));
        assert!(buffers.take().is_none());
        buffers.wait(&first);
        buffers.wait(&second);

        buffers.give(held);
        assert!(buffers.take().is_none(), "the buffer went to the first in the queue");
        let granted = first.granted.take().unwrap();
        assert_eq!(first.take_signals(), signal::GRANTED);

        buffers.forget(&second);
        buffers.give(granted);
        assert!(second.granted.take().is_none());
        assert!(buffers.take().is_some());
        assert_eq!(buffers.levels().large_bytes, 64, "the one there is is out");
    }

    #[test]
    fn spares_are_bounded_in_number_and_size() {
        let buffers = Buffers::new(64, 1);
        buffers.give_spare(Vec::with_capacity(OUTPUT_SPARE_BYTES_MAX + 1));
        buffers.give_spare(Vec::new());
        assert_eq!(buffers.take_spare().capacity(), OUTPUT_BYTES, "a new one");
        for _ in 0..2 * OUTPUT_SPARES_MAX {
            buffers.give_spare(vec![7; OUTPUT_BYTES]);
        }
        assert_eq!(buffers.spares.borrow().len(), OUTPUT_SPARES_MAX);
        let levels = Levels { large_bytes: 0, spare_bytes: OUTPUT_SPARES_MAX * OUTPUT_BYTES };
        assert_eq!(buffers.levels(), levels);
        assert!(buffers.take_spare().is_empty());
    }
}
