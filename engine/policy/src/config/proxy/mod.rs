//! Which proxy stands between a channel and a server, as the environment says, and how it is asked for a tunnel.
//!
//! | variable | what it says |
//! |---|---|
//! | `grpc_proxy`, else `https_proxy`, else `http_proxy` | the proxy: `http://user:password@host:port`, or `host:port` |
//! | `no_grpc_proxy`, else `no_proxy` | for what there is none |
//!
//! The order is that of gRPC's C core, where a variable that is set and empty ends the search: `grpc_proxy=` means no proxy.
//! In capitals they count too if there are none in small letters, but for `HTTP_PROXY`, which a CGI server takes from
//! the requests of strangers. What `no_proxy` means is as in Go: this host and its subdomains (`a.example`), subdomains
//! only (`.a.example`), an address, a block of addresses (`10.0.0.0/8`), each but the last with a port if need be, or
//! everything (`*`). Names are not looked up for it. This machine is never reached through a proxy.
//!
//! Does not: read the environment (a function is handed in), connect, or speak TLS or SOCKS with a proxy.

mod connect;
mod exception;

#[cfg(test)]
mod tests;

use std::fmt;

use corelane_wire::grpc::base64;

use self::exception::{Exception, is_this_machine};
use super::target::{Host, HostPort, TargetError};
use super::text::quoted;

pub use self::connect::{ConnectError, ConnectProgress, ConnectResponse, connect_request};

/// The longest variable that is read, in bytes.
const VARIABLE_LEN_MAX: usize = 64 << 10;
/// The port of a proxy that is given without one.
const PROXY_PORT: u16 = 80;

/// Why the environment is refused. Passwords are not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// A variable is longer than any list should be.
    TooLong {
        /// Which.
        variable: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// A proxy that is not to be spoken with in plain HTTP.
    Scheme {
        /// The variable.
        variable: &'static str,
        /// What stands before `://`.
        scheme: String,
    },
    /// Something stands behind the host.
    Path {
        /// The variable.
        variable: &'static str,
    },
    /// User and password are not percent-encoded.
    Credentials {
        /// The variable.
        variable: &'static str,
    },
    /// The host is none.
    Host {
        /// The variable.
        variable: &'static str,
        /// What is wrong with the host.
        reason: TargetError,
    },
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::TooLong { variable, bytes } => {
                write!(f, "{variable}: must be at most {VARIABLE_LEN_MAX} bytes long, is {bytes} bytes long")
            }
            ProxyError::Scheme { variable, scheme } => {
                let scheme = quoted(scheme);
                write!(f, "{variable}: {scheme} is not spoken with a proxy: write http://host:port")
            }
            ProxyError::Path { variable } => {
                write!(f, "{variable}: a proxy has no path: write http://host:port and nothing behind it")
            }
            ProxyError::Credentials { variable } => write!(
                f,
                "{variable}: user and password have a % that starts no percent-encoded UTF-8: write %25 for the % itself"
            ),
            ProxyError::Host { variable, reason } => {
                let reason = reason.to_string();
                write!(f, "{variable}: {}", reason.strip_prefix("target: ").unwrap_or(&reason))
            }
        }
    }
}

impl std::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProxyError::Host { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// A proxy that tunnels are asked of.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    address: HostPort,
    authorization: Option<String>,
}

impl Proxy {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// The value of `Proxy-Authorization`, if it wants one (RFC 7617).
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorization = self.authorization.as_ref().map(|_| "(redacted)");
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("authorization", &authorization)
            .finish()
    }
}

