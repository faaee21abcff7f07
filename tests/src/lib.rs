//! The servers that foreign judges talk to, and what they have in common.
//!
//! Whatever needs more than one crate is tested here: `tests/` has the tests that cargo runs, `bin/` the programs that
//! `tests/run` starts for judges that others wrote (h2spec, grpc-go's and C-core's clients, the conformance suite).
//!
//! Does not: judge. The programs do what their caller says, and the caller compares.

pub mod chaos;
pub mod conformance;
pub mod interop;
pub mod program;
pub mod protos;

/// The README's examples, compiled. They stand here because this crate has a build script, as a user's would.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
