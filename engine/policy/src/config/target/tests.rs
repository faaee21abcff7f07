//! What targets are read as, the words of all refusals, and that what is written is read.

use proptest::prelude::*;

use super::*;

fn name(host: &str, port: u16) -> Location {
    Location::Host(HostPort { host: Host::Name(host.to_owned()), port, is_port_written: true })
}

fn v4(address: [u8; 4], port: u16) -> Location {
    Location::Host(HostPort { host: Host::V4(Ipv4Addr::from(address)), port, is_port_written: true })
}

fn v6(address: &str, zone: Option<&str>, port: u16) -> Location {
    let host = Host::V6 { address: address.parse().unwrap(), zone: zone.map(str::to_owned) };
    Location::Host(HostPort { host, port, is_port_written: true })
}

/// The same with a port that is not written.
fn implied(location: Location) -> Location {
    match location {
        Location::Host(host) => Location::Host(HostPort { is_port_written: false, ..host }),
        other => other,
    }
}

fn unix(path: &str) -> Location {
    Location::Unix(path.to_owned())
}

fn hidden(name: &str) -> Location {
    Location::UnixAbstract(name.to_owned())
}

fn read(text: &str) -> Target {
    Target::parse(text).unwrap_or_else(|error| panic!("{error}, in {text}"))
}

#[test]
fn hosts_are_read() {
    for (text, expected) in [
        ("greeter:50051", name("greeter", 50051)),
        ("greeter", implied(name("greeter", 443))),
        ("dns:greeter:1", name("greeter", 1)),
        ("dns:greeter", implied(name("greeter", 443))),
        ("dns:///greeter:65535", name("greeter", 65535)),
        ("DNS:///a.b-c_d.e.:007", name("a.b-c_d.e.", 7)),
        ("dns:///dns:443", name("dns", 443)),
        ("dns:///gr%65eter:1", name("greeter", 1)),
        ("127.0.0.1:1", v4([127, 0, 0, 1], 1)),
        ("dns:///127.0.0.1", implied(v4([127, 0, 0, 1], 443))),
        ("[::1]:50051", v6("::1", None, 50051)),
        ("[::1]", implied(v6("::1", None, 443))),
        ("::1", implied(v6("::1", None, 443))),
        ("fe80::1:2", implied(v6("fe80::1:2", None, 443))),
        ("[fe80::1%25eth0]:1", v6("fe80::1", Some("eth0"), 1)),
        ("fe80::1%252", implied(v6("fe80::1", Some("2"), 443))),
        ("dns:///[::ffff:1.2.3.4]:1", v6("::ffff:1.2.3.4", None, 1)),
    ] {
        let target = read(text);
        assert_eq!((target.scheme(), target.security()), (Scheme::Dns, None), "{text}");
        assert_eq!(target.locations(), [expected], "{text}");
    }
}

#[test]
fn urls_are_read_as_tonics_users_write_them() {
    for (text, security, expected) in [
        ("http://[::1]:50051", Security::Plaintext, v6("::1", None, 50051)),
        ("http://localhost", Security::Plaintext, implied(name("localhost", 80))),
        ("HTTP://localhost:1/", Security::Plaintext, name("localhost", 1)),
        ("https://10.0.0.1:1", Security::Tls, v4([10, 0, 0, 1], 1)),
        ("https://example.com", Security::Tls, implied(name("example.com", 443))),
    ] {
        let target = read(text);
        assert_eq!(
            (target.security(), target.locations()),
            (Some(security), [expected].as_slice()),
            "{text}"
        );
    }
}

#[test]
fn addresses_are_read() {
    for (text, scheme, expected) in [
        ("ipv4:1.2.3.4:80,5.6.7.8", Scheme::Ipv4, vec![v4([1, 2, 3, 4], 80), implied(v4([5, 6, 7, 8], 443))]),
        ("ipv4:///1.2.3.4:80", Scheme::Ipv4, vec![v4([1, 2, 3, 4], 80)]),
        (
            "ipv6:[::1]:80,[fe80::1%25eth0]:81,::2",
            Scheme::Ipv6,
            vec![v6("::1", None, 80), v6("fe80::1", Some("eth0"), 81), implied(v6("::2", None, 443))],
        ),
    ] {
        let target = read(text);
        assert_eq!((target.scheme(), target.locations()), (scheme, expected.as_slice()), "{text}");
    }
}

