//! Every cause of a failed call that a server's answer is, with its code and its text. `causes.rs` has the others, and the list.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use corelane_call::{Code, Request, Response, Streaming, stream};
use corelane_client::{Cause, ChannelBuilder};
use corelane_wire::connection::Config as WireConfig;
use corelane_wire::frame::{ErrorCode, Flags, Kind};
use support::failing::{answered_with, fails_with};
use support::peer::{Peer, message};
use support::{JOIN, Running, SPLIT, Text, caller, failure, on_both, say, told};

#[test]
fn a_stream_that_the_server_resets() {
    let codes = [
        (ErrorCode::INTERNAL_ERROR, Code::Internal, "INTERNAL_ERROR"),
        (ErrorCode::ENHANCE_YOUR_CALM, Code::ResourceExhausted, "ENHANCE_YOUR_CALM"),
        (ErrorCode::INADEQUATE_SECURITY, Code::PermissionDenied, "INADEQUATE_SECURITY"),
    ];
    for (reset, code, name) in codes {
        answered_with(
            move |wire, call| wire.reset(call.stream, reset),
            |cause| matches!(cause, Cause::Reset { .. }),
            code,
            &format!("the server reset the stream ({name}) (PEER, after …)"),
        );
    }
}

#[test]
fn a_call_that_the_server_cancels() {
    answered_with(
        |wire, call| wire.reset(call.stream, ErrorCode::CANCEL),
        |cause| matches!(cause, Cause::Cancelled),
        Code::Cancelled,
        "the server cancelled the call (PEER, after …)",
    );
}

#[test]
fn a_stream_that_the_server_refuses_each_time() {
    answered_with(
        |wire, call| wire.reset(call.stream, ErrorCode::REFUSED_STREAM),
        |cause| matches!(cause, Cause::Refused),
        Code::Unavailable,
        "the server refused the stream without looking at it (PEER, after …)",
    );
}

#[test]
fn a_server_that_goes_away_each_time() {
    answered_with(
        |wire, call| wire.goaway(call.stream - 1, ErrorCode::NO_ERROR, b""),
        |cause| matches!(cause, Cause::Goaway { code: ErrorCode::NO_ERROR }),
        Code::Unavailable,
        "the server went away (NO_ERROR) without having looked at the call (PEER, after …)",
    );
}

#[test]
fn a_connection_that_is_lost() {
    let peer = Peer::start(|wire| {
        wire.greet(&[]);
        wire.call();
    });
    fails_with(
        &peer,
        |builder| builder,
        |cause| matches!(cause, Cause::ConnectionLost { .. }),
        Code::Unavailable,
        "the connection was lost while the call was in flight: the peer closed the connection (PEER, after …)",
    );
}

#[test]
fn a_server_that_breaks_the_protocol_of_the_connection() {
    answered_with(
        |wire, _| wire.send(Kind::SETTINGS, Flags::NONE, 1, &[]),
        |cause| matches!(cause, Cause::Protocol { .. }),
        Code::Internal,
        "the server broke the protocol: PROTOCOL_ERROR: a malformed frame (frame type only allowed on stream 0) \
         (PEER, after …)",
    );
}

#[test]
fn a_server_that_breaks_the_protocol_of_the_stream() {
    answered_with(
        |wire, call| wire.data(call.stream, b"before any head"),
        |cause| matches!(cause, Cause::Protocol { .. }),
        Code::Internal,
        "the server broke the protocol: it was reset with PROTOCOL_ERROR (PEER, after …)",
    );
}

#[test]
fn an_http_status_that_is_no_success() {
    let codes = [
        ("400", Code::Internal),
        ("401", Code::Unauthenticated),
        ("403", Code::PermissionDenied),
        ("404", Code::Unimplemented),
        ("418", Code::Unknown),
        ("429", Code::Unavailable),
        ("502", Code::Unavailable),
        ("503", Code::Unavailable),
        ("504", Code::Unavailable),
    ];
    for (http, code) in codes {
        answered_with(
            move |wire, call| wire.headers(call.stream, &[(":status", http)], Flags::END_STREAM),
            |cause| matches!(cause, Cause::HttpStatus(_)),
            code,
            &format!(
                "HTTP status {http}: what answered is no gRPC server, but a proxy perhaps (PEER, after …)"
            ),
        );
    }
}

#[test]
fn a_content_type_that_is_not_grpcs() {
    answered_with(
        |wire, call| {
            let fields = [(":status", "200"), ("content-type", "text/html")];
            wire.headers(call.stream, &fields, Flags::NONE);
        },
        |cause| matches!(cause, Cause::ContentType(found) if &**found == "text/html"),
        Code::Unknown,
        "content-type \"text/html\" is not application/grpc (PEER, after …)",
    );
}

