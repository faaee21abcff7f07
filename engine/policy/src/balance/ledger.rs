//! One worker's count of calls in flight, and its view of the others'.
//!
//! The total of an endpoint is one atomic that all workers add to. If each did so at each call, they would take its cache line
//! from each other all the time: about 60 ns a call with two cores, and more with each. So a worker counts in its own memory,
//! and tells the total, and reads it, at most once a *tick* (about a millisecond) for each endpoint, in one instruction. When
//! calls are rarer than ticks every count is exact; when not, what others did may be a tick old, which a choice among random
//! endpoints does not mind.
//!
//! Whatever a worker told and no longer holds is taken back: a sweep visits one endpoint for each call that starts, and the end
//! of the ledger takes back all. Invariant: the total is the sum of what the workers have told.
//!
//! Alternatives that lost: an addition at each call, see above; a counter for each worker and endpoint, which a reader has to
//! sum over all cores.

use corelane_wire::Instant;

use super::stats::EndpointStats;

/// Not the tick of any time soon: the record was never compared with the total.
const NO_TICK: u32 = u32::MAX;

/// A moment as coarse as the ledger needs it: 2^20 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    pub(super) fn of(now: Instant) -> Tick {
        Tick((now.as_nanos() >> 20) as u32) // wraps after 52 days, and is only compared for equality
    }
}

/// Calls in flight by slot.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: Vec<Record>,
    swept: usize,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// This worker's calls now.
    mine: u32,
    /// This worker's calls as the total knows them.
    told: u32,
    /// All others' calls when the total was last read.
    others: u32,
    tick: u32,
}

const EMPTY: Record = Record { mine: 0, told: 0, others: 0, tick: NO_TICK };

impl Record {
    fn settle(&mut self, stats: &EndpointStats, tick: Tick) {
        let total = if self.mine == self.told {
            stats.outstanding()
        } else {
            stats.change_outstanding(self.mine.wrapping_sub(self.told).cast_signed())
        };
        self.others = total.saturating_sub(self.told);
        self.told = self.mine;
        self.tick = tick.0;
    }
}

impl Ledger {
    /// Makes room for slots below `slots_count`.
    pub(super) fn grow(&mut self, slots_count: usize) {
        if self.records.len() < slots_count {
            self.records.resize(slots_count, EMPTY);
        }
    }

    /// A call went out.
    pub(super) fn start(&mut self, slot: usize, stats: &EndpointStats, tick: Tick) {
        let record = &mut self.records[slot];
        record.mine += 1;
        if record.tick != tick.0 {
            record.settle(stats, tick);
        }
    }

    /// A call is over.
    pub(super) fn finish(&mut self, slot: usize, stats: &EndpointStats, tick: Tick) {
        let record = &mut self.records[slot];
        debug_assert!(record.mine > 0, "a call ends once");
        record.mine = record.mine.saturating_sub(1);
        if record.tick != tick.0 {
            record.settle(stats, tick);
        }
    }

    /// Calls in flight, this worker's as of now and the others' as of this tick; `None` means settle first.
    pub(super) fn load(&self, slot: usize, tick: Tick) -> Option<u32> {
        let record = &self.records[slot];
        (record.tick == tick.0).then_some(record.mine + record.others)
    }

    /// The next slot of the sweep, if it has something to tell.
    pub(super) fn next_untold(&mut self, tick: Tick) -> Option<usize> {
        let slot = self.swept;
        let record = self.records.get(slot)?;
        self.swept = if slot + 1 == self.records.len() { 0 } else { slot + 1 };
        (record.mine != record.told && record.tick != tick.0).then_some(slot)
    }

    /// Tells the total of `slot`.
    pub(super) fn settle(&mut self, slot: usize, stats: &EndpointStats, tick: Tick) {
        self.records[slot].settle(stats, tick);
    }

    /// Takes back what was told about `slot`, whose endpoint is no longer this worker's business.
    pub(super) fn forget(&mut self, slot: usize, stats: &EndpointStats) {
        let told = std::mem::replace(&mut self.records[slot], EMPTY).told;
        if told > 0 {
            stats.change_outstanding(told.cast_signed().wrapping_neg());
        }
    }
}
