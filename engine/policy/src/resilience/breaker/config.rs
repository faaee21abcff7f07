//! When a circuit breaker opens and closes, and what is wrong with such numbers.

use std::fmt;
use std::time::Duration;

use corelane_wire::grpc::Code;

use super::super::outcome::Outcome;
use crate::config::CodeSet;

/// The most probes of a half-open breaker: four counts of them share one word with the state.
pub const PROBES_MAX: u32 = 1_000;
/// The most calls of a window.
pub const WINDOW_CALLS_MAX: u32 = 1_000_000;
/// The longest window: its buckets count in 32 bits.
pub const WINDOW_TIME_MAX: Duration = Duration::from_secs(3_600);
/// The shortest window: a bucket of it spans about a turn of a worker.
pub const WINDOW_TIME_MIN: Duration = Duration::from_millis(10);

/// What rates are taken over. Both kinds move in steps of about a sixteenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerWindow {
    /// The last calls, 1 to [`WINDOW_CALLS_MAX`]; a sixteenth more at most.
    Calls(u32),
    /// The calls of the last so long, [`WINDOW_TIME_MIN`] to [`WINDOW_TIME_MAX`]; an eighth more at most.
    Time(Duration),
}

/// Slow calls as a sign of trouble, whatever their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCalls {
    /// Slow is what takes at least this long.
    pub at_least: Duration,
    /// Opens at this share of slow calls, 1 to 100.
    pub rate_percent: u32,
}

/// The numbers of a [`CircuitBreaker`](super::CircuitBreaker). At least one of the three causes must be set.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// Opens after so many failures in a row, whatever the window holds.
    pub consecutive_failures: Option<u32>,
    /// Opens at this share of failures, 1 to 100. Shares are judged when a call ends that failed or was slow: no good call opens a
    /// breaker.
    pub failure_rate_percent: Option<u32>,
    /// Opens at a share of slow calls.
    pub slow_calls: Option<SlowCalls>,
    /// What the two rates are taken over.
    pub window: BreakerWindow,
    /// No rate is judged before so many calls are in the window. A window of calls that has been full has enough.
    pub minimum_calls: u32,
    /// How long all calls are rejected before probes are let through.
    pub open_for: Duration,
    /// So many calls are let through to decide whether to close again, 1 to [`PROBES_MAX`].
    pub probes: u32,
    /// If the probes have not decided after this long, the breaker opens again.
    pub probes_within: Duration,
    /// Status codes that are failures.
    pub failure_codes: CodeSet,
    /// Status codes that say nothing about the endpoint. All others are successes: the endpoint answered.
    pub ignored_codes: CodeSet,
}

/// Half of at least 20 calls of 10 s failing opens it for 5 s, then 3 probes decide.
impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        let failures = [
            Code::Unavailable,
            Code::Internal,
            Code::Unknown,
            Code::DataLoss,
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
        ];
        BreakerConfig {
            consecutive_failures: None,
            failure_rate_percent: Some(50),
            slow_calls: None,
            window: BreakerWindow::Time(Duration::from_secs(10)),
            minimum_calls: 20,
            open_for: Duration::from_secs(5),
            probes: 3,
            probes_within: Duration::from_secs(30),
            failure_codes: failures.into_iter().collect(),
            ignored_codes: [Code::Cancelled].into_iter().collect(),
        }
    }
}

/// What is wrong with a [`BreakerConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerError {
    /// None of the three causes is set, so it would never open.
    NoCause,
    /// A count that must be at least 1 is 0: its name.
    Zero(&'static str),
    /// A percentage is not 1 to 100: its name, its value.
    Percent(&'static str, u32),
    /// The window is too small or too large.
    Window(BreakerWindow),
    /// More calls are required than the window can hold.
    MinimumAboveWindow(u32, u32),
    /// Too many probes.
    Probes(u32),
    /// No code is a failure, but failures are to open it.
    NoFailureCodes,
    /// A code is both failed and ignored.
    FailedAndIgnored(Code),
}

impl fmt::Display for BreakerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("circuit breaker: ")?;
        match self {
            BreakerError::NoCause => f.write_str(
                "nothing would open it; set consecutive_failures, failure_rate_percent or slow_calls",
            ),
            BreakerError::Zero(name) => write!(f, "{name} is 0; it must be at least 1"),
            BreakerError::Percent(name, value) => write!(f, "{name} is {value}; it must be 1 to 100"),
            BreakerError::Window(BreakerWindow::Calls(calls)) => {
                write!(f, "the window has {calls} calls; it must have 1 to {WINDOW_CALLS_MAX}")
            }
            BreakerError::Window(BreakerWindow::Time(time)) => {
                write!(
                    f,
                    "the window is {time:?} long; it must be {WINDOW_TIME_MIN:?} to {WINDOW_TIME_MAX:?}"
                )
            }
            BreakerError::MinimumAboveWindow(minimum, window) => write!(
                f,
                "minimum_calls is {minimum}, but the window only holds {window} calls; lower it or widen the window"
            ),
            BreakerError::Probes(probes) => write!(f, "probes is {probes}; it must be 1 to {PROBES_MAX}"),
            BreakerError::NoFailureCodes => {
                f.write_str("failures are to open it, but failure_codes is empty; name at least one code")
            }
            BreakerError::FailedAndIgnored(code) => {
                write!(f, "{} is in failure_codes and in ignored_codes; take it out of one", code.name())
            }
        }
    }
}

