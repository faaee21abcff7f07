//! The admin port over real sockets: what it tells, and what it bears.

use std::io::{Read as _, Write as _};

use corelane_observe::{ProfileSwitch, Profiling, ShardSet, WorkerCounters};

use super::request::HEAD_MAX;
use super::*;

/// Nobody waits for so long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Port {
    admin: Admin,
    counters: ShardSet<WorkerCounters>,
    profile: ProfileSwitch,
}

impl Port {
    fn within(bounds: Bounds) -> Port {
        let (counters, profile) = (ShardSet::new(2), ProfileSwitch::default());
        let figures = Figures::new(counters.clone(), profile.clone(), &"test");
        let listener = TcpListener::bind(SocketAddr::from(AdminAddress::from(0))).unwrap();
        let admin = Admin::open_within(bounds, listener, figures).unwrap();
        Port { admin, counters, profile }
    }

    fn open() -> Port {
        Port::within(Bounds { connections_max: CONNECTIONS_MAX, request_time: PATIENCE })
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.admin.address()).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// Sends these octets, and nothing after them; gives what comes back.
    fn say(&self, octets: &[u8]) -> String {
        let mut peer = self.connect();
        // One that is refused early need not have taken all.
        let _ = peer.write_all(octets);
        let _ = peer.shutdown(Shutdown::Write);
        heard(peer)
    }

    fn ask(&self, line: &str) -> String {
        self.say(format!("{line} HTTP/1.1\r\nHost: admin\r\n\r\n").as_bytes())
    }
}

fn heard(mut peer: TcpStream) -> String {
    let mut heard = String::new();
    peer.read_to_string(&mut heard).unwrap();
    heard
}

/// The status, and the body, whose length is as announced.
fn cut(answer: &str) -> (&str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").unwrap().split("\r\n").next().unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (status, body)
}

#[test]
fn it_tells_the_sum_and_each_worker() {
    let port = Port::open();
    let writers = [port.counters.writer(0).unwrap(), port.counters.writer(1).unwrap()];
    writers[0].bytes_in.add(100);
    writers[1].bytes_in.add(11);
    writers[1].call_started();
    writers[1].call_ended(5, 7);
    let sum = port.ask("GET /stats");
    let (status, body) = cut(&sum);
    assert_eq!(status, "200 OK");
    assert!(body.starts_with("{\"server\":\"corelane\",\"version\":"), "{body}");
    assert!(body.contains("\"workers\":2") && body.contains("\"bytes_in\":111"), "{body}");
    assert!(body.contains("\"not_found\":1") && body.contains("\"buckets\":[[7,1]]"), "{body}");
    let cores = port.ask("GET /cores");
    let (_, body) = cut(&cores);
    assert_eq!(body.matches("\"bytes_in\":").count(), 2);
    assert!(body.contains("\"bytes_in\":100") && body.contains("\"bytes_in\":11,"), "{body}");
    assert_eq!(cut(&port.ask("GET /healthz")), ("200 OK", "{\"status\":\"ok\"}\n"));
    assert!(cut(&port.ask("GET /")).1.contains("\"POST /profile\""));
}

