//! One HTTP/2 connection as a value (RFC 9113): bytes and time in, events and bytes out, for either role.
//!
//! ```text
//! receive(now, bytes) ──> inbound ──> streams ──> Event
//! stream(key).send_…() ─> streams ──> outbound ─> output()
//! ```
//!
//! The receiving half (`inbound`), the streams and the sending half (`outbound`) each change their own state only; this
//! file routes what one of them finds to the others. A call to [`Connection::receive`] takes frames from the input's front
//! until one makes an event, so that there is no queue of events to bound: the payload of an event is a range of the
//! input, and the fields of an event stay readable until the next call.
//!
//! Does not: own a socket, a clock or a buffer of input; wake anybody; know what a gRPC call is.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use corelane_memory::Pieces;

use crate::Instant;
use crate::field::FieldList;
use crate::frame::{self, EndStream, ErrorCode, Frame, HEADER_LEN, Header, StreamId};
use crate::hpack::{BlockMap, KnownBlock, Template};

mod batch;
mod budget;
mod config;
mod dormant;
mod error;
mod event;
mod flow;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod head;
mod inbound;
mod index;
mod outbound;
mod receive;
mod settings;
mod shutdown;
mod state;
mod streams;
mod view;

pub use batch::Batch;
pub use config::{Config, ConfigError, Role};
pub use dormant::Dormant;
pub use error::{Cause, ConnectionError, Misuse, OpenError};
pub use event::{Event, Received, ResetBy, StreamKey, TAG_NONE};
pub use view::Stream;

use inbound::Inbound;
use outbound::Outbound;
use settings::Settings;
use shutdown::Shutdown;
use state::SendState;
use streams::{Slot, Streams};

/// What happened on a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub frames_received: u64,
    /// Streams the peer opened.
    pub streams_accepted: u64,
    /// Streams refused because too many were open.
    pub streams_refused: u64,
    /// RST_STREAM frames received.
    pub resets_received: u64,
    /// RST_STREAM frames sent, those after an early end not counted.
    pub resets_sent: u64,
    /// PING and SETTINGS frames received.
    pub controls_received: u64,
}

/// What happened on a connection that should be rare, since it was asked about last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// RST_STREAM frames received.
    pub resets_received: u32,
    /// RST_STREAM frames sent.
    pub resets_sent: u32,
    /// Streams refused because too many were open.
    pub streams_refused: u32,
}

/// One HTTP/2 connection.
///
/// ```
/// use corelane_wire::connection::{Config, Connection, Event, Role};
/// use corelane_wire::frame::EndStream;
/// use corelane_wire::{FieldList, Instant};
///
/// let now = Instant::default();
/// let mut server = Connection::new(Role::Server, Config::default(), now);
/// let mut client = Connection::new(Role::Client, Config::default(), now);
///
/// let mut request = FieldList::new();
/// for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/")] {
///     request.push(name.as_bytes(), value.as_bytes());
/// }
/// client.open(&request, EndStream::Yes)?;
///
/// let sent = core::mem::take(client.output());
/// let received = server.receive(now, &sent)?; // SETTINGS
/// assert!(matches!(received.event, Some(Event::Settings)));
/// let received = server.receive(now, &sent[received.consumed..])?;
/// assert!(matches!(received.event, Some(Event::Headers { end_stream: true, .. })));
/// assert_eq!(server.fields().get(b":path"), Some(&b"/"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    role: Role,
    /// One for all connections of a worker.
    config: Arc<Config>,
    seed: u64,
    inbound: Inbound,
    outbound: Outbound,
    streams: Streams,
    settings: Settings,
    shutdown: Shutdown,
    /// The id of the next stream that we open; `None` when they are used up.
    next_stream: Option<StreamId>,
    /// Events beyond the first that one frame made.
    pending: VecDeque<Event<'static>>,
    failed: Option<ConnectionError>,
    /// Without the resets that were sent, which the sending half counts.
    incidents: Incidents,
    /// Heads that are well-formed, and what they say.
    heads: BlockMap<head::Head>,
    /// Trailers that are well-formed.
    trailers: BlockMap<()>,
}

impl Connection {
    /// A new connection. Its output holds the preface (a client's) and our SETTINGS already.
    ///
    /// # Panics
    /// If `config` does not [validate](Config::validate).
    #[must_use]
    pub fn new(role: Role, config: Config, now: Instant) -> Connection {
        let seed = config.seed;
        Connection::with_seed(role, Arc::new(config), seed, now)
    }

