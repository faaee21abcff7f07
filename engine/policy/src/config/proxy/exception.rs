//! One entry of `no_proxy`.

use std::net::{IpAddr, Ipv4Addr};

use super::{Host, HostPort};

/// For what there is no proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exception {
    /// Everything.
    All,
    /// A name in small letters.
    Name { name: String, itself: Itself, port: Option<u16> },
    /// An address.
    Address { address: IpAddr, port: Option<u16> },
    /// A block of addresses.
    Block { address: IpAddr, prefix_len: u32 },
}

/// Whether a name stands for itself, besides its subdomains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Itself {
    Included,
    Excluded,
}

impl Exception {
    /// Reads one entry.
    pub(super) fn parse(piece: &str) -> Option<Exception> {
        if piece == "*" {
            return Some(Exception::All);
        }
        if let Some((address, prefix_len)) = piece.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let prefix_len: u32 = prefix_len.parse().ok()?;
            let block = Exception::Block { address, prefix_len };
            return (prefix_len <= bits(address).1).then_some(block);
        }
        // Both are written, and mean the same.
        let subdomains = piece.strip_prefix("*.").or_else(|| piece.strip_prefix('.'));
        let host = HostPort::parse(subdomains.unwrap_or(piece), 1).ok()?;
        let port = host.is_port_written().then_some(host.port());
        match (host.host(), subdomains) {
            (Host::Name(name), subdomains) => {
                let itself = if subdomains.is_none() { Itself::Included } else { Itself::Excluded };
                Some(Exception::Name { name: without_case(name), itself, port })
            }
            (Host::V4(address), None) => Some(Exception::Address { address: (*address).into(), port }),
            (Host::V6 { address, zone: None }, None) => {
                Some(Exception::Address { address: (*address).into(), port })
            }
            _ => None,
        }
    }

    /// Whether there is no proxy for `host`.
    pub(super) fn covers(&self, host: &HostPort) -> bool {
        let is_port = |port: &Option<u16>| port.is_none_or(|port| port == host.port());
        match self {
            Exception::All => true,
            Exception::Name { name, itself, port } => {
                is_port(port)
                    && matches!(host.host(), Host::Name(other) if is_within(&without_case(other), name, *itself))
            }
            Exception::Address { address, port } => {
                is_port(port) && address_of(host.host()).is_some_and(|other| other == address.to_canonical())
            }
            Exception::Block { address, prefix_len } => {
                address_of(host.host()).is_some_and(|other| is_in_block(other, *address, *prefix_len))
            }
        }
    }
}

/// Loopback addresses, and the names that they have everywhere (RFC 6761, 6.3).
pub(super) fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Name(name) => is_within(&without_case(name), "localhost", Itself::Included),
        _ => address_of(host).is_some_and(|address| address.is_loopback()),
    }
}

/// In small letters, and without the dot that a full name may end in.
fn without_case(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_within(name: &str, domain: &str, itself: Itself) -> bool {
    match name.strip_suffix(domain) {
        Some("") => itself == Itself::Included,
        Some(subdomain) => subdomain.ends_with('.'),
        None => false,
    }
}

/// An IPv4 address in IPv6's clothes is an IPv4 address.
fn address_of(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Name(_) => None,
        Host::V4(address) => Some((*address).into()),
        Host::V6 { address, .. } => Some(IpAddr::from(*address).to_canonical()),
    }
}

fn is_in_block(address: IpAddr, block: IpAddr, prefix_len: u32) -> bool {
    let ((address, address_len), (block, block_len)) = (bits(address), bits(block));
    // A shift by all 128 bits is none that Rust does: an empty prefix has everything of its family in it.
    let differing = (address ^ block).checked_shr(block_len - prefix_len).unwrap_or(0);
    address_len == block_len && differing == 0
}

/// An address as a number, and of how many bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), Ipv4Addr::BITS),
        IpAddr::V6(address) => (address.to_bits(), u128::BITS),
    }
}
