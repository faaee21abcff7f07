//! Where the calls go: one place, what it is called there, and how the connection is secured.
//!
//! Does not: look a name up again, or go through a proxy.

use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use corelane::client::{ClientTls, DialOptions, WireConfig};
use corelane::server::Address;
use corelane_policy::config::{Host, HostPort, Location, Target};
use corelane_runtime::{Dialed, Link, dial};

use super::session::LeanSession;
use crate::bench::args::Bench;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Those of one name: the first that takes connections gets them.
    addresses: Vec<Address>,
    pub(super) authority: String,
    /// And the name that the certificate must have.
    tls: Option<(ClientTls, Arc<str>)>,
    wire: WireConfig,
}

impl Endpoint {
    /// From the flags; `None` if the target is several places, or one that only a channel finds.
    ///
    /// # Errors
    /// A target that is none, a name that is not known, files that cannot be read.
    pub(super) fn new(options: &Bench) -> Result<Option<Endpoint>, String> {
        let target = Target::parse(&options.target).map_err(|error| error.to_string())?;
        let Some(addresses) = addresses(&target)? else { return Ok(None) };
        let authority = options.authority.clone().unwrap_or_else(|| target.authority());
        let tls = match options.client_tls()? {
            Some(tls) => Some((tls, certified(&authority)?)),
            None => None,
        };
        // As the client has it: a response of a megabyte needs no answer of ours on the way.
        let wire = WireConfig { stream_window: 1 << 20, connection_window: 4 << 20, ..WireConfig::default() };
        Ok(Some(Endpoint { addresses, authority, tls, wire }))
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Makes a connection with `session` above it.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) async fn connect(&self, session: LeanSession) -> Result<Link<LeanSession>, String> {
        let mut dialed = self.dial().await?;
        if let Some((tls, name)) = &self.tls {
            dialed = dialed.secure(tls, name).await.map_err(|error| error.to_string())?;
        }
        dialed.start(&self.wire, session).map_err(|error| error.to_string())
    }

    async fn dial(&self) -> Result<Dialed, String> {
        let mut refused = Vec::new();
        for address in &self.addresses {
            match dial(address, &DialOptions::default()).await {
                Ok(dialed) => return Ok(dialed),
                Err(error) => refused.push(format!("{address}: {error}")),
            }
        }
        Err(refused.join("; "))
    }
}

/// The addresses of the one place that a target is.
fn addresses(target: &Target) -> Result<Option<Vec<Address>>, String> {
    let host = match target.locations() {
        [Location::Unix(path)] => return Ok(Some(vec![Address::Unix(path.into())])),
        [Location::Host(host)] => host,
        _ => return Ok(None),
    };
    let Host::Name(name) = host.host() else {
        return Ok(host.socket_addr(|_| None).map(|address| vec![Address::Tcp(address)]));
    };
    let found = (name.as_str(), host.port()).to_socket_addrs();
    let found = found.map_err(|error| format!("cannot resolve {name}: {error}"))?;
    Ok(Some(found.map(Address::Tcp).collect()))
}

/// Whom a certificate must be for: the host of the authority.
fn certified(authority: &str) -> Result<Arc<str>, String> {
    let host = HostPort::parse(authority, 443).map_err(|error| error.to_string())?;
    Ok(match host.host() {
        Host::Name(name) => name.as_str().into(),
        Host::V4(address) => address.to_string().into(),
        Host::V6 { address, .. } => address.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str) -> Result<Option<Vec<String>>, String> {
        let found = addresses(&Target::parse(target).unwrap())?;
        Ok(found.map(|addresses| addresses.iter().map(Address::to_string).collect()))
    }

    #[test]
    fn one_place_is_called_without_a_channel() {
        for (target, address) in [
            ("127.0.0.1:50051", "127.0.0.1:50051"),
            ("ipv4:127.0.0.1:1", "127.0.0.1:1"),
            ("dns:127.0.0.1:1", "127.0.0.1:1"),
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("[::1]:1", "[::1]:1"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(of(target), Ok(Some(vec![address.to_owned()])));
        }
        let local = of("dns:///localhost:7").unwrap().unwrap();
        assert!(!local.is_empty() && local.iter().all(|address| address.ends_with(":7")), "{local:?}");
    }

    #[test]
    fn what_only_a_channel_finds_is_left_to_it() {
        for target in ["static:///127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2", "unix-abstract:x"]
        {
            assert_eq!(of(target), Ok(None));
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_told() {
        let refusal = of("nowhere.invalid:1").unwrap_err();
        assert!(refusal.starts_with("cannot resolve nowhere.invalid: "), "{refusal}");
    }

    #[test]
    fn a_certificate_is_for_the_host_of_the_authority() {
        for (authority, name) in
            [("a.b:1", "a.b"), ("a.b", "a.b"), ("[::1]:1", "::1"), ("10.0.0.1:1", "10.0.0.1")]
        {
            assert_eq!(certified(authority).as_deref(), Ok(name));
        }
    }
}
