//! Streams that a channel opens on one of its connections for itself, beside the calls of its users: health, load reports.
//!
//! They carry no deadline, are not balanced, and do not keep a connection from being idle.

use std::cell::OnceCell;
use std::rc::Rc;

use corelane_call::message::encode_gathered;
use corelane_call::{Codec, Encoding, EncodingSet, Inbound, Source, Streaming};
use corelane_memory::Key;
use corelane_runtime::now;
use corelane_wire::Instant;
use corelane_wire::connection::StreamKey;
use corelane_wire::frame::EndStream;

use crate::Method;
use crate::method::{Encodings, MethodState};
use crate::pool::Pooled;
use crate::session::{ClientLink, ClientSession, Opening, Origin};
use crate::shared::Shared;
use crate::standing::Standing;

/// The largest message that such a stream takes: they are small.
const MESSAGE_MAX: usize = 64 * 1024;

/// Sends `message` and gives the stream of responses; nothing if the connection has no stream left.
pub(crate) fn subscribe<C: Codec>(
    shared: &Shared,
    pooled: &Pooled,
    method: Method,
    codec: &C,
    message: &C::Encode,
) -> Option<Streaming<C::Decode>> {
    let encodings = Encodings { send: Encoding::Identity, accept: EncodingSet::default() };
    let head = MethodState::new(method).head(shared, encodings);
    let reader = Rc::new(Reader { place: OnceCell::new(), standing: pooled.standing.clone() });
    let inbound = Rc::new(Inbound::with_source(reader.clone()));
    let origin = Rc::new(Origin { endpoint: "".into(), attempt: 1, began: now() });
    let opened = pooled.link.with(|session, io| {
        let (deadline, receive_max) = (Instant::MAX, MESSAGE_MAX);
        let opening = Opening { head: &head, more: None, deadline, receive_max, accept: encodings.accept };
        let key = session.open_many(io, &opening, EndStream::No, inbound.clone(), origin).ok()?;
        let encoded = session.send(io, key, EndStream::Yes, |out| {
            encode_gathered(codec, message, Encoding::Identity, MESSAGE_MAX, out)
        });
        if encoded.is_err() {
            session.give_up(io, key);
            return None;
        }
        Some((key, session.stream_of(key)?))
    });
    let (key, stream) = opened??;
    pooled.standing.aside(1);
    let _ = reader.place.set((pooled.link.clone(), key, stream));
    Some(Streaming::new(codec.clone(), inbound, Encoding::Identity, MESSAGE_MAX))
}

struct Reader {
    place: OnceCell<(ClientLink, Key, StreamKey)>,
    standing: Rc<Standing>,
}

impl Source for Reader {
    fn consumed(&self, bytes: u32) {
        if let Some((link, _, stream)) = self.place.get() {
            link.with(|_, io| ClientSession::credit(io, *stream, bytes));
        }
    }

    fn abandoned(&self) {
        if let Some((link, key, _)) = self.place.get() {
            self.standing.aside(-1);
            ClientSession::release(link, *key);
        }
    }
}
