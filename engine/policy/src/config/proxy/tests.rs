//! Which proxy is used when, and what its answers mean.

use super::*;

/// The rules of an environment with these variables.
fn rules(variables: &[(&str, &str)]) -> Result<ProxyRules, ProxyError> {
    ProxyRules::from_environment(|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, text)| (*text).to_owned())
    })
}

fn host(text: &str) -> HostPort {
    HostPort::parse(text, 443).unwrap()
}

/// The proxy for a host that is nowhere an exception.
fn proxy(variables: &[(&str, &str)]) -> Option<Proxy> {
    rules(variables).unwrap().proxy_for(&host("server.example")).cloned()
}

/// Whether there is no proxy for `text`, if `no_proxy` is `exceptions`.
fn is_direct(exceptions: &str, text: &str) -> bool {
    let rules = rules(&[("grpc_proxy", "proxy"), ("no_proxy", exceptions)]).unwrap();
    rules.proxy_for(&host(text)).is_none()
}

#[test]
fn the_first_variable_that_is_set_counts() {
    let all = [
        ("grpc_proxy", "a"),
        ("GRPC_PROXY", "b"),
        ("https_proxy", "c"),
        ("HTTPS_PROXY", "d"),
        ("http_proxy", "e"),
        ("HTTP_PROXY", "f"),
        ("ALL_PROXY", "g"),
    ];
    let name = |variables| proxy(variables).map(|proxy| proxy.address().to_string());
    for (from, expected) in [
        (0, Some("a")),
        (1, Some("b")),
        (2, Some("c")),
        (3, Some("d")),
        (4, Some("e")),
        (5, None),
        (6, None),
        (7, None),
    ] {
        assert_eq!(name(&all[from..]).as_deref(), expected, "{from}");
    }
    assert_eq!(name(&[("grpc_proxy", ""), ("https_proxy", "c")]), None);
    assert_eq!(name(&[("grpc_proxy", " a ")]).as_deref(), Some("a"));
}

#[test]
fn the_first_list_of_exceptions_counts() {
    let is_direct = |lists: &[(&str, &str)]| {
        let variables: Vec<_> = [("grpc_proxy", "a")].iter().chain(lists).copied().collect();
        proxy(&variables).is_none()
    };
    assert!(is_direct(&[("no_grpc_proxy", "example"), ("no_proxy", "")]));
    assert!(!is_direct(&[("no_grpc_proxy", ""), ("no_proxy", "example")]));
    assert!(is_direct(&[("NO_GRPC_PROXY", "example")]));
    assert!(is_direct(&[("no_proxy", "example"), ("NO_PROXY", "")]));
    assert!(is_direct(&[("NO_PROXY", "example")]));
}