#[test]
fn an_encoding_that_was_not_offered() {
    answered_with(
        |wire, call| {
            let fields =
                [(":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "zstd")];
            wire.headers(call.stream, &fields, Flags::NONE);
        },
        |cause| matches!(cause, Cause::Encoding(name) if &**name == "zstd"),
        Code::Internal,
        "messages are encoded as \"zstd\", which was not offered (PEER, after …)",
    );
}

#[test]
fn a_response_without_a_status() {
    let text = "the response ended without a grpc-status (PEER, after …)";
    answered_with(
        |wire, call| {
            wire.head(call.stream);
            wire.send(Kind::DATA, Flags::END_STREAM, call.stream, &message("hello"));
        },
        |cause| matches!(cause, Cause::MissingStatus),
        Code::Unknown,
        text,
    );
    answered_with(
        |wire, call| {
            wire.head(call.stream);
            wire.trailers(call.stream, &[("x-other", "1")]);
        },
        |cause| matches!(cause, Cause::MissingStatus),
        Code::Unknown,
        text,
    );
}

#[test]
fn a_success_without_a_message() {
    answered_with(
        |wire, call| wire.fail(call.stream, "0", &[]),
        |cause| matches!(cause, Cause::MissingMessage),
        Code::Unimplemented,
        "the response has no message, where one is expected (PEER, after …)",
    );
}

#[test]
fn more_messages_than_one() {
    answered_with(
        |wire, call| {
            wire.head(call.stream);
            wire.data(call.stream, &[message("a"), message("b")].concat());
            wire.trailers(call.stream, &[("grpc-status", "0")]);
        },
        |cause| matches!(cause, Cause::ExtraMessage),
        Code::Unimplemented,
        "the response has more than one message, where one is expected (PEER, after …)",
    );
}

#[test]
fn half_a_message() {
    answered_with(
        |wire, call| {
            wire.head(call.stream);
            wire.data(call.stream, &message("hello")[..8]);
            wire.trailers(call.stream, &[("grpc-status", "0")]);
        },
        |cause| matches!(cause, Cause::CutMessage),
        Code::Internal,
        "the response ended in the middle of a message (PEER, after …)",
    );
}

#[test]
fn headers_that_are_too_large() {
    let small: fn(ChannelBuilder) -> ChannelBuilder =
        |builder| builder.wire(WireConfig { header_list_size_max: 1_000, ..WireConfig::default() });
    let large = "x".repeat(2_000);
    let head = Peer::answering({
        let large = large.clone();
        move |wire, call| {
            let fields = [(":status", "200"), ("content-type", "application/grpc"), ("x-large", &large)];
            wire.headers(call.stream, &fields, Flags::NONE);
        }
    });
    let trailers = Peer::answering(move |wire, call| {
        wire.head(call.stream);
        wire.data(call.stream, &message("hello"));
        wire.trailers(call.stream, &[("grpc-status", "0"), ("x-large", &large)]);
    });
    for peer in [head, trailers] {
        fails_with(
            &peer,
            small,
            |cause| matches!(cause, Cause::HeadersTooLarge),
            Code::ResourceExhausted,
            "the response's headers or trailers are over the limit (PEER, after …)",
        );
    }
}

#[test]
fn a_response_that_is_too_large() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (mut caller, address) = (caller(&target), address.clone());
        caller.max_decoding_message_size(10);
        async move {
            let status = say(&caller, "repeat 11").await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let text =
                format!("the response has 13 bytes, and 10 are accepted (endpoint {address}, after …)");
            assert_eq!(told(&status), text);
            assert!(matches!(failure(&status).cause, Cause::ResponseTooLarge { len: Some(13), max: 10 }));
            assert_eq!(
                (failure(&status).endpoint.as_deref(), failure(&status).attempt),
                (Some(&*address), 1)
            );
            assert_eq!(say(&caller, "repeat 8").await.unwrap(), "xxxxxxxx");
        }
    });
}

#[test]
fn a_response_that_cannot_be_decoded() {
    answered_with(
        |wire, call| {
            wire.head(call.stream);
            wire.data(call.stream, &[0, 0, 0, 0, 1, 0xff]);
            wire.trailers(call.stream, &[("grpc-status", "0")]);
        },
        |cause| matches!(cause, Cause::Decode),
        Code::Internal,
        "the response cannot be decoded (PEER, after …): cannot decode the message: failed to decode Protobuf message: \
         invalid varint",
    );
}

#[test]
fn a_status_of_the_servers_own() {
    answered_with(
        |wire, call| wire.fail(call.stream, "5", &[("grpc-message", "no such text")]),
        |cause| matches!(cause, Cause::Server),
        Code::NotFound,
        "no such text",
    );
}

#[test]
fn a_stream_of_responses_that_breaks_off_has_its_cause_too() {
    let peer = Peer::answering(|wire, call| {
        wire.head(call.stream);
        wire.data(call.stream, &message("a"));
        wire.reset(call.stream, ErrorCode::INTERNAL_ERROR);
    });
    let (target, address) = (peer.target.clone(), peer.address.clone());
    on_both(move || {
        let (caller, address) = (caller(&target), address.clone());
        async move {
            let words = caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).await;
            let mut words: Streaming<String> = words.map(Response::into_inner).unwrap();
            assert_eq!(words.message().await.unwrap().as_deref(), Some("a"));
            let status = words.message().await.unwrap_err();
            let text = format!("the server reset the stream (INTERNAL_ERROR) (endpoint {address}, after …)");
            assert_eq!((status.code(), told(&status)), (Code::Internal, text));
            assert_eq!(failure(&status).endpoint.as_deref(), Some(&*address));
            assert_eq!(words.message().await.unwrap(), None);
        }
    });
}

#[test]
fn an_answer_before_the_request_has_ended_is_an_answer() {
    let peer = Peer::answering(|wire, call| {
        wire.answer(call.stream, "enough");
        wire.reset(call.stream, ErrorCode::NO_ERROR);
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            // Far more than the window, which is never opened again.
            let endless = stream::iter(std::iter::repeat_with(|| "x".repeat(10_000)));
            let answer = caller.client_streaming(JOIN, Text::new(), Request::new(endless)).await;
            assert_eq!(answer.map(Response::into_inner).unwrap(), "enough");
            let large = "x".repeat(1_000_000);
            assert_eq!(say(&caller, &large).await.unwrap(), "enough");
        }
    });
}