    /// As [`Connection::new`], with settings that other connections have too and with a seed of its own.
    ///
    /// # Panics
    /// As [`Connection::new`].
    #[must_use]
    pub fn with_seed(role: Role, config: Arc<Config>, seed: u64, now: Instant) -> Connection {
        config.validate().expect("the configuration was validated");
        let mut connection = Connection::silent(role, config, seed, now);
        let Connection { config, outbound, .. } = &mut connection;
        settings::greet(role, config, &mut outbound.out);
        if let Some(raise) = inbound::window_raise(config) {
            frame::write_window_update(&mut outbound.out, StreamId::ZERO, raise);
        }
        connection
    }

    /// A new connection that has not greeted its peer.
    fn silent(role: Role, config: Arc<Config>, seed: u64, now: Instant) -> Connection {
        let streams_max = match role {
            Role::Server => config.max_concurrent_streams,
            // The peer's limit decides; this only bounds the slab.
            Role::Client => u32::MAX >> 1,
        };
        Connection {
            role,
            inbound: Inbound::new(role, &config, now),
            outbound: Outbound::new(role, &config),
            streams: Streams::new(streams_max, config.stream_window_growth, seed),
            settings: Settings::new(),
            shutdown: Shutdown::Running,
            next_stream: (role == Role::Client).then(|| StreamId::new(1)),
            pending: VecDeque::new(),
            failed: None,
            incidents: Incidents::default(),
            heads: BlockMap::default(),
            trailers: BlockMap::default(),
            config,
            seed,
        }
    }

    /// The fields of the last [`Event::Headers`], [`Event::Informational`] or [`Event::Trailers`].
    #[inline]
    #[must_use]
    pub fn fields(&self) -> &FieldList {
        self.inbound.fields()
    }

    /// The fields of the last event, to keep. Those of a block that has come before are shared with all who have asked, where that
    /// pays; others are put in the list that `vacant` gives, which nobody else should have, and its storage may be used for the next
    /// ones. What [`fields`](Self::fields) are afterwards is not said.
    #[inline]
    pub fn take_fields(&mut self, vacant: impl FnOnce() -> Arc<FieldList>) -> Arc<FieldList> {
        self.inbound.take_fields(vacant)
    }

    /// The header block that [`fields`](Self::fields) are of, if it is one that has come before: whoever has found something out
    /// about it needs not do so again, but for what depends on its [`timeout`](KnownBlock::timeout).
    #[inline]
    #[must_use]
    pub fn known_block(&self) -> Option<KnownBlock> {
        self.inbound.known
    }

