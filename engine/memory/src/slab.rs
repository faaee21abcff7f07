//! A bounded slab whose keys carry a generation.
//!
//! Storage and free list are the `slab` crate's; this adds the two things that an engine needs and that crate
//! leaves out: a maximum, and keys that a reused slot no longer answers to. A connection's or call's key travels
//! through the kernel (`user_data`), through wakers and timers, and may come back long after its entry is gone.
//!
//! Grows by a quarter. Doubling left half of the memory of a connection's streams unused, when there were just more of them than
//! a power of two; a quarter moves each entry four times until the last one is in, instead of once, which a slab does while
//! it is new and not again.
//!
//! Does not: shrink while it holds anything, or iterate in insertion order (it goes by index).
//!
//! Invariant: a live entry's generation is not 0, and no two live or dead entries of the last 2^32 - 1 insertions
//! share one. The counter is per slab rather than per slot: that costs nothing when a slot is vacant, and a key can only be
//! mistaken if it lay unused for exactly a full round of the counter and then meets its own slot again.

use core::fmt;
use core::num::NonZeroU32;

/// Names one entry of a [`Slab`]: the slot and the generation that was put into it.
///
/// ```
/// use corelane_memory::{Key, Slab};
///
/// let mut calls = Slab::new(16);
/// let key = calls.insert("call").unwrap();
/// let through_the_kernel = key.to_bits();
/// assert_eq!(calls.get(Key::from_bits(through_the_kernel)), Some(&"call"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key with these parts, for a key that travelled as plain numbers. It names an entry only if a slab once
    /// gave it out.
    #[must_use]
    pub const fn from_parts(index: u32, generation: u32) -> Key {
        Key { index, generation }
    }

    /// The slot.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which occupant of the slot; never 0 in a key that a slab gave out.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both parts in one number: the generation above, the index below. Never 0 for a key that a slab gave out.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key that [`Key::to_bits`] came from.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // both halves are cut out on purpose
    pub const fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.generation)
    }
}

#[derive(Debug, Clone)]
struct Entry<T> {
    /// Never 0, so that a vacant slot can be told by it and needs no room of its own to say so.
    generation: NonZeroU32,
    value: T,
}

/// A slab that is full grows to this many entries at least.
const GROWTH_MIN: usize = 4;

/// At most `max` values, each under a [`Key`] that only it answers to.
///
/// ```
/// use corelane_memory::Slab;
///
/// let mut slab = Slab::new(2);
/// let a = slab.insert("a").unwrap();
/// let b = slab.insert("b").unwrap();
/// assert_eq!(slab.insert("c"), Err("c")); // full: the value comes back
///
/// assert_eq!(slab.remove(a), Some("a"));
/// let c = slab.insert("c").unwrap();
/// assert_eq!(c.index(), a.index()); // the slot is reused …
/// assert_eq!(slab.get(a), None); // … and the old key does not find the new entry
/// assert_eq!(slab.get(b), Some(&"b"));
/// ```
#[derive(Debug, Clone)]
pub struct Slab<T> {
    entries: slab::Slab<Entry<T>>,
    /// What the next insertion gets.
    generation: NonZeroU32,
    max: u32,
    /// For how many entries there is memory, at most `max`: one look tells that an insertion needs no more thought.
    room: usize,
}

impl<T> Slab<T> {
    /// An empty slab for at most `max` entries; memory is taken as they come.
    #[must_use]
    pub const fn new(max: u32) -> Slab<T> {
        Slab { entries: slab::Slab::new(), generation: NonZeroU32::MIN, max, room: 0 }
    }

    /// An empty slab for at most `max` entries, with the memory for `capacity` of them (at most `max`) taken now.
    #[must_use]
    pub fn with_capacity(max: u32, capacity: u32) -> Slab<T> {
        let capacity = usize::try_from(capacity.min(max)).unwrap_or(usize::MAX);
        let entries = slab::Slab::with_capacity(capacity);
        Slab { entries, generation: NonZeroU32::MIN, max, room: capacity }
    }

