//! Targets: where a channel's endpoints are to be found, as gRPC's naming.md writes it, and as tonic's users do.
//!
//! | text | what it is |
//! |---|---|
//! | `host`, `host:port`, `dns:host:port`, `dns:///host:port` | a name that is looked up, or an IP address |
//! | `ipv4:1.2.3.4:50051,5.6.7.8`, `ipv6:[::1]:50051,[fe80::1%25eth0]` | addresses |
//! | `unix:path`, `unix:///path`, `unix-abstract:name` | a Unix socket |
//! | `static:///a:1,10.0.0.2:2,unix:/path` | all of these, in this order (ours) |
//! | `passthrough:///host:port` | as `dns`, without looking it up again |
//! | `http://host:port`, `https://host` | as `dns`, in plain text or with TLS |
//!
//! The port is 443 where none is written, and 80 for `http`. A word before the first `:` that is a scheme is one: a host
//! named `dns` is `dns:///dns:50051`.
//!
//! Does not: look anything up. Which schemes there are besides (those of a resolver that somebody registered) is for the
//! channel to check first.
//!
//! Invariant: a [`Target`] has at least one location, and its text, read again, is the same target.

mod error;
mod escape;
mod parse;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub use self::error::TargetError;
pub(super) use self::escape::decode as decode_percent;

/// The longest text that is read, in bytes.
const TARGET_LEN_MAX: usize = 64 << 10;
/// What `sockaddr_un` holds, but for the NUL around the path (unix(7)).
const UNIX_PATH_LEN_MAX: usize = 107;

/// How a target is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A name that is looked up in DNS.
    Dns,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// A Unix socket at a path.
    Unix,
    /// A Unix socket with a name in no file system.
    UnixAbstract,
    /// A fixed list.
    Static,
    /// A place that is left to connecting.
    Passthrough,
    /// A URL as tonic's users write it, in plain text.
    Http,
    /// A URL as tonic's users write it, with TLS.
    Https,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Scheme; 9] = [
        Scheme::Dns,
        Scheme::Ipv4,
        Scheme::Ipv6,
        Scheme::Unix,
        Scheme::UnixAbstract,
        Scheme::Static,
        Scheme::Passthrough,
        Scheme::Http,
        Scheme::Https,
    ];

    /// What stands before the `:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Dns => "dns",
            Scheme::Ipv4 => "ipv4",
            Scheme::Ipv6 => "ipv6",
            Scheme::Unix => "unix",
            Scheme::UnixAbstract => "unix-abstract",
            Scheme::Static => "static",
            Scheme::Passthrough => "passthrough",
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port where none is written.
    const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            _ => 443,
        }
    }
}

/// Whether a target asks for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// `http`: without.
    Plaintext,
    /// `https`: with.
    Tls,
}

/// The host of a location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to look up: letters, digits, `-`, `_` and dots.
    Name(String),
    /// An address.
    V4(Ipv4Addr),
    /// An address.
    V6 {
        /// Without its zone.
        address: Ipv6Addr,
        /// The interface that a link-local address is on, by name or by index (RFC 4007).
        zone: Option<String>,
    },
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: Host,
    port: u16,
    /// Whether the port is written, which it then is in the authority too.
    is_port_written: bool,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[address]` or `[address]:port`.
    ///
    /// # Errors
    ///
    /// As those of [`Target::parse`].
    pub fn parse(text: &str, default_port: u16) -> Result<HostPort, TargetError> {
        parse::host_port(text, default_port)
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, written or not.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the port is written, rather than the default.
    pub(super) fn is_port_written(&self) -> bool {
        self.is_port_written
    }

    /// The address, if there is nothing to look up. `index_of` is asked for the index of an interface by its name.
    #[must_use]
    pub fn socket_addr(&self, index_of: impl FnOnce(&str) -> Option<u32>) -> Option<SocketAddr> {
        match &self.host {
            Host::Name(_) => None,
            Host::V4(address) => Some(SocketAddr::from((*address, self.port))),
            Host::V6 { address, zone } => {
                let scope = match zone.as_deref() {
                    None => 0,
                    Some(zone) => zone.parse().ok().or_else(|| index_of(zone))?,
                };
                Some(SocketAddrV6::new(*address, self.port, 0, scope).into())
            }
        }
    }

    /// What CONNECT names: as `authority`, with the port in any case.
    pub(super) fn authority_with_port(&self) -> String {
        HostPort { is_port_written: true, ..self.clone() }.authority()
    }

    /// What `:authority` says: as it is written, but without a zone, which is nobody's business elsewhere (RFC 6874).
    fn authority(&self) -> String {
        let host = match &self.host {
            Host::V6 { address, .. } => Host::V6 { address: *address, zone: None },
            host => host.clone(),
        };
        HostPort { host, ..*self }.to_string()
    }
}

/// One place of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// TCP.
    Host(HostPort),
    /// A Unix socket at a path, relative or absolute.
    Unix(String),
    /// A Unix socket with a name in no file system, without the NUL that it begins with for the kernel.
    UnixAbstract(String),
}

/// Where a channel's endpoints are to be found.
///
/// ```
/// use corelane_policy::config::{Location, Scheme, Target};
///
/// let target = Target::parse("greeter:50051")?;
/// assert_eq!(target.scheme(), Scheme::Dns);
/// assert!(matches!(target.locations(), [Location::Host(host)] if host.port() == 50051));
/// assert_eq!(target.authority(), "greeter:50051");
/// assert_eq!(target.to_string(), "dns:///greeter:50051");
/// # Ok::<_, corelane_policy::config::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    scheme: Scheme,
    locations: Vec<Location>,
}

