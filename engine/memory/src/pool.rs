//! A bounded pool of byte buffers of one size.
//!
//! A worker's receive buffers: taken when a connection has something to read, given back when it goes idle. A pool
//! that has none left says so, the worker stops reading, and the peer's window fills: out of memory is a state here.
//!
//! Does not: allocate ahead (the first `count_max` takes do), zero what it hands out, or hold buffers that
//! grew: those would make `size * count_max` a lie.
//!
//! Invariant: `free + outstanding <= count_max`, and each free buffer's capacity is `size` to `size + size / 8`.
//! The last given is the first taken, since its bytes are still in the cache.

use alloc::vec::Vec;

/// At most `count_max` buffers of `size` bytes, handed out and taken back.
///
/// ```
/// use corelane_memory::BufferPool;
///
/// let mut pool = BufferPool::new(16 * 1024, 1);
/// let mut buffer = pool.take().unwrap();
/// buffer.extend_from_slice(b"read from a socket");
/// assert_eq!(pool.take(), None); // all are out: stop reading
///
/// pool.give(buffer);
/// let again = pool.take().unwrap();
/// assert!(again.is_empty() && again.capacity() >= pool.size());
/// ```
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    /// The fewest that lay here since the last [`BufferPool::trim_unused`].
    free_lowest: usize,
    outstanding: usize,
    size: usize,
    count_max: usize,
}

impl BufferPool {
    /// A pool of at most `count_max` buffers of `size` bytes; none is allocated yet.
    #[must_use]
    pub const fn new(size: usize, count_max: usize) -> BufferPool {
        BufferPool { free: Vec::new(), free_lowest: 0, outstanding: 0, size, count_max }
    }

