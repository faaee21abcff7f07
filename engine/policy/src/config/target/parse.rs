//! Reads targets.

use std::net::Ipv6Addr;

use super::error::{PATH_EMPTY, PATH_LONG, PATH_NUL};
use super::{
    Host, HostPort, Location, Scheme, TARGET_LEN_MAX, Target, TargetError, UNIX_PATH_LEN_MAX, escape,
};

type Result<T> = std::result::Result<T, TargetError>;

/// The longest name in DNS, and the longest part of one (RFC 1035, 2.3.4).
const NAME_LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

pub(super) fn target(text: &str) -> Result<Target> {
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    if text.len() > TARGET_LEN_MAX {
        return Err(TargetError::TooLong { bytes: text.len() });
    }
    if let Some(index) = text.find(['?', '#']) {
        return Err(TargetError::QueryOrFragment { rest: text[index..].to_owned() });
    }
    let (scheme, rest) = match split_scheme(text) {
        Some(split) => split,
        None => {
            refuse_scheme(text)?;
            return Ok(Target { scheme: Scheme::Dns, locations: vec![host(text, Scheme::Dns)?] });
        }
    };
    let locations = match scheme {
        Scheme::Http | Scheme::Https => vec![url(scheme, rest)?],
        Scheme::Dns => vec![host(list(scheme, rest)?, scheme)?],
        Scheme::Passthrough => vec![location(list(scheme, rest)?)?],
        Scheme::Unix | Scheme::UnixAbstract => vec![unix(scheme, rest)?],
        Scheme::Static => list(scheme, rest)?.split(',').map(location).collect::<Result<_>>()?,
        Scheme::Ipv4 | Scheme::Ipv6 => {
            list(scheme, rest)?.split(',').map(|piece| address(scheme, piece)).collect::<Result<_>>()?
        }
    };
    Ok(Target { scheme, locations })
}

/// The scheme before the first `:` and what follows, if it is known. Its case does not matter (RFC 3986, 3.1).
fn split_scheme(text: &str) -> Option<(Scheme, &str)> {
    let (name, rest) = text.split_once(':')?;
    let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))?;
    Some((scheme, rest))
}

/// Refuses what looks like a scheme and is none of ours: what follows its `:` looks like no port.
fn refuse_scheme(text: &str) -> Result<()> {
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(()) };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_port = rest.is_empty() || rest.starts_with(|first: char| first.is_ascii_digit());
    // The beginning of an IPv6 address without brackets.
    let is_address =
        rest.contains(':') && !rest.starts_with("//") && scheme.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_scheme && !is_port && !is_address {
        return Err(TargetError::UnknownScheme { scheme: scheme.to_owned() });
    }
    Ok(())
}

/// What follows the scheme, without the slashes before it: those of `SCHEME:///`, or of an empty authority.
fn path(scheme: Scheme, rest: &str) -> Result<&str> {
    let Some(behind) = rest.strip_prefix("//") else { return Ok(rest) };
    let (authority, path) = match behind.find('/') {
        Some(slash) => behind.split_at(slash),
        None => (behind, ""),
    };
    if authority.is_empty() {
        return Ok(path);
    }
    let rest = path.strip_prefix('/').unwrap_or(path);
    Err(TargetError::Authority { scheme, authority: authority.to_owned(), rest: rest.to_owned() })
}

/// As `path`, for what has no slash of its own at its beginning.
fn list(scheme: Scheme, rest: &str) -> Result<&str> {
    let path = path(scheme, rest)?;
    Ok(path.strip_prefix('/').unwrap_or(path))
}

fn url(scheme: Scheme, rest: &str) -> Result<Location> {
    let bad = || TargetError::BadUrl { scheme, rest: rest.to_owned() };
    let authority = rest.strip_prefix("//").ok_or_else(bad)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('/') {
        return Err(bad());
    }
    host(authority, scheme)
}

/// One piece of a list: a host, or a Unix socket.
fn location(piece: &str) -> Result<Location> {
    match split_scheme(piece) {
        Some((scheme @ (Scheme::Unix | Scheme::UnixAbstract), rest)) => unix(scheme, rest),
        _ => host(piece, Scheme::Static),
    }
}

fn unix(scheme: Scheme, rest: &str) -> Result<Location> {
    let path = escape::decode(path(scheme, rest)?)?;
    let reason = match path.len() {
        0 => Some(PATH_EMPTY),
        _ if path.contains('\0') => Some(PATH_NUL),
        length if length > UNIX_PATH_LEN_MAX => Some(PATH_LONG),
        _ => None,
    };
    if let Some(reason) = reason {
        return Err(TargetError::BadPath { path, reason });
    }
    Ok(if scheme == Scheme::Unix { Location::Unix(path) } else { Location::UnixAbstract(path) })
}

