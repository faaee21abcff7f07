//! One call's arriving half, shared by the session that feeds it and the handler that reads it.
//!
//! The session pushes payload bytes as frames arrive; the handler's task decodes a message when it asks for one, so a
//! handler that does not read costs memory for its window and no work. Both run on the same thread: the state is a
//! `RefCell` that is borrowed inside these methods only, never across an await and never while a waker runs.
//!
//! **Wakers.** Who feeds it says how the reader is woken. A waker is foreign code, which may read on within the wake: where there is
//! a source, and so a way back to the connection, it must wait until the connection is no longer in use.
//!
//! **Credits.** Each byte pushed becomes credit exactly once. Bytes of a complete message become credit when the reader
//! takes it. While the message at the front is incomplete and the reader waits for it, all that is buffered becomes credit
//! at once: a message larger than the window could never arrive otherwise. So no more is buffered than one window beyond
//! the message limit, which is checked at the prefix.
//!
//! Does not: talk to the connection. The session takes what [`Inbound::take_credit`] says and credits the window itself.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corelane_wire::grpc::{DeframeError, Deframer, Encoding, Metadata, Status};

use crate::message::{PREFIX_LEN, open, too_large};
use crate::pool;

/// The messages of one call on their way from the session to the reader.
///
/// ```
/// use std::rc::Rc;
/// use std::task::{Context, Poll, Waker};
/// use corelane_call::{Encoding, Inbound, ProstCodec, Streaming};
///
/// let inbound = Rc::new(Inbound::new());
/// let mut messages: Streaming<String> =
///     Streaming::new(ProstCodec::<(), String>::default(), inbound.clone(), Encoding::Identity, 1024);
///
/// inbound.push(b"\x00\x00\x00\x00\x04\x0a\x02hi", Waker::wake_by_ref); // the session, as DATA arrives
/// inbound.end(Waker::wake_by_ref);
///
/// let mut cx = Context::from_waker(Waker::noop());
/// let Poll::Ready(first) = messages.poll_message(&mut cx) else { panic!("it has arrived") };
/// assert_eq!(first.unwrap().as_deref(), Some("hi"));
/// assert_eq!(inbound.take_credit(), 9); // what the session may credit to the window
/// ```
#[derive(Default)]
pub struct Inbound {
    state: RefCell<State>,
    /// The reader's task; kept from wake to wake, since a clone costs an atomic.
    waker: Cell<Option<Waker>>,
    /// Who is told what the reader does, where nobody polls the reader himself and could ask afterwards.
    source: OnceCell<Rc<dyn Source>>,
}

/// Where a client's messages come from. Neither method is called while the inbound half is borrowed.
pub trait Source {
    /// The reader is done with so many bytes.
    fn consumed(&self, bytes: u32);

    /// The reader will not ask again.
    fn abandoned(&self);
}

/// Octets below which credit is not passed on while the reader still has messages to take: half of what a frame carries.
const CREDIT_BATCH: usize = 8 * 1024;

#[derive(Default)]
struct State {
    /// `None` while nothing is buffered: an idle stream holds no buffer.
    deframer: Option<Deframer>,
    /// Bytes that the reader is done with and the session has not asked for yet.
    credit: usize,
    /// Bytes at the front of the buffer that became credit ahead of their message.
    prepaid: usize,
    progress: Progress,
    reader: Reader,
    /// Those that were set and not taken, if `has_trailers`: apart from each other they take half the room of an `Option`.
    trailers: Metadata,
    has_trailers: bool,
    /// Whether the last message taken had its compressed flag set.
    compressed: bool,
    /// Messages taken that the session has not asked for yet: a server's asks after each time the handler was polled, a client's never.
    messages_taken: u32,
}

const _: () = assert!(size_of::<Inbound>() <= 120, "each stream in flight has one");

/// What comes after the bytes that are buffered.
#[derive(Debug, Default)]
enum Progress {
    /// More bytes, perhaps.
    #[default]
    Open,
    /// Nothing.
    Ended,
    /// This status.
    Failed(Status),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reader {
    /// Did not ask since it was last woken.
    #[default]
    Busy,
    /// Asked, got nothing, and wants to be woken.
    Waiting,
    /// Will never ask again: what arrives is thrown away and credited.
    Gone,
}

/// The session's side.
impl Inbound {
    /// A call whose first byte has not arrived.
    #[must_use]
    pub fn new() -> Inbound {
        Inbound::default()
    }

