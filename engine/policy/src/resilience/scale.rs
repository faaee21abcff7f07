//! Durations times random factors, without the panics that `Duration::mul_f64` keeps for large ones.

use std::time::Duration;

use fastrand::Rng;

/// `duration * factor`, at most [`Duration::MAX`]; zero for a factor that is negative or not a number.
pub(crate) fn times(duration: Duration, factor: f64) -> Duration {
    let seconds = duration.as_secs_f64() * factor;
    if seconds.is_nan() || seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// `duration`, or up to the share `jitter` of it less or more, each as likely as any other.
pub(crate) fn jittered(duration: Duration, jitter: f64, rng: &mut Rng) -> Duration {
    times(duration, 1.0 + jitter * (2.0 * rng.f64() - 1.0))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_factor_panics() {
        let second = Duration::from_secs(1);
        assert_eq!(times(second, 1.5), Duration::from_millis(1_500));
        assert_eq!(times(second, -1.0), Duration::ZERO);
        assert_eq!(times(second, f64::NAN), Duration::ZERO);
        assert_eq!(times(second, f64::INFINITY), Duration::MAX);
        assert_eq!(times(Duration::MAX, 2.0), Duration::MAX);
    }

    #[test]
    fn jitter_stays_within_its_share_and_uses_all_of_it() {
        let mut rng = Rng::with_seed(1);
        let seen: Vec<_> = (0..1_000).map(|_| jittered(Duration::from_secs(1), 0.2, &mut rng)).collect();
        let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
        assert!((Duration::from_millis(800)..Duration::from_millis(805)).contains(least), "{least:?}");
        assert!((Duration::from_millis(1_195)..=Duration::from_millis(1_200)).contains(most), "{most:?}");
        assert_eq!(jittered(Duration::from_secs(1), 0.0, &mut rng), Duration::from_secs(1));
    }
}
