//! The `h2` crate as the other end of our server, over a real socket: it checks every frame and header block that we
//! send, and we read what it makes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use h2::client::Builder;
use http::{HeaderMap, HeaderName, HeaderValue};
use support::client::{Client, frame, messages};
use support::service::{CHAT, ECHO, PANIC};
use support::{Running, on_each_backend};

/// Numbers that look random and are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

#[test]
fn messages_of_all_sizes_come_back() {
    on_each_backend(
        |builder| builder.max_concurrent_streams(100),
        |Running { address, .. }| async move {
            let mut numbers = Numbers(1);
            let client = Client::connect(address).await;
            // Around the sizes of a frame, a window, a receive buffer; and far above all of them.
            for size in [0, 1, 16_378, 16_379, 16_384, 65_535, 65_536, 100_000, 1_048_576, 3_000_000] {
                let message = numbers.octets(size);
                let reply = client.call(ECHO, &message).await.unwrap();
                assert_eq!(reply.status(), "0", "{size} octets");
                assert!(reply.messages == [message], "{size} octets came back changed");
            }
        },
    );
}

#[test]
fn small_windows_and_frames_change_nothing() {
    on_each_backend(
        |builder| builder.initial_stream_window_size(1024).initial_connection_window_size(65_535),
        |Running { address, .. }| async move {
            let mut numbers = Numbers(2);
            let mut builder = Builder::new();
            builder.initial_window_size(100).initial_connection_window_size(65_535).max_frame_size(16_384);
            let (client, _) = Client::connect_with(address, &builder).await;
            for size in [99, 100, 101, 50_000] {
                let message = numbers.octets(size);
                let reply = client.call(ECHO, &message).await.unwrap();
                assert!(reply.messages == [message], "{size} octets came back changed");
            }
        },
    );
}

#[test]
fn header_blocks_of_any_content_are_understood_both_ways() {
    on_each_backend(
        |builder| builder.http2_max_header_list_size(256 * 1024),
        |Running { address, .. }| async move {
            let mut numbers = Numbers(3);
            let mut builder = Builder::new();
            // A small table is evicted from all the time, on both sides.
            builder.header_table_size(256).max_header_list_size(1024 * 1024);
            let (client, _) = Client::connect_with(address, &builder).await;
            for round in 0..300 {
                let mut given = HeaderMap::new();
                for _ in 0..numbers.below(20) {
                    let name = format!("x-{}", numbers.below(30));
                    // Printable ASCII; now and then so long that CONTINUATION frames are needed.
                    let length = if numbers.below(100) == 0 { 20_000 } else { 1 + numbers.below(60) };
                    let value: Vec<u8> =
                        (0..length).map(|_| b'!' + u8::try_from(numbers.below(94)).unwrap()).collect();
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    given.append(name, HeaderValue::from_bytes(&value).unwrap());
                }
                let reply = client.call_with(ECHO, b"h", &given).await.unwrap();
                assert_eq!(reply.status(), "0", "round {round}");
                for back in [&reply.headers, &reply.trailers] {
                    for name in given.keys() {
                        let values = |map: &HeaderMap| map.get_all(name).iter().cloned().collect::<Vec<_>>();
                        assert_eq!(values(back), values(&given), "{name} in round {round}");
                    }
                }
            }
        },
    );
}

#[test]
fn hundreds_of_calls_at_once_keep_apart() {
    on_each_backend(
        |builder| builder.max_concurrent_streams(50),
        |Running { address, .. }| async move {
            let client = Client::connect(address).await;
            let calls: Vec<_> = (0_u32..500)
                .map(|number| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        let message = number.to_be_bytes().repeat(500);
                        let reply = client.call(ECHO, &message).await.unwrap();
                        assert_eq!(reply.messages, [message]);
                    })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
        },
    );
}

#[test]
fn a_conversation_is_cut_anywhere_and_stays_whole() {
    on_each_backend(
        |builder| builder,
        |Running { address, .. }| async move {
            let mut numbers = Numbers(4);
            let client = Client::connect(address).await;
            let sent: Vec<Vec<u8>> = (0..200)
                .map(|_| {
                    let size = numbers.below(3000);
                    numbers.octets(size)
                })
                .collect();
            let octets: Vec<u8> = sent.iter().flat_map(|message| frame(message)).collect();
            let mut call = client.open(CHAT, &HeaderMap::new()).await.unwrap();
            let mut rest = &octets[..];
            // Frames that end anywhere, now and then empty, each as its own DATA.
            while !rest.is_empty() {
                let (chunk, others) = rest.split_at(numbers.below(2000).min(rest.len()));
                call.send.send_data(chunk.to_vec().into(), false).unwrap();
                rest = others;
            }
            call.send.send_data(Default::default(), true).unwrap();
            let reply = call.finish().await.unwrap();
            assert_eq!(reply.status(), "0");
            assert!(reply.messages == sent, "the messages came back changed");
            assert_eq!(messages(&[]), Vec::<Vec<u8>>::new());
        },
    );
}

#[test]
fn errors_are_trailers_only() {
    on_each_backend(
        |builder| builder,
        |Running { address, .. }| async move {
            let client = Client::connect(address).await;
            let unknown = client.call("/test.Probe/Nothing", b"").await.unwrap();
            assert_eq!((unknown.status(), unknown.messages.len(), unknown.trailers.len()), ("12", 0, 0));
            let panicked = client.call(PANIC, b"").await.unwrap();
            assert_eq!((panicked.status(), panicked.messages.len(), panicked.trailers.len()), ("13", 0, 0));
        },
    );
}
