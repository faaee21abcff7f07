//! The exchange that opens a tunnel: CONNECT and its answer (RFC 9110, 9.3.6; RFC 9112).
//!
//! Of the answer nothing counts but its status. What follows the head belongs to the tunnel, where a server may well be the
//! first to speak. Interim answers (1xx) are passed over.
//!
//! Does not: read or write a socket, or wait; for how long a proxy may take is the connector's matter.
//!
//! Invariant: at most [`HEAD_LEN_MAX`] bytes are taken, and of those only the status line is kept.

use std::fmt;

use super::{HostPort, Proxy};
use crate::config::text::quoted;

/// The most that a proxy may say before the tunnel begins, in bytes.
const HEAD_LEN_MAX: usize = 8 << 10;

/// What every answer begins with.
const VERSION: &[u8] = b"HTTP/1.";

/// The bytes that ask `proxy` for a tunnel to `host`.
///
/// ```
/// use corelane_policy::config::{HostPort, ProxyRules, connect_request};
///
/// let variable = |name: &str| (name == "grpc_proxy").then(|| "http://user:pass@proxy:3128".to_owned());
/// let rules = ProxyRules::from_environment(variable)?;
/// let host = HostPort::parse("greeter", 443).unwrap();
/// let proxy = rules.proxy_for(&host).expect("there is no exception");
/// assert_eq!(
///     String::from_utf8(connect_request(&host, proxy)).unwrap(),
///     "CONNECT greeter:443 HTTP/1.1\r\nHost: greeter:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
/// );
/// # Ok::<_, corelane_policy::config::ProxyError>(())
/// ```
#[must_use]
pub fn connect_request(host: &HostPort, proxy: &Proxy) -> Vec<u8> {
    let authority = host.authority_with_port();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = proxy.authorization() {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The proxy said no.
    Refused {
        /// Its status.
        status: u16,
        /// What it said besides.
        reason: String,
    },
    /// What answers is no HTTP/1 proxy.
    NotHttp {
        /// What it said at first.
        line: String,
    },
    /// The proxy talks without end.
    TooLong,
    /// The proxy closed the connection before it had answered.
    Closed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Refused { status: 407, .. } => f.write_str(
                "the proxy wants a user and a password (407): write http://user:password@host:port",
            ),
            ConnectError::Refused { status, reason } => {
                let reason = quoted(reason);
                write!(
                    f,
                    "the proxy opens no tunnel, for it answered {status} {reason}: ask whoever runs it, or name the server in no_proxy"
                )
            }
            ConnectError::NotHttp { line } => {
                let line = quoted(line);
                write!(
                    f,
                    "what answers is no HTTP proxy, for it said {line}: see that grpc_proxy or https_proxy has its host and port"
                )
            }
            ConnectError::TooLong => {
                write!(f, "the proxy's answer is longer than {HEAD_LEN_MAX} bytes: is it an HTTP proxy?")
            }
            ConnectError::Closed => {
                f.write_str("the proxy closed the connection before it answered: is it an HTTP proxy?")
            }
        }
    }
}

impl std::error::Error for ConnectError {}

/// How far the answer is.
#[must_use = "`Established` says where the tunnel's bytes begin"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectProgress {
    /// More has to come.
    Incomplete,
    /// The tunnel is there.
    Established {
        /// How many of the bytes that were just handed in belong to the answer; the rest is the tunnel's.
        consumed: usize,
    },
}

/// The answer to CONNECT, as it comes in.
///
/// ```
/// use corelane_policy::config::{ConnectProgress, ConnectResponse};
///
/// let mut response = ConnectResponse::default();
/// assert_eq!(response.push(b"HTTP/1.1 200 OK\r\nServer: a\r\n"), Ok(ConnectProgress::Incomplete));
/// assert_eq!(response.push(b"\r\nhello"), Ok(ConnectProgress::Established { consumed: 2 }));
/// ```
#[derive(Debug, Default)]
pub struct ConnectResponse {
    /// Bytes taken, interim answers included.
    taken: usize,
    /// The status line; no more than a head may have.
    status_line: Vec<u8>,
    /// Whether the status line has ended.
    is_in_fields: bool,
    /// Bytes of the line that is under way, but for CR.
    line_len: usize,
}

impl ConnectResponse {
    /// Takes what was received.
    ///
    /// # Errors
    ///
    /// When there is no tunnel. The connection is of no further use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<ConnectProgress, ConnectError> {
        for (index, byte) in bytes.iter().enumerate() {
            if self.taken == HEAD_LEN_MAX {
                return Err(ConnectError::TooLong);
            }
            self.taken += 1;
            if *byte == b'\n' {
                if self.end_line()? {
                    return Ok(ConnectProgress::Established { consumed: index + 1 });
                }
                continue;
            }
            if !self.is_in_fields {
                self.status_line.push(*byte);
                self.check_version()?;
            }
            if *byte != b'\r' {
                self.line_len += 1;
            }
        }
        Ok(ConnectProgress::Incomplete)
    }

    /// Whether that was the end of the last head. Lines may end in LF alone (RFC 9112, 2.2).
    fn end_line(&mut self) -> Result<bool, ConnectError> {
        let is_empty = self.line_len == 0;
        self.line_len = 0;
        if !self.is_in_fields {
            // A line that is no status line is refused when it ends, not when the head does.
            self.status()?;
            self.is_in_fields = true;
            return Ok(false);
        }
        if !is_empty {
            return Ok(false);
        }
        match self.status()? {
            (200..=299, _) => Ok(true),
            (100..=199, _) => {
                self.status_line.clear();
                self.is_in_fields = false;
                Ok(false)
            }
            (status, reason) => Err(ConnectError::Refused { status, reason }),
        }
    }

    /// Says early that this is no HTTP: a server that speaks HTTP/2 sends no line end to wait for.
    fn check_version(&self) -> Result<(), ConnectError> {
        let is_http = self.status_line.iter().zip(VERSION).all(|(a, b)| a == b);
        if is_http { Ok(()) } else { Err(self.not_http()) }
    }

    /// The status and what is said besides (RFC 9112, 4).
    fn status(&self) -> Result<(u16, String), ConnectError> {
        let line = self.status_line.strip_suffix(b"\r").unwrap_or(&self.status_line);
        let rest = line.strip_prefix(VERSION).and_then(|rest| rest.split_first());
        match rest {
            Some((b'0'..=b'9', [b' ', digits @ ..])) if digits.len() >= 3 => {
                let (digits, reason) = digits.split_at(3);
                let is_status = matches!(digits, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
                if !is_status || !matches!(reason, [] | [b' ', ..]) {
                    return Err(self.not_http());
                }
                let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
                Ok((status, String::from_utf8_lossy(reason).trim().to_owned()))
            }
            _ => Err(self.not_http()),
        }
    }

    fn not_http(&self) -> ConnectError {
        ConnectError::NotHttp { line: String::from_utf8_lossy(&self.status_line).trim_end().to_owned() }
    }
}
