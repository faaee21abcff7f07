//! The sending half: what goes into the output, in which order, and what windows and a slow socket hold back.
//!
//! Heads go into the output at once, since HPACK fixes their order. DATA goes there too while the stream has nothing
//! queued, the windows allow it and the output is short; otherwise it waits on its stream, and [`Outbound::transmit`] moves
//! it a frame at a time, stream by stream. A window is looked at when bytes are written and never reserved ahead.
//!
//! Large pieces of payload are referenced all the way: from whoever wrote them ([`Gather`]) through the stream's queue, cut
//! into frames, to the driver. They are freed when the last frame of them was written to the socket, or with their stream.

use alloc::vec::Vec;

use corelane_memory::{Gather, Pieces};

use super::Counters;
use super::config::{Config, Role};
use super::event::StreamKey;
use super::flow::SendWindow;
use super::state::{RecvState, SendState};
use super::streams::{Slot, Streams, Tail};
use crate::field::FieldList;
use crate::frame::{
    self, EndStream, ErrorCode, HEADER_LEN, Header, MAX_FRAME_SIZE_MIN, StreamId, WINDOW_DEFAULT,
};
use crate::hpack::{Encoder, Template};

/// The encoder's table is never larger than this, whatever the peer allows (limits: SETTINGS against the encoder).
const ENCODER_TABLE_MAX: u32 = 4096;

pub(super) struct Outbound {
    pub(super) role: Role,
    pub(super) out: Vec<u8>,
    /// Payload that comes between the octets of `out`.
    pub(super) pieces: Pieces,
    pub(super) encoder: Encoder,
    /// The connection's window.
    pub(super) window: SendWindow,
    /// The peer's SETTINGS_INITIAL_WINDOW_SIZE.
    pub(super) initial_window: u32,
    /// The largest payload to send.
    pub(super) frame_max: u32,
    pub(super) send_frame_max: u32,
    /// Control frames in `out`.
    pub(super) controls: u32,
    pub(super) controls_max: u32,
    pub(super) output_max: usize,
    pub(super) queue_max: usize,
    pub(super) counters: Counters,
    /// RST_STREAM frames that [`super::Incidents`] have not told of.
    pub(super) resets_sent: u32,
}

/// Why [`Outbound::write_queued`] stopped.
enum Progress {
    /// The connection's window is used up.
    ConnectionBlocked,
    /// The stream's window is used up: a WINDOW_UPDATE brings it back.
    StreamBlocked,
    /// More is queued.
    More,
    /// Nothing is left.
    Drained,
}

impl Outbound {
    pub(super) fn new(role: Role, config: &Config) -> Outbound {
        Outbound {
            role,
            out: Vec::new(),
            pieces: Pieces::new(),
            encoder: Encoder::new(ENCODER_TABLE_MAX),
            window: SendWindow::new(WINDOW_DEFAULT),
            initial_window: WINDOW_DEFAULT,
            frame_max: MAX_FRAME_SIZE_MIN,
            send_frame_max: config.send_frame_max,
            controls: 0,
            controls_max: config.control_frames_max,
            output_max: config.output_max,
            queue_max: config.send_queue_max,
            counters: Counters::default(),
            resets_sent: 0,
        }
    }

    /// The output, for the driver to take: the control frames in it are on their way.
    #[inline]
    pub(super) fn take(&mut self) -> (&mut Vec<u8>, &mut Pieces) {
        self.controls = 0;
        (&mut self.out, &mut self.pieces)
    }