#[test]
fn the_profile_is_turned_on_and_off() {
    let port = Port::open();
    assert_eq!(cut(&port.ask("POST /profile?on")), ("200 OK", "{\"profile\":\"on\"}\n"));
    assert_eq!(port.profile.get(), Profiling::On);
    assert!(cut(&port.ask("GET /stats")).1.contains("\"profile\":\"on\""));
    assert_eq!(cut(&port.ask("POST /profile?off")).1, "{\"profile\":\"off\"}\n");
    assert_eq!(port.profile.get(), Profiling::Off);
    assert_eq!(cut(&port.ask("POST /profile?")).0, "400 Bad Request");
    let page = port.say(b"POST /profile?on HTTP/1.1\r\nOrigin: http://elsewhere\r\n\r\n");
    assert_eq!((cut(&page).0, port.profile.get()), ("403 Forbidden", Profiling::Off));
    // A body is none of our business, and does not cost the answer.
    let with_body =
        format!("POST /profile?on HTTP/1.1\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    assert_eq!(cut(&port.say(with_body.as_bytes())).0, "200 OK");
}

#[test]
fn what_is_not_here_is_refused() {
    let port = Port::open();
    assert_eq!(cut(&port.ask("GET /nothing")).0, "404 Not Found");
    assert_eq!(cut(&port.ask("GET /stats/")).0, "404 Not Found");
    let put = port.ask("PUT /stats");
    assert_eq!(cut(&put).0, "405 Method Not Allowed");
    assert!(put.contains("\r\nAllow: GET\r\n"), "{put}");
    assert!(port.ask("GET /profile?on").contains("\r\nAllow: POST\r\n"));
    assert_eq!(port.profile.get(), Profiling::Off);
}

#[test]
fn malformed_requests_are_answered_and_do_no_harm() {
    let port = Port::open();
    assert_eq!(cut(&port.say(b"nonsense\r\n\r\n")).0, "400 Bad Request");
    assert_eq!(cut(&port.say(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")).0, "400 Bad Request");
    assert_eq!(cut(&port.say(b"\xff\xfe\r\n\r\n")).0, "400 Bad Request");
    assert_eq!(cut(&port.say(b"GET / HTTP/1.1\r\n")).0, "400 Bad Request");
    assert_eq!(cut(&port.say(b"GET / HTTP/3.0\r\n\r\n")).0, "505 HTTP Version Not Supported");
    // HTTP/2's preface, by somebody who took this for the server's port.
    assert_eq!(cut(&port.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).0, "400 Bad Request");
    assert_eq!(port.say(b""), "");
    assert_eq!(cut(&port.ask("GET /healthz")).0, "200 OK");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let port = Port::open();
    let head = |len: usize| {
        let line = "GET /healthz HTTP/1.1\r\nx: ";
        format!("{line}{}\r\n\r\n", "y".repeat(len - line.len() - 4))
    };
    assert_eq!(cut(&port.say(head(HEAD_MAX).as_bytes())).0, "200 OK");
    assert_eq!(cut(&port.say(head(HEAD_MAX + 1).as_bytes())).0, "431 Request Header Fields Too Large");
    assert_eq!(cut(&port.say(&[b'x'; 3 * HEAD_MAX])).0, "431 Request Header Fields Too Large");
}

#[test]
fn a_slow_peer_loses_its_place_when_its_time_is_over() {
    // The first may not have left its place when the second comes.
    let port = Port::within(Bounds { connections_max: 2, request_time: Duration::from_millis(50) });
    let mut silent = port.connect();
    silent.write_all(b"GET / HT").unwrap();
    assert_eq!(cut(&heard(silent)).0, "408 Request Timeout");
    // Octet by octet is no better: the time is the whole request's.
    let mut dripping = port.connect();
    let mut answer = [0; 12];
    dripping.set_nonblocking(true).unwrap();
    let answered = loop {
        match dripping.read(&mut answer) {
            Ok(read) => break &answer[..read],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(dripping.write(b"x")),
            Err(error) => panic!("no answer: {error}"),
        }
    };
    assert!(answered == b"HTTP/1.1 408" || answered == b"HTTP/1.1 431", "{answered:?}");
}

#[test]
fn one_more_than_there_are_places_is_sent_away_until_one_is_free() {
    let port = Port::within(Bounds { connections_max: 2, request_time: PATIENCE });
    let held = [port.connect(), port.connect()];
    // They were accepted in the order in which they came.
    assert_eq!(cut(&heard(port.connect())).0, "503 Service Unavailable");
    drop(held);
    let free = || port.ask("GET /healthz").contains("200 OK");
    assert!((0..100_000).any(|_| free()), "no place became free");
}

#[test]
fn closing_it_frees_the_port_though_a_peer_is_there() {
    let port = Port::open();
    let address = port.admin.address();
    let held = port.connect();
    drop(port);
    assert!(TcpStream::connect(address).is_err());
    drop(held);
}
