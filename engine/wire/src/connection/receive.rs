//! What arrives: frame by frame, from the bytes to the stream that it is for, to the event.

use super::error::Fault;
use super::event::TAG_NONE;
use super::head::{self, Head, Malformed};
use super::inbound::Block;
use super::shutdown::{DRAIN_PING, Shutdown};
use super::state::{self, RecvState, Refusal};
use super::streams::{Content, Ended, Slot, WrongLength};
use super::{
    Cause, Connection, ConnectionError, ErrorCode, Event, Frame, HEADER_LEN, Header, Instant, Received,
    ResetBy, Role, StreamId, StreamKey, frame,
};
use crate::frame::{Data, Flags, FrameError, GoAway, Headers, Kind, Settings, WindowUpdate};

/// Stream ids of one side.
const STREAM_IDS: u64 = 1 << 30;

/// An event, or nothing worth one.
type Outcome<'b> = Result<Option<Event<'b>>, Fault>;

impl Connection {
    /// Takes frames from the front of `bytes` until one makes an event. Without an event, what was not consumed is an
    /// incomplete frame: keep it, read more behind it, and call again. A buffer for input must have room for a frame of
    /// [`super::Config::max_frame_size`] and its header.
    ///
    /// # Errors
    /// The peer broke a rule that costs it the connection: GOAWAY is in the output. The same error comes for ever after.
    pub fn receive<'b>(&mut self, now: Instant, bytes: &'b [u8]) -> Result<Received<'b>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(event) = self.pending.pop_front() {
            return Ok(Received { consumed: 0, event: Some(event) });
        }
        let mut consumed = 0;
        if self.inbound.awaits_preface() {
            consumed = self.inbound.preface(bytes).map_err(|error| self.fail(error))?;
            if self.inbound.awaits_preface() {
                return Ok(Received { consumed, event: None });
            }
        }
        while let Some(whole) = self.next_frame(&bytes[consumed..])? {
            consumed += HEADER_LEN + whole.1.len();
            self.inbound.frame_is_whole();
            let outcome = self.frame(now, whole.0, whole.1);
            let event = match outcome {
                Ok(event) => event,
                Err(Fault::Connection(error)) => return Err(self.fail(error)),
                Err(Fault::Stream(id, code)) => {
                    self.stream_fault(now, id, code).map_err(|error| self.fail(error))?
                }
            };
            if event.is_some() {
                return Ok(Received { consumed, event });
            }
        }
        self.inbound.frame_is_partial(now, &bytes[consumed..]);
        Ok(Received { consumed, event: None })
    }

    /// The frame at the front of `bytes`, if it is complete.
    #[inline]
    fn next_frame<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<(Header, &'b [u8])>, ConnectionError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let header = Header::parse(header);
        if header.len > self.config.max_frame_size {
            let code = ErrorCode::FRAME_SIZE_ERROR;
            return Err(self.fail(ConnectionError { code, cause: Cause::FrameTooLarge }));
        }
        Ok(rest.get(..header.len as usize).map(|payload| (header, payload)))
    }

    #[inline]
    fn frame<'b>(&mut self, now: Instant, header: Header, payload: &'b [u8]) -> Outcome<'b> {
        self.inbound.counters.frames_received += 1;
        // Nearly all frames are DATA, or HEADERS that are a block of their own, with neither padding nor priority.
        if self.inbound.takes_any() && !header.stream.is_zero() {
            let end_stream = header.flags.contains(Flags::END_STREAM);
            match (header.kind, header.flags.without(Flags::END_STREAM)) {
                (Kind::DATA, Flags::NONE) => {
                    let (stream, flow_len) = (header.stream, header.len);
                    return self.data(Data { stream, payload, flow_len, end_stream });
                }
                (Kind::HEADERS, Flags::END_HEADERS) => {
                    let block = self.inbound.decode(header.stream, end_stream, payload)?;
                    return self.block(block);
                }
                _ => {}
            }
        }
        self.any_frame(now, header, payload)
    }

    fn any_frame<'b>(&mut self, now: Instant, header: Header, payload: &'b [u8]) -> Outcome<'b> {
        let frame = match (frame::parse(header, payload), self.inbound.open_block()) {
            (Ok(frame @ Frame::Continuation(_)), _) | (Ok(frame), None) => frame,
            // Whatever else comes between the frames of a header block ends the connection (section 6.10).
            (_, Some(_)) => return Err(ConnectionError::protocol(Cause::InterruptedBlock).into()),
            // A header block that is not decoded leaves the tables apart, so it costs the connection (section 4.3).
            (Err(FrameError::Stream(_, code, reason)), None) if header.kind == Kind::HEADERS => {
                return Err(ConnectionError { code, cause: Cause::Frame(reason) }.into());
            }
            (Err(error), None) => return Err(error.into()),
        };
        if !self.inbound.greeted && !matches!(frame, Frame::Settings(Settings { ack: false, .. })) {
            return Err(ConnectionError::protocol(Cause::FirstFrame).into());
        }
        match frame {
            Frame::Data(data) => self.data(data),
            Frame::Headers(headers) => self.headers(now, &headers),
            Frame::Continuation(part) => {
                let block = self.inbound.continue_block(part.stream, part.fragment, part.end_headers)?;
                block.map_or(Ok(None), |block| self.block(block))
            }
            Frame::Settings(settings) => self.peer_settings(now, settings),
            Frame::WindowUpdate(update) => self.window_update(update).map(|()| None),
            Frame::RstStream(reset) => self.peer_reset(now, reset.stream, reset.code),
            Frame::Ping(ping) => self.peer_ping(ping.ack, ping.payload),
            Frame::GoAway(goaway) => Ok(Some(self.peer_goaway(&goaway))),
            Frame::PushPromise(_) => Err(ConnectionError::protocol(Cause::Push).into()),
            // Deprecated, or not known here: read, checked and ignored (sections 5.3.2 and 4.1).
            Frame::Priority(_) | Frame::Unknown => Ok(None),
        }
    }

    #[inline]
    fn data<'b>(&mut self, data: Data<'b>) -> Outcome<'b> {
        self.inbound.receive_data(data.flow_len)?;
        if !data.end_stream {
            self.inbound.budget.data(data.payload.len())?;
        }
        let Some((key, slot)) = self.streams.find(data.stream) else {
            return self.data_without_stream(data.stream).map(|()| None);
        };
        slot.recv.data().map_err(|refusal| refused(data.stream, refusal))?;
        let over = |_| Fault::Stream(data.stream, ErrorCode::FLOW_CONTROL_ERROR);
        slot.recv_window.receive(data.flow_len).map_err(over)?;
        body_arrives(slot, data.payload.len(), data.end_stream)?;
        let (tag, is_closed) = (slot.tag, slot.is_closed());
        // Padding is consumed on arrival; the owner credits the payload, perhaps long before.
        let padding = data.flow_len - data.payload.len() as u32;
        if padding > 0
            && let Some((id, increment)) = self.streams.credit(key, padding, self.config.stream_window)
        {
            self.outbound.control(|out| frame::write_window_update(out, id, increment));
        }
        // Most requests end before they are answered: there is nothing to free yet.
        if is_closed {
            self.recv_closed(key);
        }
        Ok(Some(Event::Data { key, tag, payload: data.payload, end_stream: data.end_stream }))
    }

    /// DATA for a stream that has no slot: late, or against the rules.
    fn data_without_stream(&mut self, id: StreamId) -> Result<(), Fault> {
        if self.is_idle(id) {
            return Err(ConnectionError::protocol(Cause::IdleStream).into());
        }
        if self.ignores(id) {
            return Ok(());
        }
        Err(Fault::Stream(id, ErrorCode::STREAM_CLOSED))
    }

    /// Whether frames of this stream, which has no slot, are to be passed over in silence: we ended it and the peer could not
    /// know yet.
    fn ignores(&self, id: StreamId) -> bool {
        self.is_too_late(id) || self.streams.ended(id) == Ended::ResetByUs
    }

    /// Whether this stream was opened after we have said which one is the last.
    fn is_too_late(&self, id: StreamId) -> bool {
        matches!(self.shutdown, Shutdown::Final { last } if id > last)
    }

    /// Whether nobody has opened stream `id` yet. No server does: push is disabled.
    fn is_idle(&self, id: StreamId) -> bool {
        if !id.is_client_initiated() {
            return true;
        }
        match self.role {
            Role::Client => self.next_stream.is_some_and(|next| id >= next),
            // A draining server lets streams above the last one pass by without opening them.
            Role::Server => id > self.inbound.last_stream && !self.is_too_late(id),
        }
    }

    fn headers<'b>(&mut self, now: Instant, headers: &Headers<'_>) -> Outcome<'b> {
        let (end_headers, end_stream) = (headers.end_headers, headers.end_stream);
        let block =
            self.inbound.begin_block(now, headers.stream, headers.fragment, end_headers, end_stream)?;
        block.map_or(Ok(None), |block| self.block(block))
    }

    /// A whole header block has arrived and is decoded.
    #[inline]
    fn block<'b>(&mut self, block: Block) -> Outcome<'b> {
        if let Some((key, slot)) = self.streams.find(block.stream) {
            let meaning =
                slot.recv.block(block.end_stream).map_err(|refusal| refused(block.stream, refusal))?;
            return match meaning {
                state::Block::Trailers => self.trailers(key, block),
                state::Block::Head => self.response(key, block),
            };
        }
        match self.role {
            Role::Server => self.request(block),
            Role::Client if self.is_idle(block.stream) || !block.stream.is_client_initiated() => {
                Err(ConnectionError::protocol(Cause::IdleStream).into())
            }
            Role::Client => Ok(None),
        }
    }

    /// A request's head: a new stream.
    fn request<'b>(&mut self, block: Block) -> Outcome<'b> {
        let id = block.stream;
        if !id.is_client_initiated() {
            return Err(ConnectionError::protocol(Cause::StreamId).into());
        }
        if id <= self.inbound.last_stream {
            // Opened and over, or skipped and so closed for ever (section 5.1.1).
            let closed = ConnectionError { code: ErrorCode::STREAM_CLOSED, cause: Cause::ClosedStream };
            return match self.streams.ended(id) {
                Ended::ResetByUs => Ok(None),
                Ended::Known => Err(closed.into()),
                Ended::Forgotten => Err(ConnectionError::protocol(Cause::StreamId).into()),
            };
        }
        if self.is_too_late(id) {
            return Ok(None);
        }
        self.inbound.last_stream = id;
        self.inbound.counters.streams_accepted += 1;
        if self.streams.len() >= self.config.max_concurrent_streams as usize {
            self.inbound.counters.streams_refused += 1;
            self.incidents.streams_refused += 1;
            return Err(Fault::Stream(id, ErrorCode::REFUSED_STREAM));
        }
        let head = self.head(block, head::request)?;
        let slot = Slot {
            recv: RecvState::Body,
            content: head.content,
            ..Slot::new(id, self.settings.recv_window(&self.config), self.outbound.initial_window)
        };
        let key = self.streams.insert(slot);
        if block.end_stream {
            if let Err(fault) = body_arrives(self.streams.get_mut(key).expect("just inserted"), 0, true) {
                // The owner has not heard of this stream, so it must not hear of its end either.
                self.streams.remove(key, true);
                return Err(fault);
            }
            self.recv_closed(key);
        }
        let (end_stream, too_large) = (block.end_stream, block.too_large);
        Ok(Some(Event::Headers { key, tag: TAG_NONE, end_stream, too_large }))
    }

    /// Runs a check of the header list. One that was cut off at its limits may lack what the check looks for, so it is
    /// passed on as it is, and marked.
    #[inline]
    fn head(
        &mut self,
        block: Block,
        check: fn(&crate::FieldList) -> Result<Head, Malformed>,
    ) -> Result<Head, Fault> {
        let known = self.inbound.known;
        if let Some(head) = self.heads.get(known) {
            return Ok(*head);
        }
        match check(self.inbound.fields()) {
            Ok(head) => {
                self.heads.insert(known, head);
                Ok(head)
            }
            Err(Malformed) if block.too_large => Ok(Head { content: Content::UNKNOWN, status: 0 }),
            Err(Malformed) => Err(Fault::Stream(block.stream, ErrorCode::PROTOCOL_ERROR)),
        }
    }

    /// A response's head, or an informational one before it.
    #[inline]
    fn response<'b>(&mut self, key: StreamKey, block: Block) -> Outcome<'b> {
        let head = self.head(block, head::response)?;
        let slot = self.streams.get_mut(key).expect("found by its id just before");
        let tag = slot.tag;
        if (100..200).contains(&head.status) {
            if block.end_stream || head.status == 101 {
                return Err(Fault::Stream(block.stream, ErrorCode::PROTOCOL_ERROR));
            }
            return Ok(Some(Event::Informational { key, tag }));
        }
        slot.recv = RecvState::Body;
        slot.content = head.content;
        let (end_stream, too_large) = (block.end_stream, block.too_large);
        if end_stream {
            // A response without a body may announce the length that one would have had (a reply to HEAD, or 304).
            slot.recv = RecvState::Closed;
            self.recv_closed(key);
        }
        Ok(Some(Event::Headers { key, tag, end_stream, too_large }))
    }

    #[inline]
    fn trailers<'b>(&mut self, key: StreamKey, block: Block) -> Outcome<'b> {
        let known = self.inbound.known;
        if self.trailers.get(known).is_none() {
            if head::trailers(self.inbound.fields()).is_err() && !block.too_large {
                return Err(Fault::Stream(block.stream, ErrorCode::PROTOCOL_ERROR));
            }
            self.trailers.insert(known, ());
        }
        let slot = self.streams.get_mut(key).expect("found by its id just before");
        body_arrives(slot, 0, true)?;
        let tag = slot.tag;
        self.recv_closed(key);
        Ok(Some(Event::Trailers { key, tag, too_large: block.too_large }))
    }

    /// The peer's half of a stream has closed: with ours, the stream is over.
    #[inline]
    fn recv_closed(&mut self, key: StreamKey) {
        self.outbound.finish(&mut self.streams, key);
    }

    fn peer_settings<'b>(&mut self, now: Instant, settings: Settings<'_>) -> Outcome<'b> {
        self.inbound.counters.controls_received += 1;
        if settings.ack {
            self.settings.acknowledge(&self.config, &mut self.inbound, &mut self.streams);
            return Ok(None);
        }
        self.inbound.budget.settings(now, settings.len())?;
        self.inbound.greet();
        for entry in settings.entries() {
            self.settings.apply(self.role, entry, &mut self.outbound, &mut self.streams)?;
        }
        self.outbound.control(frame::write_settings_ack);
        Ok(Some(Event::Settings))
    }

    fn window_update(&mut self, update: WindowUpdate) -> Result<(), Fault> {
        if update.stream == StreamId::ZERO {
            let code = ErrorCode::FLOW_CONTROL_ERROR;
            let fault = ConnectionError { code, cause: Cause::Window };
            return self.outbound.window.increase(update.increment).map_err(|_| fault.into());
        }
        let Some((key, slot)) = self.streams.find(update.stream) else {
            let idle = self.is_idle(update.stream);
            let fault = ConnectionError::protocol(Cause::IdleStream);
            return if idle { Err(fault.into()) } else { Ok(()) };
        };
        let over = |_| Fault::Stream(update.stream, ErrorCode::FLOW_CONTROL_ERROR);
        slot.send_window.increase(update.increment).map_err(over)?;
        if slot.send_window.allowance() > 0 {
            self.streams.mark_ready(key);
        }
        Ok(())
    }

    fn peer_reset<'b>(&mut self, now: Instant, id: StreamId, code: ErrorCode) -> Outcome<'b> {
        if self.is_idle(id) {
            return Err(ConnectionError::protocol(Cause::IdleStream).into());
        }
        self.inbound.counters.resets_received += 1;
        self.incidents.resets_received += 1;
        let live = self.streams.find(id).map(|(key, slot)| (key, slot.tag));
        if let Some((key, _)) = live {
            self.streams.remove(key, false);
            // A client has chosen to open each stream whose end it hears of: no server can make it work for nothing.
            if self.role == Role::Server {
                self.inbound.budget.bad_end();
            }
        }
        // For a stream that is over already, the reset has crossed its end, which gives one back.
        self.inbound.budget.reset(&self.config, now, self.streams_ended())?;
        Ok(live.map(|(key, tag)| Event::Reset { key, tag, code, by: ResetBy::Peer }))
    }

    /// How many streams there were that no longer are.
    fn streams_ended(&self) -> u64 {
        let opened = match self.role {
            Role::Server => self.inbound.counters.streams_accepted,
            Role::Client => self.next_stream.map_or(STREAM_IDS, |next| u64::from(next.get() / 2)),
        };
        opened.saturating_sub(self.streams.len() as u64)
    }

    fn peer_ping<'b>(&mut self, ack: bool, payload: [u8; 8]) -> Outcome<'b> {
        if ack && payload == DRAIN_PING && matches!(self.shutdown, Shutdown::Announced { .. }) {
            self.finish_drain();
            return Ok(None);
        }
        if ack {
            return Ok(Some(Event::Pong { payload }));
        }
        // Not rated here: a client that measures its bandwidth pings once a round trip. Unread answers stop the reading.
        self.inbound.counters.controls_received += 1;
        self.outbound.control(|out| frame::write_ping(out, frame::Ack::Yes, payload));
        Ok(None)
    }

    /// The peer goes away. A client's streams above the last one were not processed: they end, and may be tried elsewhere.
    fn peer_goaway<'b>(&mut self, goaway: &GoAway<'b>) -> Event<'b> {
        if self.shutdown == Shutdown::Running {
            self.shutdown = Shutdown::PeerLeaves;
        }
        if self.role == Role::Client {
            let mut lost = alloc::vec::Vec::new();
            lost.extend(
                self.streams
                    .iter_mut()
                    .filter(|(_, slot)| slot.id > goaway.last_stream)
                    .map(|(key, slot)| (key, slot.tag)),
            );
            for (key, tag) in lost {
                self.streams.remove(key, true);
                let code = ErrorCode::REFUSED_STREAM;
                self.pending.push_back(Event::Reset { key, tag, code, by: ResetBy::Goaway });
            }
        }
        Event::Goaway { last_stream: goaway.last_stream, code: goaway.code, debug: goaway.debug }
    }

    /// The peer broke a rule on one stream: RST_STREAM, and its owner hears of it.
    fn stream_fault(
        &mut self,
        now: Instant,
        id: StreamId,
        code: ErrorCode,
    ) -> Result<Option<Event<'static>>, ConnectionError> {
        if self.is_idle(id) && code != ErrorCode::REFUSED_STREAM {
            // A malformed PRIORITY or WINDOW_UPDATE for a stream that does not exist can only cost the connection.
            return Err(ConnectionError { code, cause: Cause::IdleStream });
        }
        self.inbound.budget.fault(now)?;
        self.outbound.rst_stream(id, code);
        let Some((key, slot)) = self.streams.find(id) else {
            self.streams.remember(id, true);
            return Ok(None);
        };
        let tag = slot.tag;
        self.streams.remove(key, true);
        Ok(Some(Event::Reset { key, tag, code, by: ResetBy::Us }))
    }
}

/// DATA or a header block came where the stream's state does not allow it.
fn refused(id: StreamId, refusal: Refusal) -> Fault {
    match refusal {
        Refusal::AfterEnd => Fault::Stream(id, ErrorCode::STREAM_CLOSED),
        Refusal::OutOfOrder => Fault::Stream(id, ErrorCode::PROTOCOL_ERROR),
    }
}

/// Holds the body against the announced content-length (section 8.1.1) and closes the half at its end.
#[inline]
fn body_arrives(slot: &mut Slot, len: usize, end_stream: bool) -> Result<(), Fault> {
    let counted = slot.content.arrives(len, end_stream);
    counted.map_err(|WrongLength| Fault::Stream(slot.id, ErrorCode::PROTOCOL_ERROR))?;
    slot.recv = slot.recv.after(end_stream);
    Ok(())
}
