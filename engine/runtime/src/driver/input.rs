//! A connection's receiving side: which buffer it reads into, and what of it was handed to the protocol.
//!
//! Every connection owns a small buffer; a large one is taken from the worker's pool when reads fill the small one or
//! a frame does not fit into it, and given back when reads have been small for a while, when the connection has gone
//! quiet, or when another one waits for it. So an idle connection holds no large buffer, and a lightly used one never takes one.
//! A quiet one holds none at all and waits until it is readable, which would cost a busy one 0.3 us a read.
//!
//! Invariant: consumed <= filled <= capacity; a read in flight has the buffer, and nothing is handed over meanwhile.

use crate::backend::Canceller;
use crate::buffers::Buffers;
use crate::inbox::Inbox;
use crate::limits::{RECALLABLE_READS_MAX, RECEIVE_SMALL_BYTES, SMALL_READS_MAX};
use corelane_wire::Instant;
use std::io;
use std::rc::Rc;
use std::task::Poll;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Small,
    Large,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The buffer is here.
    Here,
    /// A read in flight has it.
    Reading,
    /// The next frame needs a large buffer, and there is none.
    Waiting,
    /// There is no buffer until the socket is readable.
    Dozing,
    /// No byte will come any more.
    Ended,
}

/// What a completed read means.
pub(super) enum Arrived {
    /// So many bytes to hand over.
    Bytes(usize),
    /// Nothing: the read was called back.
    Nothing,
    /// The peer has sent its last byte.
    End,
    /// The socket failed.
    Failed(io::Error),
}

/// See the module.
pub(super) struct Input {
    buffer: Vec<u8>,
    consumed: usize,
    class: Class,
    state: State,
    /// The last read filled the buffer, so more is probably waiting.
    filled_up: bool,
    /// The read in flight began with an empty buffer.
    began_empty: bool,
    /// Reads since the connection was new or quiet, as far as they are counted.
    reads: u8,
    /// Large reads in a row that would have fitted into the small buffer.
    small_reads: u8,
    /// The protocol has asked for more bytes behind what it was shown.
    pub(super) starved: bool,
    canceller: Option<Box<Canceller>>,
    /// When the frame that lies here in part began.
    partial_since: Instant,
    /// A frame has been completed since.
    completed: bool,
}

impl Input {
    pub(super) fn new() -> Input {
        Input {
            buffer: Vec::with_capacity(RECEIVE_SMALL_BYTES),
            consumed: 0,
            class: Class::Small,
            state: State::Here,
            filled_up: false,
            began_empty: false,
            reads: 0,
            small_reads: 0,
            starved: true,
            canceller: None,
            partial_since: Instant::default(),
            completed: true,
        }
    }