impl Target {
    /// Reads a target.
    ///
    /// # Errors
    ///
    /// Says what is wrong where, and what to write instead.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        parse::target(text)
    }

    /// How it was written.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its places: at least one, and more only for `ipv4`, `ipv6` and `static`.
    #[must_use]
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }

    /// Whether it asks for TLS or for plain text; most leave that to the channel.
    #[must_use]
    pub fn security(&self) -> Option<Security> {
        match self.scheme {
            Scheme::Http => Some(Security::Plaintext),
            Scheme::Https => Some(Security::Tls),
            _ => None,
        }
    }

    /// The `:authority` of calls that have no other: host and port as they are written, `localhost` for Unix sockets. Of
    /// several places the first one's; a channel to hosts with several names should be given one.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.locations.first() {
            Some(Location::Host(host)) => host.authority(),
            _ => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(address) => write!(f, "{address}"),
            Host::V6 { address, zone: None } => write!(f, "[{address}]"),
            Host::V6 { address, zone: Some(zone) } => write!(f, "[{address}%25{zone}]"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_port_written {
            write!(f, "{}:{}", self.host, self.port)
        } else {
            write!(f, "{}", self.host)
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = match self {
            Location::Host(host) => return write_host(f, host),
            Location::Unix(path) => (Scheme::Unix, path),
            Location::UnixAbstract(name) => (Scheme::UnixAbstract, name),
        };
        // Two slashes and nothing between them and the third: what begins with a slash cannot be taken for an authority.
        let slashes = if path.starts_with('/') { "//" } else { "" };
        write!(f, "{}:{slashes}{}", scheme.name(), escape::encode(path))
    }
}

/// A host named `unix` would be a socket in a list, were it not for the encoded letter.
fn write_host(f: &mut fmt::Formatter<'_>, host: &HostPort) -> fmt::Result {
    let is_scheme = |name: &str| {
        [Scheme::Unix, Scheme::UnixAbstract].iter().any(|it| it.name().eq_ignore_ascii_case(name))
    };
    match &host.host {
        Host::Name(name) if is_scheme(name) => {
            let text = host.to_string();
            write!(f, "%{:02X}{}", text.as_bytes()[0], &text[1..])
        }
        _ => write!(f, "{host}"),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Unix | Scheme::UnixAbstract => {}
            Scheme::Ipv4 | Scheme::Ipv6 => write!(f, "{}:", self.scheme.name())?,
            Scheme::Http | Scheme::Https => write!(f, "{}://", self.scheme.name())?,
            Scheme::Dns | Scheme::Static | Scheme::Passthrough => write!(f, "{}:///", self.scheme.name())?,
        }
        for (index, location) in self.locations.iter().enumerate() {
            write!(f, "{}{location}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        Target::parse(text)
    }
}
