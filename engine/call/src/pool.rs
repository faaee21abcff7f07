//! Buffers that one call leaves to the next on the same thread.
//!
//! Bounded twice: no more than [`BUFFERS_MAX`] buffers of up to [`BUFFER_BYTES_MAX`] are kept, so a thread never holds more than
//! 16 MiB in them, and 4 MiB in field lists. Larger ones, which large messages leave, are kept up to [`LARGE_BYTES_MAX`] in
//! all. [`KEPT_LINES`] says so to whoever adds up a worker's memory, and buffers that nobody has needed for a while are given
//! back by [`trim_kept`]. They are kept in between since memory that is new to the process costs a fault for each 4 KiB, more than it
//! costs to copy them. `memory`'s pool does not fit: it lends buffers of one fixed size and counts those that are out, while these
//! grow with what they hold and may end with their call.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use corelane_wire::FieldList;

use crate::CallParts;

/// The largest buffer worth keeping: the default window of a stream, so a reader that keeps up never frees one.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How many are kept on each thread.
const BUFFERS_MAX: usize = 256;
/// Octets of capacity in the larger buffers that are kept on each thread.
const LARGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A larger buffer is only for a message that fills at least this part of it: what is kept of the message keeps all of it.
const LARGE_FILL_MIN: usize = 2;
/// The largest scratch buffer worth keeping: one for each thread, for messages before or after compression.
const SCRATCH_BYTES_MAX: usize = 1024 * 1024;

/// The largest field list worth keeping: heads are limited to 16 KiB, and nearly all are below 1 KiB.
const FIELDS_BYTES_MAX: usize = 4 * 1024;
/// How many are kept on each thread: one for each call that runs at once on a busy worker.
const FIELDS_MAX: usize = 1024;
/// How many boxes of a request's parts are kept on each thread, for the same reason.
const PARTS_MAX: usize = 1024;

thread_local! {
    static BUFFERS: RefCell<Small> = const { RefCell::new(Small { buffers: Vec::new(), lowest: 0 }) };
    static LARGE: RefCell<Large> = const { RefCell::new(Large { buffers: Vec::new(), bytes: 0, lowest: 0 }) };
    static FIELDS: RefCell<Vec<Arc<FieldList>>> = const { RefCell::new(Vec::new()) };
    #[allow(clippy::vec_box, reason = "the box itself goes round: a request holds it")]
    static PARTS: RefCell<Vec<Box<CallParts>>> = const { RefCell::new(Vec::new()) };
    /// Whether anybody takes buffers on this thread.
    static TAKES: Cell<bool> = const { Cell::new(false) };
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer, with the capacity that an earlier call left if there is one.
#[must_use]
pub fn take_buffer() -> Vec<u8> {
    TAKES.set(true);
    // While the thread ends its locals are gone; what is dropped then works without the pool.
    BUFFERS.try_with(|small| small.borrow_mut().take()).ok().flatten().unwrap_or_default()
}

/// An empty buffer with room for `bytes`, if an earlier message has left one of about that size.
#[must_use]
pub(crate) fn take_larger(bytes: usize) -> Option<Vec<u8>> {
    TAKES.set(true);
    LARGE.try_with(|large| large.borrow_mut().take(bytes)).ok().flatten()
}

/// Leaves `buffer` to a later call, or frees it: also on a thread where nobody takes any, to which what is left of a message may
/// have been sent.
pub fn give_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || !TAKES.get() {
        return;
    }
    buffer.clear();
    if buffer.capacity() > BUFFER_BYTES_MAX {
        let _ = LARGE.try_with(|large| large.borrow_mut().give(buffer));
        return;
    }
    let _ = BUFFERS.try_with(|small| small.borrow_mut().give(buffer));
}

/// What a thread may keep at most, by kind, in bytes of capacity.
pub const KEPT_LINES: &[(&str, usize)] = &[
    ("message buffers", BUFFERS_MAX * BUFFER_BYTES_MAX),
    ("large message buffers", LARGE_BYTES_MAX),
    ("field lists", FIELDS_MAX * (FIELDS_BYTES_MAX + size_of::<FieldList>())),
    ("requests' parts", PARTS_MAX * size_of::<CallParts>()),
    ("scratch", SCRATCH_BYTES_MAX),
];