    /// What was received and not consumed; nothing while a read has the buffer.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.consumed..]
    }

    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        self.completed |= bytes > 0;
        debug_assert!(self.consumed <= self.buffer.len());
    }

    /// Since when the beginning of a frame has lain here, in nanoseconds; 0 if there is none. Asked when the protocol has
    /// taken what it could.
    pub(super) fn partial_since(&mut self, now: Instant) -> u64 {
        if std::mem::take(&mut self.completed) {
            self.partial_since = now;
        }
        if self.unread().is_empty() { 0 } else { self.partial_since.as_nanos().max(1) }
    }

    /// Throws away what is here.
    pub(super) fn discard(&mut self) -> usize {
        let unread = self.unread().len();
        self.consumed += unread;
        unread
    }

    /// Whether a large buffer is held.
    pub(super) fn is_large(&self) -> bool {
        self.class == Class::Large
    }

    pub(super) fn is_reading(&self) -> bool {
        self.state == State::Reading
    }

    /// Whether a large buffer is still waited for.
    pub(super) fn is_waiting(&self, inbox: &Inbox) -> bool {
        self.state == State::Waiting && !inbox.is_granted()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// A read has completed.
    pub(super) fn arrived(&mut self, result: io::Result<usize>, buffer: Vec<u8>) -> Arrived {
        debug_assert!(self.state == State::Reading);
        self.buffer = buffer;
        self.state = State::Here;
        match result {
            Ok(0) => {
                self.state = State::Ended;
                // Have the protocol look once more, so that what came before the end is dealt with before it.
                self.starved = false;
                Arrived::End
            }
            Ok(bytes) => {
                self.filled_up = self.buffer.len() == self.buffer.capacity();
                self.reads = self.reads.saturating_add(1);
                self.small_reads = match bytes {
                    0..RECEIVE_SMALL_BYTES => self.small_reads.saturating_add(1),
                    _ => 0,
                };
                self.starved = false;
                Arrived::Bytes(bytes)
            }
            Err(error) if Canceller::is_cancelled(&error) || error.kind() == io::ErrorKind::Interrupted => {
                Arrived::Nothing
            }
            Err(error) => {
                self.state = State::Ended;
                Arrived::Failed(error)
            }
        }
    }

    /// The buffer for the next read, or `None` if it must wait for one. What was not consumed lies at its front.
    pub(super) fn next(&mut self, buffers: &Buffers, inbox: &Rc<Inbox>) -> Option<Vec<u8>> {
        self.rouse(Poll::Pending);
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        if self.state == State::Waiting {
            let granted = inbox.granted.take()?;
            self.state = State::Here;
            self.enlarge(granted);
        }
        debug_assert!(self.state == State::Here);
        if self.buffer.capacity() == 0 {
            self.buffer = Vec::with_capacity(RECEIVE_SMALL_BYTES);
        }
        match self.class {
            Class::Small if self.filled_up || self.buffer.len() > RECEIVE_SMALL_BYTES / 2 => {
                match buffers.take() {
                    Some(large) => self.enlarge(large),
                    None if self.buffer.len() == self.buffer.capacity() => {
                        self.state = State::Waiting;
                        buffers.wait(inbox);
                        return None;
                    }
                    None => {}
                }
            }
            Class::Large if self.buffer.is_empty() => {
                if self.small_reads >= SMALL_READS_MAX || buffers.has_waiting() {
                    self.give_back(buffers);
                }
            }
            Class::Small | Class::Large => {}
        }
        self.state = State::Reading;
        self.began_empty = self.buffer.is_empty();
        Some(std::mem::take(&mut self.buffer))
    }

    /// Whether the next read is to be cancellable: with a large buffer always; with a small one only while the connection may fall
    /// quiet again after a few reads, since it costs something, and a busy connection's last small buffer is all that is lost.
    pub(super) fn canceller(&mut self) -> Option<&Canceller> {
        match self.class {
            Class::Small if self.reads >= RECALLABLE_READS_MAX => None,
            Class::Small | Class::Large => Some(self.canceller.get_or_insert_default()),
        }
    }

    /// The connection is quiet: gives the buffer up, if nothing lies in it, for a wait until the socket is readable. Says whether
    /// it did so.
    pub(super) fn doze(&mut self) -> bool {
        if self.class == Class::Small && self.state == State::Here && self.unread().is_empty() {
            (self.buffer, self.consumed, self.canceller) = (Vec::new(), 0, None);
            self.filled_up = false;
            self.state = State::Dozing;
        }
        self.is_dozing()
    }

    /// Whether it waits, without a buffer, until the socket is readable.
    pub(super) fn is_dozing(&self) -> bool {
        self.state == State::Dozing
    }

    /// Has the wait end. If the socket is readable, a read comes next.
    pub(super) fn rouse(&mut self, readable: Poll<()>) {
        if self.is_dozing() {
            self.state = State::Here;
        }
        if readable.is_ready() {
            self.reads = 0;
        }
    }

    /// Whether anything has been read since the connection was new or last readable.
    pub(super) fn has_read(&self) -> bool {
        self.reads > 0
    }

    /// Whether a large buffer is held for nothing: it is empty, and in a read that has received nothing yet.
    pub(super) fn holds_idle(&self) -> bool {
        self.class == Class::Large && self.state == State::Reading && self.began_empty
    }

    /// Calls the read in flight back, if it can be and has received nothing yet.
    pub(super) fn recall(&mut self) {
        if self.state == State::Reading
            && self.began_empty
            && let Some(canceller) = &mut self.canceller
        {
            canceller.cancel();
        }
    }

    /// The read was called back: gives the large buffer up if nothing lies in it.
    pub(super) fn yield_buffer(&mut self, buffers: &Buffers) {
        if self.class == Class::Large && self.state == State::Here && self.unread().is_empty() {
            self.give_back(buffers);
        }
    }

    /// No longer reads: gives everything back.
    pub(super) fn close(&mut self, buffers: &Buffers, inbox: &Rc<Inbox>) {
        debug_assert!(self.state != State::Reading, "a read in flight has the buffer");
        if self.state == State::Waiting {
            buffers.forget(inbox);
        }
        if let Some(granted) = inbox.granted.take() {
            buffers.give(granted);
        }
        if self.class == Class::Large {
            self.give_back(buffers);
        }
        self.state = State::Ended;
    }

    fn enlarge(&mut self, mut large: Vec<u8>) {
        debug_assert!(self.class == Class::Small && self.consumed == 0);
        large.extend_from_slice(&self.buffer);
        self.buffer = large;
        self.class = Class::Large;
        self.filled_up = false;
        self.small_reads = 0;
    }

    fn give_back(&mut self, buffers: &Buffers) {
        let large = std::mem::replace(&mut self.buffer, Vec::with_capacity(RECEIVE_SMALL_BYTES));
        buffers.give(large);
        self.consumed = 0;
        self.class = Class::Small;
        self.filled_up = false;
    }
}
