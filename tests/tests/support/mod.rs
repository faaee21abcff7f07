//! A server with handlers that misbehave on demand, and a client of the `h2` crate: nothing of ours is on that end.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test uses a part, and a test may panic"
)]

pub mod client;
pub mod service;

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelane::Server;
use corelane::server::{Backend, Builder, ServerHandle, Workers};

use self::service::{Probe, Seen};

/// Nothing here takes a hundredth of it; it only ends a test that hangs.
pub const HANG: Duration = Duration::from_secs(100);

/// A running server of one worker, so that whatever one connection does, another one feels.
pub struct Running {
    pub handle: Keeper,
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
}

/// Keeps the server running until the test is over, or has taken it.
#[derive(Clone)]
pub struct Keeper(Rc<Cell<Option<ServerHandle>>>);

impl Keeper {
    /// The server, for a test that ends it.
    pub fn take(&self) -> ServerHandle {
        self.0.take().expect("a server is taken once")
    }
}

/// Runs `test` against a server on each backend that this machine has.
pub fn on_each_backend<F: Future<Output = ()>>(
    configure: impl Fn(Builder) -> Builder,
    test: impl Fn(Running) -> F,
) {
    for backend in [Backend::Epoll, Backend::Uring] {
        let seen = Arc::<Seen>::default();
        let of_service = seen.clone();
        let builder = Server::builder()
            .workers(Workers::Count(1))
            .backend(backend)
            .add_service(move || Probe::new(of_service.clone()));
        let handle = match configure(builder).start("127.0.0.1:0") {
            Ok(handle) => handle,
            Err(error) if backend == Backend::Uring && error.to_string().contains("io_uring") => {
                eprintln!("left out: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let address = handle.addresses()[0].as_tcp().unwrap();
        let handle = Keeper(Rc::new(Cell::new(Some(handle))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let running = Running { handle: handle.clone(), address, seen };
        let done = runtime.block_on(async { tokio::time::timeout(HANG, test(running)).await });
        assert!(done.is_ok(), "no end on {backend:?} after {HANG:?}");
    }
}

/// Waits for a condition that another thread brings about.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
