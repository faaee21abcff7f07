//! What keeps failures from spreading: back-off, retry budgets, hedging, circuit breakers, outlier detection, rate limits.

mod atomic;
mod attempt;
mod backoff;
mod breaker;
mod hedge;
mod outcome;
mod outlier;
mod pushback;
mod rate_limit;
mod retry;
mod scale;
mod throttle;

pub use attempt::{ATTEMPTS_MAX, Committed, Failure, OwnTime, PREVIOUS_ATTEMPTS_NAME, Reach, Stop};
pub use backoff::{Backoff, BackoffConfig, BackoffError};
pub use breaker::{
    BreakerCause, BreakerChange, BreakerConfig, BreakerError, BreakerFigures, BreakerMode, BreakerState,
    BreakerWindow, CircuitBreaker, PROBES_MAX, Permit, Rejected, SlowCalls, WINDOW_CALLS_MAX,
    WINDOW_TIME_MAX, WINDOW_TIME_MIN,
};
pub use hedge::{AfterFailure, Hedge, HedgeState};
pub use outcome::Outcome;
pub use outlier::{Ejection, OutlierDetector, OutlierEndpoint, SWEEP_INTERVAL_MIN};
pub use pushback::{PUSHBACK_NAME, Pushback};
pub use rate_limit::{RateLimit, RateLimitConfig, RateLimitError};
pub use retry::{Decision, RetryState};
pub use throttle::{Budget, RetryThrottle};