/// Frees this thread's buffers that nobody has needed since this was called last. Field lists and parts stay, which are small.
pub fn trim_kept() {
    // What is freed is bytes: nothing comes back here while the pools are borrowed.
    let _ = BUFFERS.try_with(|small| small.borrow_mut().trim());
    let _ = LARGE.try_with(|large| large.borrow_mut().trim());
}

/// The buffers of small messages. The one that was left last is on top.
struct Small {
    buffers: Vec<Vec<u8>>,
    /// The fewest there were since the last trim: so many, from the bottom, were not needed.
    lowest: usize,
}

impl Small {
    #[inline]
    fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop();
        self.lowest = self.lowest.min(self.buffers.len());
        buffer
    }

    #[inline]
    fn give(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_MAX {
            self.buffers.push(buffer);
        }
    }

    fn trim(&mut self) {
        self.buffers.drain(..self.lowest);
        self.lowest = self.buffers.len();
    }
}

/// The larger buffers, which are few: at most one for each [`BUFFER_BYTES_MAX`] of [`LARGE_BYTES_MAX`].
struct Large {
    buffers: Vec<Vec<u8>>,
    /// Their capacity.
    bytes: usize,
    /// As [`Small::lowest`]. One may be taken from below others, which stay: what is trimmed is then needed least, all the same.
    lowest: usize,
}

