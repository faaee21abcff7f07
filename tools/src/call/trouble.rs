//! How `corelane call` can fail, and the exit code of each.

use std::fmt;

use corelane::client::{BuildError, StartError};
use corelane::{Code, Status};

use crate::call::render;

/// Added to a status's number, as grpcurl does, so that codes of calls are apart from all others.
const STATUS_CODES_BEGIN: u8 = 64;

/// Why there was no answer, or not a good one.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The call failed.
    Call(Status),
    /// The server could not be asked what it serves.
    Reflection(Status),
    /// Anything else, in words for the user.
    Other(String),
}

impl Trouble {
    /// There is no such service, method or type.
    pub(crate) fn nothing(name: &str) -> Trouble {
        Trouble::Other(format!("there is no {name}"))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Trouble::Call(status) | Trouble::Reflection(status) => {
                STATUS_CODES_BEGIN + status.code().number()
            }
            Trouble::Other(_) => 1,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Call(status) => write!(f, "error: the call failed\n{}", render::status(status)),
            Trouble::Reflection(status) => {
                let what = match status.code() {
                    Code::Unimplemented => "the server has no reflection; give --proto or --protoset",
                    _ => "the server could not be asked what it serves",
                };
                write!(f, "error: {what}\n{}", render::status(status))
            }
            Trouble::Other(text) => write!(f, "error: {text}"),
        }
    }
}

impl From<BuildError> for Trouble {
    fn from(error: BuildError) -> Trouble {
        Trouble::Other(error.to_string())
    }
}

impl From<StartError> for Trouble {
    fn from(error: StartError) -> Trouble {
        Trouble::Other(format!("cannot start: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_the_status() {
        assert_eq!(Trouble::Call(Status::not_found("x")).exit_code(), 69);
        assert_eq!(Trouble::Reflection(Status::unimplemented("x")).exit_code(), 76);
        assert_eq!(Trouble::Call(Status::unauthenticated("x")).exit_code(), 80);
        assert_eq!(Trouble::nothing("a.B").exit_code(), 1);
    }

    #[test]
    fn every_trouble_is_told_in_words() {
        assert_eq!(Trouble::nothing("a.B").to_string(), "error: there is no a.B");
        let call = Trouble::Call(Status::not_found("no user 7")).to_string();
        assert_eq!(call, "error: the call failed\n  Code: NOT_FOUND\n  Message: no user 7");
        let first = |status| Trouble::Reflection(status).to_string().lines().next().unwrap().to_owned();
        let none = "error: the server has no reflection; give --proto or --protoset";
        assert_eq!(first(Status::unimplemented("x")), none);
        assert_eq!(first(Status::unavailable("x")), "error: the server could not be asked what it serves");
    }
}
