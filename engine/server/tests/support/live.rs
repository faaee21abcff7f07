//! The bytes that a worker's thread holds, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Counts what threads hold that have asked for it with [`count_here`].
pub(crate) struct Live;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

static BYTES: AtomicIsize = AtomicIsize::new(0);

/// From here on what this thread allocates and frees is counted.
pub(crate) fn count_here() {
    COUNTED.set(true);
}

/// What is held now: less than nothing where a thread has freed what was there before it counted.
pub(crate) fn bytes() -> isize {
    BYTES.load(Ordering::SeqCst)
}

fn is_counted() -> bool {
    COUNTED.try_with(Cell::get).unwrap_or(false)
}

#[allow(unsafe_code, reason = "a counting allocator cannot be written otherwise")]
// SAFETY: both methods pass their arguments on to the system's allocator, whose contract is the same.
unsafe impl GlobalAlloc for Live {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_counted() {
            BYTES.fetch_add(layout.size().cast_signed(), Ordering::SeqCst);
        }
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_counted() {
            BYTES.fetch_sub(layout.size().cast_signed(), Ordering::SeqCst);
        }
        // SAFETY: the pointer came from `alloc` above, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