    /// A client's: `source` is told what the reader does.
    #[must_use]
    pub fn with_source(source: Rc<dyn Source>) -> Inbound {
        let inbound = Inbound::default();
        let _ = inbound.source.set(source);
        inbound
    }

    /// Takes the payload of a DATA frame, and has the reader woken by `wake` if it waits.
    #[inline]
    pub fn push(&self, payload: &[u8], wake: impl FnOnce(&Waker)) {
        if payload.is_empty() {
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            if state.reader == Reader::Gone {
                state.credit += payload.len();
                return;
            }
            state.deframer.get_or_insert_with(|| Deframer::from_buffer(pool::take_buffer())).push(payload);
        }
        self.wake(wake);
    }

    /// No more bytes will come: END_STREAM arrived. An error that was set before stays. The reader is woken by `wake` if it waits.
    pub fn end(&self, wake: impl FnOnce(&Waker)) {
        self.finish(Progress::Ended, wake);
    }

    /// The call ended with `status`: the reader gets it after the messages that arrived whole. The first end counts. The reader is
    /// woken by `wake` if it waits.
    pub fn fail(&self, status: Status, wake: impl FnOnce(&Waker)) {
        self.finish(Progress::Failed(status), wake);
    }

    /// Keeps the trailing metadata for [`Streaming::trailers`](crate::Streaming::trailers). Call it before the end.
    pub fn set_trailers(&self, trailers: Metadata) {
        let mut state = self.state.borrow_mut();
        (state.trailers, state.has_trailers) = (trailers, true);
    }

    /// How many bytes the reader is done with since this was last asked: the session credits the window with them, after
    /// each push and after each time the handler was polled.
    #[must_use]
    pub fn take_credit(&self) -> u32 {
        let mut state = self.state.borrow_mut();
        let credit = u32::try_from(state.credit).unwrap_or(u32::MAX);
        state.credit -= credit as usize;
        credit
    }

    /// How many messages the reader took since this was last asked, for whoever counts them.
    #[must_use]
    pub fn take_messages(&self) -> u64 {
        u64::from(std::mem::take(&mut self.state.borrow_mut().messages_taken))
    }

    /// How many bytes arrived and were not taken yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.state.borrow().buffered()
    }

    fn finish(&self, with: Progress, wake: impl FnOnce(&Waker)) {
        {
            let mut state = self.state.borrow_mut();
            if !matches!(state.progress, Progress::Open) {
                return;
            }
            state.progress = with;
        }
        self.wake(wake);
    }

    fn wake(&self, wake: impl FnOnce(&Waker)) {
        {
            let mut state = self.state.borrow_mut();
            if state.reader != Reader::Waiting {
                return;
            }
            state.reader = Reader::Busy;
        }
        // Taken out while it runs: a waker is foreign code and may come back here.
        if let Some(waker) = self.waker.take() {
            wake(&waker);
            let newer = self.waker.take();
            self.waker.set(newer.or(Some(waker)));
        }
    }
}

/// The reader's side.
impl Inbound {
    /// The next message, decompressed with `encoding` and decoded; `None` after the last one.
    ///
    /// After an error nothing more is read: what is buffered and what still arrives is credited and thrown away.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` for a message of more than `max` bytes, `INTERNAL` for one that is malformed or cut off by the
    /// end of the stream, the status of [`Inbound::fail`], and whatever `decode` returns.
    #[inline]
    pub fn poll_message<T>(
        &self,
        cx: &mut Context<'_>,
        encoding: Encoding,
        max: usize,
        decode: impl FnOnce(&[u8]) -> Result<T, Status>,
    ) -> Poll<Option<Result<T, Status>>> {
        let Some(source) = self.source.get() else {
            // At once: a message is moved only where there is something to do after it.
            return self.poll_state(cx, encoding, max, decode);
        };
        let polled = self.poll_state(cx, encoding, max, decode);
        self.pay(&**source, polled.is_pending());
        polled
    }

    /// Tells the source what the reader is done with, when that is worth telling or the reader has run dry.
    fn pay(&self, source: &dyn Source, dry: bool) {
        let due = self.state.borrow().credit;
        if due >= CREDIT_BATCH || dry && due > 0 {
            source.consumed(self.take_credit());
        }
    }

