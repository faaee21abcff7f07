//! Requests that are not gRPC, or not quite.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use corelane_wire::frame::{EndStream, HEADER_LEN, Header, Kind, PREFACE};
use support::client::{Answer, framed};
use support::service::{ECHO, Note};
use support::{Running, client};

fn status(answer: &Answer) -> &str {
    answer.header(":status").unwrap()
}

/// Its SETTINGS go with the first answer: who only connects costs no write.
#[test]
fn a_server_speaks_when_it_is_spoken_to() {
    let server = Running::start();
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_nonblocking(true).unwrap();
    // The one worker takes connections in their order, and so has been at the silent one when it has answered this call.
    assert_eq!(server.client().unary(ECHO, &[], &Note::default()).code(), 0);
    let mut octet = [0];
    assert_eq!(silent.read(&mut octet).unwrap_err().kind(), ErrorKind::WouldBlock);
    silent.set_nonblocking(false).unwrap();
    silent.write_all(PREFACE).unwrap();
    let mut head = [0; HEADER_LEN];
    silent.read_exact(&mut head).unwrap();
    assert_eq!(Header::parse(&head).kind, Kind::SETTINGS);
}

#[test]
fn other_methods_than_post_are_405() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open("/", &[(":method", "GET"), ("content-type", "-")], EndStream::Yes);
    let answer = client.finish(key);
    assert_eq!((status(&answer), answer.header("allow")), ("405", Some("POST")));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("content-length").unwrap().parse(), Ok(answer.body.len()));
    assert_eq!(answer.body, b"gRPC expects POST requests with content-type application/grpc\n");
    let key = client.open("/", &[(":method", "HEAD")], EndStream::Yes);
    let answer = client.finish(key);
    assert_eq!((status(&answer), answer.body.len()), ("405", 0));
}

#[test]
fn other_content_types_are_415_once_the_request_has_ended() {
    let server = Running::start();
    let mut client = server.client();
    for content_type in ["-", "application/json", "application/grpc+json", "application/grpc-web+proto"] {
        let key = client.open(ECHO, &[("content-type", content_type)], EndStream::No);
        client.send(key, &framed(&Note::new("a", 0)), EndStream::No);
        client.send(key, &[], EndStream::Yes);
        let answer = client.finish(key);
        assert_eq!(status(&answer), "415", "{content_type}");
        assert!(!answer.body.is_empty());
        assert_eq!(answer.reset, None);
    }
}

#[test]
fn a_refused_request_that_does_not_end_is_answered_all_the_same() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(ECHO, &[("content-type", "text/plain")], EndStream::No);
    for _ in 0..100 {
        client.send(key, &[0; 10_000], EndStream::No);
    }
    assert_eq!(status(&client.finish(key)), "415");
}

#[test]
fn too_many_header_fields_are_431() {
    let server = Running::with(|builder| builder.http2_max_header_list_size(1000), |_| ());
    let mut client = server.client();
    let long = "x".repeat(2000);
    let key = client.open(ECHO, &[("x-long", &long)], EndStream::Yes);
    assert_eq!(status(&client.finish(key)), "431");
    assert_eq!(client.unary(ECHO, &[], &Note::default()).code(), 0, "the connection goes on");
}

#[test]
fn subformats_and_parameters_of_the_content_type_are_understood() {
    let server = Running::start();
    let mut client = server.client();
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let answer = client.unary(ECHO, &[("content-type", content_type)], &Note::new("a", 1));
        assert_eq!(answer.only::<Note>(), Note::new("a", 1), "{content_type}");
    }
    // RFC 9113 wants `te: trailers` of a gRPC client; its absence harms nobody.
    assert_eq!(client.unary(ECHO, &[("te", "-")], &Note::default()).code(), 0);
}

#[test]
fn a_malformed_timeout_is_internal() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[("grpc-timeout", "soon")], &Note::default());
    assert_eq!((answer.code(), answer.message()), (13, "malformed grpc-timeout: \"soon\"".to_owned()));
}

#[test]
fn the_answers_of_a_busy_client_come_back_in_any_case() {
    let server = Running::start();
    let mut connection = client::Client::connect(server.address);
    let keys: Vec<_> = (0..50)
        .map(|n| {
            let method = if n % 2 == 0 { "GET" } else { "POST" };
            let key = connection.open(ECHO, &[(":method", method)], EndStream::No);
            connection.send(key, &framed(&Note::new("a", n)), EndStream::Yes);
            key
        })
        .collect();
    for (n, key) in keys.into_iter().enumerate() {
        let answer = connection.finish(key);
        assert_eq!(status(&answer), if n % 2 == 0 { "405" } else { "200" });
    }
}
