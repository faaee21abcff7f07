//! A program that links `corelane-wire` without std and answers one gRPC call with it: the proof of the no_std claim.
//!
//! `cargo run -p corelane-nostd --profile nostd` is the proof: that profile aborts on panic, which a program without std has
//! to on stable Rust, and with `panic = "abort"` this one has no std, an allocator and a `main` of its own (`bare.rs`).
//! Under every other profile it is an ordinary program that makes the same call, so that the whole workspace builds, is
//! linted and tested with one command. It must be built alone (`-p`): among all members, features unite, and `memory` gets std.
//!
//! Does not: open a socket or read a clock. Exit code 0 says that the call was answered; any other names the step that failed.
#![cfg_attr(panic = "abort", no_std)]
#![cfg_attr(panic = "abort", no_main)]

extern crate alloc;

#[cfg(panic = "abort")]
mod bare;
mod call;

#[cfg(not(panic = "abort"))]
fn main() -> std::process::ExitCode {
    call::exit_code().into()
}
