//! Where the calls go: one address, what it is called there, and how the connection is secured.

use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use corelane::client::{ClientTls, DialOptions, WireConfig};
use corelane::server::Address;
use corelane_runtime::{Link, dial};

use super::gun::Gun;
use crate::bench::args::Bench;
use crate::bench::shot::tls;

/// See the module.
#[derive(Clone)]
pub(super) struct Aim {
    pub(super) address: Address,
    pub(super) authority: String,
    /// And the name that the certificate must have.
    tls: Option<(ClientTls, Arc<str>)>,
    wire: WireConfig,
}

impl Aim {
    /// Whether a target is one place.
    pub(super) fn is_for(target: &str) -> bool {
        let place = place(target);
        place.starts_with("unix:") || !place.contains(['/', ','])
    }

    /// From the flags.
    ///
    /// # Errors
    /// A target that is no address, files that cannot be read.
    pub(super) fn new(options: &Bench) -> Result<Aim, String> {
        let place = place(&options.target);
        let address = address(place)?;
        let own = if matches!(address, Address::Unix(_)) { "localhost" } else { place };
        let authority = options.authority.clone().unwrap_or_else(|| own.to_owned());
        let tls = tls(options)?.map(|tls| (tls, Arc::from(host(&authority))));
        // As the client has it: a response of a megabyte needs no answer of ours on the way.
        let wire = WireConfig { stream_window: 1 << 20, connection_window: 4 << 20, ..WireConfig::default() };
        Ok(Aim { address, authority, tls, wire })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Makes a connection with `gun` above it.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) async fn connect(&self, gun: Gun) -> Result<Link<Gun>, String> {
        let dialed = dial(&self.address, &DialOptions::default()).await;
        let mut dialed = dialed.map_err(|error| error.to_string())?;
        if let Some((tls, name)) = &self.tls {
            dialed = dialed.secure(tls, name).await.map_err(|error| error.to_string())?;
        }
        dialed.start(&self.wire, gun).map_err(|error| error.to_string())
    }
}

/// The target without the scheme of those that name one place.
fn place(target: &str) -> &str {
    let schemes = ["dns:///", "ipv4:", "ipv6:", "http://", "https://"];
    schemes.iter().find_map(|scheme| target.strip_prefix(scheme)).unwrap_or(target)
}

/// A name's first address will do: whoever measures wants one server.
fn address(place: &str) -> Result<Address, String> {
    if let Ok(address) = place.parse() {
        return Ok(address);
    }
    let resolved = place.to_socket_addrs();
    let mut addresses = resolved.map_err(|error| format!("cannot resolve {place}: {error}"))?;
    addresses.next().map(Address::Tcp).ok_or_else(|| format!("{place} has no address"))
}

/// The host of an authority, without the port and an IPv6 address's brackets.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_one_address() {
        let of = |target| address(place(target)).map(|address| address.to_string());
        assert_eq!(of("127.0.0.1:50051").as_deref(), Ok("127.0.0.1:50051"));
        assert_eq!(of("ipv4:127.0.0.1:1").as_deref(), Ok("127.0.0.1:1"));
        assert_eq!(of("[::1]:1").as_deref(), Ok("[::1]:1"));
        assert_eq!(of("unix:/run/a.sock").as_deref(), Ok("unix:/run/a.sock"));
        assert!(of("dns:///localhost:7").unwrap().ends_with(":7"));
        assert!(of("nowhere").unwrap_err().starts_with("cannot resolve nowhere: "));
    }

    #[test]
    fn a_certificate_is_for_the_host_of_the_authority() {
        for (authority, name) in
            [("a.b:1", "a.b"), ("a.b", "a.b"), ("[::1]:1", "::1"), ("10.0.0.1:1", "10.0.0.1")]
        {
            assert_eq!(host(authority), name);
        }
    }
}
