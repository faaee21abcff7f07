//! The answering half of one call, without types: head, messages, trailers.
//!
//! Heads and trailers that say nothing unusual are made once for each service and copied from there; HPACK makes one
//! octet of each of their fields.
//!
//! Does not: know what a message is, or where the next one comes from. Invariant: nothing that user code does while it is polled or
//! encoded (an error, a panic) leaves half a message in the output.

use std::task::Poll;

use corelane_call::{Code, Codec, Encoding, EncodingSet, Metadata, ReplyParts, Status, message};
use corelane_observe::Limit;
use corelane_wire::connection::{Connection, StreamKey};
use corelane_wire::frame::EndStream;
use corelane_wire::{FieldList, Name};

use crate::dispatch::{Panic, guard};
use crate::methods::Entry;
use crate::worker::Worker;

/// What a reply remembers from one poll to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyState {
    /// How the client lets us encode messages.
    accept: EncodingSet,
    /// How we do, once the head is sent.
    encoding: Encoding,
    head: Head,
}

/// Whether the client has our head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Due,
    Sent,
}

impl ReplyState {
    pub(crate) fn new(accept: EncodingSet) -> ReplyState {
        ReplyState { accept, encoding: Encoding::Identity, head: Head::Due }
    }
}

/// How far a batch of messages has come.
pub(crate) enum Batched {
    /// There may be more for the next one.
    More,
    /// The next message has yet to come.
    Pending,
    /// There will be no more.
    Ended(Result<(), Status>),
}

/// The answering half of a call, while it is being polled.
pub(crate) struct Reply<'a> {
    wire: &'a mut Connection,
    key: StreamKey,
    state: &'a mut ReplyState,
    entry: &'a Entry,
    worker: &'a Worker,
    /// The call has more to send and wants to be polled again.
    pub(crate) yielded: bool,
}

impl<'a> Reply<'a> {
    #[inline]
    pub(crate) fn new(
        wire: &'a mut Connection,
        key: StreamKey,
        state: &'a mut ReplyState,
        entry: &'a Entry,
        worker: &'a Worker,
    ) -> Reply<'a> {
        Reply { wire, key, state, entry, worker, yielded: false }
    }

    /// Sends the head: what the handler has set goes with it.
    #[inline]
    pub(crate) fn head(&mut self, parts: &ReplyParts) -> Result<(), Status> {
        let options = &self.entry.options;
        let encoding = parts.compression().resolve(&options.send, self.state.accept);
        self.state.encoding = encoding;
        let prepared = options.head(encoding);
        let stream = self.wire.stream(self.key).ok_or_else(gone)?;
        let sent = if parts.metadata.is_empty() {
            stream.send_headers_template(prepared, EndStream::No)
        } else {
            stream.send_headers(&with_metadata(prepared, &parts.metadata), EndStream::No)
        };
        debug_assert!(sent.is_ok(), "a head is sent once");
        self.state.head = Head::Sent;
        Ok(())
    }

    /// Encodes a message in place and sends it.
    #[inline]
    pub(crate) fn message<C: Codec>(
        &mut self,
        codec: &C,
        item: &C::Encode,
        parts: &ReplyParts,
    ) -> Result<(), Status> {
        let (worker, entry) = (self.worker, self.entry);
        let encoding = parts.message_encoding(self.state.encoding);
        let max = entry.options.encoding_size_max;
        let stream = self.wire.stream(self.key).ok_or_else(gone)?;
        let mut encoded = Ok(());
        let sent = stream.send_gathered(EndStream::No, |out| {
            let mark = out.mark();
            encoded = match guard(|| message::encode_gathered(codec, item, encoding, max, out)) {
                Ok(encoded) => encoded,
                Err(panic) => {
                    out.rewind(mark);
                    Err(worker.panicked(entry.path, &panic))
                }
            };
        });
        debug_assert!(sent.is_ok(), "messages follow the head and come before the end");
        match &encoded {
            Ok(()) => worker.counters.messages_out.increment(),
            Err(status) => worker.note_refused(status),
        }
        encoded
    }

    /// Encodes the messages that `next` has, in place and into one frame: until `turns` are used up, one for each, or the frame is full, or
    /// `next` has no more.
    pub(crate) fn messages<C: Codec>(
        &mut self,
        codec: &C,
        parts: &ReplyParts,
        turns: &mut u32,
        mut next: impl FnMut() -> Poll<Option<Result<C::Encode, Status>>>,
    ) -> Batched {
        let (worker, entry) = (self.worker, self.entry);
        let (max, encoding) = (entry.options.encoding_size_max, self.state.encoding);
        let Some(stream) = self.wire.stream(self.key) else { return Batched::Ended(Err(gone())) };
        let before = *turns;
        let mut batched = Batched::More;
        let sent = stream.send_batch(|batch| {
            let mut fill = || {
                while *turns > 0 && !batch.is_full() {
                    let item = match next() {
                        Poll::Pending => return Batched::Pending,
                        Poll::Ready(None) => return Batched::Ended(Ok(())),
                        Poll::Ready(Some(Err(status))) => return Batched::Ended(Err(status)),
                        Poll::Ready(Some(Ok(item))) => item,
                    };
                    // Which the handler may have changed meanwhile, for this message and those that follow.
                    let encoding = parts.message_encoding(encoding);
                    let added = batch.add(|out| message::encode_gathered(codec, &item, encoding, max, out));
                    if let Err(status) = added {
                        worker.note_refused(&status);
                        return Batched::Ended(Err(status));
                    }
                    *turns -= 1;
                }
                Batched::More
            };
            batched = match guard(&mut fill) {
                Ok(batched) => batched,
                Err(panic) => Batched::Ended(Err(worker.panicked(entry.path, &panic))),
            };
        });
        debug_assert!(sent.is_ok(), "messages follow the head and come before the end");
        worker.counters.messages_out.add(u64::from(before - *turns));
        batched
    }

    /// Octets of messages that may still be queued; none for a stream that is gone, which the session will hear of.
    #[inline]
    pub(crate) fn room(&mut self) -> usize {
        self.wire.stream(self.key).map_or(0, |mut stream| stream.send_room())
    }

    /// Lets the connection's other calls have their turn.
    pub(crate) fn yield_turn(&mut self) {
        self.yielded = true;
    }

    /// Notes a panic of the handler; what the client hears of it.
    #[cold]
    pub(crate) fn panicked(&self, panic: &Panic) -> Status {
        self.worker.panicked(self.entry.path, panic)
    }
}

