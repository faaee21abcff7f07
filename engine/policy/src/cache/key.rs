//! What makes two calls the same call.
//!
//! Does not: normalise. The same message encoded in another order of fields is another key, which costs a hit and nothing else.
//!
//! Invariant: keys are equal only if all their bytes are; the hash only finds the place to look. It is seeded, so that who
//! chooses requests does not choose places.

use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use xxhash_rust::xxh64::xxh64;

/// A call that may have been made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey<'a> {
    /// The method's full path.
    pub path: &'a [u8],
    /// The request as it is sent, before compression.
    pub request: &'a [u8],
    /// What else the response depends on: credentials and metadata that the server looks at. Whoever leaves credentials
    /// out hands one user's response to another.
    pub vary: &'a [u8],
}

impl CacheKey<'_> {
    /// Each part is hashed with the one before as the seed: moving a byte from one part to the next changes it.
    pub(super) fn hash(&self, seed: u64) -> u64 {
        xxh64(self.request, xxh64(self.vary, xxh64(self.path, seed)))
    }

    pub(super) fn keep(self) -> Rc<OwnedKey> {
        Rc::new(OwnedKey {
            path_len: self.path.len(),
            vary_len: self.vary.len(),
            bytes: [self.path, self.vary, self.request].concat().into(),
        })
    }
}

/// A key that is kept: by a flight, and then by what it brought. Counted around its bytes, since an `Rc<[u8]>` would have to copy them.
#[derive(Debug)]
pub(super) struct OwnedKey {
    path_len: usize,
    vary_len: usize,
    bytes: Box<[u8]>,
}

impl OwnedKey {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is(&self, key: &CacheKey<'_>) -> bool {
        self.as_key() == *key
    }

    pub(super) fn as_key(&self) -> CacheKey<'_> {
        let (path, rest) = self.bytes.split_at(self.path_len);
        let (vary, request) = rest.split_at(self.vary_len);
        CacheKey { path, request, vary }
    }
}

/// For maps from hashes: a hash needs no hashing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are keys, and those are written as u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A map from a key's hash.
pub(super) type ByHash<T> = std::collections::HashMap<u64, T, BuildHasherDefault<Identity>>;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn key<'a>(path: &'a [u8], vary: &'a [u8], request: &'a [u8]) -> CacheKey<'a> {
        CacheKey { path, request, vary }
    }

    #[test]
    fn bytes_that_move_between_parts_make_another_key() {
        let keys =
            [key(b"ab", b"c", b"d"), key(b"a", b"bc", b"d"), key(b"ab", b"", b"cd"), key(b"ab", b"cd", b"")];
        for (index, one) in keys.iter().enumerate() {
            for (other_index, other) in keys.iter().enumerate() {
                assert_eq!(one.keep().is(other), index == other_index);
                assert_eq!(one.hash(1) == other.hash(1), index == other_index);
            }
        }
    }

    #[test]
    fn the_seed_moves_the_hash() {
        assert_ne!(key(b"a", b"", b"b").hash(1), key(b"a", b"", b"b").hash(2));
    }

    #[test]
    fn a_kept_key_is_the_key() {
        let key = key(b"/s/m", b"token", b"request");
        assert_eq!(key.keep().as_key(), key);
        assert_eq!(key.keep().len(), 16);
    }
}
