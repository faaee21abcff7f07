//! `pick_first`: one connection serves everything (gRFC A61, A62).
//!
//! The endpoint in use stays in use for as long as it is ready and in the list, wherever the list has it. When it is not, the
//! first ready one of the order takes its place. While none is ready, picks name the first idle one, one at a time: whichever
//! fails is passed by, since its state sticks.

use super::{Balancer, Call, EndpointKey, Pick, View};

#[derive(Debug, Default)]
pub(super) struct PickFirst {
    in_use: Option<EndpointKey>,
}

impl Balancer for PickFirst {
    fn update(&mut self, view: &mut View) {
        let in_use = self.in_use.filter(|key| view.ready().contains(key));
        self.in_use = in_use.or_else(|| view.ready().first().copied());
    }

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        self.in_use.map_or(view.none_ready(), Pick::ready)
    }

    fn keeps_connected(&self, _: &View, key: EndpointKey) -> bool {
        self.in_use == Some(key)
    }
}
