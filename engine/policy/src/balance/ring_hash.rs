//! `ring_hash`: a call goes where its hash lies on the [`Ring`](super::Ring) (gRFC A42, A61, A76).
//!
//! From the place of the hash on, the first endpoint that has not failed takes the call: if it is ready, now; if it is idle, it
//! is to be connected and the call waits for it; if it is connecting, the call waits. So equal hashes stay together while
//! endpoints come up. A call without a hash has nothing to stay with: it gets a random place and the first ready endpoint after it,
//! and on the way one idle endpoint is asked to connect if none is connecting. What to be avoided counts as failed, while there
//! is another.

use super::{Balancer, Call, Pick, Readiness, View};

#[derive(Debug)]
pub(super) struct RingHash;

impl Balancer for RingHash {
    fn update(&mut self, _: &mut View) {}

    fn pick(&mut self, view: &mut View, call: &Call<'_>) -> Pick {
        let hash = call.hash.unwrap_or_else(|| view.rng().u64(..));
        let Some(ring) = view.endpoints().ring() else { return view.none_ready() };
        let first = ring.place(hash);
        match view.none_ready() {
            // Nobody is worth walking for, unless someone is ready.
            Pick::Failed(_) if view.ready().is_empty() => return Pick::Failed(ring.owner(first)),
            // Nor while one is connecting, for a call that takes whoever is ready.
            wait @ Pick::Wait { connect: None } if view.ready().is_empty() && call.hash.is_none() => {
                return wait;
            }
            _ => {}
        }
        let (mut avoided, mut connect) = (None, None);
        for place in (first..ring.places_count()).chain(0..first) {
            let key = ring.owner(place);
            match (view.standing(key), call.hash) {
                (Readiness::Ready, _) if call.avoid.contains(&key) => avoided = avoided.or(Some(key)),
                (Readiness::Ready, _) => return Pick::Ready { key, connect },
                (Readiness::Idle, Some(_)) => return Pick::Wait { connect: Some(key) },
                (Readiness::Connecting, Some(_)) => return Pick::Wait { connect: None },
                (Readiness::Idle, None) if !view.is_connecting() => connect = connect.or(Some(key)),
                (Readiness::Idle | Readiness::Connecting, None) | (Readiness::TransientFailure, _) => {}
            }
        }
        match avoided {
            Some(key) => Pick::Ready { key, connect },
            None if connect.is_some() || view.is_connecting() => Pick::Wait { connect },
            None => Pick::Failed(ring.owner(first)),
        }
    }

    fn keeps_connected(&self, _: &View, _: super::EndpointKey) -> bool {
        false
    }
}
