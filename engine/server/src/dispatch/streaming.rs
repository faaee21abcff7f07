//! Methods whose handlers answer with a stream of messages: server-streaming and bidirectional calls.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use corelane_call::{Codec, ReplyParts, Request, Response, Status};
use corelane_observe::CallKind;
use futures_core::Stream;

use super::slots::{Home, Reuse, Vacant};
use super::typed::{Drive, Ending};
use super::{Arrival, Receive, Requests};
use crate::reply::{Batched, Reply};

/// Messages that one call sends before the other calls of its connection have their turn.
const MESSAGES_PER_TURN: u32 = 256;

/// A method that replies with a stream.
pub(crate) struct StreamedReply<C, F, Fut, S, R> {
    codec: C,
    handler: F,
    /// Homes of handlers' futures: few of them are in use at a time, since most handlers return their stream at once.
    handlers: Vacant<Home<Fut>>,
    types: PhantomData<(S, R)>,
}

impl<C, F, Fut, S, R> StreamedReply<C, F, Fut, S, R> {
    pub(crate) fn new(codec: C, handler: F) -> Self {
        StreamedReply { codec, handler, handlers: Vacant::new(), types: PhantomData }
    }
}

/// A running call: first its handler, then the stream that this returned.
pub(crate) struct Running<Fut, S> {
    /// `None` from when it has returned the stream: that may go on for long.
    handler: Option<Home<Fut>>,
    stream: Home<S>,
    /// What the handler said besides: trailers, and which messages are compressed. Most say nothing.
    parts: Option<Box<ReplyParts>>,
}

impl<Fut, S> Reuse for Running<Fut, S> {
    fn vacant() -> Self {
        Running { handler: None, stream: Home::vacant(), parts: None }
    }

    fn is_vacant(&self) -> bool {
        self.handler.as_ref().is_none_or(Reuse::is_vacant) && self.stream.is_vacant()
    }

    fn vacate(&mut self) {
        self.parts = None;
        if let Some(handler) = &mut self.handler {
            handler.vacate();
        }
        self.stream.vacate();
    }
}

impl<C, F, Fut, S, R> Drive for StreamedReply<C, F, Fut, S, R>
where
    C: Codec,
    R: Receive<C>,
    F: Fn(Request<R::Message>) -> Fut,
    Fut: Future<Output = Result<Response<S>, Status>>,
    S: Stream<Item = Result<C::Encode, Status>>,
{
    type Home = Running<Fut, S>;
    const REQUESTS: Requests = R::REQUESTS;
    const KIND: CallKind = match R::REQUESTS {
        Requests::One => CallKind::ServerStreaming,
        Requests::Many => CallKind::Bidi,
    };

    fn begin(&self, home: &mut Running<Fut, S>, arrival: Arrival<'_>) -> Result<(), Status> {
        let request = R::receive(&self.codec, arrival)?;
        // Where the last call's handler has not returned, its home is still here.
        let handler = home.handler.get_or_insert_with(|| self.handlers.take());
        handler.set(Some((self.handler)(request)));
        Ok(())
    }

    fn drive(&self, home: &mut Running<Fut, S>, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Poll<Ending> {
        if let Some(future) = home.handler.as_mut().and_then(|handler| handler.as_mut().as_pin_mut()) {
            let Poll::Ready(result) = future.poll(cx) else { return Poll::Pending };
            if let Some(handler) = &mut home.handler {
                handler.vacate();
            }
            self.handlers.give_back(home.handler.take().expect("it was polled here"));
            let (parts, stream) = match result {
                Ok(response) => response.into_reply(),
                Err(status) => return Poll::Ready(Err(status)),
            };
            home.stream.set(Some(stream));
            // At once, before the first message: clients wait for it.
            if let Err(status) = reply.head(&parts) {
                return Poll::Ready(Err(status));
            }
            home.parts = parts.outlive_head().then(|| Box::new(parts));
        }
        let Poll::Ready(result) = self.pump(home, cx, reply) else { return Poll::Pending };
        let parts = home.parts.take();
        Poll::Ready(
            result.map(|()| parts.map(|mut parts| std::mem::take(&mut parts.trailers)).unwrap_or_default()),
        )
    }
}

impl<C, F, Fut, S, R> StreamedReply<C, F, Fut, S, R>
where
    C: Codec,
    S: Stream<Item = Result<C::Encode, Status>>,
{
    /// Sends what the stream has, as long as there is room and it is this call's turn.
    fn pump(
        &self,
        home: &mut Running<Fut, S>,
        cx: &mut Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Poll<Result<(), Status>> {
        const NOTHING: &ReplyParts = &ReplyParts::new();
        let parts = home.parts.as_deref().unwrap_or(NOTHING);
        let mut turns = MESSAGES_PER_TURN;
        while turns > 0 {
            if reply.room() == 0 {
                // `Session::writable` comes when there is room again.
                return Poll::Pending;
            }
            let mut stream = home.stream.as_mut().as_pin_mut().expect("the handler has returned its stream");
            let next = || stream.as_mut().poll_next(cx);
            match reply.messages(&self.codec, parts, &mut turns, next) {
                Batched::More => {}
                Batched::Pending => return Poll::Pending,
                Batched::Ended(result) => return Poll::Ready(result),
            }
        }
        reply.yield_turn();
        Poll::Pending
    }
}
