//! Methods whose handlers answer with one message: unary and client-streaming calls.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use corelane_call::{Codec, Request, Response, Status};
use corelane_observe::CallKind;

use super::slots::{Home, Reuse};
use super::typed::{Drive, Ending};
use super::{Arrival, Receive, Requests};
use crate::reply::Reply;

/// A method that replies with one message.
pub(crate) struct SingleReply<C, F, Fut, R> {
    codec: C,
    handler: F,
    types: PhantomData<(Fut, R)>,
}

impl<C, F, Fut, R> SingleReply<C, F, Fut, R> {
    pub(crate) fn new(codec: C, handler: F) -> Self {
        SingleReply { codec, handler, types: PhantomData }
    }
}

impl<C, F, Fut, R> Drive for SingleReply<C, F, Fut, R>
where
    C: Codec,
    R: Receive<C>,
    F: Fn(Request<R::Message>) -> Fut,
    Fut: Future<Output = Result<Response<C::Encode>, Status>>,
{
    type Home = Home<Fut>;
    const REQUESTS: Requests = R::REQUESTS;
    const KIND: CallKind = match R::REQUESTS {
        Requests::One => CallKind::Unary,
        Requests::Many => CallKind::ClientStreaming,
    };

    #[inline]
    fn begin(&self, home: &mut Home<Fut>, arrival: Arrival<'_>) -> Result<(), Status> {
        let request = R::receive(&self.codec, arrival)?;
        home.set(Some((self.handler)(request)));
        Ok(())
    }

    #[inline]
    fn drive(&self, home: &mut Home<Fut>, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Poll<Ending> {
        let handler = home.as_mut().as_pin_mut().expect("a running call has its handler's future");
        let Poll::Ready(result) = handler.poll(cx) else { return Poll::Pending };
        home.vacate();
        Poll::Ready(result.and_then(|response| {
            let (mut parts, message) = response.into_reply();
            reply.head(&parts)?;
            reply.message(&self.codec, &message, &parts)?;
            Ok(std::mem::take(&mut parts.trailers))
        }))
    }
}
