//! From a target's names to addresses, on a thread of its own: what getaddrinfo(3) does can take seconds, and no worker waits for it.
//!
//! The thread resolves when it is asked to, and not again within [`RESOLVE_INTERVAL_MIN`] of the last time, as gRPC's dns resolver
//! does: failures of connections ask for it, and a name server must not pay for an outage.
//!
//! Does not: decide which address is used, or keep anything but the wish to resolve again.

use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use corelane_policy::balance::EndpointInfo;
use corelane_policy::config::{Host, Location};
use corelane_runtime::guard;

/// How long after a resolution the next one may be.
pub const RESOLVE_INTERVAL_MIN: Duration = Duration::from_secs(30);

/// What a resolver knows of a name.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The endpoints, best first.
    pub endpoints: Vec<EndpointInfo>,
    /// The service config in JSON, if the resolver has one.
    pub service_config: Option<String>,
}

/// Finds the endpoints of a channel. It runs on a thread of its own and may block.
pub trait Resolve: Send + 'static {
    /// The endpoints now.
    ///
    /// # Errors
    /// Why there is no answer, for people to read. Endpoints from before stay in use.
    fn resolve(&mut self) -> Result<Resolved, String>;
}

impl<F: FnMut() -> Result<Resolved, String> + Send + 'static> Resolve for F {
    fn resolve(&mut self) -> Result<Resolved, String> {
        self()
    }
}

/// The endpoints, if all places are addresses already.
pub(crate) fn fixed(places: &[Location]) -> Option<Vec<EndpointInfo>> {
    places.iter().map(|location| literal(location).map(EndpointInfo::new)).collect()
}

/// The address of a location, if there is nothing to look up.
fn literal(location: &Location) -> Option<String> {
    match location {
        Location::Host(host) => Some(host.socket_addr(interface_index)?.to_string()),
        Location::Unix(path) => Some(format!("unix:{path}")),
        Location::UnixAbstract(name) => Some(format!("unix-abstract:{name}")),
    }
}

