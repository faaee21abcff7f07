//! What a handler hands down to the calls that it makes: its deadline (cancellation needs nothing, since a handler that is
//! cancelled is dropped, and its calls with it).
//!
//! Whoever polls a handler says so for as long as the poll lasts. Tasks that a handler spawns are no longer its own, and inherit
//! nothing.

use std::cell::Cell;

use corelane_wire::Instant;

thread_local! {
    static DEADLINE: Cell<Instant> = const { Cell::new(Instant::MAX) };
}

/// The deadline of the handler that is being polled on this thread; `None` without one.
///
/// ```
/// use corelane_call::{Inherited, Instant, inherited_deadline};
///
/// assert_eq!(inherited_deadline(), None);
/// let polling = Inherited::enter(Some(Instant::from_nanos(7)));
/// assert_eq!(inherited_deadline(), Some(Instant::from_nanos(7)));
/// drop(polling);
/// assert_eq!(inherited_deadline(), None);
/// ```
#[inline]
#[must_use]
pub fn inherited_deadline() -> Option<Instant> {
    let deadline = DEADLINE.try_with(Cell::get).unwrap_or(Instant::MAX);
    (deadline < Instant::MAX).then_some(deadline)
}

/// A handler is being polled, until this is dropped.
#[derive(Debug)]
#[must_use = "the handler is polled while this lives"]
pub struct Inherited {
    before: Instant,
}

impl Inherited {
    /// A handler with this deadline is about to be polled.
    #[inline]
    pub fn enter(deadline: Option<Instant>) -> Inherited {
        let deadline = deadline.unwrap_or(Instant::MAX);
        Inherited { before: DEADLINE.try_with(|current| current.replace(deadline)).unwrap_or(Instant::MAX) }
    }
}

impl Drop for Inherited {
    #[inline]
    fn drop(&mut self) {
        let _ = DEADLINE.try_with(|current| current.set(self.before));
    }
}
