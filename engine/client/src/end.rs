//! How a call ended, as its session tells it: what the server said, or why it said nothing.

use corelane_call::{Code, Encoding, Gathered, Metadata, Status};
use corelane_policy::resilience::Reach;

use crate::Cause;

/// How a call ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The server said how.
    Answered(Status),
    /// It did not. Boxed, since few calls are lost, and the ends of all are moved.
    Lost(Box<Lost>),
}

impl End {
    /// The code that it amounts to.
    pub(crate) fn code(&self) -> Code {
        match self {
            End::Answered(status) => status.code(),
            End::Lost(lost) => lost.cause.code().unwrap_or(Code::Unknown),
        }
    }

    /// The code, if it says anything about the endpoint: what cannot be sent is no fault of its.
    pub(crate) fn verdict(&self) -> Option<Code> {
        match self {
            End::Lost(lost) if lost.cause.is_of_the_request() => None,
            _ => Some(self.code()),
        }
    }
}

impl From<Lost> for End {
    #[cold]
    fn from(lost: Lost) -> End {
        End::Lost(Box::new(lost))
    }
}

/// A call that got no status from the server.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) cause: Cause,
    /// What else is known, and the code where the cause does not say.
    pub(crate) status: Option<Status>,
    pub(crate) reach: Reach,
}

impl Lost {
    pub(crate) fn new(cause: Cause) -> Lost {
        Lost { cause, status: None, reach: Reach::MaybeExecuted }
    }

    /// The server has said that it did not look at the call.
    pub(crate) fn unseen(cause: Cause) -> Lost {
        Lost { cause, status: None, reach: Reach::Refused }
    }
}

/// What a unary call has come to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) begun: Begun,
    pub(crate) encoding: Encoding,
    pub(crate) metadata: Metadata,
    pub(crate) trailers: Metadata,
    pub(crate) message: Gathered,
}

/// Whether the response has begun with a head of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    No,
    Yes,
}

impl Outcome {
    /// Whether the server said OK.
    #[inline]
    pub(crate) fn is_success(&self) -> bool {
        matches!(&self.end, End::Answered(status) if status.code() == Code::Ok)
    }

    /// Of a call that nobody knows: its session has forgotten it.
    pub(crate) fn gone() -> Outcome {
        Outcome {
            end: Lost::new(Cause::ConnectionLost { reason: "it knows nothing of the call".into() }).into(),
            begun: Begun::No,
            encoding: Encoding::Identity,
            metadata: Metadata::new(),
            trailers: Metadata::new(),
            message: Gathered::default(),
        }
    }
}
