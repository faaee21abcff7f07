//! The four shapes of a call over a real socket: messages, metadata, trailers, errors.

mod support;

use corelane_wire::frame::{EndStream, ErrorCode};
use support::Running;
use support::client::{framed, framed_raw};
use support::service::{CHAT, COUNT, ECHO, Note, SUM};

const INTERNAL: u32 = 13;
const UNIMPLEMENTED: u32 = 12;

#[test]
fn a_unary_call_is_answered_with_head_message_and_trailers() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new("hello", 7));
    assert_eq!(answer.only::<Note>(), Note::new("hello", 7));
    assert_eq!(answer.header(":status"), Some("200"));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.trailers.unwrap(), [("grpc-status".to_owned(), "0".to_owned())]);
    assert_eq!(answer.reset, None);
}

#[test]
fn many_calls_on_one_connection_keep_apart() {
    let server = Running::start();
    let mut client = server.client();
    let keys: Vec<_> = (0..100)
        .map(|number| {
            let key = client.open(ECHO, &[], EndStream::No);
            client.send(key, &framed(&Note::new("n", number)), EndStream::Yes);
            key
        })
        .collect();
    for (number, key) in (0..).zip(keys) {
        assert_eq!(client.finish(key).only::<Note>(), Note::new("n", number));
    }
    let counters = server.handle.counters();
    assert_eq!((counters.calls_started, counters.calls_ok), (100, 100));
}

#[test]
fn a_request_in_pieces_is_put_together() {
    let server = Running::start();
    let mut client = server.client();
    let bytes = framed(&Note::new(&"z".repeat(100_000), 1));
    let key = client.open(ECHO, &[], EndStream::No);
    for piece in bytes.chunks(977) {
        client.send(key, piece, EndStream::No);
        client.turn();
    }
    client.send(key, &[], EndStream::Yes);
    assert_eq!(client.finish(key).only::<Note>().text.len(), 100_000);
}

#[test]
fn metadata_goes_both_ways_and_trailing_metadata_comes_last() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[("x-given", "gift"), ("x-other", "o")], &Note::new("metadata", 0));
    assert_eq!(answer.only::<Note>().text, "gift");
    assert_eq!(answer.header("x-given"), Some("gift"));
    assert_eq!(answer.header("x-given-bin"), Some("AP8"));
    assert_eq!(answer.trailer("x-given"), Some("gift"));
    assert_eq!(answer.trailer("x-given-bin"), Some("AP8"));
}

#[test]
fn an_error_before_any_message_is_one_block() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new("fail", 0));
    assert!(answer.is_trailers_only());
    assert_eq!((answer.code(), answer.message()), (5, "nö: 100 %".to_owned()));
    assert_eq!(answer.header("grpc-message"), Some("n%C3%B6: 100 %25"));
    assert_eq!(answer.header("grpc-status-details-bin"), Some("AQI"));
    assert_eq!(answer.header("x-why"), Some("told to"));
}

#[test]
fn a_stream_of_responses_has_its_metadata_first_and_its_status_last() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(COUNT, &[], &Note::new("", 1000));
    let numbers: Vec<u32> = answer.messages::<Note>().iter().map(|note| note.number).collect();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
    assert_eq!((answer.header("x-head"), answer.trailer("x-tail")), (Some("h"), Some("t")));
    assert_eq!(answer.code(), 0);
}

#[test]
fn the_head_of_a_stream_does_not_wait_for_its_first_message() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(COUNT, &[], EndStream::No);
    client.send(key, &framed(&Note::new("pend", 0)), EndStream::Yes);
    client.until("the head", |client| client.answer(key).head.is_some());
    assert!(!client.answer(key).is_over());
}

#[test]
fn a_stream_that_fails_late_sends_what_it_had() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(COUNT, &[], &Note::new("fail", 3));
    assert_eq!(answer.messages::<Note>().len(), 3);
    assert_eq!((answer.code(), answer.message()), (10, "after the last".to_owned()));
    let early = client.unary(COUNT, &[], &Note::new("fail early", 3));
    assert!(early.is_trailers_only());
    assert_eq!(early.code(), 3);
}

