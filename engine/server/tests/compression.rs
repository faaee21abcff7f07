//! Compression: per service, per call, per message, and only what the other side accepts.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use corelane_call::compression::{compress, decompress};
use corelane_call::{Encoding, ProstCodec, Request, Response, Status, compression, stream};
use corelane_server::{Methods, Server, Service, ServiceOptions, Workers};
use corelane_wire::frame::EndStream;
use prost::Message;
use support::Running;
use support::client::{Answer, Client, framed_raw};
use support::service::{COUNT, ECHO, Note, SUM};

const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

/// A server that accepts everything and sends `send`, the first that the client accepts.
fn server(send: &'static [Encoding]) -> Running {
    Running::with(
        |builder| builder,
        move |options: &mut ServiceOptions| {
            for encoding in ALL {
                options.accept_compressed(encoding);
            }
            for encoding in send {
                options.send_compressed(*encoding);
            }
        },
    )
}

fn packed(encoding: Encoding, note: &Note) -> Vec<u8> {
    let mut bytes = Vec::new();
    compress(encoding, &note.encode_to_vec(), &mut bytes).unwrap();
    framed_raw(1, &bytes)
}

/// The flags of the messages, and the messages.
fn unpacked(answer: &Answer, encoding: Encoding) -> Vec<(u8, Note)> {
    let mut notes = Vec::new();
    for (flag, payload) in answer.frames() {
        let mut plain = Vec::new();
        match flag {
            0 => plain.extend_from_slice(payload),
            _ => decompress(encoding, payload, 1 << 20, &mut plain).unwrap(),
        }
        notes.push((flag, Note::decode(&plain[..]).unwrap()));
    }
    notes
}

fn large() -> Note {
    Note::new(&"compressible ".repeat(100), 1)
}

#[test]
fn requests_may_be_compressed_message_by_message() {
    let server = server(&[]);
    let mut client = server.client();
    for encoding in ALL {
        let key = client.open(SUM, &[("grpc-encoding", encoding.name())], EndStream::No);
        client.send(key, &packed(encoding, &Note::new("a", 1)), EndStream::No);
        client.send(key, &framed_raw(0, &Note::new("b", 2).encode_to_vec()), EndStream::No);
        client.send(key, &packed(encoding, &Note::new("c", 3)), EndStream::Yes);
        assert_eq!(client.finish(key).only::<Note>().number, 6, "{encoding}");
        let key = client.open(ECHO, &[("grpc-encoding", encoding.name())], EndStream::No);
        client.send(key, &packed(encoding, &large()), EndStream::Yes);
        assert_eq!(client.finish(key).only::<Note>(), large(), "{encoding}");
    }
}

#[test]
fn responses_are_compressed_as_the_service_prefers_and_the_client_accepts() {
    let server = server(&[Encoding::Zstd, Encoding::Gzip]);
    let mut client = server.client();
    for (accepted, used) in [
        ("identity,gzip", Some(Encoding::Gzip)),
        ("gzip, zstd", Some(Encoding::Zstd)),
        ("deflate,br", None),
        ("-", None),
    ] {
        let answer = client.unary(ECHO, &[("grpc-accept-encoding", accepted)], &large());
        assert_eq!(answer.header("grpc-encoding"), used.map(Encoding::name), "{accepted}");
        assert_eq!(answer.header("grpc-accept-encoding"), Some("identity,gzip,deflate,zstd"));
        let flag = u8::from(used.is_some());
        assert_eq!(unpacked(&answer, used.unwrap_or_default()), [(flag, large())], "{accepted}");
    }
}

#[test]
fn a_handler_may_leave_its_response_uncompressed() {
    let server = server(&[Encoding::Gzip]);
    let mut client = server.client();
    let extra = [("grpc-accept-encoding", "gzip")];
    let answer = client.unary(ECHO, &extra, &Note::new("uncompressed", 1));
    assert_eq!((answer.header("grpc-encoding"), answer.only::<Note>().number), (None, 1));
    let answer = client.unary(COUNT, &extra, &Note::new("", 3));
    assert!(unpacked(&answer, Encoding::Gzip).iter().all(|(flag, _)| *flag == 1));
}

#[test]
fn an_encoding_that_is_not_accepted_is_unimplemented_and_says_what_is() {
    let plain = Running::start();
    let answer = plain.client().unary(ECHO, &[("grpc-encoding", "gzip")], &large());
    assert_eq!((answer.code(), answer.header("grpc-accept-encoding")), (12, Some("identity")));
    assert_eq!(answer.message(), "requests encoded as \"gzip\" are not accepted");
    let answer = server(&[]).client().unary(ECHO, &[("grpc-encoding", "snappy")], &large());
    assert_eq!(answer.header("grpc-accept-encoding"), Some("identity,gzip,deflate,zstd"));
}

#[test]
fn a_compressed_flag_without_an_encoding_is_internal() {
    let server = server(&[]);
    let mut client = server.client();
    for extra in [&[][..], &[("grpc-encoding", "identity")]] {
        let key = client.open(ECHO, extra, EndStream::No);
        client.send(key, &packed(Encoding::Gzip, &large()), EndStream::Yes);
        assert_eq!(client.finish(key).code(), 13);
    }
}

#[test]
fn what_is_malformed_is_internal_and_a_bomb_is_refused_at_the_limit() {
    let server = server(&[]);
    let mut client = server.client();
    for encoding in ALL {
        let extra = [("grpc-encoding", encoding.name())];
        let key = client.open(ECHO, &extra, EndStream::No);
        client.send(key, &framed_raw(1, b"\x00not compressed"), EndStream::Yes);
        assert_eq!(client.finish(key).code(), 13, "{encoding}");
        let key = client.open(ECHO, &extra, EndStream::No);
        client.send(key, &packed(encoding, &Note::new(&"0".repeat(8 << 20), 0)), EndStream::Yes);
        assert_eq!(client.finish(key).code(), 8, "{encoding}");
    }
}

/// Streams notes of which every other one is compressed.
struct Alternating;

impl Service for Alternating {
    const NAME: &'static str = "test.Alternating";

    fn register(self, methods: &mut Methods) {
        methods.server_streaming(
            "/test.Alternating/Count",
            ProstCodec::default(),
            |request: Request<Note>| async move {
                let mut response: Response<_> =
                    compression::per_message(stream::iter((0..request.get_ref().number).map(|n| {
                        let how = if n % 2 == 0 {
                            compression::Compression::Off
                        } else {
                            compression::Compression::Service
                        };
                        Ok::<_, Status>((Note::new("n", n), how))
                    })));
                response.set_compression(Encoding::Gzip);
                Ok(response)
            },
        );
    }
}

#[test]
fn a_stream_may_choose_message_by_message() {
    let handle = Server::builder()
        .workers(Workers::Count(1))
        .add_service(|| Alternating)
        .start("127.0.0.1:0")
        .unwrap();
    let mut client = Client::connect(handle.addresses()[0].as_tcp().unwrap());
    let extra = [("grpc-accept-encoding", "gzip")];
    let answer = client.unary("/test.Alternating/Count", &extra, &Note::new("", 4));
    assert_eq!(answer.header("grpc-encoding"), Some("gzip"));
    let flags: Vec<u8> = unpacked(&answer, Encoding::Gzip).iter().map(|(flag, _)| *flag).collect();
    assert_eq!(flags, [0, 1, 0, 1]);
}