    fn poll_state<T>(
        &self,
        cx: &mut Context<'_>,
        encoding: Encoding,
        max: usize,
        decode: impl FnOnce(&[u8]) -> Result<T, Status>,
    ) -> Poll<Option<Result<T, Status>>> {
        let state = &mut *self.state.borrow_mut();
        let next = match &mut state.deframer {
            Some(deframer) => deframer.next(max),
            None => Ok(None),
        };
        match next {
            Ok(Some(message)) => {
                // Accounted for before it is decoded, so that it goes from there to the reader without another move.
                let taken = PREFIX_LEN + message.payload.len();
                debug_assert!(
                    state.prepaid <= taken,
                    "only bytes of the message at the front are credited ahead"
                );
                state.credit += taken - std::mem::take(&mut state.prepaid).min(taken);
                state.compressed = message.compressed;
                state.messages_taken = state.messages_taken.wrapping_add(1);
                let item = open(message, encoding, max, decode);
                if item.is_err() {
                    state.discard();
                }
                Poll::Ready(Some(item))
            }
            Ok(None) => self.poll_gap(state, cx),
            Err(error) => {
                state.discard();
                Poll::Ready(Some(Err(refusal(error))))
            }
        }
    }

    /// No complete message is buffered.
    fn poll_gap<T>(&self, state: &mut State, cx: &Context<'_>) -> Poll<Option<Result<T, Status>>> {
        let Some(end) = state.at_the_gap() else {
            state.reader = Reader::Waiting;
            self.remember(cx.waker());
            return Poll::Pending;
        };
        if end.is_err() {
            state.discard();
        }
        Poll::Ready(end.err().map(Err))
    }

    /// Whether the last message taken came compressed; `false` before the first.
    #[must_use]
    pub fn last_was_compressed(&self) -> bool {
        self.state.borrow().compressed
    }

    /// The trailing metadata, once.
    #[must_use]
    pub fn take_trailers(&self) -> Option<Metadata> {
        let mut state = self.state.borrow_mut();
        let trailers = std::mem::take(&mut state.trailers);
        std::mem::take(&mut state.has_trailers).then_some(trailers)
    }

    /// The reader will not ask again: what is buffered and what still arrives is credited and thrown away, so that the
    /// connection's window does not shrink for ever.
    pub fn abandon(&self) {
        self.state.borrow_mut().discard();
        self.waker.take();
        if let Some(source) = self.source.get() {
            source.abandoned();
        }
    }

    /// Keeps `waker` for the next push, without a clone where it is the one from last time.
    fn remember(&self, waker: &Waker) {
        let kept = self.waker.take().filter(|kept| kept.will_wake(waker));
        self.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
    }
}

impl State {
    fn buffered(&self) -> usize {
        self.deframer.as_ref().map_or(0, Deframer::buffered)
    }

    /// No complete message is buffered: how the stream ended, or `None` if it did not. Pays for what is buffered.
    fn at_the_gap(&mut self) -> Option<Result<(), Status>> {
        let buffered = self.buffered();
        debug_assert!(self.prepaid <= buffered, "what was credited ahead is still buffered");
        self.credit += buffered.saturating_sub(self.prepaid);
        self.prepaid = buffered;
        if buffered == 0 {
            self.release();
        }
        match std::mem::replace(&mut self.progress, Progress::Ended) {
            Progress::Open => {
                self.progress = Progress::Open;
                None
            }
            Progress::Failed(status) => Some(Err(status)),
            Progress::Ended if buffered == 0 => Some(Ok(())),
            Progress::Ended => Some(Err(Status::internal("the stream ended inside a message"))),
        }
    }

    /// Throws away what is buffered and what still arrives.
    fn discard(&mut self) {
        let buffered = self.buffered();
        self.credit += buffered.saturating_sub(self.prepaid);
        self.prepaid = 0;
        self.reader = Reader::Gone;
        self.progress = Progress::Ended;
        self.release();
    }

    /// Leaves the buffer to another stream of this thread.
    fn release(&mut self) {
        if let Some(deframer) = self.deframer.take() {
            pool::give_buffer(deframer.into_buffer());
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.state.get_mut().release();
    }
}

/// Says how much is buffered, never what: payloads are the callers' own.
impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Inbound")
            .field("buffered", &state.buffered())
            .field("credit", &state.credit)
            .field("progress", &state.progress)
            .field("reader", &state.reader)
            .finish_non_exhaustive()
    }
}

#[cold]
fn refusal(error: DeframeError) -> Status {
    match error {
        DeframeError::TooLarge { len, max } => too_large(len as usize, max),
        DeframeError::BadFlag(flag) => {
            Status::internal(format!("the first byte of a message is {flag}, it must be 0 or 1"))
        }
    }
}

#[cfg(test)]
mod tests;
