//! `corelane bench`, as a program: what it counts, against a server that works and against peers that do not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod peer;
mod server;

use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::peer::{Answer, Peer, goaway, page, reset, success};
use crate::server::serve;

const PROGRAM: &str = env!("CARGO_BIN_EXE_corelane");

/// Runs it with these words behind the target.
fn bench(target: &str, words: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", target, "--no-progress", "--json"]).args(words.split_whitespace());
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto")).output().unwrap()
}

/// Its figures.
fn figures(target: &str, words: &str) -> Value {
    let output = bench(target, words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The line that it ends with when it cannot run.
fn refusal(target: &str, words: &str) -> String {
    let output = bench(target, words);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{words}");
    String::from_utf8(output.stderr).unwrap()
}

/// Calls in all, succeeded, failed, not sent, unfinished.
fn calls(figures: &Value) -> [u64; 5] {
    ["total", "succeeded", "failed", "not_sent", "unfinished"]
        .map(|name| figures["calls"][name].as_u64().unwrap())
}

/// Messages sent and received, octets sent and received.
fn traffic(figures: &Value) -> [u64; 4] {
    ["messages_sent", "messages_received", "bytes_sent", "bytes_received"]
        .map(|name| figures["traffic"][name].as_u64().unwrap())
}

/// Each status that calls have ended with, with its count and text.
fn statuses(figures: &Value) -> Vec<(&str, u64, &str)> {
    let statuses = figures["status"].as_array().unwrap().iter().map(|status| {
        let text = status["text"].as_str().unwrap_or_default();
        (status["code"].as_str().unwrap(), status["count"].as_u64().unwrap(), text)
    });
    statuses.filter(|(_, count, _)| *count > 0).collect()
}

#[test]
fn every_unary_call_is_made_and_counted() {
    let server = serve();
    for words in [
        "-n 1000 -c 2 -s 5 --workers 1",
        "-n 1001 -c 3 -s 2 --workers 2",
        "-n 7 -s 100 --backend epoll",
        "-n 50 -s 3 --warm-up 20ms",
    ] {
        let figures = figures(&server.target, &format!("{words} --request-size 16 --response-size 20"));
        let count: u64 = words.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(calls(&figures), [count, count, 0, 0, 0], "{words}");
        // A payload of 16 with tag and length, and two small numbers with theirs; a payload of 20.
        assert_eq!(traffic(&figures), [count, count, count * 22, count * 22], "{words}");
        assert_eq!(statuses(&figures), [("OK", count, "")]);
    }
}

#[test]
fn the_other_kinds_are_made_and_counted() {
    let server = serve();
    for (kind, traffic_wanted) in [
        ("upload --request-size 5", [30, 10, 30 * 9, 10 * 4]),
        ("download --response-size 5", [10, 30, 10 * 4, 30 * 7]),
        ("chat --response-size 5", [30, 30, 30 * 4, 30 * 7]),
    ] {
        let figures = figures(&server.target, &format!("-n 10 -s 4 --messages 3 --kind {kind}"));
        assert_eq!(calls(&figures), [10, 10, 0, 0, 0], "{kind}");
        assert_eq!(traffic(&figures), traffic_wanted, "{kind}");
    }
}

#[test]
fn a_target_of_two_places_goes_over_channels() {
    let (one, two) = (serve(), serve());
    let figures =
        figures(&format!("static:///{},{}", one.target, two.target), "-n 20 -c 2 --response-size 3");
    assert_eq!(calls(&figures), [20, 20, 0, 0, 0]);
    assert_eq!(traffic(&figures)[3], 20 * 5);
}

#[test]
fn an_open_loop_sends_as_many_as_its_rate_wants() {
    let server = serve();
    let figures = figures(&server.target, "--rate 2000 --duration 100ms --warm-up 50ms -s 50");
    assert_eq!(calls(&figures), [200, 200, 0, 0, 0]);
    assert_eq!(figures["parameters"]["mode"], "open");
}

#[test]
fn a_failed_call_is_counted_by_its_code_and_keeps_its_text() {
    let server = serve();
    for kind in ["unary", "download"] {
        let figures = figures(&server.target, &format!("-n 10 -s 2 --kind {kind} --response-size 404"));
        assert_eq!(calls(&figures), [10, 0, 10, 0, 0], "{kind}");
        assert_eq!(statuses(&figures), [("NOT_FOUND", 10, "there is nothing of 404 octets")], "{kind}");
    }
}

#[test]
fn a_call_without_an_answer_ends_at_its_deadline() {
    let peer = Peer::start(|_| Some(Vec::new()));
    let silent = figures(&peer.target, "-n 10 -s 3 --deadline 30ms");
    assert_eq!(calls(&silent), [10, 0, 10, 0, 0]);
    assert_eq!(statuses(&silent), [("DEADLINE_EXCEEDED", 10, "no answer within 30ms")]);
    // A server of ours has a clock, too: whichever rings first has the word.
    let server = serve();
    let figures = figures(&server.target, "-n 10 -s 3 --deadline 30ms --response-size 408");
    assert_eq!(calls(&figures), [10, 0, 10, 0, 0]);
    let statuses: Vec<_> = statuses(&figures).into_iter().map(|(code, count, _)| (code, count)).collect();
    assert_eq!(statuses, [("DEADLINE_EXCEEDED", 10)]);
}

#[test]
fn a_method_takes_a_request_from_json() {
    let server = serve();
    let proto = "--proto bench/v1/bench.proto";
    let unary =
        figures(&server.target, &format!("bench.v1.Bench/Unary {proto} -n 4 -d {{\"responseSize\":5}}"));
    assert_eq!((calls(&unary), traffic(&unary)), ([4, 4, 0, 0, 0], [4, 4, 8, 28]));
    let chat = figures(&server.target, &format!("bench.v1.Bench/Chat {proto} -n 4 --messages 3"));
    assert_eq!((calls(&chat), traffic(&chat)), ([4, 4, 0, 0, 0], [12, 12, 0, 0]));
    // Nothing is known of a method without a file and reflection: it is called with an empty message.
    let unknown = figures(&server.target, "bench.v1.Bench/Unary -n 4");
    assert_eq!((calls(&unknown), traffic(&unknown)), ([4, 4, 0, 0, 0], [4, 4, 0, 0]));
}

#[test]
fn a_request_that_is_none_is_told_before_the_run() {
    let server = serve();
    let of = |words: &str| refusal(&server.target, words);
    let proto = "--proto bench/v1/bench.proto";
    let wrong = of(&format!("bench.v1.Bench/Unary {proto} -d {{\"size\":5}}"));
    assert!(wrong.starts_with("error: document 1 of --data is no bench.v1.Request: "), "{wrong}");
    let kind = of(&format!("bench.v1.Bench/Download {proto} --messages 3"));
    assert_eq!(
        kind,
        "error: --messages is for a METHOD that takes a stream, and this one takes one message\n"
    );
    let nothing = of(&format!("bench.v1.Bench/Nothing {proto}"));
    assert!(nothing.starts_with("error: bench.v1.Bench has no method Nothing; it has "), "{nothing}");
    let blind = of("bench.v1.Bench/Unary -d {}");
    assert_eq!(blind, "error: the server has no reflection; give --proto\n");
}

/// Which worker fails first is chance; what is told must not be.
#[test]
fn where_nobody_listens_the_reason_is_told_whichever_worker_finds_it() {
    // Bound, so that no other test gets the port, and not listening.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = bound.local_addr().unwrap().as_socket().unwrap();
    let refused = "Connection refused (os error 111)";
    for (words, wanted) in [
        ("--workers 2 -c 2", format!("error: cannot connect to {address}: {address}: {refused}\n")),
        (
            "--workers 2 -c 2 --kind chat",
            format!("error: UNAVAILABLE: cannot connect: {refused} (endpoint {address}"),
        ),
    ] {
        for _ in 0..5 {
            let reason = refusal(&address.to_string(), words);
            // How long it took is in the text, too.
            assert_eq!(reason.split(", after ").next(), Some(&*wanted));
        }
    }
}

#[test]
fn a_target_that_is_none_is_told() {
    for target in ["nonsense://x", "static:///", "unix:"] {
        let reason = refusal(target, "-n 1");
        assert!(reason.starts_with("error: ") && reason.lines().count() == 1, "{reason}");
    }
}

/// Its payload could be as long, with nothing around it.
#[test]
fn a_request_that_is_too_long_is_told() {
    let reason = refusal("127.0.0.1:1", "-n 1 --request-size 4294967295");
    assert_eq!(reason, "error: a request of 4294967303 bytes is too long: a message has less than 4 GiB\n");
}

#[test]
fn what_a_peer_does_wrong_is_sorted_as_a_client_sorts_it() {
    const WHOLE: &[u8] = &[0, 0, 0, 0, 1, 7];
    let cases: [(&str, Answer, &str, &str); 9] = [
        (
            "a refused stream",
            |id| reset(id, 7),
            "UNAVAILABLE",
            "the server reset the stream with REFUSED_STREAM",
        ),
        ("a cancelled stream", |id| reset(id, 8), "CANCELLED", "the server reset the stream with CANCEL"),
        ("no message", |id| success(id, &[]), "UNIMPLEMENTED", "the response has no message"),
        ("two", |id| success(id, &[WHOLE, WHOLE]), "UNIMPLEMENTED", "the response has more than one message"),
        ("half of one", |id| success(id, &[&WHOLE[..5]]), "INTERNAL", "the response ends within a message"),
        ("another message", |id| success(id, &[WHOLE]), "INTERNAL", "the response cannot be decoded"),
        ("no status", |id| page(id, "200"), "UNKNOWN", "the response ended without a status"),
        ("a proxy's page", |id| page(id, "502"), "UNAVAILABLE", "the server answered with HTTP status 502"),
        ("a GOAWAY", |_| goaway(), "UNAVAILABLE", "the server went away without having begun"),
    ];
    for (what, answer, code, text) in cases {
        let peer = Peer::start(answer);
        let figures = figures(&peer.target, "-n 1 -s 1");
        assert_eq!(calls(&figures), [1, 0, 1, 0, 0], "{what}");
        assert_eq!(statuses(&figures), [(code, 1, text)], "{what}");
    }
}

#[test]
fn a_lost_connection_is_made_anew_and_its_calls_have_failed() {
    let cases: [(Answer, &str); 2] = [
        (|_| None, "the peer closed the connection"),
        (|_| goaway(), "the server went away without having begun"),
    ];
    for (lost, text) in cases {
        let peer = Peer::start(lost);
        let figures = figures(&peer.target, "-n 6 -s 2");
        assert_eq!(calls(&figures), [6, 0, 6, 0, 0]);
        assert_eq!(statuses(&figures), [("UNAVAILABLE", 6, text)]);
        assert!(peer.connections() >= 3, "{}", peer.connections());
    }
}

/// As it is due, that is, and not so many for each attempt to connect: that would take minutes here.
#[test]
fn what_is_due_once_the_server_is_gone_fails() {
    let peer = Peer::of([|_| None]);
    let figures = figures(&peer.target, "--rate 1000 -n 200");
    assert_eq!(calls(&figures), [200, 0, 200, 0, 0]);
    assert_eq!(
        (statuses(&figures)[0].0, statuses(&figures).len(), peer.connections()),
        ("UNAVAILABLE", 1, 1)
    );
}

#[test]
fn while_one_connection_is_up_nothing_fails_for_want_of_another() {
    let answers: [Answer; 2] = [|_| None, |id| success(id, &[&[0; 5]])];
    let peer = Peer::of(answers);
    let figures = figures(&peer.target, "--rate 1000 -n 200 -c 2 --workers 1");
    // The one that was in flight.
    assert_eq!(calls(&figures), [200, 199, 1, 0, 0]);
}

#[test]
fn a_server_that_allows_fewer_streams_gets_no_more_and_it_is_said() {
    const WHOLE: &[u8] = &[0, 0, 0, 0, 0];
    // MAX_CONCURRENT_STREAMS is 2.
    let peer = Peer::with_settings(&[0, 3, 0, 0, 0, 2], |id| success(id, &[WHOLE]));
    let output = bench(&peer.target, "-n 50 -s 5 -c 2 --workers 1");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(calls(&figures), [50, 50, 0, 0, 0]);
    let note = "the server allows 2 streams on a connection: no more calls are in flight on one, though --streams is 5";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("note: {note}\n"));
}