    /// A view of one stream; `None` once the stream is over, which can be at any time.
    #[inline]
    pub fn stream(&mut self, key: StreamKey) -> Option<Stream<'_>> {
        self.streams.get(key)?;
        Some(Stream::new(self, key))
    }

    /// Opens a stream with a request's head.
    ///
    /// # Errors
    /// [`OpenError`] says whether another connection is needed.
    ///
    /// # Panics
    /// On a server's connection: push is disabled.
    pub fn open(&mut self, fields: &FieldList, end: EndStream) -> Result<StreamKey, OpenError> {
        let (id, key) = self.open_slot(end, TAG_NONE)?;
        self.outbound.block(id, fields, end);
        Ok(key)
    }

    /// As [`Connection::open`], for a head that comes again and again, and `more` fields behind it, which differ. The stream has
    /// `tag` from the beginning (see [`Stream::set_tag`]).
    ///
    /// # Errors
    /// As [`Connection::open`].
    ///
    /// # Panics
    /// As [`Connection::open`].
    #[inline]
    pub fn open_template(
        &mut self,
        template: &Template,
        more: Option<&FieldList>,
        end: EndStream,
        tag: u32,
    ) -> Result<StreamKey, OpenError> {
        let (id, key) = self.open_slot(end, tag)?;
        self.outbound.template(id, template, more, end);
        Ok(key)
    }

    #[inline]
    fn open_slot(&mut self, end: EndStream, tag: u32) -> Result<(StreamId, StreamKey), OpenError> {
        assert!(self.role == Role::Client, "only a client opens streams");
        if self.failed.is_some() || self.shutdown != Shutdown::Running {
            return Err(OpenError::GoingAway);
        }
        if self.streams.len() >= self.settings.peer_streams_max as usize {
            return Err(OpenError::Full);
        }
        let id = self.next_stream.ok_or(OpenError::Exhausted)?;
        self.next_stream = id.next();
        let recv_window = self.settings.recv_window(&self.config);
        let mut slot = Slot::new(id, recv_window, self.outbound.initial_window);
        slot.tag = tag;
        slot.send = if end == EndStream::Yes { SendState::Closed } else { SendState::Body };
        Ok((id, self.streams.insert(slot)))
    }

    /// Streams that the peer lets us open now.
    #[must_use]
    pub fn open_capacity(&self) -> usize {
        (self.settings.peer_streams_max as usize).saturating_sub(self.streams.len())
    }

    /// Moves queued data and window credits to the output: called once a turn, before the output is written.
    #[inline]
    pub fn transmit(&mut self, now: Instant) {
        if !self.outbound.has_room() {
            self.inbound.pause(now);
        }
        if let Some(increment) = self.inbound.take_announcement() {
            frame::write_window_update(&mut self.outbound.out, StreamId::ZERO, increment);
        }
        if !self.streams.ready.is_empty() {
            self.outbound.transmit(&mut self.streams);
        }
    }

    /// What is to be written to the peer. The driver takes it whole, with [`core::mem::swap`], when it starts a write. What was
    /// referenced until now is copied.
    #[inline]
    pub fn output(&mut self) -> &mut Vec<u8> {
        let (out, pieces) = self.outbound.take();
        if !pieces.is_empty() {
            pieces.join(out);
        }
        out
    }

    /// As [`Connection::output`], for a driver that can write large payloads from where they lie: the octets that it owns, and
    /// what comes between them.
    #[inline]
    pub fn gathered_output(&mut self) -> (&mut Vec<u8>, &mut Pieces) {
        self.outbound.take()
    }

    /// Octets of output that wait.
    #[inline]
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.outbound.len()
    }

    /// A stream whose producer was told to stop ([`Stream::send_room`]) and may go on, with its tag.
    pub fn poll_writable(&mut self) -> Option<(StreamKey, u32)> {
        loop {
            let key = self.streams.room.pop_front()?;
            if let Some(slot) = self.streams.get(key) {
                return Some((key, slot.tag));
            }
        }
    }

    /// Whether more input should be read: not while the peer leaves the answers to what it has sent unread.
    #[inline]
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.outbound.has_room()
    }

    /// When [`Connection::handle_timeout`] wants to be called.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.peer_timeout(), self.shutdown.timeout(&self.config)].into_iter().flatten().min()
    }

    /// Ends what has waited too long.
    ///
    /// # Errors
    /// The peer was too slow with its preface, its SETTINGS, a header block or a frame: GOAWAY is in the output.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.shutdown.timeout(&self.config).is_some_and(|at| at <= now) {
            self.finish_drain();
        }
        if self.peer_timeout().is_some_and(|at| at <= now) {
            return Err(self.fail(ConnectionError::calm(Cause::Timeout)));
        }
        Ok(())
    }

    /// Sends a PING; [`Event::Pong`] is its answer.
    pub fn ping(&mut self, payload: [u8; 8]) {
        self.outbound.control(|out| frame::write_ping(out, frame::Ack::No, payload));
    }

    /// Open streams.
    #[inline]
    #[must_use]
    pub fn streams_count(&self) -> usize {
        self.streams.len()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { resets_sent: self.outbound.counters.resets_sent, ..self.inbound.counters }
    }

    /// What should be rare and has happened since this was asked last. To be asked before a connection [sleeps](Connection::sleep),
    /// which does not remember it.
    #[inline]
    pub fn take_incidents(&mut self) -> Option<Incidents> {
        self.incidents.resets_sent = core::mem::take(&mut self.outbound.resets_sent);
        let incidents = core::mem::take(&mut self.incidents);
        (incidents != Incidents::default()).then_some(incidents)
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether a server has yet to receive the client's preface. What it sends before that may go with its first answer: a client may
    /// not wait for it (RFC 9113, section 3.4).
    #[inline]
    #[must_use]
    pub fn awaits_preface(&self) -> bool {
        self.inbound.awaits_preface()
    }

    /// Gives back memory that only a busy connection needs: for one that has no streams and has been quiet for a while.
    pub fn shrink(&mut self) {
        self.streams.shrink();
        self.inbound.shrink();
        self.outbound.shrink();
        self.heads.shrink();
        self.trailers.shrink();
    }

    /// Checks what must hold between any two calls; for tests.
    ///
    /// # Panics
    /// If the connection is inconsistent.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self) {
        self.streams.check_invariants();
    }

    /// When the peer will have been too slow. It is not late with a frame that is not read.
    fn peer_timeout(&self) -> Option<Instant> {
        let frame = self.inbound.frame_timeout(&self.config).filter(|_| self.wants_input());
        [self.inbound.timeout(&self.config), frame].into_iter().flatten().min()
    }

    /// The connection is over: every later call says the same.
    fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        self.failed = Some(error);
        frame::write_goaway(&mut self.outbound.out, self.inbound.last_stream, error.code, &[]);
        error
    }
}
