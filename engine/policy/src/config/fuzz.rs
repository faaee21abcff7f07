//! The fuzz bodies for everything here that reads what somebody else wrote.

use super::{
    Client, ConnectProgress, ConnectResponse, HostPort, ProxyRules, ServiceConfig, Target, connect_request,
};

/// The longest text of an error, whatever is wrong.
const ERROR_LEN_MAX: usize = 4096;

/// Takes `bytes` for a service config.
///
/// # Panics
///
/// If what is said about a method depends on who asks, or an error is out of proportion.
pub fn fuzz_service_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ServiceConfig::from_json(text) {
        Ok(config) => {
            assert_eq!(ServiceConfig::from_json(text).as_ref(), Ok(&config));
            for (name, method) in config.methods.iter() {
                assert!(method.retry.is_none() || method.hedging.is_none(), "{name} has both");
            }
            let _ = config.method(text);
        }
        Err(error) => check_error(&error),
    }
}

/// Takes `bytes` for a list of choices.
///
/// # Panics
///
/// If a choice without a condition is not for everybody, or an error is out of proportion.
pub fn fuzz_choices(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let client = Client { language: "rust", hostname: "a", roll: 50 };
    if let Err(error) = ServiceConfig::choose(text, &client) {
        check_error(&error);
    }
    let list = format!(r#"[{{"serviceConfig":{text}}}]"#);
    if let (Ok(config), Ok(chosen)) = (ServiceConfig::from_json(text), ServiceConfig::choose(&list, &client))
    {
        assert_eq!(chosen, Some(config));
    }
}

/// Takes `bytes` for a target.
///
/// # Panics
///
/// If it is another target when it is written and read again, or an error is out of proportion.
pub fn fuzz_target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Target::parse(text) {
        Ok(target) => {
            assert!(!target.locations().is_empty());
            let written = target.to_string();
            assert_eq!(Target::parse(&written).as_ref(), Ok(&target), "{written}");
            let authority = target.authority();
            assert!(!authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Err(error) => check_error(&error),
    }
}

/// Takes `bytes` for a proxy and for exceptions, at its first zero.
///
/// # Panics
///
/// If the proxy is used for this machine, or an error is out of proportion.
pub fn fuzz_proxy_rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (proxy, exceptions) = text.split_once('\0').unwrap_or((text, ""));
    let lookup = |name: &str| match name {
        "grpc_proxy" => Some(proxy.to_owned()),
        "no_proxy" => Some(exceptions.to_owned()),
        _ => None,
    };
    match ProxyRules::from_environment(lookup) {
        Ok(rules) => {
            for host in ["a.b:1", "10.0.0.1", "[::1]", "[2001:db8::1%25a]:2", exceptions] {
                if let Ok(host) = HostPort::parse(host, 443)
                    && let Some(proxy) = rules.proxy_for(&host)
                {
                    assert!(host.to_string() != "[::1]");
                    let request = connect_request(&host, proxy);
                    let lines = request.iter().filter(|byte| **byte == b'\n').count();
                    assert_eq!(lines, 3 + usize::from(proxy.authorization().is_some()));
                }
            }
        }
        Err(error) => check_error(&error),
    }
}

/// Takes `bytes` for a proxy's answer, whole and byte by byte, and holds the two against each other.
///
/// # Panics
///
/// If cutting changes what comes out.
pub fn fuzz_connect_response(bytes: &[u8]) {
    let whole = ConnectResponse::default().push(bytes);
    let mut piecewise = ConnectResponse::default();
    let mut result = Ok(ConnectProgress::Incomplete);
    for (index, byte) in bytes.iter().enumerate() {
        result = piecewise.push(&[*byte]);
        match &result {
            Ok(ConnectProgress::Incomplete) => {}
            Ok(ConnectProgress::Established { consumed }) => {
                result = Ok(ConnectProgress::Established { consumed: index + consumed });
                break;
            }
            Err(error) => {
                check_error(error);
                break;
            }
        }
    }
    assert_eq!(result, whole);
}

fn check_error(error: &impl std::error::Error) {
    let text = error.to_string();
    assert!(text.len() <= ERROR_LEN_MAX, "{} bytes of error", text.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What texts are made of: pieces that mean something in one place or another.
    const CONFIG_PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "true",
        "1",
        "2",
        "-1",
        "0.5",
        "1e9",
        "\"1.5s\"",
        "\"0s\"",
        "\"methodConfig\":[",
        "{\"name\":[{}]",
        "\"service\":\"a\"",
        "\"method\":\"b\"",
        "\"retryPolicy\":{",
        "\"hedgingPolicy\":{",
        "\"maxAttempts\":3",
        "\"initialBackoff\":\"1s\"",
        "\"maxBackoff\":\"1s\"",
        "\"backoffMultiplier\":2",
        "\"retryableStatusCodes\":[14]",
        "\"timeout\":",
        "\"waitForReady\":true",
        "\"loadBalancingConfig\":[",
        "{\"round_robin\":{}}",
        "{\"ring_hash\":{",
        "\"minRingSize\":",
        "\"loadBalancingPolicy\":\"random\"",
        "\"retryThrottling\":{\"maxTokens\":10,\"tokenRatio\":0.1}",
        "\"childPolicy\":[",
        "{\"random_subsetting\":{\"subsetSize\":2,",
        "\"serviceConfig\":{",
        "\"percentage\":50",
        "\"clientLanguage\":[\"rust\"]",
        "\u{0}",
        "\u{7f}",
        "\\u0000",
        "\\",
    ];

    const TARGET_PIECES: &[&str] = &[
        "dns:",
        "ipv4:",
        "ipv6:",
        "unix:",
        "unix-abstract:",
        "static:",
        "passthrough:",
        "http:",
        "https:",
        "xds:",
        "//",
        "/",
        ":",
        "[",
        "]",
        ",",
        ".",
        "%25",
        "%2F",
        "%",
        "%00",
        "::1",
        "fe80::1",
        "eth0",
        "127.0.0.1",
        "a",
        "b-c",
        "0",
        "443",
        "65536",
        "é",
        " ",
        "?",
        "#",
        "@",
    ];

    /// Texts of random pieces.
    fn run(seed: u64, pieces: &[&str], body: fn(&[u8])) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(..24)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            body(text.as_bytes());
            let bytes: Vec<u8> = (0..random.usize(..24)).map(|_| random.u8(..)).collect();
            body(&bytes);
        }
    }

    #[test]
    fn service_configs() {
        run(1, CONFIG_PIECES, fuzz_service_config);
    }

    #[test]
    fn choices() {
        run(2, CONFIG_PIECES, fuzz_choices);
    }

    #[test]
    fn targets() {
        run(4, TARGET_PIECES, fuzz_target);
        for piece in TARGET_PIECES {
            for other in TARGET_PIECES {
                fuzz_target(format!("{piece}{other}").as_bytes());
                fuzz_target(format!("static:///{piece}{other},{other}{piece}").as_bytes());
            }
        }
    }

    #[test]
    fn proxy_rules() {
        let pieces = [
            "http://",
            "HTTP://",
            "https://",
            "user",
            "pass",
            ":",
            "@",
            "%40",
            "%",
            "proxy",
            "/",
            "3128",
            "\0",
            ",",
            " ",
            "*",
            ".",
            "10.0.0.0",
            "/8",
            "/33",
            "[::1]",
            "2001:db8::",
            "/32",
            "a.b",
            "\r\n",
            "é",
        ];
        run(5, &pieces, fuzz_proxy_rules);
    }

    #[test]
    fn connect_responses() {
        let pieces = [
            "HTTP/1.",
            "1",
            "0",
            " ",
            "200",
            "100",
            "407",
            "OK",
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "\n\n",
            "Server: a",
            "\0",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 103 Early\r\n",
        ];
        run(6, &pieces, fuzz_connect_response);
    }

    #[test]
    fn a_valid_config_that_is_bent_in_one_place() {
        let valid = r#"{"loadBalancingConfig":[{"outlier_detection":{"interval":"1s","childPolicy":[{"ring_hash":{
            "minRingSize":5}}]}}],"methodConfig":[{"name":[{"service":"a","method":"b"}],"retryPolicy":{
            "maxAttempts":3,"initialBackoff":"0.1s","maxBackoff":"1s","backoffMultiplier":2,
            "retryableStatusCodes":["ABORTED",14]}}],"retryThrottling":{"maxTokens":10,"tokenRatio":0.1}}"#;
        assert!(ServiceConfig::from_json(valid).is_ok());
        let mut random = fastrand::Rng::with_seed(3);
        for index in 0..valid.len() {
            for _ in 0..8 {
                let mut bytes = valid.as_bytes().to_vec();
                match random.u8(..3) {
                    0 => bytes[index] = random.u8(..),
                    1 => drop(bytes.remove(index)),
                    _ => bytes.truncate(index),
                }
                fuzz_service_config(&bytes);
                fuzz_choices(&bytes);
            }
        }
    }
}
