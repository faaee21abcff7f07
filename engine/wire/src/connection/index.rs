//! From a stream's id to its slot.
//!
//! Each stream has the place that the lowest bits of its id name. Ids come in sequence, so streams that live at the same time
//! nearly always have places of their own, and to find one takes no search. One whose place is wanted by a later stream moves to
//! a table of the displaced, open-addressed and probed linearly: those that live long, or all that a peer opens with ids of its own
//! choice. That table's hash is seeded, so that such a peer cannot pick the collisions; the number of entries is bounded by the
//! concurrency limit in any case.

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

/// See the module.
pub(super) struct StreamIndex {
    places: Vec<Entry>,
    len: usize,
    displaced: Displaced,
}

impl StreamIndex {
    pub(super) fn new(seed: u64) -> StreamIndex {
        StreamIndex { places: Vec::new(), len: 0, displaced: Displaced::new(seed) }
    }

    /// The place that a stream would have; there may be no places at all.
    #[inline]
    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & self.places.len().wrapping_sub(1)
    }

    #[inline]
    pub(super) fn get(&self, id: StreamId) -> Option<u32> {
        let id = id.get();
        match self.places.get(self.place(id)) {
            Some(entry) if entry.id == id => Some(entry.slot),
            _ => self.displaced.get(id),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, id: StreamId, slot: u32) {
        assert!(id.get() != 0, "the connection itself is no stream");
        self.len += 1;
        if self.len * 2 > self.places.len() {
            self.grow();
        }
        self.put(Entry { id: id.get(), slot });
    }

    #[inline]
    fn put(&mut self, entry: Entry) {
        let place = self.place(entry.id);
        let older = core::mem::replace(&mut self.places[place], entry);
        assert!(older.id != entry.id, "a stream id was inserted twice");
        if older.id != 0 {
            self.displaced.insert(older);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let wider = vec![FREE; (self.places.len() * 2).max(PLACES_MIN)];
        let old = core::mem::replace(&mut self.places, wider);
        old.into_iter().filter(|entry| entry.id != 0).for_each(|entry| self.put(entry));
    }

    #[inline]
    pub(super) fn remove(&mut self, id: StreamId) {
        let place = self.place(id.get());
        self.len -= 1;
        match self.places.get_mut(place) {
            Some(entry) if entry.id == id.get() => *entry = FREE,
            _ => self.displaced.remove(id.get()),
        }
    }

    /// Gives the tables' memory back when no stream is left, so that an idle connection holds none.
    pub(super) fn shrink_if_empty(&mut self) {
        if self.len == 0 {
            self.places = Vec::new();
            self.displaced.places = Vec::new();
        }
    }
}

/// Streams without a place of their own.
struct Displaced {
    places: Vec<Entry>,
    len: usize,
    multiplier: u32,
}

impl Displaced {
    fn new(seed: u64) -> Displaced {
        // Any odd multiplier permutes.
        let multiplier = (seed as u32 ^ (seed >> 32) as u32 ^ 0x9e37_79b9) | 1;
        Displaced { places: Vec::new(), len: 0, multiplier }
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        // One product is not enough: a multiplier near a simple fraction of 2^32, which about one seed in fifteen gives, puts ids
        // that are evenly apart into few heaps. The second one scatters them whatever the seed is.
        let product = (id >> 1).wrapping_mul(self.multiplier);
        let hash = (product ^ (product >> 15)).wrapping_mul(SCATTER);
        ((u64::from(hash) * self.places.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn get(&self, id: u32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
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

    #[cold]
    fn insert(&mut self, entry: Entry) {
        self.len += 1;
        if self.len * 2 > self.places.len() {
            let wider = vec![FREE; (self.places.len() * 2).max(PLACES_MIN)];
            let old = core::mem::replace(&mut self.places, wider);
            old.into_iter().filter(|entry| entry.id != 0).for_each(|entry| self.put(entry));
        }
        self.put(entry);
    }

    fn put(&mut self, entry: Entry) {
        let mut place = self.home(entry.id);
        while self.places[place].id != 0 {
            assert!(self.places[place].id != entry.id, "a stream id was inserted twice");
            place = self.next(place);
        }
        self.places[place] = entry;
    }

    /// Removes `id` and closes the gap, so that a probe never has to step over the dead.
    #[cold]
    fn remove(&mut self, id: u32) {
        assert!(self.len > 0, "a stream without an entry was removed");
        let mut hole = self.home(id);
        while self.places[hole].id != id {
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Steps from where entries belong to where they are, all together.
    fn displacement(displaced: &Displaced) -> usize {
        let mask = displaced.places.len() - 1;
        let taken = displaced.places.iter().enumerate().filter(|(_, entry)| entry.id != 0);
        taken.map(|(place, entry)| place.wrapping_sub(displaced.home(entry.id)) & mask).sum()
    }

    #[test]
    fn ids_in_sequence_have_places_of_their_own() {
        let mut index = StreamIndex::new(7);
        // One that lives long loses its place to a later one, and nobody else does.
        index.insert(StreamId::new(1), 0);
        for n in 1..10_000 {
            index.insert(StreamId::new(2 * n + 1), n);
            if n > 100 {
                index.remove(StreamId::new(2 * (n - 100) + 1));
            }
        }
        assert_eq!((index.displaced.len, index.get(StreamId::new(1))), (1, Some(0)));
        assert_eq!(index.places.len(), 256);
    }

    #[test]
    fn the_displaced_are_scattered_whatever_the_seed() {
        for seed in (0..2_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let mut displaced = Displaced::new(seed);
            for n in 0..600 {
                displaced.insert(Entry { id: 2 * n + 1, slot: n });
                if n >= 100 {
                    displaced.remove(2 * (n - 100) + 1);
                }
            }
            let displacement = displacement(&displaced);
            assert!(displacement < 200, "100 entries are {displacement} steps off with seed {seed:#x}");
        }
    }

    fn of(pick: u32) -> StreamId {
        StreamId::new((pick % 8 + pick / 8 * 4096) * 2 + 1)
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(seed: u64, steps in proptest::collection::vec((0u32..64, any::<bool>()), 0..400)) {
            let mut index = StreamIndex::new(seed);
            let mut model = BTreeMap::new();
            for (number, (pick, add)) in steps.into_iter().enumerate() {
                // Some of them a multiple of any table's size apart.
                let id = of(pick);
                if add && !model.contains_key(&pick) {
                    index.insert(id, number as u32);
                    model.insert(pick, number as u32);
                } else if !add && model.remove(&pick).is_some() {
                    index.remove(id);
                }
                for probe in 0..64 {
                    prop_assert_eq!(index.get(of(probe)), model.get(&probe).copied());
                }
            }
        }
    }
}
