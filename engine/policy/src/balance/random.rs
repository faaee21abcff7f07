//! `random` and `weighted_random`: any ready endpoint, independently for each call.

use super::shares::Shares;
use super::{Balancer, Call, Pick, View};

#[derive(Debug)]
pub(super) struct Random;

impl Balancer for Random {
    fn update(&mut self, _: &mut View) {}

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        match view.ready().len() {
            0 => view.none_ready(),
            count => {
                let at = view.rng().usize(..count);
                Pick::ready(view.ready()[at])
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct WeightedRandom {
    /// Those of the ready endpoints, in their order.
    shares: Shares,
}

impl Balancer for WeightedRandom {
    fn update(&mut self, view: &mut View) {
        let endpoints = view.endpoints();
        let weight = |key| endpoints.get(key).map_or(1.0, |endpoint| f64::from(endpoint.info().weight));
        self.shares.rebuild(view.ready().iter().map(|key| weight(*key)));
    }

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        if view.ready().is_empty() {
            return view.none_ready();
        }
        let point = view.rng().u64(..);
        Pick::ready(view.ready()[self.shares.find(point)])
    }
}
