//! The receiving half: the preface, header blocks that span frames, and what the peer may still send.
//!
//! Does not change streams; [`super::Connection`] routes what is found here to them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Counters;
use super::budget::{Budget, CONTINUATIONS_MIN};
use super::config::{Config, Role};
use super::error::{Cause, ConnectionError};
use super::flow::RecvWindow;
use crate::Instant;
use crate::field::FieldList;
use crate::frame::{ErrorCode, MAX_FRAME_SIZE_MIN, PREFACE, StreamId, WINDOW_DEFAULT};
use crate::hpack::{Decoder, KnownBlock, ListLimits, Outcome};

/// SETTINGS_HEADER_TABLE_SIZE before any SETTINGS (RFC 9113 section 6.5.2).
const TABLE_SIZE_INITIAL: u32 = 4096;

/// A header block whose END_HEADERS has not arrived yet.
pub(super) struct OpenBlock {
    stream: StreamId,
    end_stream: bool,
    continuations: u32,
    started: Instant,
}

/// A frame of which a part has arrived.
#[derive(Clone, Copy)]
pub(super) struct Part {
    since: Instant,
    /// Small frames that it is worth, at least one.
    frames: u32,
}

/// A complete header block, whose fields are [`Inbound::fields`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) stream: StreamId,
    pub(super) end_stream: bool,
    pub(super) too_large: bool,
}

pub(super) struct Inbound {
    /// The octets of the preface that are still expected; a client expects none.
    pub(super) preface_left: &'static [u8],
    /// The peer's first SETTINGS has arrived.
    pub(super) greeted: bool,
    pub(super) started: Option<Instant>,
    pub(super) decoder: Decoder,
    /// The last block, if the decoder knew it and has its fields.
    pub(super) known: Option<KnownBlock>,
    /// The fields of the last block, unless it was known.
    pub(super) decoded: FieldList,
    /// The fragments of the block that is open; empty when every block fits its frame.
    pub(super) fragments: Vec<u8>,
    pub(super) open: Option<OpenBlock>,
    /// What the input ends with.
    pub(super) part: Option<Part>,
    pub(super) limits: ListLimits,
    pub(super) continuations_max: u32,
    pub(super) fragments_max: usize,
    /// The connection's window.
    pub(super) window: RecvWindow,
    pub(super) window_size: u32,
    /// The highest stream id that the peer has opened.
    pub(super) last_stream: StreamId,
    pub(super) budget: Budget,
    pub(super) counters: Counters,
}

impl Inbound {
    pub(super) fn new(role: Role, config: &Config, now: Instant) -> Inbound {
        let frames_needed = config.header_list_size_max / config.max_frame_size as usize;
        let frames_needed = u32::try_from(frames_needed).unwrap_or(u32::MAX);
        Inbound {
            preface_left: if role == Role::Server { PREFACE } else { &[] },
            greeted: false,
            started: Some(now),
            // Until our SETTINGS are acknowledged, the peer may use the default size.
            decoder: Decoder::new(config.header_table_size.max(TABLE_SIZE_INITIAL)),
            known: None,
            decoded: FieldList::new(),
            fragments: Vec::new(),
            open: None,
            part: None,
            limits: ListLimits {
                size_max: config.header_list_size_max,
                fields_max: config.header_fields_max,
            },
            continuations_max: CONTINUATIONS_MIN.max(frames_needed.saturating_add(frames_needed / 4)),
            // A block is rarely larger than its list; twice that is refused before it is decoded.
            fragments_max: 2 * config.header_list_size_max.max(config.max_frame_size as usize),
            // The announcement above 65,535 is in the first output, as a WINDOW_UPDATE.
            window: RecvWindow::new(config.connection_window),
            window_size: config.connection_window,
            last_stream: StreamId::ZERO,
            budget: Budget::new(config, now),
            counters: Counters::default(),
        }
    }

    /// Takes the preface off the input's front; says how many octets were its.
    pub(super) fn preface(&mut self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        let len = bytes.len().min(self.preface_left.len());
        if bytes[..len] != self.preface_left[..len] {
            return Err(ConnectionError::protocol(Cause::Preface));
        }
        self.preface_left = &self.preface_left[len..];
        Ok(len)
    }

    #[inline]
    pub(super) fn awaits_preface(&self) -> bool {
        !self.preface_left.is_empty()
    }

    /// The peer's first SETTINGS is here: the handshake is over.
    pub(super) fn greet(&mut self) {
        self.greeted = true;
        self.started = None;
    }

    /// A frame is complete.
    #[inline]
    pub(super) fn frame_is_whole(&mut self) {
        self.part = None;
    }

    /// The input ends with `bytes`, which are less than a frame.
    pub(super) fn frame_is_partial(&mut self, now: Instant, bytes: &[u8]) {
        if let [first, second, third, ..] = *bytes {
            let len = u32::from_be_bytes([0, first, second, third]);
            let frames = len.div_ceil(MAX_FRAME_SIZE_MIN).max(1);
            self.part.get_or_insert(Part { since: now, frames }).frames = frames;
        } else if !bytes.is_empty() {
            self.part.get_or_insert(Part { since: now, frames: 1 });
        }
    }