#[test]
fn proxies_are_read() {
    for (text, address, port, authorization) in [
        ("proxy", "proxy", 80, None),
        ("proxy:3128", "proxy:3128", 3128, None),
        ("http://proxy:3128/", "proxy:3128", 3128, None),
        ("HTTP://10.0.0.1", "10.0.0.1", 80, None),
        ("http://[::1]:1", "[::1]:1", 1, None),
        ("http://Aladdin:open%20sesame@proxy:1", "proxy:1", 1, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ("http://user@proxy", "proxy", 80, Some("Basic dXNlcjo=")),
        ("user:p@ss@proxy", "proxy", 80, Some("Basic dXNlcjpwQHNz")),
        ("http://:@proxy", "proxy", 80, Some("Basic Og==")),
        ("user:://@proxy", "proxy", 80, Some("Basic dXNlcjo6Ly8=")),
    ] {
        let proxy = proxy(&[("https_proxy", text)]).unwrap();
        assert_eq!((proxy.address().to_string().as_str(), proxy.address().port()), (address, port), "{text}");
        assert_eq!(proxy.authorization(), authorization, "{text}");
    }
}

#[test]
fn passwords_are_shown_nowhere() {
    let rules = rules(&[("grpc_proxy", "http://user:sesame@proxy")]).unwrap();
    let shown = format!("{rules:?}");
    assert!(shown.contains("(redacted)") && !shown.contains("sesame") && !shown.contains("Basic"), "{shown}");
    for text in [
        "http://user:sesame@",
        "http://user:sesame@a b",
        "http://user:sesame@proxy:0",
        "http://user:sesame@proxy/sesame",
        "http://user:sesame%zz@proxy",
        "https://user:sesame@proxy",
    ] {
        let error = super::tests::rules(&[("grpc_proxy", text)]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
    }
}

#[test]
fn bad_proxies_are_refused() {
    let long = "x".repeat(VARIABLE_LEN_MAX + 1);
    for (text, expected) in [
        ("https://proxy", "\"https\" is not spoken with a proxy: write http://host:port"),
        ("socks5://proxy", "\"socks5\" is not spoken with a proxy: write http://host:port"),
        ("http://", "a host is missing: write host:port"),
        ("http://:3128", "a host is missing before \":3128\": write host:port"),
        ("http://proxy:http", "\"http\" is no port of \"proxy\": write a number from 1 to 65535"),
        ("a b", "\"a b\" is no host: names have letters, digits, '-', '_' and dots"),
        ("http://proxy/a", "a proxy has no path: write http://host:port and nothing behind it"),
        ("http://proxy?a", "a proxy has no path: write http://host:port and nothing behind it"),
        (
            "http://%zz@proxy",
            "user and password have a % that starts no percent-encoded UTF-8: write %25 for the % itself",
        ),
        (&long, "must be at most 65536 bytes long, is 65537 bytes long"),
    ] {
        let error = rules(&[("https_proxy", text)]).unwrap_err().to_string();
        assert_eq!(error, format!("https_proxy: {expected}"));
    }
    let error = rules(&[("grpc_proxy", "a"), ("no_proxy", &long)]).unwrap_err();
    assert_eq!(error, ProxyError::TooLong { variable: "no_proxy", bytes: VARIABLE_LEN_MAX + 1 });
}

#[test]
fn exceptions_cover_what_they_name() {
    for (exceptions, direct, proxied) in [
        ("*", vec!["a", "10.0.0.1:5"], vec![]),
        ("a.b", vec!["a.b", "A.B.:1", "x.a.b", "y.x.a.b"], vec!["b", "xa.b", "a.b.c"]),
        ("A.b.", vec!["a.b"], vec!["b"]),
        (".a.b", vec!["x.a.b"], vec!["a.b", "xa.b"]),
        ("*.a.b", vec!["x.a.b"], vec!["a.b"]),
        ("a.b:50051", vec!["a.b:50051", "x.a.b:50051"], vec!["a.b", "a.b:1"]),
        ("10.0.0.1", vec!["10.0.0.1", "10.0.0.1:1", "[::ffff:10.0.0.1]"], vec!["10.0.0.2", "[::1:1]"]),
        ("10.0.0.1:1", vec!["10.0.0.1:1"], vec!["10.0.0.1"]),
        ("::ffff:10.0.0.1", vec!["10.0.0.1"], vec!["10.0.0.2"]),
        ("[2001:db8::1]:1", vec!["[2001:db8::1]:1", "[2001:DB8::1%25eth0]:1"], vec!["[2001:db8::1]:2"]),
        ("2001:db8::1", vec!["[2001:db8::1]:1"], vec!["[2001:db8::2]:1"]),
        ("10.0.0.0/8", vec!["10.255.0.1", "10.0.0.0"], vec!["11.0.0.0", "9.255.255.255", "[::a00:0]"]),
        ("10.1.2.3/8", vec!["10.255.0.1"], vec!["11.0.0.0"]),
        ("10.0.0.1/32", vec!["10.0.0.1"], vec!["10.0.0.0"]),
        ("0.0.0.0/0", vec!["10.0.0.1", "255.255.255.255"], vec!["[2001:db8::1]", "a"]),
        ("::/0", vec!["[2001:db8::1]"], vec!["10.0.0.1"]),
        ("2001:db8::/33", vec!["[2001:db8:7fff::1]"], vec!["[2001:db8:8000::1]"]),
        ("2001:db8::1/128", vec!["[2001:db8::1]"], vec!["[2001:db8::]"]),
        (" a , b\tc,,", vec!["a", "b", "c"], vec!["d"]),
        ("", vec![], vec!["a", "10.0.0.1"]),
    ] {
        for text in direct {
            assert!(is_direct(exceptions, text), "{text} and {exceptions:?}");
        }
        for text in proxied {
            assert!(!is_direct(exceptions, text), "{text} and {exceptions:?}");
        }
    }
}

#[test]
fn this_machine_is_reached_directly() {
    for text in [
        "localhost",
        "LOCALHOST.:1",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(is_direct("", text), "{text}");
    }
    assert!(!is_direct("", "notlocalhost"));
}

#[test]
fn exceptions_that_cannot_be_read_are_named() {
    let list = "a, 10.0.0.0/33, 192.168.*, .10.0.0.1, ., b:0, [fe80::1%25a], 10.0.0.0/8:1, c";
    let rules = rules(&[("grpc_proxy", "proxy"), ("no_proxy", list)]).unwrap();
    let expected = ["10.0.0.0/33", "192.168.*", ".10.0.0.1", ".", "b:0", "[fe80::1%25a]", "10.0.0.0/8:1"];
    assert_eq!(rules.ignored(), expected);
    assert!(rules.proxy_for(&host("c")).is_none());
}

#[test]
fn a_tunnel_is_asked_for() {
    for (text, expected) in [
        ("server", "CONNECT server:443 HTTP/1.1\r\nHost: server:443\r\n\r\n"),
        ("[fe80::1%25eth0]:1", "CONNECT [fe80::1]:1 HTTP/1.1\r\nHost: [fe80::1]:1\r\n\r\n"),
    ] {
        let proxy = proxy(&[("grpc_proxy", "proxy")]).unwrap();
        assert_eq!(String::from_utf8(connect_request(&host(text), &proxy)).unwrap(), expected);
    }
}

fn answer(text: &str) -> Result<ConnectProgress, ConnectError> {
    ConnectResponse::default().push(text.as_bytes())
}

#[test]
fn a_tunnel_begins_behind_the_head() {
    for (head, behind) in [
        ("HTTP/1.1 200 Connection established\r\n\r\n", "PRI * HTTP/2.0"),
        ("HTTP/1.0 200\r\nContent-Length: 5\r\nA: b\r\n\r\n", ""),
        ("HTTP/1.1 299 \n\n", "\r\n"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "x"),
    ] {
        let expected = Ok(ConnectProgress::Established { consumed: head.len() });
        assert_eq!(answer(&format!("{head}{behind}")), expected, "{head:?}");
        for end in 0..head.len() {
            assert_eq!(answer(&head[..end]), Ok(ConnectProgress::Incomplete), "{:?}", &head[..end]);
        }
    }
}

#[test]
fn refusals_of_a_proxy_say_what_to_do() {
    for (head, expected) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            "the proxy wants a user and a password (407): write http://user:password@host:port",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "the proxy opens no tunnel, for it answered 403 \"Forbidden\": ask whoever runs it, or name the server in no_proxy",
        ),
        (
            "HTTP/1.1 301\r\n\r\n",
            "the proxy opens no tunnel, for it answered 301 \"\": ask whoever runs it, or name the server in no_proxy",
        ),
    ] {
        assert_eq!(answer(head).unwrap_err().to_string(), expected);
    }
    let closed = "the proxy closed the connection before it answered: is it an HTTP proxy?";
    assert_eq!(ConnectError::Closed.to_string(), closed);
}

