//! How long to wait before a connection is tried again (gRPC's connection-backoff.md).
//!
//! Does not: wait, or know what failed. The delay counts from the *start* of the attempt that failed, and an attempt may take
//! longer than it: then the next one starts at once.
//!
//! The document's text leaves the first delay without jitter, and so does grpc-go; grpc-java does not, nor do we: the clients
//! that lose one server lose it in the same moment, and the first delay is the one that they would share.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::scale;

/// The four numbers of connection-backoff.md, with its values as the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffConfig {
    /// After the first failure (`INITIAL_BACKOFF`, 1 s).
    pub initial: Duration,
    /// What it is multiplied by after each further failure (`MULTIPLIER`, 1.6).
    pub multiplier: f64,
    /// How much less or more each delay is, as a share of it (`JITTER`, 0.2).
    pub jitter: f64,
    /// The longest delay before jitter (`MAX_BACKOFF`, 120 s).
    pub max: Duration,
}

impl Default for BackoffConfig {
    fn default() -> BackoffConfig {
        BackoffConfig {
            initial: Duration::from_secs(1),
            multiplier: 1.6,
            jitter: 0.2,
            max: Duration::from_secs(120),
        }
    }
}

/// What is wrong with a [`BackoffConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BackoffError {
    /// `initial` is zero: a server that is down would be tried without a pause.
    InitialIsZero,
    /// `max` is below `initial`.
    MaxBelowInitial,
    /// `multiplier` is below 1 or not a number.
    Multiplier(f64),
    /// `jitter` is not from 0 to below 1.
    Jitter(f64),
}

impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackoffError::InitialIsZero => {
                f.write_str("connection back-off: the initial delay is zero; give it at least a millisecond")
            }
            BackoffError::MaxBelowInitial => f.write_str(
                "connection back-off: the longest delay is below the initial one; raise it or lower that",
            ),
            BackoffError::Multiplier(value) => {
                write!(f, "connection back-off: the multiplier is {value}; it must be 1 or more")
            }
            BackoffError::Jitter(value) => {
                write!(f, "connection back-off: the jitter is {value}; it must be from 0 to below 1")
            }
        }
    }
}

impl std::error::Error for BackoffError {}

/// The delays of one endpoint: each longer than the one before until it connects.
///
/// ```
/// use corelane_policy::resilience::{Backoff, BackoffConfig};
/// use std::time::Duration;
///
/// let mut rng = fastrand::Rng::with_seed(7);
/// let mut backoff = Backoff::new(BackoffConfig { jitter: 0.0, ..BackoffConfig::default() })?;
/// assert_eq!(backoff.next(&mut rng), Duration::from_secs(1));
/// assert_eq!(backoff.next(&mut rng), Duration::from_millis(1_600));
/// backoff.reset(); // it connected
/// assert_eq!(backoff.next(&mut rng), Duration::from_secs(1));
/// # Ok::<(), corelane_policy::resilience::BackoffError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    /// The next delay before jitter; never above `config.max`.
    upcoming: Duration,
}

impl Backoff {
    /// A back-off whose first delay is the initial one.
    ///
    /// # Errors
    /// If a number of `config` makes no sense.
    pub fn new(config: BackoffConfig) -> Result<Backoff, BackoffError> {
        if config.initial.is_zero() {
            return Err(BackoffError::InitialIsZero);
        }
        if config.max < config.initial {
            return Err(BackoffError::MaxBelowInitial);
        }
        if config.multiplier.is_nan() || config.multiplier < 1.0 {
            return Err(BackoffError::Multiplier(config.multiplier));
        }
        if !(0.0..1.0).contains(&config.jitter) {
            return Err(BackoffError::Jitter(config.jitter));
        }
        Ok(Backoff { config, upcoming: config.initial })
    }

    /// The delay after one more failure, counted from the start of the attempt that failed.
    pub fn next(&mut self, rng: &mut Rng) -> Duration {
        let delay = self.upcoming;
        self.upcoming = scale::times(delay, self.config.multiplier).min(self.config.max);
        scale::jittered(delay, self.config.jitter, rng)
    }

    /// For a connection that came up (the SETTINGS of the server arrived): the next failure is a first one again.
    pub fn reset(&mut self) {
        self.upcoming = self.config.initial;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_by_the_multiplier_up_to_the_maximum() {
        let mut rng = Rng::with_seed(0);
        let mut backoff = Backoff::new(BackoffConfig { jitter: 0.0, ..BackoffConfig::default() }).unwrap();
        let seconds: Vec<_> = (0..13).map(|_| backoff.next(&mut rng).as_secs_f64()).collect();
        for (index, found) in seconds.iter().enumerate() {
            let expected = 1.6_f64.powi(i32::try_from(index).unwrap()).min(120.0);
            assert!((found - expected).abs() < 1e-6, "{index}: {found} for {expected}");
        }
        assert_eq!(seconds[12].to_bits(), 120.0_f64.to_bits());
    }

    #[test]
    fn every_delay_is_jittered_the_first_and_the_longest_too() {
        let mut rng = Rng::with_seed(3);
        let mut backoff = Backoff::new(BackoffConfig::default()).unwrap();
        let first = backoff.next(&mut rng);
        assert!(first != Duration::from_secs(1) && first.abs_diff(Duration::from_secs(1)).as_millis() <= 200);
        for _ in 0..20 {
            backoff.next(&mut rng);
        }
        let late: Vec<_> = (0..200).map(|_| backoff.next(&mut rng)).collect();
        assert!(late.iter().all(|delay| (96..=144).contains(&delay.as_secs())));
        assert!(
            late.iter().any(|delay| delay.as_secs() > 125) && late.iter().any(|delay| delay.as_secs() < 115)
        );
    }

    #[test]
    fn a_success_begins_again() {
        let mut rng = Rng::with_seed(0);
        let mut backoff = Backoff::new(BackoffConfig { jitter: 0.0, ..BackoffConfig::default() }).unwrap();
        (0..5).for_each(|_| _ = backoff.next(&mut rng));
        backoff.reset();
        assert_eq!(backoff.next(&mut rng), Duration::from_secs(1));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        let good = BackoffConfig::default();
        let refused = |config| Backoff::new(config).unwrap_err().to_string();
        assert!(refused(BackoffConfig { initial: Duration::ZERO, ..good }).contains("initial delay is zero"));
        assert!(
            refused(BackoffConfig { max: Duration::from_millis(1), ..good }).contains("below the initial")
        );
        assert!(refused(BackoffConfig { multiplier: f64::NAN, ..good }).contains("multiplier is NaN"));
        assert!(refused(BackoffConfig { multiplier: 0.9, ..good }).contains("multiplier is 0.9"));
        assert!(refused(BackoffConfig { jitter: 1.0, ..good }).contains("jitter is 1"));
        assert!(refused(BackoffConfig { jitter: -0.1, ..good }).contains("jitter is -0.1"));
    }

    #[test]
    fn the_largest_numbers_do_not_panic() {
        let config = BackoffConfig {
            initial: Duration::MAX,
            max: Duration::MAX,
            multiplier: f64::INFINITY,
            jitter: 0.9,
        };
        let mut backoff = Backoff::new(config).unwrap();
        let mut rng = Rng::with_seed(0);
        for _ in 0..100 {
            assert!(backoff.next(&mut rng) > Duration::from_secs(1));
        }
    }
}
