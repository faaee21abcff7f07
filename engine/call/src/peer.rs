//! Who is at the other end of a connection.
//!
//! One `Peer` is made for each connection and shared by its calls as an `Rc`, so a call pays one counter.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A Unix socket; `None` where the end has no name, as a connecting client's.
    Unix(Option<PathBuf>),
    /// Not known, or not a socket: calls made inside the process.
    #[default]
    Unknown,
}

impl Address {
    /// The TCP address, if it is one.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(address) => Some(*address),
            Address::Unix(_) | Address::Unknown => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}

/// As in a gRPC target: `127.0.0.1:50051`, `unix:/run/app.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Address::Unix(None) => f.write_str("unix:"),
            Address::Unknown => f.write_str("unknown"),
        }
    }
}

/// The two ends of the connection that a call came by.
///
/// ```
/// use corelane_call::{Address, Peer};
///
/// let remote = "192.0.2.1:4711".parse::<std::net::SocketAddr>().unwrap();
/// let peer = Peer::new(remote.into(), Address::Unknown);
/// assert_eq!(peer.remote().to_string(), "192.0.2.1:4711");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    remote: Address,
    local: Address,
}

impl Peer {
    /// A connection between these two ends.
    #[must_use]
    pub fn new(remote: Address, local: Address) -> Peer {
        Peer { remote, local }
    }

    /// The other end.
    #[must_use]
    pub fn remote(&self) -> &Address {
        &self.remote
    }

    /// Our end.
    #[must_use]
    pub fn local(&self) -> &Address {
        &self.local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_like_targets() {
        let inet: SocketAddr = "[::1]:443".parse().unwrap();
        assert_eq!(Address::from(inet).to_string(), "[::1]:443");
        assert_eq!(Address::from(inet).inet(), Some(inet));
        assert_eq!(Address::Unix(Some("/run/a.sock".into())).to_string(), "unix:/run/a.sock");
        assert_eq!(Address::Unix(None).to_string(), "unix:");
        assert_eq!(Address::Unknown.inet(), None);
    }
}
