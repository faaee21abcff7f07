//! How a call counts for those who watch an endpoint: breakers and outlier detection.

/// What a call says about the endpoint that served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing: the caller gave up, say, or the call never got there.
    Ignored,
}