    /// An empty buffer with room for [`size`](Self::size) bytes, or `None` when `count_max` of them are out.
    #[must_use = "a buffer that is dropped instead of given back stays counted as outstanding"]
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.outstanding >= self.count_max {
            return None;
        }
        let buffer = self.free.pop().unwrap_or_else(|| Vec::with_capacity(self.size));
        self.free_lowest = self.free_lowest.min(self.free.len());
        self.outstanding += 1;
        self.check_invariants();
        Some(buffer)
    }

    /// Takes a buffer back, whatever is in it.
    ///
    /// A buffer that shrank or grew on the way is dropped and only its place is given back, so an owner that had to
    /// give the storage away says so with `give(Vec::new())`. When nothing is out the buffer is not ours: it is
    /// dropped and nothing changes.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if self.outstanding == 0 {
            return;
        }
        self.outstanding -= 1;
        if self.is_pool_sized(buffer.capacity()) {
            buffer.clear();
            self.free.push(buffer);
        }
        self.check_invariants();
    }

    /// Frees the memory of unused buffers until at most `keep` of them remain.
    pub fn trim(&mut self, keep: usize) {
        self.free.truncate(keep);
        self.free_lowest = self.free_lowest.min(self.free.len());
    }

    /// Frees the buffers that lay here unused all the time since this was called last: called now and then, a pool keeps what
    /// its load needs, and nothing of what a burst needed once.
    ///
    /// ```
    /// use corelane_memory::BufferPool;
    ///
    /// let mut pool = BufferPool::new(64, 8);
    /// let burst: Vec<_> = (0..8).map_while(|_| pool.take()).collect();
    /// burst.into_iter().for_each(|buffer| pool.give(buffer));
    /// pool.trim_unused();
    /// assert_eq!(pool.free(), 8); // all were out
    ///
    /// let used = pool.take().unwrap();
    /// pool.give(used);
    /// pool.trim_unused();
    /// assert_eq!(pool.free(), 1);
    /// ```
    pub fn trim_unused(&mut self) {
        self.free.drain(..self.free_lowest);
        self.free_lowest = self.free.len();
        self.check_invariants();
    }

    /// How many bytes each buffer has room for.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// How many buffers are out.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// How many buffers lie here, allocated and unused.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// How many more [`take`](Self::take) would give before it refuses.
    #[must_use]
    pub const fn available(&self) -> usize {
        self.count_max - self.outstanding
    }

    /// The most buffers that exist at once.
    #[must_use]
    pub const fn count_max(&self) -> usize {
        self.count_max
    }

    /// Whether a buffer of this capacity is as good as one of ours. The slack is for an allocator that gives more
    /// than it was asked for; a `Vec` that grew has doubled.
    const fn is_pool_sized(&self, capacity: usize) -> bool {
        capacity >= self.size && capacity - self.size <= self.size / 8
    }

    fn check_invariants(&self) {
        debug_assert!(self.outstanding <= self.count_max);
        debug_assert!(self.free.len() <= self.count_max - self.outstanding);
        debug_assert!(self.free_lowest <= self.free.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn counts(pool: &BufferPool) -> (usize, usize) {
        (pool.outstanding(), pool.free())
    }

    #[test]
    fn hands_out_its_maximum_and_no_more() {
        let mut pool = BufferPool::new(64, 2);
        let a = pool.take().unwrap();
        let _b = pool.take().unwrap();
        assert_eq!((pool.take(), counts(&pool), pool.available()), (None, (2, 0), 0));
        pool.give(a);
        assert_eq!((counts(&pool), pool.available()), ((1, 1), 1));
        assert!(pool.take().is_some());
    }

    #[test]
    fn what_comes_back_is_cleared_and_reused() {
        let mut pool = BufferPool::new(64, 2);
        let mut buffer = pool.take().unwrap();
        buffer.extend_from_slice(b"someone's secret");
        let storage = buffer.as_ptr();
        pool.give(buffer);
        let again = pool.take().unwrap();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), storage);
    }

    #[test]
    fn the_last_given_is_the_first_taken() {
        let mut pool = BufferPool::new(64, 2);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        let (a_storage, b_storage) = (a.as_ptr(), b.as_ptr());
        pool.give(a);
        pool.give(b);
        let taken = [pool.take().unwrap(), pool.take().unwrap()];
        assert_eq!(taken.each_ref().map(|buffer| buffer.as_ptr()), [b_storage, a_storage]);
    }

    #[test]
    fn a_shrunk_or_grown_buffer_gives_back_its_place_only() {
        let mut pool = BufferPool::new(64, 1);
        for spoilt in [Vec::new(), vec![0; 63], Vec::with_capacity(128)] {
            drop(pool.take().unwrap());
            assert_eq!(pool.take(), None);
            pool.give(spoilt);
            assert_eq!(counts(&pool), (0, 0));
        }
        assert!(pool.take().unwrap().capacity() >= 64);
    }

    #[test]
    fn a_stranger_changes_nothing() {
        let mut pool = BufferPool::new(64, 1);
        pool.give(Vec::with_capacity(64));
        assert_eq!(counts(&pool), (0, 0));
        let one = pool.take().unwrap();
        pool.give(one);
        pool.give(Vec::with_capacity(64));
        assert_eq!(counts(&pool), (0, 1));
    }

    #[test]
    fn trimming_frees_what_is_unused() {
        let mut pool = BufferPool::new(64, 3);
        let all = [pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap()];
        for buffer in all {
            pool.give(buffer);
        }
        pool.trim(1);
        assert_eq!((counts(&pool), pool.available()), ((0, 1), 3));
    }

    #[test]
    fn a_pool_of_none_has_none() {
        assert_eq!(BufferPool::new(64, 0).take(), None);
    }

    proptest! {
        #[test]
        fn never_more_than_its_maximum_exists(
            count_max in 0..6_usize,
            ops in prop::collection::vec(prop::option::of(0..40_usize), 0..100),
        ) {
            let mut pool = BufferPool::new(16, count_max);
            let mut out = Vec::new();
            for op in ops {
                match op {
                    None => match pool.take() {
                        Some(buffer) => {
                            prop_assert!(buffer.is_empty() && buffer.capacity() >= 16);
                            out.push(buffer);
                        }
                        None => prop_assert_eq!(out.len(), count_max),
                    },
                    Some(written) => if let Some(mut buffer) = out.pop() {
                        buffer.extend(core::iter::repeat_n(7_u8, written));
                        pool.give(buffer);
                    },
                }
                prop_assert_eq!(pool.outstanding(), out.len());
                prop_assert!(pool.outstanding() + pool.free() <= count_max);
                prop_assert!(pool.free.iter().all(|buffer| buffer.capacity() <= 18));
            }
        }
    }
}