    /// Octets of output.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.out.len() + self.pieces.len()
    }

    /// Whether the peer reads what it caused; while it does not, no more is read from it.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        // Answers to what is read may go beyond the mark, so there is twice as much before reading stops.
        self.len() < 2 * self.output_max && self.controls < self.controls_max
    }

    /// Gives memory back that only busy connections need.
    pub(super) fn shrink(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        self.encoder.shrink();
    }

    pub(super) fn set_peer_frame_max(&mut self, announced: u32) {
        self.frame_max = announced.min(self.send_frame_max);
    }

    /// Writes a control frame: it counts until the driver takes the output.
    pub(super) fn control(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.controls += 1;
        write(&mut self.out);
    }

    pub(super) fn rst_stream(&mut self, id: StreamId, code: ErrorCode) {
        self.counters.resets_sent += 1;
        self.reset(id, code);
    }

    fn reset(&mut self, id: StreamId, code: ErrorCode) {
        self.resets_sent += 1;
        self.control(|out| frame::write_rst_stream(out, id, code));
    }

    /// Writes a header block that comes again and again, and behind it what differs.
    #[inline]
    pub(super) fn template(
        &mut self,
        id: StreamId,
        template: &Template,
        more: Option<&FieldList>,
        end: EndStream,
    ) {
        if more.is_none()
            && let Some(block) = self.encoder.kept(template)
        {
            return frame::write_headers(&mut self.out, id, end, block, self.frame_max);
        }
        let at = frame::reserve_header(&mut self.out);
        self.encoder.encode_template(template, more, &mut self.out);
        frame::finish_headers(&mut self.out, at, id, end, self.frame_max);
    }

    /// Writes a header block, encoded in place.
    pub(super) fn block(&mut self, id: StreamId, fields: &FieldList, end: EndStream) {
        let at = frame::reserve_header(&mut self.out);
        self.encoder.encode(fields, &mut self.out);
        frame::finish_headers(&mut self.out, at, id, end, self.frame_max);
    }

    /// Appends what `write` appends as the stream's next DATA, in place where that is possible. `write` hears how many octets have
    /// room, and says how many come before the last of its messages, with which it may go beyond that.
    #[inline]
    pub(super) fn data(
        &mut self,
        slot: &mut Slot,
        end: EndStream,
        write: impl FnOnce(Gather<'_>, usize) -> usize,
    ) -> Queued {
        if !slot.queue.is_empty() || self.len() >= self.output_max {
            let room = self.queue_max.saturating_sub(slot.queue.len());
            write(slot.queue.held().gather(), room);
            return self.queue_end(slot, end);
        }
        let room = self.allowance(slot).min(self.output_max - self.len());
        let at = frame::reserve_header(&mut self.out);
        let pieces = self.pieces.count();
        let before_last = write(Gather::new(&mut self.out, &mut self.pieces), room);
        let len = self.out.len() - at - HEADER_LEN;
        if self.pieces.count() > pieces || len > self.allowance(slot) {
            // More than a frame, or by reference: it goes through the queue.
            let held = slot.queue.held();
            held.take_over(&mut self.out, at + HEADER_LEN + before_last, &mut self.pieces, pieces);
            self.seal(slot, at, before_last, EndStream::No);
            return self.queue_end(slot, end);
        }
        self.seal(slot, at, len, end);
        Queued::No
    }

    /// Makes a DATA frame of the `len` octets at the end of the output, for whose header there is room at `at`.
    #[inline]
    fn seal(&mut self, slot: &mut Slot, at: usize, len: usize, end: EndStream) {
        if len == 0 && end == EndStream::No {
            self.out.truncate(at);
            return;
        }
        self.window.consume(len);
        slot.send_window.consume(len);
        frame::write_header_at(&mut self.out, at, Header::data(slot.id, end, len as u32));
        if end == EndStream::Yes {
            slot.send = SendState::Closed;
        }
    }

    /// Octets that one DATA frame of `slot` may carry now.
    #[inline]
    fn allowance(&self, slot: &Slot) -> usize {
        self.window.allowance().min(slot.send_window.allowance()).min(self.frame_max as usize)
    }

    fn queue_end(&mut self, slot: &mut Slot, end: EndStream) -> Queued {
        if end == EndStream::Yes {
            slot.queue.held().tail = Tail::End;
            slot.send = SendState::Ending;
        }
        Queued::Yes
    }

    /// Octets a producer may still send on `slot`. When there are none, it is told once there are.
    ///
    /// While the output is full there are none for a stream that has nothing queued either: what it would produce can be written
    /// in place later, and would be copied now.
    #[inline]
    pub(super) fn room(&self, slot: &mut Slot) -> usize {
        let room = match self.len() < self.output_max || !slot.queue.is_empty() {
            true => self.queue_max.saturating_sub(slot.queue.len()),
            false => 0,
        };
        slot.starved |= room == 0;
        room
    }

    /// Moves queued data to the output, in turn, as far as windows and the output's size allow.
    pub(super) fn transmit(&mut self, streams: &mut Streams) {
        while self.len() < self.output_max {
            let Some(key) = streams.ready.pop_front() else { break };
            let Some(slot) = streams.get_mut(key) else { continue };
            slot.ready = false;
            // One that was kept waiting by the output alone has nothing queued.
            let progress = match slot.queue.is_empty() {
                true => Progress::StreamBlocked,
                false => self.write_queued(slot),
            };
            if slot.starved && slot.queue.len() <= self.queue_max / 2 {
                slot.starved = false;
                streams.room.push_back(key);
            }
            match progress {
                Progress::More => streams.mark_ready(key),
                Progress::StreamBlocked => {}
                Progress::Drained => self.finish(streams, key),
                Progress::ConnectionBlocked => {
                    if let Some(slot) = streams.get_mut(key) {
                        slot.ready = true;
                        streams.ready.push_front(key);
                    }
                    break;
                }
            }
        }
    }

    /// Writes at most one DATA frame of the queue, and what ends the stream if the queue ran empty.
    fn write_queued(&mut self, slot: &mut Slot) -> Progress {
        let queued = slot.queue.len();
        if queued > 0 {
            let len = self.allowance(slot).min(queued);
            if len == 0 && self.window.allowance() == 0 {
                return Progress::ConnectionBlocked;
            }
            if len == 0 {
                return Progress::StreamBlocked;
            }
            let held = slot.queue.held();
            let ends = len == queued && held.tail == Tail::End;
            let end = if ends { EndStream::Yes } else { EndStream::No };
            self.window.consume(len);
            frame::write_data_header(&mut self.out, slot.id, end, len as u32);
            held.move_to(len, &mut Gather::new(&mut self.out, &mut self.pieces));
            slot.send_window.consume(len);
            if len < queued {
                return Progress::More;
            }
        } else if slot.queue.held().tail == Tail::End {
            frame::write_data_header(&mut self.out, slot.id, EndStream::Yes, 0);
        }
        self.end_queue(slot);
        Progress::Drained
    }

    /// The queue ran empty: what was to follow it follows.
    fn end_queue(&mut self, slot: &mut Slot) {
        match slot.queue.held().drained() {
            Tail::Open => {}
            Tail::End => slot.send = SendState::Closed,
            Tail::Trailers(fields) => {
                self.block(slot.id, &fields, EndStream::Yes);
                slot.send = SendState::Closed;
            }
        }
    }

    /// Frees the stream if both halves are closed. A server that is done before its client has ended asks it to stop
    /// (RFC 9113 section 8.1: RST_STREAM with NO_ERROR after a complete response).
    pub(super) fn finish(&mut self, streams: &mut Streams, key: StreamKey) {
        let Some(slot) = streams.get(key) else { return };
        if slot.is_closed() {
            streams.remove(key, false);
        } else if slot.send == SendState::Closed
            && slot.recv != RecvState::Closed
            && self.role == Role::Server
        {
            let id = slot.id;
            streams.remove(key, true);
            self.reset(id, ErrorCode::NO_ERROR);
        }
    }
}

/// Whether data waits on its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_connection_keeps_no_templates() {
        let mut outbound = Outbound::new(Role::Client, &Config::default());
        let head = [(":method", "POST"), (":path", "/a.B/C"), ("te", "trailers")];
        let head = Template::from(FieldList::from_iter(head));
        let begin = |outbound: &mut Outbound, id| {
            outbound.template(StreamId::new(id), &head, None, EndStream::No);
        };
        begin(&mut outbound, 1);
        let before = outbound.encoder.capacity_bytes();
        begin(&mut outbound, 3);
        assert!(outbound.encoder.capacity_bytes() > before);
        outbound.take().0.clear();
        outbound.shrink();
        assert_eq!((outbound.encoder.capacity_bytes(), outbound.out.capacity()), (before, 0));
    }
}
