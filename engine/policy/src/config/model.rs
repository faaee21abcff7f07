//! The service config as values, whatever text it came from. Durations are `std`'s; numbers are in the units of the names.

use std::sync::Arc;
use std::time::Duration;

use corelane_wire::grpc::Code;

use super::Methods;

/// A set of status codes.
///
/// ```
/// use corelane_policy::config::CodeSet;
/// use corelane_wire::grpc::Code;
///
/// let codes: CodeSet = [Code::Unavailable, Code::Aborted].into_iter().collect();
/// assert!(codes.contains(Code::Aborted) && !codes.contains(Code::Ok));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeSet(u32);

impl CodeSet {
    /// No code.
    pub const EMPTY: CodeSet = CodeSet(0);

    /// Adds `code`.
    pub fn insert(&mut self, code: Code) {
        self.0 |= 1 << code as u32;
    }

    /// Whether `code` is in it.
    #[must_use]
    pub fn contains(self, code: Code) -> bool {
        self.0 & (1 << code as u32) != 0
    }

    /// Whether no code is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Code> for CodeSet {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> CodeSet {
        let mut set = CodeSet::EMPTY;
        codes.into_iter().for_each(|code| set.insert(code));
        set
    }
}

/// When and how a failed call is tried again (gRFC A6, `retryPolicy`).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 2, and at most 5 are made.
    pub max_attempts: u32,
    /// The first back-off. Each is up to a fifth longer or shorter than it is said here.
    pub initial_backoff: Duration,
    /// The longest back-off.
    pub max_backoff: Duration,
    /// What the back-off is multiplied by after each attempt.
    pub backoff_multiplier: f64,
    /// Codes after which another attempt is made; none are needed beside `per_attempt_recv_timeout`.
    pub retryable: CodeSet,
    /// How long one attempt may take, with a stream of responses until that begins, before it counts as failed with
    /// DEADLINE_EXCEEDED. Such an attempt is followed by another whatever codes are `retryable`, as far as the number of attempts, the
    /// throttle and the call's deadline allow, and counts for the throttle: as C-core has it (gRFC A6 as amended; not in all stacks).
    pub per_attempt_recv_timeout: Option<Duration>,
}

/// Attempts that are sent without waiting for the ones before to fail (gRFC A6, `hedgingPolicy`).
///
/// All four kinds of call are hedged. The first copy that is answered well is the call, and the others are cancelled: one response
/// counts when it is there, a stream of them when it begins. Each copy of a stream of requests gets all of them, in order, at its own
/// pace; they are kept for it up to the client's retry buffer. A call that has sent more goes on with the copy that has got the most
/// of them, and sends no others.
#[derive(Clone, Debug, PartialEq)]
pub struct HedgingPolicy {
    /// Attempts in all, the first included; at least 2, and at most 5 are made.
    pub max_attempts: u32,
    /// How long after one attempt the next is sent; zero sends all at once.
    pub hedging_delay: Duration,
    /// Codes after which the others go on, and the next is sent at once.
    pub non_fatal: CodeSet,
}

/// The budget of retries and hedges of one server name (gRFC A6, `retryThrottling`), in thousandths of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryThrottling {
    /// The bucket's size: 1 to 1,000 tokens.
    pub max_milli_tokens: u32,
    /// What each success gives back.
    pub milli_token_ratio: u32,
}

/// Which methods a [`MethodConfig`] is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MethodName {
    /// All that nothing more exact is said about.
    Default,
    /// All of a service.
    Service(String),
    /// One method: service, method.
    Method(String, String),
}

/// What a service config says about some methods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodConfig {
    /// Whether calls wait while no connection is ready, unless they say themselves.
    pub wait_for_ready: Option<bool>,
    /// The longest that a call may take; the shorter of this and the call's own counts.
    pub timeout: Option<Duration>,
    /// The largest request, in bytes.
    pub max_request_message_bytes: Option<u32>,
    /// The largest response, in bytes.
    pub max_response_message_bytes: Option<u32>,
    /// Either this
    pub retry: Option<RetryPolicy>,
    /// or this, or neither.
    pub hedging: Option<HedgingPolicy>,
}

