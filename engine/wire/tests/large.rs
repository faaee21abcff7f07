//! Large payloads: referenced on their way out, cut by windows and frames, let go with their stream.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use corelane_memory::Bytes;
use corelane_wire::connection::{Config, Connection, Event, Role, StreamKey};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::{FieldList, Instant};

const NOW: Instant = Instant::from_nanos(0);

/// A client and a server, one request in, its head answered.
fn exchange(stream_window: u32) -> (Connection, Connection, StreamKey, StreamKey) {
    let mut server = Connection::new(Role::Server, Config::default(), NOW);
    let config = Config { stream_window, ..Config::default() };
    let mut client = Connection::new(Role::Client, config, NOW);
    let request = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C")];
    let asked = client.open(&FieldList::from_iter(request), EndStream::No).unwrap();
    let mut answering = None;
    hear(&mut client, &mut server, |_, event| {
        if let Event::Headers { key, .. } = event {
            answering = Some(*key);
        }
    });
    let answering = answering.expect("the request has come");
    let head = FieldList::from_iter([(":status", "200")]);
    server.stream(answering).unwrap().send_headers(&head, EndStream::No).unwrap();
    hear(&mut server, &mut client, |_, _| {});
    hear(&mut client, &mut server, |_, _| {});
    (client, server, asked, answering)
}

/// Has `to` hear what `from` has to say now.
fn hear(from: &mut Connection, to: &mut Connection, mut told: impl FnMut(&mut Connection, &Event<'_>)) {
    from.transmit(NOW);
    let bytes = std::mem::take(from.output());
    let mut at = 0;
    loop {
        let received = to.receive(NOW, &bytes[at..]).unwrap();
        at += received.consumed;
        match received.event {
            Some(event) => told(to, &event),
            None => break,
        }
    }
    assert_eq!(at, bytes.len(), "frames are written whole");
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 7) as u8).collect()
}

#[test]
fn a_large_reply_under_small_windows_arrives_whole_and_in_order() {
    for window in [1, 1000, 16_384, 65_535, 1 << 20] {
        let (mut client, mut server, _, answering) = exchange(window);
        let len = if window == 1 { 6000 } else { 300_000 };
        let payload = Bytes::from(numbered(len));
        let expected = [b"head", &payload[..], b"tail"].concat();
        let stream = server.stream(answering).unwrap();
        let sent = stream.send_gathered(EndStream::No, |out| {
            out.heads().extend_from_slice(b"head");
            out.append(payload.slice(..5000));
            out.append(payload.slice(5000..));
            out.heads().extend_from_slice(b"tail");
        });
        sent.unwrap();
        let trailers = FieldList::from_iter([("grpc-status", "0")]);
        server.stream(answering).unwrap().send_trailers(&trailers).unwrap();
        let (mut arrived, mut ended) = (Vec::new(), false);
        while !ended {
            hear(&mut server, &mut client, |client, event| match *event {
                Event::Data { key, payload, .. } => {
                    arrived.extend_from_slice(payload);
                    client.stream(key).unwrap().credit(payload.len() as u32);
                }
                Event::Trailers { .. } => ended = true,
                _ => {}
            });
            hear(&mut client, &mut server, |_, _| {});
        }
        assert!(arrived == expected, "with a window of {window}");
        drop(server);
        assert!(payload.is_unique());
    }
}

#[test]
fn what_is_written_refers_to_the_payload_and_does_not_copy_it() {
    let (_client, mut server, _, answering) = exchange(1 << 20);
    let payload = Bytes::from(numbered(40_000));
    let stream = server.stream(answering).unwrap();
    stream.send_gathered(EndStream::No, |out| out.append(payload.clone())).unwrap();
    server.transmit(NOW);
    let (heads, pieces) = server.gathered_output();
    // 40,000 octets are two whole frames and a part.
    assert_eq!((heads.len(), pieces.len(), pieces.count()), (3 * 9, 40_000, 3));
    let first = pieces.first().unwrap();
    assert_eq!((first.at, first.bytes.as_ptr()), (9, payload.as_ptr()));
}

#[test]
fn a_stream_that_is_reset_lets_its_payload_go() {
    let (mut client, mut server, asked, answering) = exchange(1000);
    let payload = Bytes::from(numbered(1 << 20));
    let stream = server.stream(answering).unwrap();
    stream.send_gathered(EndStream::No, |out| out.append(payload.clone())).unwrap();
    hear(&mut server, &mut client, |_, _| {});
    assert!(!payload.is_unique(), "the windows hold it back");
    client.stream(asked).unwrap().reset(ErrorCode::CANCEL);
    hear(&mut client, &mut server, |_, _| {});
    assert!(payload.is_unique());
}

#[test]
fn the_output_for_a_peer_that_does_not_read_stays_bounded() {
    let (_client, mut server, _, answering) = exchange((1 << 31) - 1);
    let output_max = Config::default().output_max;
    let payload = Bytes::from(numbered(1 << 20));
    for _ in 0..8 {
        let stream = server.stream(answering).unwrap();
        stream.send_gathered(EndStream::No, |out| out.append(payload.clone())).unwrap();
        server.transmit(NOW);
        let frame = 9 + 16_384;
        assert!((1..output_max + frame).contains(&server.output_len()), "{}", server.output_len());
    }
    assert_eq!(server.stream(answering).unwrap().send_room(), 0, "the producer is told to stop");
}
