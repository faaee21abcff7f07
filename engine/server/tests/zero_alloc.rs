//! In the steady state a unary call allocates nothing in the engine: counted by the allocator, on the worker's thread.
//!
//! The handler answers with a number, so that whatever is counted is the engine's.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corelane_call::{ProstCodec, Request, Response};
use corelane_server::{Methods, Server, Service, Workers};
use corelane_wire::frame::EndStream;
use support::client::{Client, framed};
use support::service::Note;

/// Counts allocations of threads that have asked for it.
struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

#[allow(unsafe_code, reason = "a counting allocator cannot be written otherwise")]
// SAFETY: every method passes its arguments on to the system's allocator, whose contract is the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers with the number that it was sent.
struct Numbers(Arc<AtomicU64>);

impl Service for Numbers {
    const NAME: &'static str = "test.Numbers";

    fn register(self, methods: &mut Methods) {
        COUNTED.set(true);
        let calls = self.0;
        methods.unary("/test.Numbers/Next", ProstCodec::default(), move |request: Request<Note>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(request.metadata().get("x-client").is_some(), "the metadata is there to be read");
                let note = request.into_inner();
                Ok(Response::new(Note { text: String::new(), number: note.number + 1 }))
            }
        });
    }
}

#[test]
fn a_unary_call_allocates_nothing() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let handle = Server::builder()
        .workers(Workers::Count(1))
        .add_service(move || Numbers(counted.clone()))
        .start("127.0.0.1:0")
        .unwrap();
    let mut client = Client::connect(handle.addresses()[0].as_tcp().unwrap());
    let mut batch = |size: u32, timeout: &str| {
        let keys: Vec<_> = (0..size)
            .map(|number| {
                let extra = [("x-client", "a value of some length"), ("grpc-timeout", timeout)];
                let key = client.open("/test.Numbers/Next", &extra, EndStream::No);
                client.send(key, &framed(&Note { text: String::new(), number }), EndStream::Yes);
                key
            })
            .collect();
        for (number, key) in (0..).zip(keys) {
            assert_eq!(client.finish(key).only::<Note>().number, number + 1);
        }
    };
    // Warm: every buffer, table and list has its size.
    for round in 0..50 {
        batch(64, if round % 2 == 0 { "10S" } else { "9S" });
    }
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for _ in 0..20 {
        batch(64, "10S");
    }
    let allocated = ALLOCATIONS.load(Ordering::SeqCst) - before;
    assert_eq!(calls.load(Ordering::SeqCst), 70 * 64);
    assert_eq!(allocated, 0, "allocations in 1280 calls");
}
