//! What keeps failures from spreading: back-off, retry budgets, hedging, circuit breakers, outlier detection, rate limits.

mod atomic;
mod attempt;
mod backoff;
mod hedge;
mod pushback;
mod retry;
mod scale;
mod throttle;

pub use attempt::{ATTEMPTS_MAX, Committed, Failure, PREVIOUS_ATTEMPTS_NAME, Reach, Stop};
pub use backoff::{Backoff, BackoffConfig, BackoffError};
pub use hedge::{AfterFailure, Hedge, HedgeState};
pub use pushback::{PUSHBACK_NAME, Pushback};
pub use retry::{Decision, RetryState};
pub use throttle::{Budget, RetryThrottle};