    /// Puts `value` in.
    ///
    /// # Errors
    /// Gives `value` back when the slab already holds its maximum.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.entries.len() >= self.room && !self.grow() {
            return Err(value);
        }
        let generation = self.generation;
        let index = self.entries.insert(Entry { generation, value });
        // 0 is left out, so that a zeroed key or `user_data` never names an entry.
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        Ok(Key { index: narrow(index), generation: generation.get() })
    }

    /// Makes room in a full slab for a quarter more, but for no more than its maximum; says whether there is any.
    #[cold]
    fn grow(&mut self) -> bool {
        let len = self.entries.len();
        let more = (len / 4).max(GROWTH_MIN).min(wide(self.max).saturating_sub(len));
        self.entries.reserve_exact(more);
        self.room = len + more;
        more > 0
    }

    /// Gives the storage back if no entry is left. Keys that were given out stay dead, since generations go on.
    ///
    /// ```
    /// use corelane_memory::Slab;
    ///
    /// let mut slab = Slab::new(2);
    /// let dead = slab.insert("a").unwrap();
    /// slab.remove(dead);
    /// slab.shrink_if_empty();
    /// assert_eq!(slab.capacity(), 0);
    /// slab.insert("b").unwrap();
    /// assert_eq!(slab.get(dead), None);
    /// ```
    pub fn shrink_if_empty(&mut self) {
        if self.entries.is_empty() {
            self.entries = slab::Slab::new();
            self.room = 0;
        }
    }

    /// The key that the next insertion will give, for a value that must know its own; `None` when full.
    #[must_use]
    pub fn vacant_key(&self) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        Some(Key { index: narrow(self.entries.vacant_key()), generation: self.generation.get() })
    }

    /// The entry of `key`, or `None` if it was removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(wide(key.index))?;
        (entry.generation.get() == key.generation).then_some(&entry.value)
    }

    /// The entry of `key` to change, or `None` if it was removed.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(wide(key.index))?;
        (entry.generation.get() == key.generation).then_some(&mut entry.value)
    }

    /// Whether `key` still names an entry.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Takes the entry of `key` out, or `None` if that was done before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.entries.try_remove(wide(key.index)).map(|entry| entry.value)
    }

    /// Whoever occupies this slot now, with the key.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let entry = self.entries.get(wide(index))?;
        Some((Key { index, generation: entry.generation.get() }, &entry.value))
    }

    /// Whoever occupies this slot now, to change, with the key.
    #[must_use]
    pub fn at_mut(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let entry = self.entries.get_mut(wide(index))?;
        Some((Key { index, generation: entry.generation.get() }, &mut entry.value))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the next insertion would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= wide(self.max)
    }

    /// The most entries that there can be.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// For how many entries there is memory already.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Drops every entry; keys given out before find nothing afterwards, and the memory is kept.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// All entries by rising index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().map(|(index, entry)| {
            (Key { index: narrow(index), generation: entry.generation.get() }, &entry.value)
        })
    }

    /// All entries by rising index, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.entries.iter_mut().map(|(index, entry)| {
            (Key { index: narrow(index), generation: entry.generation.get() }, &mut entry.value)
        })
    }

    /// All keys by rising index.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }
}

/// An index of the inner slab as ours.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("there are at most `max` slots, and that is a u32")
}