#[test]
fn unix_sockets_are_read() {
    let longest = "a".repeat(107);
    for (text, expected) in [
        ("unix:a/b.sock", unix("a/b.sock")),
        ("unix:/run/a.sock", unix("/run/a.sock")),
        ("unix:///run/a.sock", unix("/run/a.sock")),
        ("unix:a%20b%2525%3F", unix("a b%25?")),
        ("unix:a:1,b", unix("a:1,b")),
        ("unix-abstract:a", hidden("a")),
        ("unix-abstract:///a", hidden("/a")),
        (&format!("unix:{longest}"), unix(&longest)),
    ] {
        assert_eq!(read(text).locations(), [expected], "{text}");
    }
}

#[test]
fn lists_are_read() {
    let expected = [
        name("a", 1),
        implied(name("b", 443)),
        v4([10, 0, 0, 1], 2),
        v6("::1", None, 3),
        unix("/c,d"),
        hidden("e"),
    ];
    for text in [
        "static:///a:1,b,10.0.0.1:2,[::1]:3,unix:///c%2Cd,unix-abstract:e",
        "static:a:1,b,10.0.0.1:2,[::1]:3,unix:/c%2cd,unix-abstract:e",
    ] {
        let target = read(text);
        assert_eq!((target.scheme(), target.locations()), (Scheme::Static, expected.as_slice()), "{text}");
    }
    assert_eq!(read("passthrough:///a:1").locations(), [name("a", 1)]);
    assert_eq!(read("passthrough:unix:a").locations(), [unix("a")]);
}

