//! A handler that panics costs its own call and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::client::Client;
use support::service::{ECHO, GATE, PANIC};
use support::{Running, on_each_backend, until};

#[test]
fn a_panic_is_internal_and_stays_with_its_call() {
    on_each_backend(
        |builder| builder,
        |Running { address, seen, handle }| async move {
            let handle = handle.take();
            let client = Client::connect(address).await;
            let waiting = tokio::spawn({
                let client = client.clone();
                async move { client.call(GATE, b"patience").await.unwrap() }
            });
            until(|| seen.get(|seen| &seen.begun) == 1).await;
            for when in [&b"at once"[..], b"later"] {
                for _ in 0..20 {
                    let reply = client.call(PANIC, when).await.unwrap();
                    assert_eq!((reply.status(), reply.messages.len()), ("13", 0));
                    let message = reply.headers.get("grpc-message").map_or("", |text| text.to_str().unwrap());
                    assert!(
                        !message.contains("told"),
                        "what a panic says is not the client's business: {message}"
                    );
                }
            }
            // The same connection, the same worker, and the call that was there before.
            assert_eq!(client.call(ECHO, b"alive").await.unwrap().messages, [b"alive"]);
            seen.open.store(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(waiting.await.unwrap().messages, [b"patience"]);
            assert_eq!(handle.counters().panics, 40);
            handle.shutdown();
            handle.join().unwrap();
        },
    );
}
