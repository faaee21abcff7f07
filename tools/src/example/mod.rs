//! The example server: users and orders in memory, the services of `proto/example`.
//!
//! Each worker has its own [`Users`] and [`Orders`]; what they share is the [`Store`], behind plain locks that are held for
//! as long as a map takes. The engine itself shares nothing: sharing is the application's choice, and this is what it costs.

mod clock;
mod orders;
mod room;
mod rules;
mod store;
mod users;

pub(crate) use orders::Orders;
pub(crate) use store::Store;
pub(crate) use users::Users;

/// What is generated from `proto/example`.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]
pub(crate) mod proto {
    corelane::include_proto!("example.v1");
}
