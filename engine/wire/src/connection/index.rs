//! From a stream's id to its slot: an open-addressed table, probed linearly.
//!
//! The hash is seeded, so that a peer that picks its ids cannot pick the collisions; the number of entries is bounded by
//! the concurrency limit in any case. A std `HashMap` would do the same behind twice the instructions.

use alloc::vec;
use alloc::vec::Vec;

use crate::frame::StreamId;

#[derive(Clone, Copy)]
struct Entry {
    /// Zero marks a free place: stream 0 is the connection itself and never stored.
    id: u32,
    slot: u32,
}

const FREE: Entry = Entry { id: 0, slot: 0 };
const PLACES_MIN: usize = 8;
/// An odd number with its bits in no order (2^32 over the square root of 2).
const SCATTER: u32 = 0xb504_f333;

pub(super) struct StreamIndex {
    places: Vec<Entry>,
    len: usize,
    multiplier: u32,
}

impl StreamIndex {
    pub(super) fn new(seed: u64) -> StreamIndex {
        // Any odd multiplier permutes.
        let multiplier = (seed as u32 ^ (seed >> 32) as u32 ^ 0x9e37_79b9) | 1;
        StreamIndex { places: Vec::new(), len: 0, multiplier }
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        // One product is not enough: ids come in sequence, and a multiplier near a simple fraction of 2^32, which about one
        // seed in fifteen gives, puts a sequence into few heaps. The second one scatters them whatever the seed is.
        let product = (id >> 1).wrapping_mul(self.multiplier);
        let hash = (product ^ (product >> 15)).wrapping_mul(SCATTER);
        ((u64::from(hash) * self.places.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    #[inline]
    pub(super) fn get(&self, id: StreamId) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let id = id.get();
        let mut place = self.home(id);
        loop {
            let entry = self.places[place];
            if entry.id == id {
                return Some(entry.slot);
            }
            if entry.id == 0 {
                return None;
            }
            place = self.next(place);
        }
    }

    pub(super) fn insert(&mut self, id: StreamId, slot: u32) {
        assert!(id.get() != 0, "the connection itself is no stream");
        if (self.len + 1) * 2 > self.places.len() {
            self.grow();
        }
        self.place(Entry { id: id.get(), slot });
        self.len += 1;
    }

    fn place(&mut self, entry: Entry) {
        let mut place = self.home(entry.id);
        while self.places[place].id != 0 {
            assert!(self.places[place].id != entry.id, "a stream id was inserted twice");
            place = self.next(place);
        }
        self.places[place] = entry;
    }

    fn grow(&mut self) {
        let wider = vec![FREE; (self.places.len() * 2).max(PLACES_MIN)];
        let old = core::mem::replace(&mut self.places, wider);
        for entry in old.into_iter().filter(|entry| entry.id != 0) {
            self.place(entry);
        }
    }

    /// Removes `id` and closes the gap, so that a probe never has to step over the dead.
    pub(super) fn remove(&mut self, id: StreamId) {
        let mut hole = self.home(id.get());
        while self.places[hole].id != id.get() {
            assert!(self.places[hole].id != 0, "a stream without an entry was removed");
            hole = self.next(hole);
        }
        self.len -= 1;
        let mut probe = hole;
        loop {
            probe = self.next(probe);
            let entry = self.places[probe];
            if entry.id == 0 {
                break;
            }
            // An entry may fill the hole unless its home lies behind the hole (cyclically).
            let mask = self.places.len() - 1;
            let from_home = probe.wrapping_sub(self.home(entry.id)) & mask;
            let from_hole = probe.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.places[hole] = entry;
                hole = probe;
            }
        }
        self.places[hole] = FREE;
    }

    /// Gives the table's memory back when no stream is left, so that an idle connection holds none.
    pub(super) fn shrink_if_empty(&mut self) {
        if self.len == 0 {
            self.places = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Steps from where entries belong to where they are, all together.
    fn displacement(index: &StreamIndex) -> usize {
        let mask = index.places.len() - 1;
        let taken = index.places.iter().enumerate().filter(|(_, entry)| entry.id != 0);
        taken.map(|(place, entry)| place.wrapping_sub(index.home(entry.id)) & mask).sum()
    }

    #[test]
    fn ids_in_sequence_are_scattered_whatever_the_seed() {
        for seed in (0..2_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let mut index = StreamIndex::new(seed);
            for n in 0..600 {
                index.insert(StreamId::new(2 * n + 1), n);
                if n >= 100 {
                    index.remove(StreamId::new(2 * (n - 100) + 1));
                }
            }
            let displacement = displacement(&index);
            assert!(displacement < 200, "100 entries are {displacement} steps off with seed {seed:#x}");
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(seed: u64, steps in proptest::collection::vec((0u32..64, any::<bool>()), 0..400)) {
            let mut index = StreamIndex::new(seed);
            let mut model = BTreeMap::new();
            for (number, (pick, add)) in steps.into_iter().enumerate() {
                let id = StreamId::new(pick * 2 + 1);
                if add && !model.contains_key(&pick) {
                    index.insert(id, number as u32);
                    model.insert(pick, number as u32);
                } else if !add && model.remove(&pick).is_some() {
                    index.remove(id);
                }
                for probe in 0..64 {
                    prop_assert_eq!(index.get(StreamId::new(probe * 2 + 1)), model.get(&probe).copied());
                }
            }
        }
    }
}
