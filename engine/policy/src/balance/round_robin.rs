//! `round_robin`: ready endpoints in turn, from a random one on, so that workers do not march in step.

use super::{Balancer, Call, EndpointKey, Pick, View};

/// Takes turns within a list that it is shown.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// `None` before the first list that has anything in it.
    next: Option<usize>,
}

impl Turn {
    /// Goes on in a list of another length.
    pub(super) fn update(&mut self, count: usize, rng: &mut fastrand::Rng) {
        if count > 0 {
            self.next = Some(self.next.map_or_else(|| rng.usize(..count), |next| next % count));
        }
    }

    /// Whose turn it is.
    #[inline]
    pub(super) fn take(&mut self, keys: &[EndpointKey]) -> Option<EndpointKey> {
        let at = self.next?;
        let key = keys.get(at)?;
        self.next = Some(if at + 1 == keys.len() { 0 } else { at + 1 });
        Some(*key)
    }
}

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    turn: Turn,
}

impl Balancer for RoundRobin {
    fn update(&mut self, view: &mut View) {
        let count = view.ready().len();
        self.turn.update(count, view.rng());
    }

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        self.turn.take(view.ready()).map_or(view.none_ready(), Pick::ready)
    }
}