fn address(scheme: Scheme, piece: &str) -> Result<Location> {
    let location = host(piece, scheme)?;
    let is_family = match &location {
        Location::Host(HostPort { host: Host::V4(_), .. }) => scheme == Scheme::Ipv4,
        Location::Host(HostPort { host: Host::V6 { .. }, .. }) => scheme == Scheme::Ipv6,
        _ => false,
    };
    if is_family { Ok(location) } else { Err(TargetError::WrongFamily { scheme, piece: piece.to_owned() }) }
}

fn host(piece: &str, scheme: Scheme) -> Result<Location> {
    host_port(piece, scheme.default_port()).map(Location::Host)
}

/// `host`, `host:port`, `[address]` or `[address]:port`; an IPv6 address may do without brackets if it has no port.
pub(super) fn host_port(piece: &str, default_port: u16) -> Result<HostPort> {
    let bad = |reason| TargetError::BadHost { host: piece.to_owned(), reason };
    let (host, port_after) = match piece.strip_prefix('[') {
        Some(inner) => {
            let (inner, behind) = inner.split_once(']').ok_or_else(|| bad("a ] is missing"))?;
            if !behind.is_empty() && !behind.starts_with(':') {
                return Err(bad("after ] comes nothing or :port"));
            }
            (ipv6(inner, piece)?, behind.strip_prefix(':'))
        }
        None => match piece.split_once(':') {
            Some((_, behind)) if behind.contains(':') => (ipv6(piece, piece)?, None),
            Some((name, port)) => (name_or_ipv4(name, piece)?, Some(port)),
            None => (name_or_ipv4(piece, piece)?, None),
        },
    };
    let port = match port_after {
        None => default_port,
        Some(port) => read_port(port).ok_or_else(|| TargetError::BadPort {
            port: port.to_owned(),
            host: piece[..piece.len() - port.len() - 1].to_owned(),
        })?,
    };
    Ok(HostPort { host, port, is_port_written: port_after.is_some() })
}

fn read_port(port: &str) -> Option<u16> {
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_number && *port > 0)
}

/// An IPv6 address, perhaps with a zone behind `%25` (RFC 6874).
fn ipv6(inner: &str, piece: &str) -> Result<Host> {
    let bad = |reason| TargetError::BadHost { host: piece.to_owned(), reason };
    let text = escape::decode(inner)?;
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text.as_str(), None),
    };
    let address: Ipv6Addr = address
        .parse()
        .map_err(|_| bad("it has a : and is no IPv6 address; with a port that is [address]:port"))?;
    let is_zone = |zone: &str| {
        !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    if zone.is_some_and(|zone| !is_zone(zone)) {
        return Err(bad("the zone is no name of an interface"));
    }
    Ok(Host::V6 { address, zone: zone.map(str::to_owned) })
}

fn name_or_ipv4(text: &str, piece: &str) -> Result<Host> {
    let name = escape::decode(text)?;
    if name.is_empty() {
        return Err(TargetError::MissingHost { piece: piece.to_owned() });
    }
    if let Ok(address) = name.parse() {
        return Ok(Host::V4(address));
    }
    match fault_of_name(&name) {
        Some(reason) => Err(TargetError::BadHost { host: name, reason }),
        None => Ok(Host::Name(name)),
    }
}

/// What is wrong with a name. A dot at its end is not: such a name is looked up as it is.
fn fault_of_name(name: &str) -> Option<&'static str> {
    if !name.is_ascii() {
        return Some("names have ASCII letters only; write those of other scripts as xn--...");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Some("names have letters, digits, '-', '_' and dots");
    }
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.len() > NAME_LEN_MAX {
        return Some("names have at most 253 bytes");
    }
    if labels.split('.').any(|label| label.is_empty() || label.len() > LABEL_LEN_MAX) {
        return Some("between the dots of a name are 1 to 63 bytes");
    }
    // What inet_aton(3) takes for an address too, and perhaps for a surprising one.
    let last = labels.rsplit('.').next().unwrap_or(labels);
    let is_hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").or(last.strip_prefix("0X")).is_some_and(is_hexadecimal)
    {
        return Some("it ends in a number, as an IPv4 address does, and is none");
    }
    None
}