impl std::error::Error for BreakerError {}

impl BreakerConfig {
    /// Whether the numbers make sense together.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn validate(&self) -> Result<(), BreakerError> {
        let failures_open = self.consecutive_failures.is_some() || self.failure_rate_percent.is_some();
        if !failures_open && self.slow_calls.is_none() {
            return Err(BreakerError::NoCause);
        }
        self.validate_counts()?;
        percent("failure_rate_percent", self.failure_rate_percent)?;
        percent("slow_calls.rate_percent", self.slow_calls.map(|slow| slow.rate_percent))?;
        self.validate_window()?;
        if failures_open && self.failure_codes.is_empty() {
            return Err(BreakerError::NoFailureCodes);
        }
        let both = |code: &Code| self.failure_codes.contains(*code) && self.ignored_codes.contains(*code);
        Code::ALL.into_iter().find(both).map_or(Ok(()), |code| Err(BreakerError::FailedAndIgnored(code)))
    }

    /// How a call that ended with `code` counts.
    #[must_use]
    pub fn outcome_of(&self, code: Code) -> Outcome {
        if self.failure_codes.contains(code) {
            Outcome::Failure
        } else if self.ignored_codes.contains(code) {
            Outcome::Ignored
        } else {
            Outcome::Success
        }
    }

    fn validate_counts(&self) -> Result<(), BreakerError> {
        let counts = [
            ("consecutive_failures", self.consecutive_failures == Some(0)),
            ("slow_calls.at_least", self.slow_calls.is_some_and(|slow| slow.at_least.is_zero())),
            ("minimum_calls", self.minimum_calls == 0),
            ("open_for", self.open_for.is_zero()),
            ("probes_within", self.probes_within.is_zero()),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(BreakerError::Zero(name));
        }
        if (1..=PROBES_MAX).contains(&self.probes) { Ok(()) } else { Err(BreakerError::Probes(self.probes)) }
    }

    fn validate_window(&self) -> Result<(), BreakerError> {
        let fits = match self.window {
            BreakerWindow::Calls(calls) => (1..=WINDOW_CALLS_MAX).contains(&calls),
            BreakerWindow::Time(time) => (WINDOW_TIME_MIN..=WINDOW_TIME_MAX).contains(&time),
        };
        match self.window {
            window if !fits => Err(BreakerError::Window(window)),
            BreakerWindow::Calls(calls) if self.minimum_calls > calls => {
                Err(BreakerError::MinimumAboveWindow(self.minimum_calls, calls))
            }
            _ => Ok(()),
        }
    }
}

fn percent(name: &'static str, value: Option<u32>) -> Result<(), BreakerError> {
    match value {
        Some(value) if !(1..=100).contains(&value) => Err(BreakerError::Percent(name, value)),
        _ => Ok(()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut BreakerConfig)) -> String {
        let mut config = BreakerConfig::default();
        change(&mut config);
        config.validate().expect_err("a changed config is bad").to_string()
    }

    #[test]
    fn the_default_is_valid_and_calls_a_missing_thing_an_answer() {
        let config = BreakerConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.outcome_of(Code::NotFound), Outcome::Success);
        assert_eq!(config.outcome_of(Code::Unavailable), Outcome::Failure);
        assert_eq!(config.outcome_of(Code::Cancelled), Outcome::Ignored);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert!(refused(|config| config.failure_rate_percent = None).contains("nothing would open it"));
        assert!(
            refused(|config| config.failure_rate_percent = Some(101)).contains("failure_rate_percent is 101")
        );
        assert!(refused(|config| config.minimum_calls = 0).contains("minimum_calls is 0"));
        assert!(
            refused(|config| config.consecutive_failures = Some(0)).contains("consecutive_failures is 0")
        );
        assert!(refused(|config| config.open_for = Duration::ZERO).contains("open_for is 0"));
        assert!(refused(|config| config.probes = 0).contains("probes is 0"));
        assert!(refused(|config| config.probes = PROBES_MAX + 1).contains("1 to 1000"));
        assert!(refused(|config| config.window = BreakerWindow::Calls(10)).contains("only holds 10 calls"));
        assert!(refused(|config| config.window = BreakerWindow::Calls(0)).contains("0 calls"));
        assert!(refused(|config| config.window = BreakerWindow::Time(Duration::ZERO)).contains("0ns long"));
        assert!(refused(|config| config.failure_codes = CodeSet::EMPTY).contains("failure_codes is empty"));
        let slow = SlowCalls { at_least: Duration::from_secs(1), rate_percent: 0 };
        assert!(refused(|config| config.slow_calls = Some(slow)).contains("slow_calls.rate_percent is 0"));
        assert!(refused(|config| config.ignored_codes.insert(Code::Internal)).contains("INTERNAL is in"));
    }
}