#[test]
fn a_stream_of_requests_is_read_to_its_end() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(SUM, &[], EndStream::No);
    for number in 1..=500 {
        client.send(key, &framed(&Note::new(&"p".repeat(1000), number)), EndStream::No);
    }
    client.send(key, &[], EndStream::Yes);
    assert_eq!(client.finish(key).only::<Note>(), Note::new("sum", 125_250));
}

#[test]
fn a_stream_of_no_requests_is_one_too() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(SUM, &[], EndStream::Yes);
    assert_eq!(client.finish(key).only::<Note>(), Note::new("sum", 0));
}

#[test]
fn an_answer_before_the_requests_have_ended_asks_the_client_to_stop() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(SUM, &[], EndStream::No);
    client.send(key, &framed(&Note::new("", 5)), EndStream::No);
    client.send(key, &framed(&Note::new("stop", 0)), EndStream::No);
    client.until("the reset", |client| client.answer(key).reset.is_some());
    let answer = client.finish(key);
    assert_eq!(answer.only::<Note>(), Note::new("stopped", 5));
    assert_eq!(answer.reset, Some(ErrorCode::NO_ERROR));
}

#[test]
fn both_ways_at_once_each_request_is_answered_before_the_next() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(CHAT, &[], EndStream::No);
    for number in 1..=20 {
        client.send(key, &framed(&Note::new("ping", number)), EndStream::No);
        let wanted = number as usize;
        client.until("an answer", |client| client.answer(key).frames().len() == wanted);
    }
    client.send(key, &[], EndStream::Yes);
    let answer = client.finish(key);
    assert_eq!(answer.messages::<Note>()[19], Note::new("PING", 20));
    assert_eq!(answer.code(), 0);
    let counters = server.handle.counters();
    assert_eq!((counters.messages_in, counters.messages_out), (20, 20));
}

#[test]
fn a_large_message_both_ways_passes_the_windows() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new(&"w".repeat(3_000_000), 0));
    assert_eq!(answer.only::<Note>().text.len(), 3_000_000);
    let key = client.open(CHAT, &[], EndStream::No);
    client.send(key, &framed(&Note::new(&"w".repeat(3_000_000), 0)), EndStream::Yes);
    assert_eq!(client.finish(key).messages::<Note>()[0].text.len(), 3_000_000);
}

#[test]
fn a_method_with_one_request_wants_exactly_one() {
    let server = Running::start();
    let mut client = server.client();
    let one = framed(&Note::new("a", 0));
    for path in [ECHO, COUNT] {
        for body in [vec![], [one.clone(), one.clone()].concat()] {
            let key = client.open(path, &[], EndStream::No);
            client.send(key, &body, EndStream::Yes);
            let answer = client.finish(key);
            assert_eq!(answer.code(), UNIMPLEMENTED, "{path} with {} octets", body.len());
        }
        let key = client.open(path, &[], EndStream::Yes);
        assert_eq!(client.finish(key).code(), UNIMPLEMENTED);
    }
    let key = client.open(ECHO, &[], EndStream::No);
    client.send(key, &one[..one.len() - 1], EndStream::Yes);
    assert_eq!(client.finish(key).code(), INTERNAL, "a part of a message");
}

#[test]
fn what_is_no_protobuf_is_internal() {
    let server = Running::start();
    let mut client = server.client();
    for path in [ECHO, SUM] {
        let key = client.open(path, &[], EndStream::No);
        client.send(key, &framed_raw(0, &[0xff, 0xff]), EndStream::Yes);
        let answer = client.finish(key);
        assert_eq!(answer.code(), INTERNAL, "{path}: {}", answer.message());
    }
}

#[test]
fn unknown_methods_and_services_are_unimplemented() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary("/test.Probe/Nothing", &[], &Note::default());
    assert!(answer.is_trailers_only());
    assert_eq!(answer.message(), "unknown method Nothing for service test.Probe");
    let answer = client.unary("/test.Nobody/Nothing", &[], &Note::default());
    assert_eq!((answer.code(), answer.message()), (UNIMPLEMENTED, "unknown service test.Nobody".to_owned()));
}
