//! How much a cache keeps, for how long, and what it counted.

use std::fmt;
use std::time::Duration;

/// The bounds of a [`ResponseCache`](super::ResponseCache); each worker has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Values at most.
    pub entries_max: u32,
    /// Bytes at most: keys, values, and what keeping them costs.
    pub bytes_max: usize,
    /// How long a value is given out.
    pub ttl: Duration,
    /// Calls under way that others can wait for, at most.
    pub flights_max: u32,
    /// Who can wait for one call, at most.
    pub followers_max: u32,
}

/// A thousand responses, 8 MiB, a minute.
impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            entries_max: 1_024,
            bytes_max: 8 << 20,
            ttl: Duration::from_secs(60),
            flights_max: 1_024,
            followers_max: 1_024,
        }
    }
}

/// What is wrong with a [`CacheConfig`]: the name of what is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheError(pub &'static str);

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "response cache: {} is 0, so nothing would be kept or shared; raise it or leave the cache out",
            self.0
        )
    }
}

impl std::error::Error for CacheError {}

impl CacheConfig {
    /// Whether the numbers make sense. No followers are allowed: then calls are not shared.
    ///
    /// # Errors
    /// The first that does not.
    pub fn validate(&self) -> Result<(), CacheError> {
        let zeros = [
            ("entries_max", self.entries_max == 0),
            ("bytes_max", self.bytes_max == 0),
            ("ttl", self.ttl.is_zero()),
            ("flights_max", self.flights_max == 0),
        ];
        zeros.into_iter().find(|(_, is_zero)| *is_zero).map_or(Ok(()), |(name, _)| Err(CacheError(name)))
    }
}

/// What a cache counted since it was made, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Lookups that found a value.
    pub hits: u64,
    /// Lookups that had to make the call.
    pub misses: u64,
    /// Lookups that waited for another's call.
    pub follows: u64,
    /// Of the misses, those that nobody could wait for.
    pub bypasses: u64,
    /// Values that made room for others.
    pub evictions: u64,
    /// Values that were asked for when their time was over.
    pub expirations: u64,
    /// Values that were larger than the whole cache.
    pub too_large: u64,
    /// Values now.
    pub entries: usize,
    /// Bytes now.
    pub bytes: usize,
    /// Calls under way now.
    pub flights: usize,
}
