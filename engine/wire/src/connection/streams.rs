//! The streams of one connection: their slots, found by id or by key, and the memory of those that ended lately.
//!
//! A stream is in at most two queues, `ready` (data to send) and `room` (its producer waits), and its slot says so.
//! A queue may name a stream that has ended since; keys carry a generation, so that such an entry is recognised and
//! skipped when its turn comes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use corelane_memory::{Bytes, Gather, PIECE_MIN, Pieces, Slab};

use super::event::{StreamKey, TAG_NONE};
use super::flow::{RecvWindow, SendWindow};
use super::index::StreamIndex;
use super::state::{RecvState, SendState};
use crate::field::FieldList;
use crate::frame::{StreamId, WINDOW_MAX};

/// Streams that ended in good order, or by the peer, and are remembered, so that a header block for one has its own code.
const ENDED_REMEMBERED: usize = 64;
/// Streams that we ended and that are remembered, so that what the peer had on its way for them is told from frames that
/// break the rules: as many as it may have open, and as many again that it may open before it hears of them; at most this.
const RESETS_REMEMBERED_MAX: usize = 1024;
/// A send queue that has run empty keeps its storage up to this size.
const QUEUE_KEPT: usize = 16 * 1024;
/// Entries of `ready` that name dead streams are thrown out when they are more than the live ones and these.
const READY_SLACK: usize = 16;

/// What follows the queued data of a stream.
#[derive(Debug, PartialEq)]
pub(super) enum Tail {
    /// More may be queued.
    Open,
    /// END_STREAM on the last DATA frame.
    End,
    /// Trailers; boxed, since few streams have them waiting and all slots are moved.
    Trailers(Box<FieldList>),
}

/// What windows, frame sizes or a full output hold back of a stream.
#[derive(Debug)]
pub(super) struct SendQueue {
    /// There is none for most streams, and all are moved.
    held: Option<Box<Held>>,
}

/// Data, and what follows it.
#[derive(Debug)]
pub(super) struct Held {
    /// What was copied.
    bytes: Vec<u8>,
    /// What of it was sent.
    sent: usize,
    /// What is referenced, between the bytes that were not sent.
    pieces: Pieces,
    pub(super) tail: Tail,
}

impl SendQueue {
    const EMPTY: SendQueue = SendQueue { held: None };

    /// Octets that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// What is held, or a place for it.
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_with(|| {
            Box::new(Held { bytes: Vec::new(), sent: 0, pieces: Pieces::new(), tail: Tail::Open })
        })
    }

    /// Nothing is left to write, an end included.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.len() == 0 && held.tail == Tail::Open)
    }
}

impl Held {
    fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.pieces.len()
    }

    /// Where more data goes. What was sent makes room for it once it is more than half, so that a queue which never runs
    /// empty does not grow; one that is filled once is not moved at all.
    pub(super) fn gather(&mut self) -> Gather<'_> {
        if self.sent > 0 && self.sent * 2 >= self.bytes.len() {
            self.bytes.drain(..self.sent);
            self.pieces.shift(self.sent);
            self.sent = 0;
        }
        Gather::new(&mut self.bytes, &mut self.pieces)
    }

    /// Takes over what stands behind `from` in `bytes`, and the pieces behind the first `count`, which stand there too. There was
    /// nothing in here.
    pub(super) fn take_over(&mut self, bytes: &mut Vec<u8>, from: usize, pieces: &mut Pieces, count: usize) {
        debug_assert!(self.len() == 0 && self.sent == 0);
        if bytes.len() - from >= PIECE_MIN && pieces.count() == count {
            // One copy, to be referenced by the frames that it is cut into.
            self.pieces.push(0, Bytes::copy_from_slice(&bytes[from..]));
        } else {
            self.bytes.extend_from_slice(&bytes[from..]);
            pieces.move_tail(count, from, &mut self.pieces);
        }
        bytes.truncate(from);
    }

    /// Moves the first `len` octets behind `out`.
    pub(super) fn move_to(&mut self, mut len: usize, out: &mut Gather<'_>) {
        while len > 0 {
            let until = self.pieces.first().map_or(self.bytes.len(), |piece| piece.at);
            let copied = len.min(until - self.sent);
            out.heads().extend_from_slice(&self.bytes[self.sent..self.sent + copied]);
            self.sent += copied;
            len -= copied;
            if len > 0 {
                let piece = self.pieces.take(len);
                len -= piece.len();
                out.append(piece);
            }
        }
    }

    /// Nothing is left: gives the tail out, and memory back.
    pub(super) fn drained(&mut self) -> Tail {
        debug_assert!(self.len() == 0);
        self.sent = 0;
        self.bytes.clear();
        self.pieces.clear();
        if self.bytes.capacity() > QUEUE_KEPT {
            self.bytes = Vec::new();
        }
        core::mem::replace(&mut self.tail, Tail::Open)
    }
}

