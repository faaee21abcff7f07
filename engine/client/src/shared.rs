//! What all workers have of a channel in common: its endpoints, its service config, its budget of retries.
//!
//! Written by the resolver's thread, read by workers: each notices by a version that something has changed, and the task that
//! follows it there is woken.
//!
//! Does not: connect. Invariant: a config that is refused changes nothing; the last good one stays.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use corelane_policy::balance::{self, EndpointInfo, Policy, Publisher};
use corelane_policy::config::{BalancerConfig, Location, ProxyRules, ServiceConfig, Target, connect_request};
use corelane_policy::resilience::{RateLimit, RetryThrottle};

use corelane_runtime::{Address, ClientTls};

use crate::Cause;
use crate::credentials::ChannelSecurity;
use crate::guard::{Breakers, Outliers, outlier_config};
use crate::options::{Options, ResolverConfig};
use crate::resolve::{self, Interest, Resolve, Resolved, Resolver, System};

/// A service config in use.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) service: Arc<ServiceConfig>,
    pub(crate) throttle: Option<Arc<RetryThrottle>>,
}

/// How far resolving has come.
#[derive(Clone, Debug)]
pub(crate) enum Resolution {
    /// Under way for the first time.
    Pending,
    /// Done.
    Known,
    /// Failed, and nothing is known from before.
    Failed(Cause),
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) target: Target,
    pub(crate) authority: String,
    pub(crate) balancer: Arc<balance::Shared>,
    pub(crate) config: ArcSwap<Config>,
    /// Counts configs and resolutions.
    version: AtomicU64,
    control: Mutex<Control>,
    resolver: OnceLock<Resolver>,
    /// How connections are encrypted, if they are, and the name that the server's certificate must have.
    pub(crate) tls: Option<(ClientTls, String)>,
    /// How connections go through a proxy, if they do: the endpoints are the proxy's then.
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) breakers: Option<Breakers>,
    pub(crate) rate_limit: Option<RateLimit>,
    outliers: ArcSwapOption<Outliers>,
    /// What the pings of keepalive are apart at least, in nanoseconds: the options' time, doubled when a server complains.
    keepalive_ns: AtomicU64,
}

struct Control {
    publisher: Publisher,
    resolution: Resolution,
    /// Tasks that follow.
    followers: Vec<Waker>,
    /// Before it is started.
    resolve: Option<Box<dyn Resolve>>,
}

impl Shared {
    pub(crate) fn new(
        target: Target,
        options: Options,
        resolve: Option<Box<dyn Resolve>>,
        seed: u64,
    ) -> Arc<Shared> {
        let publisher = Publisher::new(fastrand::Rng::with_seed(seed));
        // The proxy looks the name up; what we look up is the proxy.
        let (places, tunnel) = match options.proxy.as_ref().filter(|_| resolve.is_none()) {
            Some(rules) => through_proxy(&target, rules),
            None => (target.locations().to_vec(), None),
        };
        let fixed = if resolve.is_none() { resolve::fixed(&places) } else { None };
        let service = options.default_config.clone().unwrap_or_default();
        let throttle = service.retry_throttling.map(|config| Arc::new(RetryThrottle::new(config)));
        let authority = options.authority.clone().unwrap_or_else(|| target.authority());
        let tls = options.tls.clone().map(|tls| {
            let name = options.server_name.clone().unwrap_or_else(|| host_of(&authority).to_owned());
            (tls, name)
        });
        let resolve = match (&fixed, resolve) {
            (Some(_), _) => None,
            (None, Some(own)) => Some(own),
            (None, None) => Some(Box::new(System::new(places)) as Box<dyn Resolve>),
        };
        let breakers =
            options.breaker.clone().map(|config| Breakers::new(config, options.breaker_observer.clone()));
        let rate_limit =
            options.rate_limit.map(|config| RateLimit::new(config).expect("the builder has checked it"));
        let keepalive = options.keepalive.map_or(Duration::ZERO, |keepalive| keepalive.time);
        let shared = Arc::new(Shared {
            balancer: publisher.shared().clone(),
            config: ArcSwap::from_pointee(Config { service, throttle }),
            version: AtomicU64::new(0),
            control: Mutex::new(Control {
                publisher,
                resolution: Resolution::Pending,
                followers: Vec::new(),
                resolve,
            }),
            resolver: OnceLock::new(),
            tls,
            tunnel,
            breakers,
            rate_limit,
            outliers: ArcSwapOption::empty(),
            keepalive_ns: AtomicU64::new(u64::try_from(keepalive.as_nanos()).unwrap_or(u64::MAX)),
            authority,
            target,
            options,
        });
        if let Some(endpoints) = fixed {
            shared.publish(Ok(Resolved { endpoints, service_config: None }));
        }
        shared
    }