/// Which proxy, and for what there is none.
///
/// ```
/// use corelane_policy::config::{HostPort, ProxyRules};
///
/// let rules = ProxyRules::from_environment(|variable| match variable {
///     "https_proxy" => Some("http://proxy:3128".to_owned()),
///     "no_proxy" => Some("internal.example, 10.0.0.0/8".to_owned()),
///     _ => None,
/// })?;
/// let proxy_for = |host| rules.proxy_for(&HostPort::parse(host, 443).unwrap()).map(|it| it.address().to_string());
///
/// assert_eq!(proxy_for("greeter.example:50051"), Some("proxy:3128".to_owned()));
/// assert_eq!(proxy_for("greeter.internal.example:50051"), None);
/// assert_eq!(proxy_for("10.1.2.3"), None);
/// # Ok::<_, corelane_policy::config::ProxyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    proxy: Option<Proxy>,
    exceptions: Vec<Exception>,
    ignored: Vec<String>,
}

impl ProxyRules {
    /// Reads the variables that `lookup` has, such as `|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    ///
    /// When the proxy is none that can be used. An exception that cannot be read is no error, for other programs may
    /// understand it: see [`ProxyRules::ignored`].
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<ProxyRules, ProxyError> {
        let mut rules = ProxyRules::default();
        let proxies = ["grpc_proxy", "GRPC_PROXY", "https_proxy", "HTTPS_PROXY", "http_proxy"];
        let Some((variable, text)) = first_set(&proxies, &lookup)? else { return Ok(rules) };
        if text.is_empty() {
            return Ok(rules);
        }
        rules.proxy = Some(read_proxy(variable, &text)?);
        let exceptions = ["no_grpc_proxy", "NO_GRPC_PROXY", "no_proxy", "NO_PROXY"];
        let list = first_set(&exceptions, &lookup)?.map(|(_, text)| text).unwrap_or_default();
        for piece in list.split([',', ' ', '\t']).filter(|piece| !piece.is_empty()) {
            match Exception::parse(piece) {
                Some(exception) => rules.exceptions.push(exception),
                None => rules.ignored.push(piece.to_owned()),
            }
        }
        Ok(rules)
    }

    /// The proxy that a connection to `host` is asked of; `None` if it is made directly.
    #[must_use]
    pub fn proxy_for(&self, host: &HostPort) -> Option<&Proxy> {
        let is_direct =
            is_this_machine(host.host()) || self.exceptions.iter().any(|exception| exception.covers(host));
        self.proxy.as_ref().filter(|_| !is_direct)
    }

    /// What of `no_proxy` could not be read, and should be warned about.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

/// The first of these variables that is set, with its name; white space around its text is no part of it.
fn first_set(
    variables: &[&'static str],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<(&'static str, String)>, ProxyError> {
    for variable in variables {
        match lookup(variable) {
            None => {}
            Some(text) if text.len() > VARIABLE_LEN_MAX => {
                return Err(ProxyError::TooLong { variable, bytes: text.len() });
            }
            Some(text) => return Ok(Some((variable, text.trim().to_owned()))),
        }
    }
    Ok(None)
}

fn read_proxy(variable: &'static str, text: &str) -> Result<Proxy, ProxyError> {
    let is_scheme =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if is_scheme(scheme) => {
            return Err(ProxyError::Scheme { variable, scheme: scheme.to_owned() });
        }
        // In a password, which no error should repeat.
        _ => text,
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    // The last one, since people forget to encode those in passwords.
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    if host.contains(['/', '?', '#']) {
        return Err(ProxyError::Path { variable });
    }
    let address =
        HostPort::parse(host, PROXY_PORT).map_err(|reason| ProxyError::Host { variable, reason })?;
    let authorization = match credentials {
        None => None,
        Some(credentials) => Some(basic(credentials).ok_or(ProxyError::Credentials { variable })?),
    };
    Ok(Proxy { address, authorization })
}

/// What RFC 7617 makes of a URL's user and password: `None` if they are not encoded as they must be there.
fn basic(credentials: &str) -> Option<String> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decode = |text| super::target::decode_percent(text).ok();
    let mut encoded = base64::encode(format!("{}:{}", decode(user)?, decode(password)?).as_bytes());
    // gRPC's base64 is without padding, HTTP's is with it.
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    Some(format!("Basic {encoded}"))
}
