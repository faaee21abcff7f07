//! The pauses before attempts to make a lost connection anew: none, and then doubled from a shortest to a longest.
//!
//! Does not: wait.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(50);

const LONGEST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    /// Before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).clamp(SHORTEST, LONGEST);
        pause
    }

    /// Whether what lived for so long is worth making anew at once: a peer that greets and leaves would be dialed without a pause.
    pub(super) fn are_outlived_by(life_ns: u64) -> bool {
        Duration::from_nanos(life_ns) > LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_goes_at_once_and_the_others_ever_later() {
        let mut pauses = Pauses::default();
        let ms: Vec<u128> = (0..8).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(ms, [0, 50, 100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn what_lives_longer_than_the_longest_pause_is_made_anew_at_once() {
        assert!(!Pauses::are_outlived_by(1_000_000_000));
        assert!(Pauses::are_outlived_by(1_000_000_001));
    }
}
