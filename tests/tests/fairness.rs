//! What one connection or handler does must not keep the others waiting, on a worker that they share.
//!
//! Nothing here is measured: each test says in which order things must happen, or that they happen at all.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;

use h2::client::Builder;
use support::client::{Client, frame};
use support::service::{ECHO, FLOOD, FLOOD_MESSAGE_BYTES, READY, SLEEP, SPIN, WAKE};
use support::{Running, on_each_backend, until};

/// Calls that succeed one after the other.
async fn calls_succeed(client: &Client, path: &str, count: u32) {
    for number in 0..count {
        let message = number.to_be_bytes();
        let reply = client.call(path, &message).await.unwrap();
        assert_eq!((reply.status(), &reply.messages[..]), ("0", &[message.to_vec()][..]));
    }
}

#[test]
fn handlers_that_never_rest_slow_nobody() {
    on_each_backend(
        |builder| builder,
        |Running { address, seen, .. }| async move {
            let busy = Client::connect(address).await;
            let mut calls = Vec::new();
            for path in [SPIN, WAKE, SPIN, WAKE] {
                let mut call = busy.open(path, &Default::default()).await.unwrap();
                call.send.send_data(frame(b""), true).unwrap();
                calls.push(call);
            }
            until(|| seen.get(|seen| &seen.spins) > 100).await;
            // Sockets, timers and other calls of the same connection all have their turn, and so have the restless.
            let other = Client::connect(address).await;
            for client in [&other, &busy] {
                let before = seen.get(|seen| &seen.spins);
                calls_succeed(client, ECHO, 500).await;
                calls_succeed(client, SLEEP, 5).await;
                assert!(seen.get(|seen| &seen.spins) > before, "the restless handlers go on");
            }
        },
    );
}

#[test]
fn ten_thousand_ready_streams_of_one_connection_slow_nobody() {
    const STREAMS: u64 = 10_000;
    on_each_backend(
        |builder| builder.max_concurrent_streams(u32::try_from(STREAMS).unwrap()),
        |Running { address, seen, .. }| async move {
            let mut builder = Builder::new();
            builder.initial_max_send_streams(usize::try_from(STREAMS).unwrap());
            let (crowd, _) = Client::connect_with(address, &builder).await;
            let mut calls = Vec::new();
            for _ in 0..STREAMS {
                let mut call = crowd.open(READY, &Default::default()).await.unwrap();
                // Not too small a message, since `h2` takes ten thousand tiny replies for an attack.
                call.send.send_data(frame(&[7; 300]), true).unwrap();
                calls.push(tokio::spawn(call.finish()));
            }
            until(|| seen.get(|seen| &seen.begun) == STREAMS).await;
            // All of them want to be polled at any moment, and all of them are.
            let before = seen.get(|seen| &seen.spins);
            let other = Client::connect(address).await;
            calls_succeed(&other, ECHO, 20).await;
            calls_succeed(&other, SLEEP, 2).await;
            until(|| seen.get(|seen| &seen.spins) > before + 2 * STREAMS).await;
            seen.open.store(1, Ordering::SeqCst);
            for call in calls {
                assert_eq!(call.await.unwrap().unwrap().status(), "0", "the crowd is served, too");
            }
        },
    );
}

/// A client that opens its windows as wide as they go, asks for floods and reads nothing.
fn deaf(address: SocketAddr, floods: u32) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut put = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        out.extend_from_slice(&size[1..]);
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(payload);
    };
    put(4, 0, 0, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]); // INITIAL_WINDOW_SIZE
    put(8, 0, 0, &[0x7F, 0xFF, 0, 0]); // the connection's window
    for number in 0..floods {
        let mut block = vec![0x83, 0x86]; // POST, http
        for (name, value) in
            [(":path", FLOOD), (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers")]
        {
            for text in [name, value] {
                if text == name {
                    block.push(0); // a literal, not indexed
                }
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let stream = 2 * number + 1;
        put(1, 4, stream, &block);
        put(0, 1, stream, &frame(b""));
    }
    socket.write_all(&out).unwrap();
    socket
}

/// Octets of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_client_that_never_reads_stops_only_itself_and_costs_little() {
    const FLOODS: u32 = 100;
    /// Its windows are open for 2 GiB a stream. What holds the flood back is the server: a queue for each stream, the
    /// connection's output, and the kernel's buffers on both sides, which grow to some MiB.
    const MADE_BYTES_MAX: u64 = 32 * 1024 * 1024;
    on_each_backend(
        |builder| builder,
        |Running { address, seen, .. }| async move {
            let resident_before = resident();
            let deaf = deaf(address, FLOODS);
            until(|| seen.get(|seen| &seen.floods) > u64::from(FLOODS)).await;
            let other = Client::connect(address).await;
            // The flood comes to rest while the others go on: no message more in all that time.
            let mut made = 0;
            loop {
                calls_succeed(&other, ECHO, 200).await;
                calls_succeed(&other, SLEEP, 5).await;
                let now = seen.get(|seen| &seen.floods);
                if now == made {
                    break;
                }
                made = now;
                assert!(made * FLOOD_MESSAGE_BYTES < MADE_BYTES_MAX, "{made} messages were made for nobody");
            }
            let grown = resident().saturating_sub(resident_before);
            assert!(grown < MADE_BYTES_MAX, "{grown} octets more are in memory");
            drop(deaf);
            calls_succeed(&other, ECHO, 100).await;
        },
    );
}
