//! What is generated from `proto/`, by package.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));
