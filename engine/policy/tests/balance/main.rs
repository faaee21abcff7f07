//! What the balancing policies do, from the outside: a publisher, some workers' pickers, and their picks counted.
#![allow(clippy::unwrap_used)]

mod distribution;
mod lists;
mod ring;
mod states;
mod support;