#[test]
fn what_is_no_http_is_refused_at_once() {
    for (text, line) in [
        ("\0\0\u{12}\u{4}", "\0"),
        ("SSH-2.0", "S"),
        ("HTTP/2 200\r\n", "HTTP/2"),
        ("\r\n", ""),
        ("HTTP/1.1\r\n", "HTTP/1.1"),
        ("HTTP/1.1 20\r\n", "HTTP/1.1 20"),
        ("HTTP/1.1 2000 OK\r\n", "HTTP/1.1 2000 OK"),
        ("HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 2x0 OK"),
        ("HTTP/1.1 099 OK\r\n", "HTTP/1.1 099 OK"),
        ("HTTP/1.x 200 OK\r\n", "HTTP/1.x 200 OK"),
        ("HTTP/1.1200 OK\r\n", "HTTP/1.1200 OK"),
    ] {
        assert_eq!(answer(text), Err(ConnectError::NotHttp { line: line.to_owned() }), "{text:?}");
    }
    let expected = "what answers is no HTTP proxy, for it said \"S\": see that grpc_proxy or https_proxy has its \
        host and port";
    assert_eq!(answer("SSH-2.0").unwrap_err().to_string(), expected);
}

#[test]
fn a_proxy_that_talks_without_end_is_left() {
    let status = "HTTP/1.1 200 OK\r\n";
    let fits = format!("{status}A: {}\r\n\r\n", "x".repeat(8192 - status.len() - 7));
    assert_eq!(answer(&fits), Ok(ConnectProgress::Established { consumed: 8192 }));
    let longer = format!("{status}A: {}\r\n\r\n", "x".repeat(8192 - status.len() - 6));
    assert_eq!(answer(&longer), Err(ConnectError::TooLong));
    assert_eq!(answer(&format!("HTTP/1.1 200 {}", "x".repeat(9000))), Err(ConnectError::TooLong));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(400);
    assert_eq!(answer(&interim), Err(ConnectError::TooLong));
    let expected = "the proxy's answer is longer than 8192 bytes: is it an HTTP proxy?";
    assert_eq!(ConnectError::TooLong.to_string(), expected);
}
