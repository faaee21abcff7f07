//! Responses of idempotent calls that are kept for a while.
//!
//! One cache for each worker: nothing is shared, so nothing is locked, and a value that several cores want is fetched once by each.
//! While a call is under way, others that want the same wait for it instead of making it too.
//!
//! Does not: decide which methods are idempotent or which responses are worth keeping, encode, or have a timer.
//!
//! Invariant: entries, bytes, flights and followers of each flight are at most their maxima; what is above goes past the cache
//! ([`Lookup::Bypass`]). A value is only given for a key with exactly its bytes, and never at or after its time.

mod config;
mod flight;
mod key;
mod seat;
mod store;

pub use config::{CacheConfig, CacheError, CacheFigures};
pub use key::CacheKey;
pub use seat::{Followed, Follower, Leader};

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use corelane_wire::Instant;

use flight::Flight;
use key::ByHash;
use store::Store;

/// What to do for a call.
#[derive(Debug)]
pub enum Lookup<V: Clone> {
    /// Nothing: this is the response.
    Hit(V),
    /// Make it, and give the leader the response.
    Lead(Leader<V>),
    /// Wait: it is being made.
    Follow(Follower<V>),
    /// Make it, and tell nobody: too many are under way.
    Bypass,
}

/// The responses of one worker. A clone is the same cache.
///
/// A value is cloned for everyone who gets it (an `Rc<[u8]>`, say), and must not use the cache when it is cloned or dropped.
///
/// ```
/// use corelane_policy::cache::{CacheConfig, CacheKey, Lookup, ResponseCache};
/// use corelane_wire::Instant;
/// use std::rc::Rc;
///
/// let cache = ResponseCache::<Rc<[u8]>>::new(CacheConfig::default(), 42, |value| value.len())?;
/// let key = CacheKey { path: b"/shop.Prices/Get", request: b"\x08\x01", vary: b"" };
/// let now = Instant::from_nanos(0);
///
/// let Lookup::Lead(leader) = cache.lookup(&key, now) else { panic!("the first call leads") };
/// assert!(matches!(cache.lookup(&key, now), Lookup::Follow(_)));
/// leader.finish(Rc::from(&b"response"[..]), now);
/// assert!(matches!(cache.lookup(&key, now), Lookup::Hit(value) if &value[..] == b"response"));
/// # Ok::<(), corelane_policy::cache::CacheError>(())
/// ```
pub struct ResponseCache<V: Clone> {
    shared: Rc<Shared<V>>,
}

/// What the cache and its leaders and followers share. Never borrowed across a call into foreign code.
struct Shared<V> {
    config: CacheConfig,
    seed: u64,
    size: fn(&V) -> usize,
    inner: RefCell<Inner<V>>,
}

struct Inner<V> {
    store: Store<V>,
    /// Calls under way, by the hash of their keys.
    flights: ByHash<Rc<Flight<V>>>,
    hits: u64,
    misses: u64,
    follows: u64,
    bypasses: u64,
}

impl<V: Clone> ResponseCache<V> {
    /// An empty cache. `seed` should be random; `size` says how many bytes a value keeps alive.
    ///
    /// # Errors
    /// If a number makes no sense.
    pub fn new(
        config: CacheConfig,
        seed: u64,
        size: fn(&V) -> usize,
    ) -> Result<ResponseCache<V>, CacheError> {
        config.validate()?;
        let inner = Inner {
            store: Store::new(config.entries_max, config.bytes_max),
            flights: ByHash::default(),
            hits: 0,
            misses: 0,
            follows: 0,
            bypasses: 0,
        };
        Ok(ResponseCache { shared: Rc::new(Shared { config, seed, size, inner: RefCell::new(inner) }) })
    }

    /// What to do for the call of `key`.
    #[must_use]
    pub fn lookup(&self, key: &CacheKey<'_>, now: Instant) -> Lookup<V> {
        let hash = key.hash(self.shared.seed);
        let mut inner = self.shared.inner.borrow_mut();
        let inner = &mut *inner;
        if let Some(value) = inner.store.get(hash, key, now) {
            inner.hits += 1;
            return Lookup::Hit(value.clone());
        }
        match inner.flights.get(&hash) {
            Some(flight) if flight.key.is(key) => {
                let flight = flight.clone();
                self.board(inner, flight)
            }
            None if inner.flights.len() < self.shared.config.flights_max as usize => {
                let flight = Rc::new(Flight::new(hash, key.keep()));
                inner.flights.insert(hash, flight.clone());
                inner.misses += 1;
                Lookup::Lead(Leader::new(self.shared.clone(), flight))
            }
            // Too many, or one of another key with the same hash, which is rarer than a broken memory.
            _ => inner.bypass(),
        }
    }

    /// Forgets all values. Calls under way still serve those who wait for them, and are not kept: they may have been answered
    /// before whatever made the values worthless.
    pub fn clear(&self) {
        let mut inner = self.shared.inner.borrow_mut();
        inner.store.clear();
        inner.flights.clear();
    }

    /// What it did and holds.
    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        let inner = self.shared.inner.borrow();
        let store = inner.store.figures();
        CacheFigures {
            hits: inner.hits,
            misses: inner.misses,
            follows: inner.follows,
            bypasses: inner.bypasses,
            evictions: store.evictions,
            expirations: store.expirations,
            too_large: store.too_large,
            entries: inner.store.len(),
            bytes: inner.store.bytes(),
            flights: inner.flights.len(),
        }
    }

    fn board(&self, inner: &mut Inner<V>, flight: Rc<Flight<V>>) -> Lookup<V> {
        if flight.lead_if_vacant() {
            inner.misses += 1;
            return Lookup::Lead(Leader::new(self.shared.clone(), flight));
        }
        let Some(ticket) = flight.join(self.shared.config.followers_max as usize) else {
            return inner.bypass();
        };
        inner.follows += 1;
        Lookup::Follow(Follower::new(self.shared.clone(), flight, ticket))
    }
}

impl<V> Inner<V> {
    fn bypass<T: Clone>(&mut self) -> Lookup<T> {
        self.misses += 1;
        self.bypasses += 1;
        Lookup::Bypass
    }
}

impl<V> Shared<V> {
    /// Takes `flight` out of those that can be joined; says whether it was still among them.
    fn end(&self, flight: &Rc<Flight<V>>) -> bool {
        let mut inner = self.inner.borrow_mut();
        let is_current = inner.flights.get(&flight.hash).is_some_and(|current| Rc::ptr_eq(current, flight));
        if is_current {
            inner.flights.remove(&flight.hash);
        }
        is_current
    }
}

impl<V: Clone> Clone for ResponseCache<V> {
    fn clone(&self) -> ResponseCache<V> {
        ResponseCache { shared: self.shared.clone() }
    }
}

impl<V: Clone> fmt::Debug for ResponseCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache").field("figures", &self.figures()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
