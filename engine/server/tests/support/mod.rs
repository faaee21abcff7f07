//! What the server's tests share: a client, a service, a running server.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

pub(crate) mod client;
pub(crate) mod live;
pub(crate) mod service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane_server::{Builder, Server, ServerHandle, ServiceOptions, Workers};

use client::Client;
use service::{Probe, Seen};

/// A running server with the probe, on one worker.
pub(crate) struct Running {
    pub(crate) handle: ServerHandle,
    pub(crate) seen: Arc<Seen>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start() -> Running {
        Running::with(|builder| builder, |_| ())
    }

    pub(crate) fn with(
        configure: impl FnOnce(Builder) -> Builder,
        options: impl Fn(&mut ServiceOptions) + Send + Sync + 'static,
    ) -> Running {
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let builder = Server::builder().workers(Workers::Count(1));
        let builder = configure(builder).add_service(move || Probe::with(shared.clone(), &options));
        let handle = builder.start("127.0.0.1:0").unwrap();
        let address = handle.addresses()[0].as_tcp().unwrap();
        Running { handle, seen, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }
}

/// Waits for something that another thread does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