/// One stream.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: StreamId,
    pub(super) tag: u32,
    pub(super) recv: RecvState,
    pub(super) send: SendState,
    pub(super) recv_window: RecvWindow,
    /// Octets by which its size has grown.
    pub(super) recv_grown: u32,
    pub(super) send_window: SendWindow,
    pub(super) content: Content,
    pub(super) queue: SendQueue,
    /// In `Streams::ready`.
    pub(super) ready: bool,
    /// The producer was told to stop: in `Streams::room` once there is room again.
    pub(super) starved: bool,
}

// There are a hundred of them on a busy connection, and a generation beside each.
const _: () = assert!(size_of::<Slot>() <= 48, "a stream's slot has grown");

/// Octets of the announced content that have not arrived yet.
///
/// One more than those: 0 is no announcement. The two longest announcements are taken for one, which nobody lives to see arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content(u64);

/// More arrived than was announced, or less before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongLength;

impl Content {
    pub(super) const UNKNOWN: Content = Content(0);

    #[inline]
    pub(super) fn announced(octets: Option<u64>) -> Content {
        octets.map_or(Content::UNKNOWN, |octets| Content(octets.saturating_add(1)))
    }

    /// Takes a piece of the content off it, which may be the last one.
    #[inline]
    pub(super) fn arrives(&mut self, octets: usize, end_stream: bool) -> Result<(), WrongLength> {
        if *self == Content::UNKNOWN {
            return Ok(());
        }
        let left =
            self.0.checked_sub(octets as u64).filter(|left| if end_stream { *left == 1 } else { *left > 0 });
        self.0 = left.ok_or(WrongLength)?;
        Ok(())
    }
}

impl Slot {
    pub(super) fn new(id: StreamId, recv_window: u32, send_window: u32) -> Slot {
        Slot {
            id,
            tag: TAG_NONE,
            recv: RecvState::Head,
            send: SendState::Head,
            recv_window: RecvWindow::new(recv_window),
            recv_grown: 0,
            send_window: SendWindow::new(send_window),
            content: Content::UNKNOWN,
            queue: SendQueue::EMPTY,
            ready: false,
            starved: false,
        }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.recv == RecvState::Closed && self.send == SendState::Closed
    }
}

/// How a stream without a slot ended, as far as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// We reset it: the peer may not know yet, so its frames are ignored.
    ResetByUs,
    /// Otherwise: the peer knows, so its frames are errors.
    Known,
    /// Too long ago, or never opened.
    Forgotten,
}

/// What a connection that sleeps remembers of its streams. Those that ended in good order are forgotten, as they would be after
/// [`ENDED_REMEMBERED`] more.
pub(super) struct DormantStreams {
    /// Empty: no key that was given out may come again.
    slots: Slab<Slot>,
    resets: Vec<u32>,
    resets_next: usize,
}

