//! A short-lived view of one stream, for its commands.

use alloc::boxed::Box;
use alloc::vec::Vec;

use corelane_memory::Gather;

use super::Connection;
use super::batch::Batch;
use super::error::Misuse;
use super::event::StreamKey;
use super::outbound::{Outbound, Queued};
use super::state::{RecvState, SendState};
use super::streams::{Slot, Tail};
use crate::field::FieldList;
use crate::frame::{self, EndStream, ErrorCode, StreamId};
use crate::hpack::Template;

/// Octets of a message that is written at once although it makes several frames. A larger one is written a frame at a time, in turn
/// with those of other streams.
const AT_ONCE_MAX: usize = 2 * frame::MAX_FRAME_SIZE_MIN as usize;

/// One stream of a [`Connection`], borrowed for a moment: see [`Connection::stream`].
///
/// What is sent goes into the connection's output, or waits on the stream for windows; nothing here blocks.
pub struct Stream<'a> {
    connection: &'a mut Connection,
    key: StreamKey,
}

impl<'a> Stream<'a> {
    pub(super) fn new(connection: &'a mut Connection, key: StreamKey) -> Stream<'a> {
        Stream { connection, key }
    }

    fn slot(&mut self) -> &mut Slot {
        self.connection
            .streams
            .get_mut(self.key)
            .expect("a view is made of a live stream and is gone when it ends")
    }

    /// The stream's id.
    #[must_use]
    pub fn id(&mut self) -> StreamId {
        self.slot().id
    }

    /// What [`Stream::set_tag`] set; [`super::TAG_NONE`] before.
    #[must_use]
    pub fn tag(&mut self) -> u32 {
        self.slot().tag
    }

    /// Gives the stream a number of the owner's choice (a slot of its own, say), which events carry.
    pub fn set_tag(&mut self, tag: u32) {
        self.slot().tag = tag;
    }

    /// Sends the head of a response. (A request's head is sent by [`Connection::open`].)
    ///
    /// # Errors
    /// [`Misuse`] if a head was sent before.
    pub fn send_headers(self, fields: &FieldList, end: EndStream) -> Result<(), Misuse> {
        self.head(end, |outbound, id| outbound.block(id, fields, end))
    }

    /// As [`Stream::send_headers`], for a head that comes again and again.
    ///
    /// # Errors
    /// As [`Stream::send_headers`].
    #[inline]
    pub fn send_headers_template(self, template: &Template, end: EndStream) -> Result<(), Misuse> {
        self.head(end, |outbound, id| outbound.template(id, template, None, end))
    }

    #[inline]
    fn head(mut self, end: EndStream, write: impl FnOnce(&mut Outbound, StreamId)) -> Result<(), Misuse> {
        let slot = self.slot();
        let id = slot.id;
        match slot.send {
            SendState::Head => {}
            SendState::Body => return Err(Misuse::SecondHead),
            SendState::Ending | SendState::Closed => return Err(Misuse::AfterEnd),
        }
        slot.send = if end == EndStream::Yes { SendState::Closed } else { SendState::Body };
        write(&mut self.connection.outbound, id);
        if end == EndStream::Yes {
            self.finish();
        }
        Ok(())
    }

    /// Sends an informational (1xx) head, before the head itself.
    ///
    /// # Errors
    /// [`Misuse`] if the head was sent before.
    pub fn send_informational(mut self, fields: &FieldList) -> Result<(), Misuse> {
        let slot = self.slot();
        let id = slot.id;
        if slot.send != SendState::Head {
            return Err(Misuse::SecondHead);
        }
        self.connection.outbound.block(id, fields, EndStream::No);
        Ok(())
    }

    /// Sends a piece of the body. What windows hold back is copied and waits on the stream.
    ///
    /// # Errors
    /// [`Misuse`] before the head or after the end.
    pub fn send_data(self, payload: &[u8], end: EndStream) -> Result<(), Misuse> {
        self.send_with(end, |out| out.extend_from_slice(payload))
    }

    /// Sends what `write` appends to the buffer that it is given, which holds other output already: the payload is encoded
    /// in place, behind the bytes of its frame header. `write` may also append nothing.
    ///
    /// # Errors
    /// [`Misuse`] before the head or after the end; `write` is not called then.
    #[inline]
    pub fn send_with(self, end: EndStream, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Misuse> {
        self.send_gathered(end, |out| write(out.heads()))
    }

    /// As [`Stream::send_with`]; large pieces of what `write` writes may be referenced, and are not copied on their way to the
    /// socket then.
    ///
    /// # Errors
    /// As [`Stream::send_with`].
    #[inline]
    pub fn send_gathered(self, end: EndStream, write: impl FnOnce(&mut Gather<'_>)) -> Result<(), Misuse> {
        self.data(end, |mut out, _| {
            write(&mut out);
            0
        })
    }

    /// Sends the messages that `write` adds, in as few frames as each of them would go on its own or fewer. `write` may add any
    /// number, none for instance, and is to stop when the batch is full; then ask for [`Stream::send_room`] before the next one.
    ///
    /// # Errors
    /// As [`Stream::send_with`].
    #[inline]
    pub fn send_batch(self, write: impl FnOnce(&mut Batch<'_>)) -> Result<(), Misuse> {
        self.data(EndStream::No, |out, room| {
            let mut batch = Batch::new(out, room);
            write(&mut batch);
            batch.finish()
        })
    }

    #[inline]
    fn data(mut self, end: EndStream, write: impl FnOnce(Gather<'_>, usize) -> usize) -> Result<(), Misuse> {
        let connection = &mut *self.connection;
        let slot = connection.streams.get_mut(self.key).expect("a view is made of a live stream");
        body_is_open(slot)?;
        match connection.outbound.data(slot, end, write) {
            Queued::Yes => {
                connection.streams.mark_ready(self.key);
                let queued = connection.streams.get(self.key).map_or(0, |slot| slot.queue.len());
                if queued <= AT_ONCE_MAX && connection.streams.ready.len() == 1 {
                    // Nobody else waits for his turn, and what follows need not wait in the queue then.
                    connection.outbound.transmit(&mut connection.streams);
                }
            }
            Queued::No if end == EndStream::Yes => self.finish(),
            Queued::No => {}
        }
        Ok(())
    }

    /// Ends the stream with trailers, after whatever is queued.
    ///
    /// # Errors
    /// [`Misuse`] before the head or after the end.
    pub fn send_trailers(self, fields: &FieldList) -> Result<(), Misuse> {
        self.tail(fields, |outbound, id| outbound.block(id, fields, EndStream::Yes))
    }

    /// As [`Stream::send_trailers`], for trailers that come again and again.
    ///
    /// # Errors
    /// As [`Stream::send_trailers`].
    #[inline]
    pub fn send_trailers_template(self, template: &Template) -> Result<(), Misuse> {
        self.tail(template, |outbound, id| outbound.template(id, template, None, EndStream::Yes))
    }

    #[inline]
    fn tail(mut self, fields: &FieldList, write: impl FnOnce(&mut Outbound, StreamId)) -> Result<(), Misuse> {
        let slot = self.slot();
        body_is_open(slot)?;
        if !slot.queue.is_empty() {
            slot.queue.held().tail = Tail::Trailers(Box::new(fields.clone()));
            slot.send = SendState::Ending;
            return Ok(());
        }
        let id = slot.id;
        slot.send = SendState::Closed;
        write(&mut self.connection.outbound, id);
        self.finish();
        Ok(())
    }

    /// Octets that may still be sent. When it is zero, stop producing until [`Connection::poll_writable`] names the stream.
    #[must_use]
    pub fn send_room(&mut self) -> usize {
        let connection = &mut *self.connection;
        let slot = connection.streams.get_mut(self.key).expect("a view is made of a live stream");
        let room = connection.outbound.room(slot);
        if room == 0 {
            connection.streams.mark_ready(self.key);
        }
        room
    }

    /// Octets that wait on the stream.
    #[must_use]
    pub fn queued(&mut self) -> usize {
        self.slot().queue.len()
    }

    /// Ends the stream in both directions with RST_STREAM; what was queued is dropped. The key is dead after this.
    pub fn reset(mut self, code: ErrorCode) {
        let id = self.slot().id;
        self.connection.streams.remove(self.key, true);
        self.connection.outbound.rst_stream(id, code);
    }

    /// Notes `bytes` of received payload as consumed, so that the peer may send as many more. They are announced when half
    /// of the window was consumed; a window whose data is consumed as it comes grows (see
    /// [`super::Config::stream_window_growth`]). Payload that is known to come, and wanted, may be credited ahead.
    pub fn credit(&mut self, bytes: u32) {
        let connection = &mut *self.connection;
        let window = connection.config.stream_window;
        if let Some((id, increment)) = connection.streams.credit(self.key, bytes, window) {
            connection.outbound.control(|out| frame::write_window_update(out, id, increment));
        }
    }

    /// Whether the end was sent or is queued.
    #[must_use]
    pub fn is_send_closed(&mut self) -> bool {
        matches!(self.slot().send, SendState::Ending | SendState::Closed)
    }

    /// Whether the peer's end has arrived.
    #[must_use]
    pub fn is_recv_closed(&mut self) -> bool {
        self.slot().recv == RecvState::Closed
    }

    fn finish(&mut self) {
        let connection = &mut *self.connection;
        connection.outbound.finish(&mut connection.streams, self.key);
    }
}

#[inline]
fn body_is_open(slot: &Slot) -> Result<(), Misuse> {
    match slot.send {
        SendState::Body => Ok(()),
        SendState::Head => Err(Misuse::BeforeHead),
        SendState::Ending | SendState::Closed => Err(Misuse::AfterEnd),
    }
}