/// Which connections of which endpoint a channel uses for a call: the `loadBalancingConfig`, or what code asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum BalancerConfig {
    /// The first endpoint that can be connected to serves everything (gRFC A62).
    #[default]
    PickFirst,
    /// As `PickFirst`, in an order that each client shuffles for itself.
    PickFirstShuffled,
    /// One after the other.
    RoundRobin,
    /// In proportion to weights: those of the resolver, or those of load reports (gRFC A58).
    WeightedRoundRobin(WeightedRoundRobinConfig),
    /// Any.
    Random,
    /// Any, in proportion to the resolver's weights.
    WeightedRandom,
    /// Of `choice_count` random endpoints the one with the fewest calls in flight (gRFC A48).
    LeastRequest {
        /// 2 to 10.
        choice_count: u32,
    },
    /// By a hash of the call (gRFC A42, A76).
    RingHash {
        /// Entries of the ring at least.
        min_ring_size: u64,
        /// Entries of the ring at most.
        max_ring_size: u64,
        /// The metadata whose value is hashed; without it a random number is.
        request_hash_header: Option<String>,
    },
    /// Each worker uses the endpoints that fall to its core, in turn, and all when none of those is ready.
    CoreLocal,
    /// A random subset of the endpoints, the same for as long as they are the same (gRFC A68).
    RandomSubsetting {
        /// How many.
        subset_size: u32,
        /// What chooses among them.
        child: Box<BalancerConfig>,
    },
    /// Endpoints that do worse than the others are left out for a while (gRFC A50).
    OutlierDetection {
        /// When and for how long.
        config: Box<OutlierDetectionConfig>,
        /// What chooses among the rest.
        child: Box<BalancerConfig>,
    },
}

/// gRFC A58.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedRoundRobinConfig {
    /// Whether reports are asked for out of band instead of being read from each call's trailers.
    pub out_of_band: bool,
    /// How often they are asked for.
    pub oob_reporting_period: Duration,
    /// How long an endpoint must have reported before its weight counts.
    pub blackout_period: Duration,
    /// After how long without a report a weight no longer counts.
    pub weight_expiration_period: Duration,
    /// How often the schedule is made anew.
    pub weight_update_period: Duration,
    /// How much errors a second, over calls a second, lower a weight.
    pub error_utilization_penalty: f32,
}

impl Default for WeightedRoundRobinConfig {
    fn default() -> WeightedRoundRobinConfig {
        WeightedRoundRobinConfig {
            out_of_band: false,
            oob_reporting_period: Duration::from_secs(10),
            blackout_period: Duration::from_secs(10),
            weight_expiration_period: Duration::from_secs(180),
            weight_update_period: Duration::from_secs(1),
            error_utilization_penalty: 1.0,
        }
    }
}

/// gRFC A50. Percentages are 0 to 100.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetectionConfig {
    /// How often endpoints are compared.
    pub interval: Duration,
    /// How long the first ejection lasts; later ones last longer.
    pub base_ejection_time: Duration,
    /// The longest ejection.
    pub max_ejection_time: Duration,
    /// The most endpoints that are ejected at once.
    pub max_ejection_percent: u32,
    /// Ejects endpoints whose success rate is far below the mean.
    pub success_rate: Option<SuccessRate>,
    /// Ejects endpoints that fail more often than a threshold.
    pub failure_percentage: Option<FailurePercentage>,
}

/// Part of [`OutlierDetectionConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// Thousandths of a standard deviation below the mean.
    pub stdev_factor: u32,
    /// How likely an outlier is ejected.
    pub enforcement_percentage: u32,
    /// How many endpoints must have enough calls.
    pub minimum_hosts: u32,
    /// How many calls are enough.
    pub request_volume: u32,
}

/// Part of [`OutlierDetectionConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// Ejected above it.
    pub threshold: u32,
    /// How likely an outlier is ejected.
    pub enforcement_percentage: u32,
    /// How many endpoints must have enough calls.
    pub minimum_hosts: u32,
    /// How many calls are enough.
    pub request_volume: u32,
}

/// Which service a connection's health is asked for (gRFC A17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckConfig {
    /// `service` of the Watch call; empty means the server as a whole.
    pub service_name: String,
}

/// A whole service config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceConfig {
    /// `None` leaves the choice to the channel.
    pub balancer: Option<BalancerConfig>,
    /// What is said about methods; [`ServiceConfig::method`] looks there.
    pub methods: Methods,
    /// The budget of retries.
    pub retry_throttling: Option<RetryThrottling>,
    /// Client-side health checking.
    pub health_check: Option<HealthCheckConfig>,
    /// The most connections to one endpoint when streams run out (gRFC A105, `connectionScaling`): 1 to 10.
    pub max_connections_per_endpoint: Option<u32>,
}

impl ServiceConfig {
    /// What is said about the method with this `:path`, as `/pkg.Service/Method`: about just it, else about its service,
    /// else about all. A few comparisons of strings; callers keep the answer.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<&Arc<MethodConfig>> {
        self.methods.get(path)
    }
}
