//! `least_request`: of some random ready endpoints the one with the fewest calls in flight (gRFC A48).
//!
//! As A48 says, endpoints are drawn with replacement and the first drawn wins a tie. Calls of all workers count, the others' as
//! of a millisecond ago (`ledger.rs`); gRPC counts one channel's, which is the same thing on one core.

use super::{Balancer, Call, Pick, View};

/// The most endpoints that are compared for one pick, whatever the config says (gRFC A48).
pub(crate) const CHOICES_MAX: u32 = 10;

#[derive(Debug)]
pub(super) struct LeastRequest {
    choice_count: u32,
}

impl LeastRequest {
    pub(super) fn new(choice_count: u32) -> LeastRequest {
        LeastRequest { choice_count: choice_count.clamp(2, CHOICES_MAX) }
    }
}

impl Balancer for LeastRequest {
    fn update(&mut self, _: &mut View) {}

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        let ready_count = view.ready().len();
        if ready_count == 0 {
            return view.none_ready();
        }
        // One number makes two draws, which are uneven by no more than the number of endpoints in 2^32.
        let draw = |view: &mut View, word: u64| {
            let key = view.ready()[(((word & u64::from(u32::MAX)) * ready_count as u64) >> 32) as usize];
            (view.load(key), key)
        };
        let mut word = view.rng().u64(..);
        let mut best = draw(view, word);
        for choice in 1..self.choice_count {
            word = if choice % 2 == 0 { view.rng().u64(..) } else { word >> 32 };
            let other = draw(view, word);
            if other.0 < best.0 {
                best = other;
            }
        }
        Pick::ready(best.1)
    }
}