/// All streams of one connection.
pub(super) struct Streams {
    slots: Slab<Slot>,
    index: StreamIndex,
    /// Octets by which receive windows may still grow.
    growth_left: u32,
    /// The id looked up last: DATA mostly follows its own HEADERS.
    latest: (StreamId, u32),
    ended: Vec<u32>,
    ended_next: usize,
    /// Streams that we ended, apart from the others: those come and go by the thousand within a round trip.
    resets: Vec<u32>,
    resets_next: usize,
    resets_max: usize,
    /// Streams with data or an end to write and a window that is not used up.
    pub(super) ready: VecDeque<StreamKey>,
    /// Streams whose producers may go on.
    pub(super) room: VecDeque<StreamKey>,
}

impl Streams {
    pub(super) fn new(max: u32, growth: u32, seed: u64) -> Streams {
        Streams {
            slots: Slab::new(max),
            index: StreamIndex::new(seed),
            growth_left: growth,
            latest: (StreamId::ZERO, 0),
            ended: Vec::new(),
            ended_next: 0,
            resets: Vec::new(),
            resets_next: 0,
            resets_max: (max as usize).saturating_mul(2).min(RESETS_REMEMBERED_MAX),
            ready: VecDeque::new(),
            room: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn get(&self, key: StreamKey) -> Option<&Slot> {
        self.slots.get(key.0)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.0)
    }

    #[inline]
    pub(super) fn find(&mut self, id: StreamId) -> Option<(StreamKey, &mut Slot)> {
        if self.latest.0 != id {
            let slot = self.index.get(id)?;
            self.latest = (id, slot);
        }
        let (key, slot) = self.slots.at_mut(self.latest.1)?;
        Some((StreamKey(key), slot))
    }

    /// Adds a stream; the caller has checked that there is room for it.
    #[inline]
    pub(super) fn insert(&mut self, slot: Slot) -> StreamKey {
        let id = slot.id;
        let key = self.slots.insert(slot).expect("the concurrency limit was checked before");
        self.index.insert(id, key.index());
        self.latest = (id, key.index());
        StreamKey(key)
    }

    /// Frees a stream's slot; its key is dead from now on.
    #[inline]
    pub(super) fn remove(&mut self, key: StreamKey, by_us: bool) {
        let Some(slot) = self.slots.remove(key.0) else { return };
        let id = slot.id;
        self.growth_left += slot.recv_grown;
        self.index.remove(id);
        if self.latest.0 == id {
            self.latest.0 = StreamId::ZERO;
        }
        self.remember(id, by_us);
    }

    /// Notes that stream `id` is over.
    pub(super) fn remember(&mut self, id: StreamId, by_us: bool) {
        if !by_us {
            if self.ended.len() < ENDED_REMEMBERED {
                return self.ended.push(id.get());
            }
            self.ended[self.ended_next] = id.get();
            self.ended_next = (self.ended_next + 1) % ENDED_REMEMBERED;
        } else if self.resets.len() < self.resets_max {
            self.resets.push(id.get());
        } else {
            self.resets[self.resets_next] = id.get();
            self.resets_next = (self.resets_next + 1) % self.resets_max;
        }
    }

    pub(super) fn ended(&self, id: StreamId) -> Ended {
        if self.resets.contains(&id.get()) {
            Ended::ResetByUs
        } else if self.ended.contains(&id.get()) {
            Ended::Known
        } else {
            Ended::Forgotten
        }
    }

    /// Notes `bytes` of received payload as consumed. The increment to announce, once it is worth a frame.
    ///
    /// A window whose data is consumed as it comes holds its sender back for no reason: it doubles, as long as the connection's
    /// share for that lasts.
    #[inline]
    pub(super) fn credit(&mut self, key: StreamKey, bytes: u32, window: u32) -> Option<(StreamId, u32)> {
        let slot = self.slots.get_mut(key.0)?;
        if slot.recv == RecvState::Closed {
            return None;
        }
        slot.recv_window.credit(bytes);
        let size = window + slot.recv_grown;
        let mut increment = slot.recv_window.take_announcement(size)?;
        if slot.recv_window.held(size).is_some_and(|held| held <= size / 8) {
            let growth = slot.recv_window.grow(size.min(self.growth_left).min(WINDOW_MAX - size));
            self.growth_left -= growth;
            slot.recv_grown += growth;
            increment += growth;
        }
        Some((slot.id, increment))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamKey, &mut Slot)> {
        self.slots.iter_mut().map(|(key, slot)| (StreamKey(key), slot))
    }

    /// Puts a stream in line for writing, unless it stands there already.
    pub(super) fn mark_ready(&mut self, key: StreamKey) {
        let Some(slot) = self.slots.get_mut(key.0) else { return };
        if slot.ready || (slot.queue.is_empty() && !slot.starved) {
            return;
        }
        slot.ready = true;
        if self.ready.len() >= 2 * self.slots.len() + READY_SLACK {
            // While the connection's window is used up nobody's turn comes, so that the dead would stay for ever.
            self.ready.retain(|queued| self.slots.contains(queued.0));
        }
        self.ready.push_back(key);
    }

    /// Whether there is no stream, and nothing waits for one.
    pub(super) fn is_quiet(&self) -> bool {
        // What the two queues name is dead, and their room for it given back.
        self.slots.is_empty()
    }

    /// What must outlive a quiet time: there is no stream.
    pub(super) fn fold(self) -> DormantStreams {
        let Streams { slots, index: _, latest: _, ended: _, ended_next: _, mut resets, resets_next, .. } =
            self;
        resets.shrink_to_fit();
        DormantStreams { slots, resets, resets_next }
    }

    /// As they were before [`fold`](Self::fold); these are new.
    pub(super) fn unfold(self, dormant: DormantStreams) -> Streams {
        let DormantStreams { slots, resets, resets_next } = dormant;
        Streams { slots, resets, resets_next, ..self }
    }

    /// Gives memory back that only busy connections need.
    pub(super) fn shrink(&mut self) {
        self.index.shrink_if_empty();
        self.slots.shrink_if_empty();
        if self.slots.is_empty() {
            self.ready = VecDeque::new();
            self.room = VecDeque::new();
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        assert!(self.ready.len() <= 2 * self.slots.capacity() + READY_SLACK, "the dead pile up in `ready`");
        for (key, slot) in self.slots.iter() {
            let key = StreamKey(key);
            assert_eq!(self.index.get(slot.id), Some(key.0.index()), "index and slab disagree");
            let queued = self.ready.iter().filter(|queued| **queued == key).count();
            assert_eq!(queued, usize::from(slot.ready), "membership of `ready` disagrees with the queue");
            assert!(!slot.is_closed(), "a closed stream still has a slot");
            assert!(slot.queue.held.as_ref().is_none_or(|held| held.sent <= held.bytes.len()
                && held.pieces.first().is_none_or(|piece| held.sent <= piece.at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_held_against_what_was_announced() {
        for (announced, pieces, end, fits) in [
            (None, &[3, 4][..], true, true),
            (Some(0), &[], true, true),
            (Some(0), &[1], false, false),
            (Some(7), &[3, 4], true, true),
            (Some(7), &[3, 4], false, true),
            (Some(7), &[3], true, false),
            (Some(7), &[3, 5], false, false),
            (Some(u64::MAX), &[7], false, true),
            (Some(u64::MAX), &[7], true, false),
        ] {
            let mut content = Content::announced(announced);
            let arrived = pieces.iter().try_for_each(|piece| content.arrives(*piece, false));
            let ended = arrived.and_then(|()| content.arrives(0, end));
            assert_eq!(ended.is_ok(), fits, "{pieces:?} of {announced:?}, end {end}");
        }
    }
}