    /// Which state of endpoints and config this is.
    pub(crate) fn version(&self) -> u64 {
        // Acquire pairs with the Release in `publish`: who sees the number sees what it counts.
        self.version.load(Ordering::Acquire)
    }

    /// Whether connections are encrypted.
    pub(crate) fn security(&self) -> ChannelSecurity {
        if self.tls.is_some() { ChannelSecurity::Tls } else { ChannelSecurity::Plaintext }
    }

    /// `:scheme`.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.security() {
            ChannelSecurity::Plaintext => "http",
            ChannelSecurity::Tls => "https",
        }
    }

    pub(crate) fn resolution(&self) -> Resolution {
        self.control().resolution.clone()
    }

    /// Has `waker` called when the version is no longer `known`; says whether it is so already.
    pub(crate) fn follow(&self, known: u64, waker: &Waker) -> bool {
        let mut control = self.control();
        if self.version() != known {
            return true;
        }
        if !control.followers.iter().any(|follower| follower.will_wake(waker)) {
            control.followers.push(waker.clone());
        }
        false
    }

    /// Forgets a task that followed.
    pub(crate) fn unfollow(&self, waker: &Waker) {
        self.control().followers.retain(|follower| !follower.will_wake(waker));
    }

    /// Has the names resolved, again if they were: at the first use, and when connections fail.
    pub(crate) fn resolve(self: &Arc<Self>) {
        if let Some(resolver) = self.resolver.get() {
            return resolver.request();
        }
        let Some(resolve) = self.control().resolve.take() else { return };
        let weak: Weak<Shared> = Arc::downgrade(self);
        let publish = move |resolved| match weak.upgrade() {
            Some(shared) => {
                shared.publish(resolved);
                Interest::Some
            }
            None => Interest::None,
        };
        match Resolver::start(resolve, self.options.resolve_interval, publish) {
            Ok(resolver) => {
                resolver.request();
                let _ = self.resolver.set(resolver);
            }
            Err(error) => self.publish(Err(format!("cannot start the resolver's thread: {error}"))),
        }
    }

    /// The outlier detection of the list that is published.
    pub(crate) fn outliers(&self) -> Option<Arc<Outliers>> {
        self.outliers.load_full()
    }

    /// The time between keepalive PINGs now.
    pub(crate) fn keepalive_time(&self) -> Duration {
        // Relaxed: a number of its own.
        Duration::from_nanos(self.keepalive_ns.load(Ordering::Relaxed))
    }

    /// A server complained of too many PINGs on a connection that was made with this time: all connections of the channel that are
    /// made from now on ask half as often as that one (gRFC A8). Others that were made with it may hear the same complaint.
    pub(crate) fn ping_less(&self, time: Duration) {
        let doubled = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2);
        // Relaxed: see above.
        self.keepalive_ns.fetch_max(doubled, Ordering::Relaxed);
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the resolver has found.
    fn publish(&self, resolved: Result<Resolved, String>) {
        let followers = {
            let mut control = self.control();
            if let Err(cause) = self.take(&mut control, resolved) {
                tracing::warn!(target = %self.target, %cause, "resolving failed");
                if !matches!(control.resolution, Resolution::Known) {
                    control.resolution = Resolution::Failed(cause);
                }
            }
            // Release: see `version`.
            self.version.fetch_add(1, Ordering::Release);
            std::mem::take(&mut control.followers)
        };
        followers.into_iter().for_each(Waker::wake);
    }

    fn take(&self, control: &mut Control, resolved: Result<Resolved, String>) -> Result<(), Cause> {
        let resolved = resolved.map_err(|reason| Cause::Resolve { reason: reason.into() })?;
        let parsed = match &resolved.service_config {
            Some(json) if self.options.resolver_config == ResolverConfig::Obeyed => {
                Some(ServiceConfig::from_json(json))
            }
            _ => None,
        };
        match parsed {
            Some(Ok(service)) => self.use_config(Arc::new(service)),
            Some(Err(error)) => {
                let reason: Arc<str> = error.to_string().into();
                tracing::warn!(target = %self.target, %reason, "a service config was refused; the last good one stays");
                // gRFC A21: without any config from before, and none from the program, the channel does not work.
                if !matches!(control.resolution, Resolution::Known) && self.options.default_config.is_none() {
                    return Err(Cause::ServiceConfig { reason });
                }
            }
            None => {}
        }
        self.use_endpoints(control, resolved.endpoints)
    }

    fn use_config(&self, service: Arc<ServiceConfig>) {
        let before = self.config.load();
        if before.service == service {
            return;
        }
        let throttle = match (&before.throttle, service.retry_throttling) {
            // The tokens that were used stay used.
            (Some(throttle), Some(config)) if throttle.config() == config => Some(throttle.clone()),
            (_, config) => config.map(|config| Arc::new(RetryThrottle::new(config))),
        };
        self.config.store(Arc::new(Config { service, throttle }));
    }

    fn use_endpoints(&self, control: &mut Control, endpoints: Vec<EndpointInfo>) -> Result<(), Cause> {
        if endpoints.is_empty() && matches!(control.resolution, Resolution::Known) {
            // What worked a moment ago is better than nothing.
            return Err(Cause::NoEndpoints);
        }
        // A resolver of the program's own may say anything; an endpoint without an address would let its calls wait for ever.
        if let Some(bad) = endpoints.iter().find(|info| info.address.parse::<Address>().is_err()) {
            let reason = format!(
                "the resolver gave {:?}, which is no address: it must be IP:port or unix:path",
                bad.address
            );
            return Err(Cause::Resolve { reason: reason.into() });
        }
        let policy = self.policy();
        let published = control.publisher.publish(&policy, endpoints);
        published.map_err(|error| Cause::Resolve { reason: error.to_string().into() })?;
        let endpoints = self.balancer.endpoints();
        if let Some(breakers) = &self.breakers {
            breakers.retain(&endpoints);
        }
        let before = self.outliers.load_full();
        let watched = match &policy {
            Policy::Config(config) => outlier_config(config),
            Policy::Own(_) => None,
        };
        let outliers = watched.map(|config| {
            Outliers::new(config.clone(), &endpoints, before.as_deref(), corelane_runtime::clock())
        });
        // Without an algorithm no call is to be counted (gRFC A50).
        let outliers = outliers.filter(Outliers::is_active);
        if let Some(before) = before
            && outliers.is_none()
        {
            before.return_all(&self.balancer);
        }
        self.outliers.store(outliers.map(Arc::new));
        control.resolution = match endpoints.order().is_empty() {
            true => Resolution::Failed(Cause::NoEndpoints),
            false => Resolution::Known,
        };
        Ok(())
    }

    /// What the program chose, or the service config, or gRPC's default.
    fn policy(&self) -> Policy {
        let chosen = self.options.policy.clone();
        let configured = || self.config.load().service.balancer.clone().map(Policy::Config);
        chosen.or_else(configured).unwrap_or(Policy::Config(BalancerConfig::PickFirst))
    }
}

