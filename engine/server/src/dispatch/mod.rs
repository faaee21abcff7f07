//! From a request to a running handler and back: the one place that is generic over a method's types.
//!
//! A [`Method`] is what the router leads to. Its typed side decodes the request, calls the handler and polls what that
//! returned; all that it has to say goes through [`Reply`], which knows no types, so that what is compiled once for each
//! method stays small.
//!
//! Does not: own calls; the session does. Invariant: user code runs inside [`guard`], outside of any borrow of ours.

mod slots;
mod streaming;
mod typed;
mod unary;

use std::rc::Rc;
use std::task::Context;

use corelane_call::{
    CallParts, Codec, Encoding, Gathered, Inbound, Metadata, Request, Status, Streaming, message,
};
use corelane_observe::CallKind;
use corelane_wire::grpc::Message;

pub(crate) use corelane_runtime::{Panic, guard};
pub(crate) use streaming::StreamedReply;
pub(crate) use typed::Typed;
pub(crate) use unary::SingleReply;

use crate::reply::Reply;

/// What arrived of a request.
pub(crate) enum Body<'a> {
    /// Its one message, where it has arrived.
    Message(Message<'a>),
    /// Its one message, which came in pieces. It is whole.
    Gathered(Gathered),
    /// The arriving half of a stream of messages.
    Stream(Rc<Inbound>),
}

impl Body<'_> {
    /// Whether it is one message, and that is compressed.
    #[inline]
    pub(crate) fn is_compressed(&self) -> bool {
        match self {
            Body::Message(message) => message.compressed,
            Body::Gathered(gathered) => gathered.message().is_ok_and(|message| message.compressed),
            Body::Stream(_) => false,
        }
    }
}

/// A request on its way to the handler.
pub(crate) struct Arrival<'a> {
    /// Everything but the message.
    pub(crate) parts: Box<CallParts>,
    pub(crate) body: Body<'a>,
    /// The request's `grpc-encoding`.
    pub(crate) encoding: Encoding,
    pub(crate) decoding_size_max: usize,
}

/// How far a poll has brought a call.
pub(crate) enum Progress {
    /// It goes on, at this index among its method's calls.
    Pending(u32),
    /// It is over: trailing metadata, or an error.
    Done(Result<Metadata, Status>),
}

/// How many messages a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requests {
    /// Exactly one: the handler starts when it is there.
    One,
    /// Any number: the handler starts at once.
    Many,
}

/// One method of a service, its types erased.
pub(crate) trait Method {
    /// How many messages its requests have.
    fn requests(&self) -> Requests;
    /// Which of the four kinds its calls are of.
    fn kind(&self) -> CallKind;
    /// Starts a call and polls it for the first time.
    fn start(&self, arrival: Arrival<'_>, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Progress;
    /// Polls the pending call at `index`.
    fn poll(&self, index: u32, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Progress;
    /// Drops the pending call at `index`.
    fn cancel(&self, index: u32) -> Result<(), Panic>;
}

/// How a method takes its request.
pub(crate) trait Receive<C: Codec>: 'static {
    /// What the handler gets.
    type Message;
    const REQUESTS: Requests;
    fn receive(codec: &C, arrival: Arrival<'_>) -> Result<Request<Self::Message>, Status>;
}

/// One message.
pub(crate) struct One;

impl<C: Codec> Receive<C> for One {
    type Message = C::Decode;
    const REQUESTS: Requests = Requests::One;

    #[inline]
    fn receive(codec: &C, arrival: Arrival<'_>) -> Result<Request<C::Decode>, Status> {
        let (encoding, max) = (arrival.encoding, arrival.decoding_size_max);
        let item = match arrival.body {
            Body::Message(bytes) => message::decode_message(codec, bytes, encoding, max)?,
            Body::Gathered(gathered) => message::decode_gathered(codec, gathered, encoding, max)?,
            Body::Stream(_) => unreachable!("the session gathers what REQUESTS says"),
        };
        Ok(Request::from_boxed(arrival.parts, item))
    }
}

/// Any number of messages.
pub(crate) struct Many;

impl<C: Codec> Receive<C> for Many {
    type Message = Streaming<C::Decode>;
    const REQUESTS: Requests = Requests::Many;

    fn receive(codec: &C, arrival: Arrival<'_>) -> Result<Request<Streaming<C::Decode>>, Status> {
        let Body::Stream(inbound) = arrival.body else {
            unreachable!("the session gathers what REQUESTS says")
        };
        let messages = Streaming::new(codec.clone(), inbound, arrival.encoding, arrival.decoding_size_max);
        Ok(Request::from_boxed(arrival.parts, messages))
    }
}
