//! What keeps failures from spreading: back-off, retry budgets, hedging, circuit breakers, outlier detection, rate limits.

mod atomic;
mod backoff;
mod scale;
mod throttle;

pub use backoff::{Backoff, BackoffConfig, BackoffError};
pub use throttle::{Budget, RetryThrottle};
