//! One call, from its caller to its answer: planned once, placed on a connection for each attempt, and tried again where that is
//! allowed.
//!
//! Nothing here is a task: the caller's own future does all of it, and dropping that future ends the call.

mod cached;
mod feed;
mod hedged;
mod place;
mod plan;
mod pump;
mod short;
mod streaming;
mod unary;

pub(crate) use cached::{Cache, Kept};
pub(crate) use plan::Plan;
pub use plan::WaitForReady;
pub(crate) use short::UnaryCall;
pub(crate) use streaming::{Requests, feed, many, one_of_many};
