//! Why a target is refused.

use std::fmt;

use super::{Scheme, TARGET_LEN_MAX, UNIX_PATH_LEN_MAX};
use crate::config::text::{quoted, shortened};

/// Why a target is refused: what is wrong, where, and what to write instead.
///
/// ```
/// use corelane_policy::config::Target;
///
/// let refused = Target::parse("dns://greeter:50051").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "target: \"greeter:50051\" stands where dns: has a DNS server, and no host follows: write dns:///greeter:50051",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// There is no text.
    Empty,
    /// The text is longer than any target should be; nothing of it was read.
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// What stands before the first `:` is no scheme that is known here, and what follows is no port.
    UnknownScheme {
        /// What stands there.
        scheme: String,
    },
    /// There is no host where one must be.
    MissingHost {
        /// What stands there, a port perhaps.
        piece: String,
    },
    /// A host is neither an IP address nor a name.
    BadHost {
        /// What stands there.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `ipv4:` or `ipv6:` with something else than addresses of that family.
    WrongFamily {
        /// Which of the two.
        scheme: Scheme,
        /// What stands there.
        piece: String,
    },
    /// A port is no number from 1 to 65535.
    BadPort {
        /// What stands there.
        port: String,
        /// The host that it is the port of, as it is written.
        host: String,
    },
    /// A `%` without two hexadecimal digits after it, or octets that are no UTF-8.
    BadEscape {
        /// Where it stands.
        piece: String,
    },
    /// Something between `//` and the next `/`, where no scheme but `http` and `https` has anything.
    Authority {
        /// Which scheme.
        scheme: Scheme,
        /// What stands there.
        authority: String,
        /// What follows the next `/`.
        rest: String,
    },
    /// A `?` or a `#`, behind which a target has nothing to say.
    QueryOrFragment {
        /// It and what follows.
        rest: String,
    },
    /// `http` or `https` without `//`, or with a path.
    BadUrl {
        /// Which of the two.
        scheme: Scheme,
        /// What stands after the scheme.
        rest: String,
    },
    /// A path or an abstract name that no Unix socket has.
    BadPath {
        /// What stands there.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("target: ")?;
        match self {
            TargetError::Empty => f.write_str("is empty: write dns:///host:port"),
            TargetError::TooLong { bytes } => {
                write!(f, "must be at most {TARGET_LEN_MAX} bytes long, is {bytes} bytes long")
            }
            TargetError::UnknownScheme { scheme } => {
                let scheme = quoted(scheme);
                write!(f, "{scheme} is no scheme that is known here: there are")?;
                for (index, known) in Scheme::ALL.into_iter().enumerate() {
                    write!(f, "{} {}", if index == 0 { "" } else { "," }, known.name())?;
                }
                f.write_str("; a host may stand without one, as host:port")
            }
            TargetError::MissingHost { piece } if piece.is_empty() => {
                f.write_str("a host is missing: write host:port")
            }
            TargetError::MissingHost { piece } => {
                write!(f, "a host is missing before {}: write host:port", quoted(piece))
            }
            TargetError::BadHost { host, reason } => write!(f, "{} is no host: {reason}", quoted(host)),
            TargetError::WrongFamily { scheme, piece } => {
                let example = if *scheme == Scheme::Ipv4 { "127.0.0.1:50051" } else { "[::1]:50051" };
                let (scheme, piece) = (scheme.name(), quoted(piece));
                write!(
                    f,
                    "{piece} is no address of {scheme}: write {scheme}:{example}, or dns:/// with a name"
                )
            }
            TargetError::BadPort { port, host } => {
                let (port, host) = (quoted(port), quoted(host));
                write!(f, "{port} is no port of {host}: write a number from 1 to 65535")
            }
            TargetError::BadEscape { piece } => {
                let piece = quoted(piece);
                write!(f, "{piece} has a % that starts no percent-encoded UTF-8: write %25 for the % itself")
            }
            TargetError::Authority { scheme, authority, rest } => {
                authority_error(f, *scheme, authority, rest)
            }
            TargetError::QueryOrFragment { rest } => {
                let rest = quoted(rest);
                write!(f, "{rest} says nothing to a channel: leave it out, or write %3F for ? and %23 for #")
            }
            TargetError::BadUrl { scheme, rest } => {
                let (scheme, rest) = (scheme.name(), quoted(rest));
                write!(f, "{rest} is not what follows {scheme}: write {scheme}://host:port, without a path")
            }
            TargetError::BadPath { path, reason } => {
                write!(f, "{} is the path of no Unix socket: {reason}", quoted(path))
            }
        }
    }
}

fn authority_error(f: &mut fmt::Formatter<'_>, scheme: Scheme, authority: &str, rest: &str) -> fmt::Result {
    let (name, quoted) = (scheme.name(), quoted(authority));
    let place = if rest.is_empty() { authority.to_owned() } else { format!("{authority}/{rest}") };
    let place = shortened(&place);
    match scheme {
        Scheme::Dns if rest.is_empty() => {
            write!(
                f,
                "{quoted} stands where dns: has a DNS server, and no host follows: write dns:///{place}"
            )
        }
        Scheme::Dns => {
            let rest = shortened(rest);
            write!(
                f,
                "{quoted} would be the DNS server, which is the system's to choose: write dns:///{rest}"
            )
        }
        _ => {
            write!(f, "{quoted} stands where {name}: has nothing: write {name}:{place} or {name}:///{place}")
        }
    }
}

impl std::error::Error for TargetError {}

/// Why a path of a Unix socket is refused.
pub(super) const PATH_EMPTY: &str = "it is empty";
/// See above.
pub(super) const PATH_NUL: &str = "it has a NUL";
/// See above.
pub(super) const PATH_LONG: &str = "it has more than 107 bytes";

const _: () = assert!(UNIX_PATH_LEN_MAX == 107, "PATH_LONG says so");
