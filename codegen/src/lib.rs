//! Generates Corelane services from `.proto` files, without protoc.
//!
//! In a `build.rs`:
//!
//! ```no_run
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     corelane_codegen::compile_protos(&["proto/hello.proto"], &["proto"])?;
//!     Ok(())
//! }
//! ```
//!
//! and in the crate `corelane::include_proto!("hello")`, which brings in, for the package `hello`:
//!
//! - a type for each message and enum, by prost;
//! - for a service `Greeter` the module `greeter_server` with the trait `Greeter`, to implement, and the type `GreeterServer`, to
//!   give to a server;
//! - and the module `greeter_client` with what calls it: `GreeterClient` on a worker, `GreeterHandle` from any thread and any
//!   async runtime, `BlockingGreeterClient` where a thread may block.
//!
//! A method that is called like something that these types have themselves, `Connect` for example, is `connect_` there; and a
//! module whose name a message or a package has taken has a `_` behind its name, too.
//!
//! [`configure`] has the options. The command `corelane-codegen` does the same by hand, and `protoc-gen-corelane` does it as a
//! plugin of protoc and buf.
//!
//! What this crate does not do: run anything. It needs no protoc, opens no connection, and writes only where it is told to.
//!
//! How it goes: `parse` reads files into descriptors, or checks those that it is given; `check` looks for names that Rust
//! cannot tell apart, and `modules` knows which names of modules are taken; `comments` makes comments fit for rustdoc and
//! `deprecated` marks what prost-build leaves out; prost-build writes the messages, and `service`, `client` and `server` the
//! services; `output` puts them together and lays them out. From there on the code is only text: whatever is wrong with it is an
//! error here, not in the user's build.

mod builder;
mod check;
mod client;
mod comments;
mod deprecated;
mod error;
mod modules;
pub mod options;
mod output;
mod parse;
mod paths;
pub mod plugin;
mod server;
mod service;
mod settle;
mod tag;

use std::path::Path;

pub use builder::{Builder, configure};
pub use error::{CodegenError, Position};
pub use prost_types::FileDescriptorSet;

/// Generates the code of `.proto` files into Cargo's `OUT_DIR`, with everything at its default.
///
/// What the files import is looked for in `includes`, and the files themselves must lie under one of them. To bring the code
/// in, use `corelane::include_proto!`.
///
/// # Errors
///
/// If a file cannot be read or is wrong, with its name, line and column where they are known; or if a file cannot be written.
pub fn compile_protos(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
) -> Result<(), CodegenError> {
    configure().compile_protos(protos, includes)
}

/// Generates the code of descriptors into Cargo's `OUT_DIR`, with everything at its default.
///
/// # Errors
///
/// If the descriptors are not sound, or if a file cannot be written.
pub fn compile_fds(descriptors: FileDescriptorSet) -> Result<(), CodegenError> {
    configure().compile_fds(descriptors)
}