#[test]
fn the_authority_is_what_is_written() {
    for (text, expected) in [
        ("greeter", "greeter"),
        ("dns:///greeter:443", "greeter:443"),
        ("dns:///gr%65eter:1", "greeter:1"),
        ("https://greeter", "greeter"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("::1", "[::1]"),
        ("ipv6:[fe80::1%25eth0]:80", "[fe80::1]:80"),
        ("ipv4:1.2.3.4:80,5.6.7.8", "1.2.3.4:80"),
        ("static:///a:1,b:2", "a:1"),
        ("static:///unix:a,b:2", "localhost"),
        ("unix:///run/a.sock", "localhost"),
        ("unix-abstract:a", "localhost"),
    ] {
        assert_eq!(read(text).authority(), expected, "{text}");
    }
}

#[test]
fn a_target_is_written_one_way() {
    for (text, expected) in [
        ("greeter", "dns:///greeter"),
        ("HTTP://a:1/", "http://a:1"),
        ("dns:a:01", "dns:///a:1"),
        ("ipv6:::1", "ipv6:[::1]"),
        ("unix:/a b", "unix:///a%20b"),
        ("unix:////a", "unix:////a"),
        ("unix:a", "unix:a"),
        ("static:a,unix:/b%2C", "static:///a,unix:///b%2C"),
        ("[fe80::1%25eth0]:1", "dns:///[fe80::1%25eth0]:1"),
        ("static:un%69x:80,unix:80", "static:///%75nix:80,unix:80"),
    ] {
        assert_eq!(read(text).to_string(), expected);
        assert_eq!(text.parse(), Ok(read(expected)));
    }
}

#[test]
fn addresses_need_no_looking_up() {
    let addr = |text: &str| match read(text).locations() {
        [Location::Host(host)] => {
            host.socket_addr(|interface| if interface == "eth0" { Some(7) } else { None })
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(addr("greeter:1"), None);
    assert_eq!(addr("127.0.0.1:1"), Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(addr("[::1]"), Some("[::1]:443".parse().unwrap()));
    assert_eq!(addr("[fe80::1%252]:1"), Some("[fe80::1%2]:1".parse().unwrap()));
    assert_eq!(addr("[fe80::1%25eth0]:1"), Some("[fe80::1%7]:1".parse().unwrap()));
    assert_eq!(addr("[fe80::1%25eth1]:1"), None);
}

fn refusals(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let error = Target::parse(text).expect_err(text).to_string();
        assert_eq!(error, format!("target: {expected}"), "{text}");
    }
}

#[test]
fn what_is_no_target_is_refused() {
    let schemes = "is no scheme that is known here: there are dns, ipv4, ipv6, unix, unix-abstract, static, \
        passthrough, http, https; a host may stand without one, as host:port";
    refusals(&[
        ("", "is empty: write dns:///host:port"),
        ("xds:///a", &format!("\"xds\" {schemes}")),
        ("etcd:a", &format!("\"etcd\" {schemes}")),
        ("dnss:///a:1", &format!("\"dnss\" {schemes}")),
        ("a:http", &format!("\"a\" {schemes}")),
        ("a:1?x=y", "\"?x=y\" says nothing to a channel: leave it out, or write %3F for ? and %23 for #"),
        ("unix:a#b", "\"#b\" says nothing to a channel: leave it out, or write %3F for ? and %23 for #"),
        ("a%zz:1", "\"a%zz\" has a % that starts no percent-encoded UTF-8: write %25 for the % itself"),
        ("unix:%ff", "\"%ff\" has a % that starts no percent-encoded UTF-8: write %25 for the % itself"),
        (
            "[fe80::1%eth0]:1",
            "\"fe80::1%eth0\" has a % that starts no percent-encoded UTF-8: write %25 for the % itself",
        ),
        (
            "dns://8.8.8.8/a:1",
            "\"8.8.8.8\" would be the DNS server, which is the system's to choose: write dns:///a:1",
        ),
        ("dns://a:1", "\"a:1\" stands where dns: has a DNS server, and no host follows: write dns:///a:1"),
        (
            "static://a:1,b:2",
            "\"a:1,b:2\" stands where static: has nothing: write static:a:1,b:2 or static:///a:1,b:2",
        ),
        (
            "unix://run/a.sock",
            "\"run\" stands where unix: has nothing: write unix:run/a.sock or unix:///run/a.sock",
        ),
    ]);
    let text = "a".repeat(TARGET_LEN_MAX + 1);
    assert_eq!(Target::parse(&text), Err(TargetError::TooLong { bytes: 65537 }));
    let expected = "target: must be at most 65536 bytes long, is 65537 bytes long";
    assert_eq!(Target::parse(&text).unwrap_err().to_string(), expected);
}

#[test]
fn bad_hosts_and_ports_are_refused() {
    let letters = "names have letters, digits, '-', '_' and dots";
    let colon = "it has a : and is no IPv6 address; with a port that is [address]:port";
    let number = "it ends in a number, as an IPv4 address does, and is none";
    let label = "between the dots of a name are 1 to 63 bytes";
    let no_host = |host: &str, reason: &str| format!("\"{host}\" is no host: {reason}");
    let no_port = |port: &str, host: &str| {
        format!("\"{port}\" is no port of \"{host}\": write a number from 1 to 65535")
    };
    let x64 = "x".repeat(64);
    let x254 = [x64[1..].to_owned(), x64[1..].to_owned(), x64[1..].to_owned(), x64[2..].to_owned()].join(".");
    refusals(&[
        (":1", "a host is missing before \":1\": write host:port"),
        ("dns:", "a host is missing: write host:port"),
        ("dns:///", "a host is missing: write host:port"),
        ("dns:///:1", "a host is missing before \":1\": write host:port"),
        ("http://", "a host is missing: write host:port"),
        ("static:///", "a host is missing: write host:port"),
        ("static:///a:1,,b:2", "a host is missing: write host:port"),
        ("ipv4:1.2.3.4,", "a host is missing: write host:port"),
        ("a b:1", &no_host("a b", letters)),
        ("http://user@a:1", &no_host("user@a", letters)),
        ("dns:///a/b", &no_host("a/b", letters)),
        ("dns:///%00", &no_host("\\0", letters)),
        (
            "bücher.example:1",
            &no_host(
                "bücher.example",
                "names have ASCII letters only; write those of other scripts as xn--...",
            ),
        ),
        ("a..b:1", &no_host("a..b", label)),
        (".", &no_host(".", label)),
        (&x64, &no_host(&format!("{}...", &x64[..40]), label)),
        (&x254, &no_host(&format!("{}...", &x254[..40]), "names have at most 253 bytes")),
        ("256.1.1.1:1", &no_host("256.1.1.1", number)),
        ("1.2.3:1", &no_host("1.2.3", number)),
        ("dns:443", &no_host("443", number)),
        ("0x7f000001:1", &no_host("0x7f000001", number)),
        ("::1:50051", &no_host("::1:50051", colon)),
        ("[::g]:1", &no_host("[::g]:1", colon)),
        ("[a]:1", &no_host("[a]:1", colon)),
        ("[::1:1", &no_host("[::1:1", "a ] is missing")),
        ("[::1]1", &no_host("[::1]1", "after ] comes nothing or :port")),
        ("[fe80::1%25]:1", &no_host("[fe80::1%25]:1", "the zone is no name of an interface")),
        ("[fe80::1%25a%20b]", &no_host("[fe80::1%25a%20b]", "the zone is no name of an interface")),
        ("a:0", &no_port("0", "a")),
        ("a:65536", &no_port("65536", "a")),
        ("a:", &no_port("", "a")),
        ("dns:///a:http", &no_port("http", "a")),
        ("dns:///a:+1", &no_port("+1", "a")),
        ("a:1/b", &no_port("1/b", "a")),
        ("[::1]:x", &no_port("x", "[::1]")),
        ("static:///a:1,b:2x", &no_port("2x", "b")),
    ]);
}

#[test]
fn what_does_not_fit_its_scheme_is_refused() {
    let long = format!("unix:{}", "a".repeat(108));
    refusals(&[
        (
            "ipv4:[::1]:80",
            "\"[::1]:80\" is no address of ipv4: write ipv4:127.0.0.1:50051, or dns:/// with a name",
        ),
        (
            "ipv6:1.2.3.4:80",
            "\"1.2.3.4:80\" is no address of ipv6: write ipv6:[::1]:50051, or dns:/// with a name",
        ),
        (
            "ipv4:1.2.3.4,localhost:1",
            "\"localhost:1\" is no address of ipv4: write ipv4:127.0.0.1:50051, or dns:/// with a name",
        ),
        ("http:a:1", "\"a:1\" is not what follows http: write http://host:port, without a path"),
        ("https://a/b", "\"//a/b\" is not what follows https: write https://host:port, without a path"),
        ("unix:", "\"\" is the path of no Unix socket: it is empty"),
        ("unix://", "\"\" is the path of no Unix socket: it is empty"),
        ("unix-abstract:", "\"\" is the path of no Unix socket: it is empty"),
        ("unix:a%00b", "\"a\\0b\" is the path of no Unix socket: it has a NUL"),
        (
            &long,
            &format!("\"{}...\" is the path of no Unix socket: it has more than 107 bytes", "a".repeat(40)),
        ),
    ]);
}

fn hosts() -> impl Strategy<Value = Host> {
    let names = "[a-z][a-z0-9_-]{0,8}(\\.[a-z]{1,5}){0,2}\\.?";
    let schemes = "unix|UNIX-abstract|dns|http";
    prop_oneof![names.prop_map(Host::Name), schemes.prop_map(Host::Name), v4_hosts(), v6_hosts()]
}

fn v4_hosts() -> impl Strategy<Value = Host> {
    any::<Ipv4Addr>().prop_map(Host::V4)
}

fn v6_hosts() -> impl Strategy<Value = Host> {
    (any::<Ipv6Addr>(), prop::option::of("[a-z0-9._~-]{1,8}"))
        .prop_map(|(address, zone)| Host::V6 { address, zone })
}

fn at_ports(hosts: impl Strategy<Value = Host>, default: u16) -> impl Strategy<Value = Location> {
    (hosts, prop::option::of(1..=u16::MAX)).prop_map(move |(host, port)| {
        let is_port_written = port.is_some();
        Location::Host(HostPort { host, port: port.unwrap_or(default), is_port_written })
    })
}

fn unix_sockets() -> impl Strategy<Value = Location> {
    // Three bytes a character at most.
    let path = "[/a-z,%?#é世 \u{1}:@]{1,35}";
    prop_oneof![path.prop_map(Location::Unix), path.prop_map(Location::UnixAbstract)]
}

fn locations() -> impl Strategy<Value = Location> {
    prop_oneof![at_ports(hosts(), 443), unix_sockets()]
}

fn targets() -> impl Strategy<Value = Target> {
    let one = |scheme| move |location| Target { scheme, locations: vec![location] };
    let some = |scheme| move |locations| Target { scheme, locations };
    prop_oneof![
        at_ports(hosts(), 443).prop_map(one(Scheme::Dns)),
        at_ports(hosts(), 80).prop_map(one(Scheme::Http)),
        at_ports(hosts(), 443).prop_map(one(Scheme::Https)),
        locations().prop_map(one(Scheme::Passthrough)),
        prop::collection::vec(at_ports(v4_hosts(), 443), 1..4).prop_map(some(Scheme::Ipv4)),
        prop::collection::vec(at_ports(v6_hosts(), 443), 1..4).prop_map(some(Scheme::Ipv6)),
        prop::collection::vec(locations(), 1..6).prop_map(some(Scheme::Static)),
        unix_sockets().prop_map(|location| {
            let is_path = matches!(location, Location::Unix(_));
            let scheme = if is_path { Scheme::Unix } else { Scheme::UnixAbstract };
            Target { scheme, locations: vec![location] }
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(target in targets()) {
        prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
    }

    #[test]
    fn no_text_is_too_strange(text: String) {
        if let Ok(target) = Target::parse(&text) {
            prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
        }
    }
}
