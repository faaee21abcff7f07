//! Values that are kept for a while, in bounded space: the one that was used least recently goes first.
//!
//! Does not: look for what has expired by itself. It is found when it is asked for, or goes when space is wanted, so it takes up
//! no more than the bounds.
//!
//! Invariant: entries and bytes are at most their maxima after every call; every entry is in the map, in the slab and
//! once in the list.
//!
//! Alternative that lost: S3-FIFO (`quick_cache::unsync`), which stands scans better; its weights, times of expiry and single
//! flights would each have to be wrapped, and a worker's cache of idempotent calls is small. To be revisited with a
//! trace where the hit ratio matters.

use std::rc::Rc;
use std::time::Duration;

use corelane_memory::{Key, Slab};
use corelane_wire::Instant;

use super::key::{ByHash, CacheKey, OwnedKey};

/// What an entry costs beside its key and value: its place in slab and map, the key's two allocations. An estimate, rounded up.
pub(super) const ENTRY_OVERHEAD: usize = 192;

#[derive(Debug)]
struct Entry<V> {
    key: Rc<OwnedKey>,
    hash: u64,
    value: V,
    expires: Instant,
    bytes: usize,
    newer: Option<Key>,
    older: Option<Key>,
}

/// What a store counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StoreFigures {
    pub(super) evictions: u64,
    pub(super) expirations: u64,
    pub(super) too_large: u64,
}

/// The values of one worker.
#[derive(Debug)]
pub(super) struct Store<V> {
    index: ByHash<Key>,
    entries: Slab<Entry<V>>,
    newest: Option<Key>,
    oldest: Option<Key>,
    bytes: usize,
    bytes_max: usize,
    figures: StoreFigures,
}

impl<V> Store<V> {
    pub(super) fn new(entries_max: u32, bytes_max: usize) -> Store<V> {
        Store {
            index: ByHash::default(),
            entries: Slab::new(entries_max),
            newest: None,
            oldest: None,
            bytes: 0,
            bytes_max,
            figures: StoreFigures::default(),
        }
    }

    /// The value of `key`, which is now the last that goes.
    pub(super) fn get(&mut self, hash: u64, key: &CacheKey<'_>, now: Instant) -> Option<&V> {
        let slot = *self.index.get(&hash)?;
        let entry = self.entries.get(slot).expect("the map names live entries");
        if !entry.key.is(key) {
            return None;
        }
        if now >= entry.expires {
            self.remove(slot);
            self.figures.expirations += 1;
            return None;
        }
        if self.newest != Some(slot) {
            self.unlink(slot);
            self.link_newest(slot);
        }
        self.entries.get(slot).map(|entry| &entry.value)
    }