/// The host of an authority, without the port and an IPv6 address's brackets.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// What a proxy is asked.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) request: Vec<u8>,
}

/// Where to connect for `target`, and what to ask there, as the rules of proxies have it. Only a single host goes through one:
/// lists of addresses are somebody's who knows the network.
fn through_proxy(target: &Target, rules: &ProxyRules) -> (Vec<Location>, Option<Tunnel>) {
    if let [Location::Host(host)] = target.locations()
        && let Some(proxy) = rules.proxy_for(host)
    {
        let request = connect_request(host, proxy);
        return (vec![Location::Host(proxy.address().clone())], Some(Tunnel { request }));
    }
    (target.locations().to_vec(), None)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("target", &self.target.to_string()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_policy::resilience::Outcome;

    #[test]
    fn workers_that_let_the_channel_go_leave_nothing_behind() {
        let target = Target::parse("ipv4:127.0.0.1:1").unwrap();
        let shared = Shared::new(target, Options::default(), None, 0);
        let engine = crate::Engine::start(corelane_runtime::Workers::Count(1)).unwrap();
        for _ in 0..3 {
            let mine = shared.clone();
            engine.block_on(move || {
                let worker = balance::Worker { index: 0, count: 1 };
                let local = crate::local::Local::new(&mine, worker);
                async move {
                    // Its task has its turn, and follows.
                    corelane_runtime::yield_now().await;
                    assert_eq!(mine.control().followers.len(), 1);
                    drop(local);
                }
            });
        }
        assert_eq!(shared.control().followers.len(), 0);
    }

    fn use_balancer(shared: &Shared, balancer: &str) {
        let endpoints = ["127.0.0.1:1", "127.0.0.1:2"].map(EndpointInfo::new).to_vec();
        let service_config = Some(format!(r#"{{"loadBalancingConfig": [{balancer}]}}"#));
        shared.publish(Ok(Resolved { endpoints, service_config }));
    }

    fn ejected_count(shared: &Shared) -> usize {
        shared.balancer.endpoints().iter().filter(|endpoint| endpoint.stats().is_ejected()).count()
    }

    const DETECTION: &str = r#"{"outlier_detection": {
        "failurePercentageEjection": {"minimumHosts": 1, "requestVolume": 1}, "childPolicy": [{"round_robin": {}}]
    }}"#;

    /// Otherwise each would see a part of the calls, or both would eject.
    #[test]
    fn a_worker_that_has_the_detection_of_an_earlier_list_leaves_the_calls_to_the_newest() {
        let target = Target::parse("ipv4:127.0.0.1:1").unwrap();
        let shared = Shared::new(target, Options::default(), None, 0);
        use_balancer(&shared, DETECTION);
        let before = shared.outliers().unwrap();
        use_balancer(&shared, DETECTION);
        let newest = shared.outliers().unwrap();
        let bad = shared.balancer.endpoints().order()[0];
        // Both know the endpoint, and count its calls together.
        before.find(bad).unwrap().record(Outcome::Failure);

        let (now, mut rng) =
            (corelane_runtime::clock() + Duration::from_secs(11), fastrand::Rng::with_seed(0));
        before.sweep(now, &shared.balancer, &mut rng);
        assert_eq!(ejected_count(&shared), 0);
        newest.sweep(now, &shared.balancer, &mut rng);
        assert_eq!(ejected_count(&shared), 1);
    }

    #[test]
    fn a_config_without_outlier_detection_takes_back_who_was_ejected() {
        let without = [
            r#"{"round_robin": {}}"#,
            r#"{"outlier_detection": {"childPolicy": [{"round_robin": {}}]}}"#,
            r#"{"pick_first": {}}"#,
        ];
        for balancer in without {
            let target = Target::parse("ipv4:127.0.0.1:1").unwrap();
            let shared = Shared::new(target, Options::default(), None, 0);
            use_balancer(&shared, DETECTION);
            let outliers = shared.outliers().unwrap();
            let bad = shared.balancer.endpoints().order()[0];
            let mut rng = fastrand::Rng::with_seed(0);
            let mut sweep_after = |seconds| {
                outliers.find(bad).unwrap().record(Outcome::Failure);
                let now = corelane_runtime::clock() + Duration::from_secs(seconds);
                outliers.sweep(now, &shared.balancer, &mut rng);
            };
            sweep_after(11);
            assert_eq!(ejected_count(&shared), 1);

            use_balancer(&shared, balancer);
            assert_eq!(ejected_count(&shared), 0, "{balancer}");
            // And no call is counted.
            assert!(shared.outliers().is_none(), "{balancer}");
            // A worker that has not taken the new config yet.
            sweep_after(22);
            assert_eq!(ejected_count(&shared), 0, "{balancer}");
        }
    }
}