impl Large {
    /// The one that was left last and fits: its bytes may still be in the cache.
    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let fits =
            |buffer: &Vec<u8>| buffer.capacity() >= bytes && buffer.capacity() / LARGE_FILL_MIN <= bytes;
        let index = self.buffers.iter().rposition(fits)?;
        let buffer = self.buffers.remove(index);
        self.bytes -= buffer.capacity();
        self.lowest = self.lowest.min(self.buffers.len());
        Some(buffer)
    }

    fn trim(&mut self) {
        self.bytes -= self.buffers.drain(..self.lowest).map(|buffer| buffer.capacity()).sum::<usize>();
        self.lowest = self.buffers.len();
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if self.bytes + buffer.capacity() <= LARGE_BYTES_MAX {
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

/// An empty field list for the next head, with the storage that an earlier one left if there is any. It comes back when the
/// [`CallParts`](crate::CallParts) or [`ReplyParts`](crate::ReplyParts) that hold it as metadata are dropped.
#[inline]
#[must_use]
pub fn take_fields() -> Arc<FieldList> {
    FIELDS.try_with(|pool| pool.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Leaves `fields` to a later call if nobody else has them, or frees them.
#[inline]
pub fn give_fields(mut fields: Arc<FieldList>) {
    match Arc::get_mut(&mut fields) {
        Some(list) if list.capacity_bytes() <= FIELDS_BYTES_MAX => list.clear(),
        _ => return,
    }
    let _ = FIELDS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < FIELDS_MAX {
            pool.push(fields);
        }
    });
}

/// A box for a request's parts, with nothing in them.
#[inline]
pub(crate) fn take_parts() -> Box<CallParts> {
    PARTS.try_with(|pool| pool.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Leaves a box, whose parts are the default, to a later request, or frees it.
#[inline]
pub(crate) fn give_parts(parts: Box<CallParts>) {
    let _ = PARTS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < PARTS_MAX {
            pool.push(parts);
        }
    });
}

/// Runs `work` with this thread's scratch buffer, empty. It is taken out for as long, so `work` may call this again.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = work(&mut buffer);
    if buffer.capacity() <= SCRATCH_BYTES_MAX {
        let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_small_buffers_apart_from_large_ones() {
        drop(take_buffer());
        give_buffer(Vec::with_capacity(100));
        assert!(take_buffer().capacity() >= 100);
        assert_eq!(take_buffer().capacity(), 0);
        give_buffer(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        assert_eq!(take_buffer().capacity(), 0);
    }

    #[test]
    fn a_thread_that_takes_none_keeps_none() {
        give_buffer(Vec::with_capacity(100));
        give_buffer(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        assert_eq!(LARGE.with(|large| large.borrow().bytes), 0);
        assert_eq!(take_buffer().capacity(), 0);
    }

    #[test]
    fn keeps_a_bounded_amount_of_large_buffers_for_messages_that_fill_them() {
        drop(take_buffer());
        for _ in 0..40 {
            give_buffer(Vec::with_capacity(1 << 20));
        }
        assert_eq!(LARGE.with(|large| large.borrow().bytes), LARGE_BYTES_MAX);
        assert!(take_larger((1 << 20) + 1).is_none());
        assert!(take_larger((1 << 20) / LARGE_FILL_MIN - 1).is_none());
        for _ in 0..LARGE_BYTES_MAX >> 20 {
            assert_eq!(take_larger(1 << 20).map(|buffer| buffer.capacity()), Some(1 << 20));
        }
        assert!(take_larger(1 << 20).is_none());
        assert_eq!(LARGE.with(|large| large.borrow().bytes), 0);
    }

    #[test]
    fn keeps_a_bounded_number() {
        drop(take_buffer());
        for _ in 0..=BUFFERS_MAX {
            give_buffer(Vec::with_capacity(1));
        }
        assert_eq!(BUFFERS.with(|small| small.borrow().buffers.len()), BUFFERS_MAX);
    }

    #[test]
    fn buffers_that_nobody_needs_between_two_looks_are_given_back() {
        let kept =
            || (BUFFERS.with(|small| small.borrow().buffers.len()), LARGE.with(|large| large.borrow().bytes));
        drop(take_buffer());
        for _ in 0..3 {
            give_buffer(Vec::with_capacity(100));
            give_buffer(Vec::with_capacity(1 << 20));
        }
        trim_kept();
        assert_eq!(kept(), (3, 3 << 20), "they are new");
        let (small, large) = (take_buffer(), take_larger(1 << 20).unwrap());
        give_buffer(small);
        give_buffer(large);
        trim_kept();
        assert_eq!(kept(), (1, 1 << 20), "one of each was needed");
        trim_kept();
        assert_eq!(kept(), (0, 0));
    }

    #[test]
    fn a_field_list_goes_round() {
        let list_of = |value: &[u8]| {
            let mut fields = take_fields();
            Arc::get_mut(&mut fields).expect("nobody else has it").push(b"x-a", value);
            fields
        };
        let fields = list_of(b"1");
        let address = &raw const *fields;
        let mut call = crate::CallParts::new("/a.B/C");
        call.metadata = corelane_wire::grpc::Metadata::from_shared(fields);
        drop(call);
        let again = take_fields();
        assert_eq!((&raw const *again, again.len()), (address, 0));
        give_fields(list_of(&[b'1'; FIELDS_BYTES_MAX + 1]));
        assert_eq!(take_fields().capacity_bytes(), 0);
        let shared = list_of(b"1");
        give_fields(shared.clone());
        assert_eq!(shared.get(b"x-a"), Some(&b"1"[..]), "what others have stays as it is");
        assert_eq!(take_fields().capacity_bytes(), 0);
    }

    #[test]
    fn keeps_a_bounded_number_of_boxes() {
        let boxes: Vec<_> = (0..=PARTS_MAX).map(|_| take_parts()).collect();
        boxes.into_iter().for_each(give_parts);
        assert_eq!(PARTS.with(|pool| pool.borrow().len()), PARTS_MAX);
    }

    #[test]
    fn scratch_is_empty_and_can_be_nested() {
        with_scratch(|outer| {
            outer.extend_from_slice(b"outer");
            with_scratch(|inner| {
                assert!(inner.is_empty());
                inner.extend_from_slice(b"inner");
            });
            assert_eq!(outer, b"outer");
        });
        with_scratch(|again| assert!(again.is_empty() && again.capacity() > 0));
    }
}