/// The index of a network interface, as the kernel tells it in a file.
fn interface_index(name: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

/// The system's own resolver.
pub(crate) struct System {
    places: Vec<Location>,
}

impl System {
    pub(crate) fn new(places: Vec<Location>) -> System {
        System { places }
    }
}

impl Resolve for System {
    fn resolve(&mut self) -> Result<Resolved, String> {
        let mut endpoints = Vec::new();
        let mut failed = None;
        for location in &self.places {
            if let Some(address) = literal(location) {
                endpoints.push(EndpointInfo::new(address));
                continue;
            }
            let Location::Host(host) = location else { continue };
            let name = match host.host() {
                Host::Name(name) => name.as_str(),
                Host::V4(_) | Host::V6 { .. } => {
                    failed = Some(format!("{host}: there is no network interface of that name"));
                    continue;
                }
            };
            match (name, host.port()).to_socket_addrs() {
                Ok(addresses) => {
                    let addresses = addresses.map(|address| EndpointInfo::new(address.to_string()));
                    endpoints.extend(interleaved(addresses.collect()));
                }
                Err(error) => failed = Some(format!("{name}: {error}")),
            }
        }
        match failed {
            Some(reason) if endpoints.is_empty() => Err(reason),
            _ => Ok(Resolved { endpoints, service_config: None }),
        }
    }
}

/// IPv6 and IPv4 in turn, beginning with the family that the system prefers (RFC 8305, gRFC A61): when one family does not work
/// here, the second address tried does.
fn interleaved(addresses: Vec<EndpointInfo>) -> Vec<EndpointInfo> {
    let is_v6 = |info: &EndpointInfo| info.address.starts_with('[');
    let Some(first_v6) = addresses.first().map(is_v6) else { return addresses };
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|info| is_v6(info) == first_v6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [preferred.next(), others.next()];
        if pair.iter().all(Option::is_none) {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// The resolver's thread, seen from a channel.
pub(crate) struct Resolver {
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    state: Mutex<Order>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Rest,
    Resolve,
    End,
}

impl Resolver {
    /// Starts the thread; `publish` is told each result, and says whether there is still anybody who wants one.
    pub(crate) fn start(
        mut resolve: Box<dyn Resolve>,
        interval_min: Duration,
        publish: impl Fn(Result<Resolved, String>) -> Interest + Send + 'static,
    ) -> std::io::Result<Resolver> {
        let orders = Arc::new(Orders::default());
        let mine = orders.clone();
        std::thread::Builder::new().name("corelane-resolve".to_owned()).spawn(move || {
            while mine.wait() {
                let resolved = guard(|| resolve.resolve())
                    .unwrap_or_else(|panic| Err(format!("the resolver panicked: {}", panic.message())));
                if publish(resolved) == Interest::None || mine.pause(interval_min) == Order::End {
                    return;
                }
            }
        })?;
        Ok(Resolver { orders })
    }

    /// Resolves, as soon as that may be.
    pub(crate) fn request(&self) {
        self.orders.order(Order::Resolve);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.orders.order(Order::End);
    }
}

/// Whether anybody wants further results.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    None,
    Some,
}

impl Orders {
    fn order(&self, order: Order) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != Order::End {
            *state = order;
        }
        self.changed.notify_all();
    }

    /// Waits for an order; says whether it is to resolve.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .changed
            .wait_while(state, |state| *state == Order::Rest)
            .unwrap_or_else(PoisonError::into_inner);
        let order = *state;
        if order == Order::Resolve {
            *state = Order::Rest;
        }
        order == Order::Resolve
    }

    /// Lets time pass, unless it ends.
    fn pause(&self, time: Duration) -> Order {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, time, |state| *state != Order::End)
            .unwrap_or_else(PoisonError::into_inner);
        *state
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_policy::config::Target;
    use std::sync::mpsc::channel;

    fn places(target: &str) -> Vec<Location> {
        Target::parse(target).unwrap().locations().to_vec()
    }

    #[test]
    fn literal_addresses_need_no_resolver() {
        let fixed = |text: &str| {
            let endpoints = fixed(Target::parse(text).unwrap().locations())?;
            Some(endpoints.iter().map(|info| info.address.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(fixed("ipv4:127.0.0.1:80,127.0.0.2:81").unwrap(), ["127.0.0.1:80", "127.0.0.2:81"]);
        assert_eq!(fixed("ipv6:[::1]:80").unwrap(), ["[::1]:80"]);
        assert_eq!(fixed("unix:/run/a.sock").unwrap(), ["unix:/run/a.sock"]);
        assert_eq!(fixed("static:///127.0.0.1:1,localhost:2"), None);
    }

    #[test]
    fn families_take_turns() {
        let list = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(EndpointInfo::new).to_vec();
        let mixed: Vec<_> = interleaved(list).into_iter().map(|info| info.address.to_string()).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert!(interleaved(Vec::new()).is_empty());
    }

    #[test]
    fn it_resolves_when_asked_and_pauses_after_that() {
        const PAUSE: Duration = Duration::from_millis(50);
        let (begin, begun) = channel();
        let (end, ended) = channel();
        let resolve = move || {
            begin.send(corelane_runtime::clock()).map_err(|error| error.to_string())?;
            Ok(Resolved::default())
        };
        let resolver = Resolver::start(Box::new(resolve), PAUSE, move |resolved| {
            let sent = end.send((corelane_runtime::clock(), resolved.is_ok()));
            sent.map_or(Interest::None, |()| Interest::Some)
        })
        .unwrap();
        resolver.request();
        begun.recv().unwrap();
        let (first, is_known) = ended.recv().unwrap();
        assert!(is_known);
        resolver.request();
        assert!(begun.recv().unwrap().since(first) >= PAUSE, "the interval has not passed");
        drop(resolver);
        // The thread ends, and with it what it tells of its results.
        assert_eq!(ended.iter().count(), 1);
    }

    #[test]
    fn a_name_that_is_none_is_an_error_with_the_name() {
        let mut system = System::new(places("dns:///no-such-host.invalid:1"));
        let error = system.resolve().unwrap_err();
        assert!(error.starts_with("no-such-host.invalid: "), "{error}");
        let mut local = System::new(places("dns:///localhost:7"));
        assert!(!local.resolve().unwrap().endpoints.is_empty());
    }
}
