//! A breaker's whole state in one word, so that every transition is one compare-and-swap.
//!
//! From the low end: 3 bits that name the phase, 13 bits of generation, 48 bits for what the phase needs: when it ends
//! (microseconds since the workers' origin, nine years of them), or four counts of probes.
//!
//! The generation rises with every transition and goes out with every permit, so that a call which began before a
//! transition is not counted after it. It wraps after 8,192 transitions; a call would have to outlive exactly so many.

use corelane_wire::Instant;

const TAG_BITS: u32 = 3;
const GENERATION_BITS: u32 = 13;
const PAYLOAD_SHIFT: u32 = TAG_BITS + GENERATION_BITS;
const COUNT_BITS: u32 = 12;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const UNTIL_MAX: u64 = (1 << (64 - PAYLOAD_SHIFT)) - 1;
const NANOS_PER_MICRO: u64 = 1_000;

const _: () = assert!(super::config::PROBES_MAX as u64 <= COUNT_MASK, "a count of probes fits its bits");
const _: () = assert!(PAYLOAD_SHIFT + 4 * COUNT_BITS == 64, "the four counts fill the word");

/// Which transition led here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u16);

impl Generation {
    #[cfg(test)]
    const FIRST: Generation = Generation(0);

    pub(super) fn next(self) -> Generation {
        Generation((self.0 + 1) & ((1 << GENERATION_BITS) - 1))
    }
}

/// The probes of a half-open breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probes {
    /// Let through, those that ended included.
    pub(super) admitted: u32,
    /// Ended with an outcome that counts.
    pub(super) done: u32,
    /// Of those, failed.
    pub(super) failed: u32,
    /// Of those, slow.
    pub(super) slow: u32,
}

/// What a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen(Probes),
    ForcedOpen,
    Disabled,
}

/// The state as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    /// Closed, in the first generation.
    pub(super) const INITIAL: Word = Word(0);

    pub(super) fn new(phase: Phase, generation: Generation) -> Word {
        let (tag, payload) = match phase {
            Phase::Closed => (0, 0),
            // Rounded up: a breaker never probes before its time.
            Phase::Open { until } => (1, until.as_nanos().div_ceil(NANOS_PER_MICRO).min(UNTIL_MAX)),
            Phase::HalfOpen(probes) => (2, pack(probes)),
            Phase::ForcedOpen => (3, 0),
            Phase::Disabled => (4, 0),
        };
        Word(tag | u64::from(generation.0) << TAG_BITS | payload << PAYLOAD_SHIFT)
    }

    pub(super) fn phase(self) -> Phase {
        let payload = self.0 >> PAYLOAD_SHIFT;
        match self.0 & ((1 << TAG_BITS) - 1) {
            0 => Phase::Closed,
            1 => Phase::Open { until: Instant::from_nanos(payload.saturating_mul(NANOS_PER_MICRO)) },
            2 => Phase::HalfOpen(unpack(payload)),
            3 => Phase::ForcedOpen,
            _ => Phase::Disabled,
        }
    }

    #[allow(clippy::cast_possible_truncation)] // the mask leaves 13 bits
    pub(super) fn generation(self) -> Generation {
        Generation((self.0 >> TAG_BITS) as u16 & ((1 << GENERATION_BITS) - 1))
    }

    /// Whether it is closed, without taking the rest apart: the one question of the hot path.
    pub(super) fn is_closed(self) -> bool {
        self.0 & ((1 << TAG_BITS) - 1) == 0
    }
}

fn pack(probes: Probes) -> u64 {
    [probes.slow, probes.failed, probes.done, probes.admitted].into_iter().fold(0, |packed, count| {
        debug_assert!(u64::from(count) <= COUNT_MASK, "at most PROBES_MAX");
        packed << COUNT_BITS | u64::from(count)
    })
}

#[allow(clippy::cast_possible_truncation)] // the mask leaves 12 bits
fn unpack(packed: u64) -> Probes {
    let count = |index: u32| (packed >> (index * COUNT_BITS) & COUNT_MASK) as u32;
    Probes { admitted: count(0), done: count(1), failed: count(2), slow: count(3) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phases() -> impl Strategy<Value = Phase> {
        let probes = (0_u32..4_096, 0_u32..4_096, 0_u32..4_096, 0_u32..4_096);
        prop_oneof![
            Just(Phase::Closed),
            Just(Phase::ForcedOpen),
            Just(Phase::Disabled),
            (0..=UNTIL_MAX).prop_map(|micros| Phase::Open { until: Instant::from_nanos(micros * 1_000) }),
            probes.prop_map(|(admitted, done, failed, slow)| Phase::HalfOpen(Probes {
                admitted,
                done,
                failed,
                slow
            })),
        ]
    }

    proptest! {
        #[test]
        fn every_state_comes_back_out_of_its_word(phase in phases(), number in 0_u16..8_192) {
            let word = Word::new(phase, Generation(number));
            prop_assert_eq!(word.phase(), phase);
            prop_assert_eq!(word.generation(), Generation(number));
            prop_assert_eq!(word.is_closed(), phase == Phase::Closed);
        }
    }

    #[test]
    fn the_end_of_open_is_rounded_up_and_never_wraps() {
        let until =
            |nanos| Word::new(Phase::Open { until: Instant::from_nanos(nanos) }, Generation::FIRST).phase();
        assert_eq!(until(1_001), Phase::Open { until: Instant::from_nanos(2_000) });
        assert_eq!(until(u64::MAX), Phase::Open { until: Instant::from_nanos(UNTIL_MAX * 1_000) });
    }

    #[test]
    fn generations_wrap_within_their_bits() {
        assert_eq!(Generation(8_191).next(), Generation::FIRST);
        assert_eq!(Word::INITIAL, Word::new(Phase::Closed, Generation::FIRST));
    }
}
