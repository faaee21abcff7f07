//! One call of a connection, from its head to its end.

use std::rc::Rc;

use corelane_call::{Code, Encoding, GatherError, Gathered, Inbound, Metadata, Status};
use corelane_wire::Instant;
use corelane_wire::connection::StreamKey;

use crate::admission::Permit;
use crate::intercept::Waiting;
use crate::refusal::Refusal;
use crate::reply::ReplyState;

/// What a stream of a connection is to the server.
pub(crate) enum Exchange {
    /// A call.
    Call(Call),
    /// A request that is not gRPC and waits for its end.
    Refused {
        /// Its stream.
        key: StreamKey,
        /// What it will be told.
        refusal: Refusal,
    },
}

/// One call.
pub(crate) struct Call {
    /// The stream that it came on. A slot is used again, a key never: events of an earlier call are told by it.
    pub(crate) key: StreamKey,
    /// The method's index.
    pub(crate) method: u32,
    /// How the request's messages are encoded.
    pub(crate) encoding: Encoding,
    pub(crate) state: State,
    pub(crate) reply: ReplyState,
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
    /// What came with the request, until the handler gets it.
    pub(crate) metadata: Metadata,
    pub(crate) timer: Timer,
    pub(crate) passed: Passed,
    /// Given back when the call is dropped.
    pub(crate) _permit: Permit,
}

/// Whether the runtime holds a timer for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It does not.
    Unset,
    /// It does.
    Set,
}

/// Whether all interceptors have let a call through, so that they must hear of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Not yet, or one refused.
    No,
    /// They have.
    Yes,
}

/// How far a call has come.
pub(crate) enum State {
    /// The one message of the request is not here yet; `None` until a part of it is.
    Gathering(Option<Gathered>),
    /// An interceptor has the call and takes its time.
    Intercepted {
        /// Gives the call back.
        waiting: Waiting,
        /// What the handler will get.
        body: Held,
    },
    /// The handler runs, or the stream that it returned.
    Running {
        /// Index among the method's calls.
        index: u32,
        /// The arriving half, where the method takes a stream.
        inbound: Option<Rc<Inbound>>,
    },
    /// Another poll than the first, or its preparation, is under way: user code runs, and nobody but the poll's own caller sees this.
    Polling,
}

/// A request's body while an interceptor has the call.
pub(crate) enum Held {
    /// One message.
    Message(Gathered),
    /// A stream of them.
    Stream(Rc<Inbound>),
}

impl Exchange {
    /// Its stream.
    #[inline]
    pub(crate) fn key(&self) -> StreamKey {
        match self {
            Exchange::Call(call) => call.key,
            Exchange::Refused { key, .. } => *key,
        }
    }
}

impl State {
    /// Takes the state, to replace it by what comes next.
    #[inline]
    pub(crate) fn take(&mut self) -> State {
        std::mem::replace(self, State::Polling)
    }

    /// Where the pieces of a stream of requests go.
    #[inline]
    pub(crate) fn inbound(&self) -> Option<&Rc<Inbound>> {
        match self {
            State::Running { inbound, .. } => inbound.as_ref(),
            State::Intercepted { body: Held::Stream(inbound), .. } => Some(inbound),
            State::Gathering(_) | State::Intercepted { .. } | State::Polling => None,
        }
    }
}

/// What a client hears whose unary request is not one message.
#[cold]
pub(crate) fn not_one_message(error: GatherError) -> Status {
    let code = match error {
        GatherError::TooLarge { .. } => Code::ResourceExhausted,
        GatherError::Extra | GatherError::Missing => Code::Unimplemented,
        GatherError::Cut | GatherError::BadFlag(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}