/// Our index as the inner slab's. Where `usize` is narrower than `u32` no such slot exists, and `usize::MAX` finds none.
fn wide(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_full_slab_gives_the_value_back_and_takes_one_again_after_a_removal() {
        let mut slab = Slab::new(2);
        let a = slab.insert(1).unwrap();
        slab.insert(2).unwrap();
        assert!(slab.is_full());
        assert_eq!(slab.vacant_key(), None);
        assert_eq!(slab.insert(3), Err(3));
        assert_eq!(slab.remove(a), Some(1));
        assert_eq!(slab.insert(3).map(Key::index), Ok(a.index()));
    }

    #[test]
    fn a_slab_of_none_refuses_all() {
        let mut slab = Slab::new(0);
        assert!(slab.is_full() && slab.is_empty());
        assert_eq!(slab.insert(1), Err(1));
    }

    #[test]
    fn the_key_of_a_reused_slot_finds_nothing() {
        let mut slab = Slab::new(8);
        let old = slab.insert("old").unwrap();
        slab.remove(old);
        let new = slab.insert("new").unwrap();
        assert_eq!(new.index(), old.index());
        assert_ne!(new.generation(), old.generation());
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.remove(new), Some("new"));
        assert_eq!(slab.remove(new), None);
    }

    #[test]
    fn clearing_ends_all_keys_and_keeps_the_memory() {
        let mut slab = Slab::with_capacity(4, 4);
        let key = slab.insert(1).unwrap();
        let capacity = slab.capacity();
        slab.clear();
        let again = slab.insert(2).unwrap();
        assert_eq!(again.index(), key.index());
        assert_eq!((slab.get(key), slab.get(again)), (None, Some(&2)));
        assert_eq!(slab.capacity(), capacity);
    }

    #[test]
    fn a_slab_grows_by_a_quarter_and_never_past_its_maximum() {
        let mut slab = Slab::new(90);
        let mut capacities = Vec::new();
        while slab.insert(0_u64).is_ok() {
            if capacities.last() != Some(&slab.capacity()) {
                capacities.push(slab.capacity());
            }
        }
        assert_eq!(capacities, [4, 8, 12, 16, 20, 25, 31, 38, 47, 58, 72, 90]);
    }

    #[test]
    fn the_vacant_key_is_the_one_that_comes() {
        let mut slab = Slab::new(3);
        for value in 0..3 {
            let promised = slab.vacant_key();
            assert_eq!(slab.insert(value).ok(), promised);
        }
    }

    #[test]
    fn a_slot_says_who_lives_there() {
        let mut slab = Slab::new(3);
        let key = slab.insert(7).unwrap();
        assert_eq!(slab.at(key.index()), Some((key, &7)));
        *slab.at_mut(key.index()).unwrap().1 += 1;
        assert_eq!(slab.get(key), Some(&8));
        assert_eq!(slab.at(1), None);
        assert_eq!(slab.at(u32::MAX), None);
    }

    #[test]
    fn the_generation_goes_round_past_zero() {
        let mut slab = Slab::new(1);
        slab.generation = NonZeroU32::MAX;
        let last = slab.insert(1).unwrap();
        assert_eq!(last.generation(), u32::MAX);
        slab.remove(last);
        assert_eq!(slab.insert(2).unwrap().generation(), 1);
    }

    #[test]
    fn a_key_survives_the_trip_through_user_data() {
        let key = Key::from_parts(0xdead_beef, 0x0bad_cafe);
        assert_eq!(key.to_bits(), 0x0bad_cafe_dead_beef);
        assert_eq!(Key::from_bits(key.to_bits()), key);
        assert_eq!(alloc::format!("{:?}", Key::from_parts(3, 9)), "3#9");
    }

    proptest! {
        /// Beside a plain list of pairs: the same answers for live and dead keys, whatever the order of operations.
        #[test]
        fn answers_as_a_list_of_pairs_would(ops in prop::collection::vec((any::<bool>(), any::<u16>()), 0..200)) {
            let mut slab = Slab::new(20);
            let mut live: Vec<(Key, u16)> = Vec::new();
            let mut dead: Vec<Key> = Vec::new();
            for (insert, number) in ops {
                if insert {
                    match slab.insert(number) {
                        Ok(key) => live.push((key, number)),
                        Err(back) => {
                            prop_assert_eq!(back, number);
                            prop_assert_eq!(live.len(), 20);
                        }
                    }
                } else if !live.is_empty() {
                    let (key, value) = live.swap_remove(usize::from(number) % live.len());
                    prop_assert_eq!(slab.remove(key), Some(value));
                    dead.push(key);
                }
                prop_assert_eq!(slab.len(), live.len());
                prop_assert!(live.iter().all(|(key, value)| slab.get(*key) == Some(value)));
                prop_assert!(dead.iter().all(|key| !slab.contains(*key)));
                let mut expected = live.clone();
                expected.sort_by_key(|(key, _)| key.index());
                prop_assert_eq!(slab.iter().map(|(key, value)| (key, *value)).collect::<Vec<_>>(), expected);
                prop_assert_eq!(slab.keys().count(), slab.iter_mut().count());
            }
        }
    }
}
