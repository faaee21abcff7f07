//! What generated code says about a method.

/// Whether a method may be called again without harm: the `idempotency_level` in its `.proto` file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It changes nothing: `NO_SIDE_EFFECTS`.
    NoSideEffects,
    /// Calling it twice does what calling it once does: `IDEMPOTENT`.
    Idempotent,
}

/// A method of a service, as generated code names it.
///
/// ```
/// use corelane_client::{Idempotency, Method};
///
/// const GET: Method = Method::new("/shop.v1.Orders/Get").with_idempotency(Idempotency::NoSideEffects);
/// assert_eq!(GET.path(), "/shop.v1.Orders/Get");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    path: &'static str,
    idempotency: Idempotency,
}

impl Method {
    /// The method whose path on the wire is `/package.Service/Method`.
    #[must_use]
    pub const fn new(path: &'static str) -> Method {
        Method { path, idempotency: Idempotency::Unknown }
    }

    /// The same method, of which more is known.
    #[must_use]
    pub const fn with_idempotency(self, idempotency: Idempotency) -> Method {
        Method { path: self.path, idempotency }
    }

    /// `/package.Service/Method`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.path
    }

    /// Whether it may be called again.
    #[must_use]
    pub const fn idempotency(self) -> Idempotency {
        self.idempotency
    }
}
