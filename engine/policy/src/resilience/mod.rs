//! What keeps failures from spreading: back-off, retry budgets, hedging, circuit breakers, outlier detection, rate limits.

mod backoff;
mod scale;

pub use backoff::{Backoff, BackoffConfig, BackoffError};