/// Ends a call: trailers after what was sent, or one block for all where nothing was.
#[inline]
pub(crate) fn end(
    wire: &mut Connection,
    key: StreamKey,
    state: &ReplyState,
    worker: &Worker,
    ending: Result<Metadata, Status>,
) {
    let Some(stream) = wire.stream(key) else { return };
    let sent = match (state.head, &ending) {
        (Head::Sent, Ok(trailers)) if trailers.is_empty() => stream.send_trailers_template(&worker.trailers),
        (Head::Sent, Ok(trailers)) => stream.send_trailers(&with_metadata(&worker.trailers, trailers)),
        (Head::Sent, Err(status)) => stream.send_trailers(&status_fields(status)),
        (Head::Due, Err(status)) => stream.send_headers(&trailers_only(status), EndStream::Yes),
        (Head::Due, Ok(_)) => unreachable!("a call that succeeds has sent a response, and its head with it"),
    };
    debug_assert!(sent.is_ok(), "a call ends once");
}

/// Answers a request that does not become a call. `accepted` tells the client which encodings would be.
#[cold]
pub(crate) fn refuse(wire: &mut Connection, key: StreamKey, status: &Status, accepted: Option<EncodingSet>) {
    let Some(stream) = wire.stream(key) else { return };
    let mut fields = trailers_only(status);
    if let Some(accepted) = accepted {
        push_accepted(&mut fields, accepted);
    }
    let sent = stream.send_headers(&fields, EndStream::Yes);
    debug_assert!(sent.is_ok(), "nothing was sent before");
}

/// Lets the client send as many octets more on this stream.
#[inline]
pub(crate) fn credit(wire: &mut Connection, key: StreamKey, octets: u32) {
    if octets > 0
        && let Some(mut stream) = wire.stream(key)
    {
        stream.credit(octets);
    }
}

/// The head of a response without metadata, whose messages are encoded in this way.
pub(crate) fn head_fields(encoding: Encoding, accepted: EncodingSet) -> FieldList {
    let mut fields = bare_head();
    if encoding != Encoding::Identity {
        fields.push_known(Name::GrpcEncoding, encoding.name().as_bytes());
    }
    if !accepted.is_identity_only() {
        push_accepted(&mut fields, accepted);
    }
    fields
}

/// The trailers of a call that succeeded.
pub(crate) fn success_fields() -> FieldList {
    status_fields(&Status::ok())
}

fn bare_head() -> FieldList {
    let mut fields = FieldList::new();
    fields.push_known(Name::Status, b"200");
    fields.push_known(Name::ContentType, b"application/grpc");
    fields
}

fn push_accepted(fields: &mut FieldList, accepted: EncodingSet) {
    let mut value = Vec::new();
    accepted.write(&mut value);
    fields.push_known(Name::GrpcAcceptEncoding, &value);
}

fn with_metadata(prepared: &FieldList, metadata: &Metadata) -> FieldList {
    let mut fields = prepared.clone();
    metadata.append_to(&mut fields);
    fields
}

fn status_fields(status: &Status) -> FieldList {
    let mut fields = FieldList::new();
    status.to_fields(&mut fields);
    fields
}

fn trailers_only(status: &Status) -> FieldList {
    let mut fields = bare_head();
    status.to_fields(&mut fields);
    fields
}

#[cold]
fn gone() -> Status {
    Status::cancelled("the client is gone")
}

impl Worker {
    /// Counts the limit that kept a message from being sent, if it was one.
    #[cold]
    fn note_refused(&self, status: &Status) {
        if status.code() == Code::ResourceExhausted {
            self.counters.limits_hit.increment(Limit::MessageSent);
        }
    }
}
