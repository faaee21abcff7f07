//! Where the exchanges of a connection stay: each at the number of its stream.
//!
//! The protocol has given the stream a place already, so none is looked for here, and an exchange ends where it lies, without
//! being moved out. Alternative that lost: a slab, whose list of free places costs a unary call about 100 instructions.
//!
//! Does not: grow beyond the most streams that a connection may have. Invariant: a stream of which we have not had the last
//! word ends with an event, and `wire` gives its number to another only after that, so a place that a new stream comes to is free.

use corelane_wire::connection::StreamKey;

use crate::call::{Call, Exchange};

/// See the module.
#[derive(Default)]
pub(super) struct Places {
    places: Vec<Option<Exchange>>,
}

impl Places {
    /// Puts a new exchange in its place; says which that is.
    #[inline]
    pub(super) fn put(&mut self, exchange: Exchange) -> u32 {
        let index = exchange.key().index();
        if wide(index) >= self.places.len() {
            self.grow(index);
        }
        let place = &mut self.places[wide(index)];
        assert!(place.is_none(), "a stream's end is told before its number is given to another");
        *place = Some(exchange);
        index
    }

    /// By a quarter, as slabs do: with a hundred calls in flight, doubling would leave thousands of octets unused.
    #[cold]
    fn grow(&mut self, index: u32) {
        let (len, needed) = (self.places.len(), wide(index) + 1);
        if needed > self.places.capacity() {
            self.places.reserve_exact(needed.max(len + len / 4) - len);
        }
        self.places.resize_with(needed, || None);
    }

    /// Who is in this place.
    #[inline]
    pub(super) fn at(&mut self, index: u32) -> Option<&mut Exchange> {
        self.places.get_mut(wide(index))?.as_mut()
    }

    /// The exchange of this stream. Its number may be a later stream's, which the rest of the key tells.
    #[inline]
    pub(super) fn find(&mut self, key: StreamKey) -> Option<&mut Exchange> {
        self.at(key.index()).filter(|exchange| exchange.key() == key)
    }

    /// The call in this place, if a call is there.
    #[inline]
    pub(super) fn call(&mut self, index: u32) -> Option<&mut Call> {
        match self.at(index)? {
            Exchange::Call(call) => Some(call),
            Exchange::Refused { .. } => None,
        }
    }

    /// Takes out who is in this place.
    pub(super) fn take(&mut self, index: u32) -> Option<Exchange> {
        self.places.get_mut(wide(index))?.take()
    }

    /// Drops who is in this place.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        if let Some(place) = self.places.get_mut(wide(index)) {
            *place = None;
        }
    }

    /// All calls, with their places.
    pub(super) fn calls(&self) -> impl Iterator<Item = (u32, &Call)> {
        (0..).zip(&self.places).filter_map(|(index, place)| match place {
            Some(Exchange::Call(call)) => Some((index, call)),
            _ => None,
        })
    }

    /// Takes all of them out.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Exchange> + use<> {
        std::mem::take(&mut self.places).into_iter().flatten()
    }

    /// Gives the storage back if nobody is left.
    pub(super) fn shrink_if_empty(&mut self) {
        if self.places.iter().all(Option::is_none) {
            self.places = Vec::new();
        }
    }
}

fn wide(index: u32) -> usize {
    usize::try_from(index).expect("a u32 fits where Linux runs")
}
