//! One shard for each worker, read as one.
//!
//! Does not: know what is counted. It holds the shards apart in memory, gives each to one writer, and sums.
//!
//! Invariant: a shard is `taken` exactly while its [`Writer`] lives.

use crossbeam_utils::CachePadded;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that is counted in shards and read as a sum.
pub trait Observed {
    /// The sum.
    type Snapshot: Default;

    /// Adds what is counted here to `into`.
    fn add_to(&self, into: &mut Self::Snapshot);

    /// What is counted here alone.
    fn snapshot(&self) -> Self::Snapshot {
        let mut snapshot = Self::Snapshot::default();
        self.add_to(&mut snapshot);
        snapshot
    }
}

#[derive(Debug, Default)]
struct Shard<T> {
    value: CachePadded<T>,
    taken: AtomicBool,
}

/// A shard for each worker. Clones share the shards.
///
/// ```
/// use corelane_observe::{ShardSet, WorkerCounters};
///
/// let counters: ShardSet<WorkerCounters> = ShardSet::new(2);
/// let reader = counters.clone();
/// std::thread::scope(|scope| {
///     for worker in 0..2 {
///         let mine = counters.writer(worker).expect("each worker takes its own, once");
///         scope.spawn(move || mine.connections_accepted.add(10));
///     }
/// });
/// assert_eq!(reader.snapshot().connections_accepted, 20);
/// ```
pub struct ShardSet<T> {
    shards: Arc<[Arc<Shard<T>>]>,
}

impl<T: Default> ShardSet<T> {
    /// `count` shards.
    #[must_use]
    pub fn new(count: usize) -> ShardSet<T> {
        ShardSet { shards: (0..count).map(|_| Arc::default()).collect() }
    }
}

impl<T> ShardSet<T> {
    /// The right to write the shard of one worker; `None` if there is no such shard, or someone has it.
    #[must_use]
    pub fn writer(&self, worker: usize) -> Option<Writer<T>> {
        let shard = self.shards.get(worker)?;
        // Acquire pairs with the Release where a writer gives the shard back: the new one starts from the last counts of the
        // old one. Weaker, it could add to an older count and lose some. No Release: nothing was written before.
        if shard.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(Writer { shard: Arc::clone(shard), one_thread: PhantomData })
    }

    /// How many shards there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether there is no shard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }
}

impl<T: Observed> ShardSet<T> {
    /// The sum over all workers. Each number is read by itself while its worker may be counting, so two of them
    /// need not fit together to the last one.
    #[must_use]
    pub fn snapshot(&self) -> T::Snapshot {
        let mut sum = T::Snapshot::default();
        for shard in self.shards.iter() {
            shard.value.add_to(&mut sum);
        }
        sum
    }

    /// What each worker counted, in their order: for balance between them.
    pub fn snapshots(&self) -> impl Iterator<Item = T::Snapshot> {
        self.shards.iter().map(|shard| shard.value.snapshot())
    }
}

impl<T> Clone for ShardSet<T> {
    fn clone(&self) -> ShardSet<T> {
        ShardSet { shards: Arc::clone(&self.shards) }
    }
}

impl<T> fmt::Debug for ShardSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The right to write one shard. It may move to the worker's thread and is not shared from there, and there is
/// only one: that is what lets a count do without a lock prefix. Dropping it gives the shard back, counts and all.
#[derive(Debug)]
pub struct Writer<T> {
    shard: Arc<Shard<T>>,
    /// `Send`, not `Sync`.
    one_thread: PhantomData<std::cell::Cell<()>>,
}

impl<T> Deref for Writer<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.shard.value
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `ShardSet::writer`, see there.
        self.shard.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counter;

    #[derive(Debug, Default)]
    struct Seen(Counter);

    impl Observed for Seen {
        type Snapshot = u64;

        fn add_to(&self, into: &mut u64) {
            *into += self.0.get();
        }
    }

    #[test]
    fn a_shard_has_one_writer_at_a_time() {
        let set: ShardSet<Seen> = ShardSet::new(2);
        let first = set.writer(0).expect("free");
        assert!(set.writer(0).is_none());
        assert!(set.clone().writer(0).is_none());
        assert!(set.writer(1).is_some());
        assert!(set.writer(2).is_none());
        first.0.add(3);
        drop(first);
        let second = set.writer(0).expect("given back");
        second.0.add(4);
        assert_eq!((set.snapshot(), set.len()), (7, 2));
    }

    #[test]
    fn the_reader_sums_and_can_tell_them_apart() {
        let set: ShardSet<Seen> = ShardSet::new(3);
        let writers: Vec<_> = (0..3).filter_map(|worker| set.writer(worker)).collect();
        for (amount, writer) in (1..).zip(&writers) {
            writer.0.add(amount);
        }
        assert_eq!(set.snapshot(), 6);
        assert_eq!(set.snapshots().collect::<Vec<_>>(), [1, 2, 3]);
        drop(writers);
        assert_eq!(set.snapshot(), 6, "counts outlive their worker");
    }

    #[test]
    fn no_two_shards_share_a_cache_line() {
        let set: ShardSet<Seen> = ShardSet::new(8);
        let mut at: Vec<usize> =
            set.shards.iter().map(|shard| std::ptr::from_ref::<Seen>(&shard.value).addr()).collect();
        at.sort_unstable();
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 64));
    }

    #[test]
    fn many_threads_count_and_nothing_is_lost() {
        let set: ShardSet<Seen> = ShardSet::new(4);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let set = set.clone();
                scope.spawn(move || {
                    for _ in 0..10 {
                        let mine = set.writer(worker).expect("mine alone");
                        (0..1_000).for_each(|_| mine.0.increment());
                    }
                });
            }
        });
        assert_eq!(set.snapshot(), 40_000);
    }
}
