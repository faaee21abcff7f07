//! The ring of `ring_hash`: each endpoint in many places, in proportion to its weight (gRFC A42).
//!
//! Places are those of Envoy's ring-hash balancer with its default hash: XXH64, seed 0, of `<address>_<i>`, `i` from 0 for each
//! endpoint. How many each gets follows Envoy's running sums in the list's order, in doubles, so that rounding falls as it does
//! there. A call belongs to the first place that is not below its hash, around the end. One ring serves all workers: it depends
//! on the list alone, not on who is connected.

use std::fmt::Write as _;

use xxhash_rust::xxh64::xxh64;

use super::endpoint::{EndpointInfo, EndpointKey};
use super::guide::Guide;

/// The most places on a ring, whatever the config says: what gRFC A42 allows, and Envoy's own maximum.
pub const RING_PLACES_MAX: u32 = 8 * 1024 * 1024;

/// The hash of a call, from the value of its `request_hash_header` (gRFC A76): of several values, joined by commas.
///
/// ```
/// assert_eq!(corelane_policy::balance::hash_of(b""), 0xef46_db37_51d8_e999);
/// ```
#[must_use]
pub fn hash_of(value: &[u8]) -> u64 {
    xxh64(value, 0)
}

/// Places in the order of their hashes.
#[derive(Debug)]
pub struct Ring {
    hashes: Vec<u64>,
    owners: Vec<EndpointKey>,
    guide: Guide,
}

impl Ring {
    pub(super) fn new(endpoints: &[(EndpointKey, &EndpointInfo)], min_size: u64, max_size: u64) -> Ring {
        let mut places = places(endpoints, min_size, max_size);
        places.sort_unstable_by_key(|(hash, owner)| (*hash, owner.slot()));
        let (hashes, owners): (Vec<u64>, Vec<EndpointKey>) = places.into_iter().unzip();
        let mut guide = Guide::default();
        guide.rebuild(&hashes);
        Ring { hashes, owners, guide }
    }

    /// How many places there are.
    #[must_use]
    pub fn places_count(&self) -> usize {
        self.owners.len()
    }

    /// The place of a call with `hash`: the first that is not below it, or the first of all.
    pub(super) fn place(&self, hash: u64) -> usize {
        let place = self.guide.find(&self.hashes, hash);
        if place == self.hashes.len() { 0 } else { place }
    }

    /// Who is at `place`.
    pub(super) fn owner(&self, place: usize) -> EndpointKey {
        self.owners[place]
    }
}

/// How many places there are to be: as many as give the lightest endpoint, whose share is `least`, a whole number of them. At least
/// one, whatever a config made by code says: a call has to find a place.
fn scale(least: f64, min_size: u64, max_size: u64) -> f64 {
    ((least * min_size.max(1) as f64).ceil() / least).min(max_size.clamp(1, RING_PLACES_MAX.into()) as f64)
}

fn places(
    endpoints: &[(EndpointKey, &EndpointInfo)],
    min_size: u64,
    max_size: u64,
) -> Vec<(u64, EndpointKey)> {
    let total: f64 = endpoints.iter().map(|(_, info)| f64::from(info.weight)).sum();
    let share = |info: &EndpointInfo| f64::from(info.weight) / total;
    let least = endpoints.iter().map(|(_, info)| share(info)).fold(1.0, f64::min);
    let scale = scale(least, min_size, max_size);
    let mut places = Vec::with_capacity(scale.ceil() as usize);
    let mut key = String::new();
    let mut target = 0.0;
    for (owner, info) in endpoints {
        target += scale * share(info);
        let mut i = 0_u64;
        while (places.len() as f64) < target {
            key.clear();
            write!(key, "{}_{i}", info.hashed()).expect("a String takes everything");
            places.push((xxh64(key.as_bytes(), 0), *owner));
            i += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_a_maximum_whatever_the_config_says() {
        assert_eq!(scale(1.0, u64::MAX, u64::MAX), f64::from(RING_PLACES_MAX));
        assert_eq!(scale(1e-6, 1024, u64::MAX), 1e6);
        assert_eq!(scale(1e-9, 1024, u64::MAX), f64::from(RING_PLACES_MAX));
        assert_eq!(scale(0.5, 7, 5), 5.0);
    }

    #[test]
    fn a_ring_has_a_place_whatever_the_config_says() {
        let info = EndpointInfo::new("10.0.0.1:80");
        let key = EndpointKey::new(0, std::num::NonZeroU32::MIN);
        for (min_size, max_size) in [(0, 0), (0, 1), (0, 4096), (1024, 0)] {
            let ring = Ring::new(&[(key, &info)], min_size, max_size);
            assert_eq!(ring.places_count(), 1, "{min_size} to {max_size}");
            assert_eq!(ring.owner(ring.place(7)), key);
        }
    }
}