    /// Keeps `value`, of `value_bytes`, for `ttl`; whatever was least recently used makes room. One that would not fit
    /// alone is not kept.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        key: Rc<OwnedKey>,
        value: V,
        value_bytes: usize,
        now: Instant,
        ttl: Duration,
    ) {
        let bytes = value_bytes.saturating_add(key.len()).saturating_add(ENTRY_OVERHEAD);
        // What is there under this hash is an older value of the key, or of one that shares its hash: it goes either way.
        if let Some(&slot) = self.index.get(&hash) {
            self.remove(slot);
        }
        if bytes > self.bytes_max {
            self.figures.too_large += 1;
            return;
        }
        while self.entries.is_full() || self.bytes > self.bytes_max - bytes {
            let oldest = self.oldest.expect("a store that holds something has an oldest entry");
            self.remove(oldest);
            self.figures.evictions += 1;
        }
        let entry = Entry { key, hash, value, expires: now + ttl, bytes, newer: None, older: None };
        let Ok(slot) = self.entries.insert(entry) else { unreachable!("room was made") };
        self.index.insert(hash, slot);
        self.bytes += bytes;
        self.link_newest(slot);
        self.check_invariants();
    }

    pub(super) fn clear(&mut self) {
        while let Some(oldest) = self.oldest {
            self.remove(oldest);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn figures(&self) -> StoreFigures {
        self.figures
    }

    fn remove(&mut self, slot: Key) {
        self.unlink(slot);
        let entry = self.entries.remove(slot).expect("only live entries are removed");
        self.index.remove(&entry.hash);
        self.bytes -= entry.bytes;
        self.check_invariants();
    }

    fn unlink(&mut self, slot: Key) {
        let entry = self.entry(slot);
        let (newer, older) = (entry.newer.take(), entry.older.take());
        match newer {
            Some(newer) => self.entry(newer).older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => self.entry(older).newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, slot: Key) {
        let before = self.newest.replace(slot);
        self.entry(slot).older = before;
        match before {
            Some(before) => self.entry(before).newer = Some(slot),
            None => self.oldest = Some(slot),
        }
    }

    fn entry(&mut self, slot: Key) -> &mut Entry<V> {
        self.entries.get_mut(slot).expect("links name live entries")
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.index.len(), self.entries.len());
        debug_assert!(self.bytes <= self.bytes_max);
        debug_assert_eq!(self.oldest.is_none(), self.index.is_empty());
        debug_assert_eq!(self.newest.is_none(), self.index.is_empty());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn key(request: &[u8]) -> CacheKey<'_> {
        CacheKey { path: b"", request, vary: b"" }
    }

    /// Keeps `value` under the hash that is its first byte.
    fn insert(store: &mut Store<u32>, request: &[u8], value: u32, bytes: usize, now: u64) {
        store.insert(
            u64::from(request[0]),
            key(request).keep(),
            value,
            bytes,
            at(now),
            Duration::from_secs(10),
        );
    }

    fn get(store: &mut Store<u32>, request: &[u8], now: u64) -> Option<u32> {
        store.get(u64::from(request[0]), &key(request), at(now)).copied()
    }

    #[test]
    fn the_least_recently_used_goes_when_the_entries_are_used_up() {
        let mut store = Store::new(2, 100_000);
        insert(&mut store, b"a", 1, 0, 0);
        insert(&mut store, b"b", 2, 0, 0);
        assert_eq!(get(&mut store, b"a", 1), Some(1));
        insert(&mut store, b"c", 3, 0, 2);
        assert_eq!(
            [get(&mut store, b"a", 3), get(&mut store, b"b", 3), get(&mut store, b"c", 3)],
            [Some(1), None, Some(3)]
        );
        assert_eq!((store.len(), store.figures().evictions), (2, 1));
    }

    #[test]
    fn as_many_go_as_the_bytes_need() {
        let each = ENTRY_OVERHEAD + 1;
        let mut store = Store::new(100, each * 3 + 50);
        for request in [b"a", b"b", b"c"] {
            insert(&mut store, request, 1, 0, 0);
        }
        assert_eq!(store.bytes(), each * 3);
        insert(&mut store, b"d", 1, 50, 0);
        assert_eq!((store.len(), store.figures().evictions), (3, 1));
        insert(&mut store, b"e", 1, each * 2, 0);
        assert_eq!((store.len(), store.bytes()), (1, each * 3));
    }

    #[test]
    fn what_does_not_fit_alone_is_not_kept_and_evicts_nothing_else() {
        let mut store = Store::new(100, 1_000);
        insert(&mut store, b"a", 1, 0, 0);
        insert(&mut store, b"b", 1, 0, 0);
        insert(&mut store, b"b", 2, 1_000, 0);
        insert(&mut store, b"c", 2, usize::MAX, 0);
        assert_eq!(
            [get(&mut store, b"a", 0), get(&mut store, b"b", 0), get(&mut store, b"c", 0)],
            [Some(1), None, None]
        );
        assert_eq!((store.figures().too_large, store.figures().evictions), (2, 0));
    }

    #[test]
    fn a_value_ends_with_its_time() {
        let mut store = Store::new(2, 1_000);
        insert(&mut store, b"a", 1, 0, 5);
        assert_eq!(get(&mut store, b"a", 14), Some(1));
        assert_eq!(get(&mut store, b"a", 15), None);
        assert_eq!((store.len(), store.bytes(), store.figures().expirations), (0, 0, 1));
    }

    #[test]
    fn keys_that_share_a_hash_do_not_share_a_value() {
        let mut store = Store::new(2, 1_000);
        insert(&mut store, b"ab", 1, 0, 0);
        assert_eq!(get(&mut store, b"ac", 0), None);
        insert(&mut store, b"ac", 2, 0, 0);
        assert_eq!([get(&mut store, b"ab", 0), get(&mut store, b"ac", 0)], [None, Some(2)]);
        assert_eq!(store.len(), 1);
    }

    proptest! {
        /// Beside a list that is searched from the front: the same values, in the same bounds.
        #[test]
        fn it_is_a_list_in_order_of_use(steps in prop::collection::vec((0_u8..6, any::<bool>(), 0_usize..300), 0..200)) {
            let (entries_max, bytes_max) = (4, 1_000);
            let mut store = Store::new(entries_max, bytes_max);
            let mut list: Vec<(u8, u32, usize)> = Vec::new(); // newest last
            for (number, (request, is_insert, bytes)) in (0_u32..).zip(steps) {
                let position = list.iter().position(|(key, ..)| *key == request);
                if is_insert {
                    insert(&mut store, &[request], number, bytes, 0);
                    position.map(|position| list.remove(position));
                    list.push((request, number, bytes + 1 + ENTRY_OVERHEAD));
                    while list.len() > 4 || list.iter().map(|(_, _, bytes)| bytes).sum::<usize>() > bytes_max {
                        list.remove(0);
                    }
                } else {
                    let expected = position.map(|position| {
                        let entry = list.remove(position);
                        list.push(entry);
                        entry.1
                    });
                    prop_assert_eq!(get(&mut store, &[request], 0), expected);
                }
                prop_assert_eq!(store.len(), list.len());
                prop_assert_eq!(store.bytes(), list.iter().map(|(_, _, bytes)| bytes).sum::<usize>());
            }
            store.clear();
            prop_assert_eq!((store.len(), store.bytes()), (0, 0));
        }
    }
}
