//! What a program needs that std would bring: an allocator, a panic handler, and the `main` that the C library calls.
//!
//! Does not: free memory. One call needs little, and a program of one call ends before that matters.
#![allow(unsafe_code)] // there is no allocator and no C `main` without it

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Several times what the call needs; it is zero pages until touched.
const ARENA_BYTES: usize = 4 << 20;

/// Gives each request the next bytes of a fixed arena, and takes none back.
struct Bump {
    arena: UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: the arena is reached only through pointers that `alloc` gave out, and no two of those overlap, whatever thread
// asked: each takes its own range of `used` in one atomic step.
unsafe impl Sync for Bump {}

impl Bump {
    /// Where a block of this layout begins and ends, if it fits behind the first `used` bytes.
    fn place(&self, layout: Layout, used: usize) -> Option<(usize, usize)> {
        let base = self.arena.get().addr();
        let start = (base + used).checked_next_multiple_of(layout.align())? - base;
        let end = start.checked_add(layout.size())?;
        (end <= ARENA_BYTES).then_some((start, end))
    }
}

// SAFETY: a block lies inside the arena and begins at a multiple of the alignment (`place`), and overlaps no other, since
// `used` only rises and each block begins at or behind the `used` that it replaced. Nothing here panics.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Relaxed: the number alone decides who owns which bytes, and nothing is published through it.
        let taken = self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            self.place(layout, used).map(|(_, end)| end)
        });
        match taken.ok().and_then(|before| self.place(layout, before)) {
            Some((start, _)) => self.arena.get().cast::<u8>().wrapping_add(start),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static BUMP: Bump = Bump { arena: UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) };

// SAFETY: this is the C library's signature of `abort`, which anyone may call at any time.
#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

// SAFETY: the C library calls `main` of this signature, once, and no other object of the program defines that name.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    c_int::from(crate::call::exit_code())
}