    /// Nothing is read now, for reasons of ours: the peer's time for the rest of a frame begins anew.
    #[inline]
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(part) = &mut self.part {
            part.since = now;
        }
    }

    /// Whether only a CONTINUATION of this stream may come next.
    #[inline]
    pub(super) fn open_block(&self) -> Option<StreamId> {
        self.open.as_ref().map(|open| open.stream)
    }

    /// Whether any frame may come next: the peer has greeted, and no header block is open.
    #[inline]
    pub(super) fn takes_any(&self) -> bool {
        self.greeted && self.open.is_none()
    }

    /// A header block begins; it is decoded here and now if it ends in the same frame.
    #[inline]
    pub(super) fn begin_block(
        &mut self,
        now: Instant,
        stream: StreamId,
        fragment: &[u8],
        end_headers: bool,
        end_stream: bool,
    ) -> Result<Option<Block>, ConnectionError> {
        if end_headers {
            return self.decode(stream, end_stream, fragment).map(Some);
        }
        self.fragments.clear();
        self.fragments.extend_from_slice(fragment);
        self.open = Some(OpenBlock { stream, end_stream, continuations: 0, started: now });
        Ok(None)
    }

    /// A header block goes on.
    pub(super) fn continue_block(
        &mut self,
        stream: StreamId,
        fragment: &[u8],
        end_headers: bool,
    ) -> Result<Option<Block>, ConnectionError> {
        let Some(mut open) = self.open.take() else {
            return Err(ConnectionError::protocol(Cause::StrayContinuation));
        };
        if open.stream != stream {
            return Err(ConnectionError::protocol(Cause::InterruptedBlock));
        }
        open.continuations += 1;
        let size = self.fragments.len() + fragment.len();
        if open.continuations > self.continuations_max || size > self.fragments_max {
            return Err(ConnectionError::calm(Cause::BlockTooLarge));
        }
        self.fragments.extend_from_slice(fragment);
        if !end_headers {
            self.open = Some(open);
            return Ok(None);
        }
        let block = core::mem::take(&mut self.fragments);
        self.decode(stream, open.end_stream, &block).map(Some)
    }

    /// Decodes a whole header block.
    // Always: left to itself, the compiler makes a function of it for the sake of blocks that span frames.
    #[inline(always)]
    pub(super) fn decode(
        &mut self,
        stream: StreamId,
        end_stream: bool,
        block: &[u8],
    ) -> Result<Block, ConnectionError> {
        self.known = self.decoder.known(block, self.limits);
        match self.known {
            Some(_) => Ok(Block { stream, end_stream, too_large: false }),
            None => self.decode_anew(stream, end_stream, block),
        }
    }

    /// Decodes a header block that is not known.
    fn decode_anew(
        &mut self,
        stream: StreamId,
        end_stream: bool,
        block: &[u8],
    ) -> Result<Block, ConnectionError> {
        self.decoded.clear();
        match self.decoder.decode_anew(block, self.limits, &mut self.decoded) {
            Ok(outcome) => Ok(Block { stream, end_stream, too_large: outcome == Outcome::TooLarge }),
            Err(reason) => {
                Err(ConnectionError { code: ErrorCode::COMPRESSION_ERROR, cause: Cause::HeaderBlock(reason) })
            }
        }
    }

    /// The fields of the last block.
    #[inline]
    pub(super) fn fields(&self) -> &FieldList {
        match self.known {
            Some(block) => self.decoder.known_fields(block),
            None => &self.decoded,
        }
    }

    /// The fields of the last block: those of a known one are shared where they may be, and others go to the list that is `vacant`.
    #[inline]
    pub(super) fn take_fields(&mut self, vacant: impl FnOnce() -> Arc<FieldList>) -> Arc<FieldList> {
        if let Some(shared) = self.known.and_then(|block| self.decoder.shared_fields(block)) {
            return shared;
        }
        let mut list = vacant();
        let own = Arc::make_mut(&mut list);
        match self.known {
            Some(block) => own.copy_from(self.decoder.known_fields(block)),
            None => core::mem::swap(&mut self.decoded, own),
        }
        list
    }

    /// Our SETTINGS were acknowledged: the peer's encoder obeys them from now on.
    pub(super) fn settings_acknowledged(&mut self, config: &Config) {
        self.decoder.set_table_size_max(config.header_table_size);
    }

    /// Takes DATA off the connection's window and notes it for announcement at once: what a handler does not consume is
    /// held back by its stream's window alone, so that one slow call does not stop its neighbours.
    #[inline]
    pub(super) fn receive_data(&mut self, flow_len: u32) -> Result<(), ConnectionError> {
        let fault = ConnectionError { code: ErrorCode::FLOW_CONTROL_ERROR, cause: Cause::Window };
        self.window.receive(flow_len).map_err(|_| fault)?;
        self.window.credit(flow_len);
        Ok(())
    }

    /// The connection's WINDOW_UPDATE, when it is worth one.
    #[inline]
    pub(super) fn take_announcement(&mut self) -> Option<u32> {
        self.window.take_announcement(self.window_size)
    }

    /// Gives memory back that only busy connections need.
    pub(super) fn shrink(&mut self) {
        (self.known, self.decoded) = (None, FieldList::new());
        // A header block may rest between two of its frames.
        if self.open.is_none() {
            self.fragments = Vec::new();
        }
        self.decoder.shrink();
    }

    /// When the peer has been too slow, unless it goes on before.
    pub(super) fn timeout(&self, config: &Config) -> Option<Instant> {
        let handshake = self.started.map(|started| started + config.handshake_timeout);
        let block = self.open.as_ref().map(|open| open.started + config.header_block_timeout);
        match (handshake, block) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// When the rest of a frame should be here.
    pub(super) fn frame_timeout(&self, config: &Config) -> Option<Instant> {
        self.part.map(|part| part.since + config.frame_timeout.saturating_mul(part.frames))
    }
}

/// How far the connection's window must be raised by the first output.
pub(super) fn window_raise(config: &Config) -> Option<u32> {
    config.connection_window.checked_sub(WINDOW_DEFAULT).filter(|raise| *raise > 0)
}
