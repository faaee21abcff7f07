//! What generated code says about a method, and what a channel keeps for it on one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use corelane_call::{Encoding, EncodingSet};
use corelane_policy::config::MethodConfig;
use corelane_wire::hpack::Template;
use corelane_wire::{FieldList, Name};

use crate::shared::{Config, Shared};

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

/// How a caller's messages are encoded, and how its responses may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encodings {
    pub(crate) send: Encoding,
    pub(crate) accept: EncodingSet,
}

/// A method on one worker's channel: what the service config says, and the heads of requests without anything special.
pub(crate) struct MethodState {
    pub(crate) method: Method,
    heads: RefCell<Vec<(Encodings, Rc<Template>)>>,
    /// The version of the config that was read.
    version: Cell<Option<u64>>,
    config: RefCell<Option<Rc<Settings>>>,
}

/// What a service config says about one method.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Arc<Config>,
    pub(crate) method: Option<Arc<MethodConfig>>,
}

/// Heads of one method: one for each combination of encodings that its callers use.
const HEADS_MAX: usize = 16;

impl MethodState {
    pub(crate) fn new(method: Method) -> MethodState {
        MethodState {
            method,
            heads: RefCell::default(),
            version: Cell::new(None),
            config: RefCell::default(),
        }
    }

    /// What the service config says, as of version `version`.
    #[inline]
    pub(crate) fn settings(&self, shared: &Shared, version: u64) -> Rc<Settings> {
        if self.version.get() == Some(version)
            && let Some(settings) = &*self.config.borrow()
        {
            return settings.clone();
        }
        let config = shared.config.load_full();
        let method = config.service.method(self.method.path()).cloned();
        let settings = Rc::new(Settings { config, method });
        *self.config.borrow_mut() = Some(settings.clone());
        self.version.set(Some(version));
        settings
    }

    /// The head of a request that has neither metadata nor a deadline.
    #[inline]
    pub(crate) fn head(&self, shared: &Shared, encodings: Encodings) -> Rc<Template> {
        if let Some((_, head)) = self.heads.borrow().iter().find(|(known, _)| *known == encodings) {
            return head.clone();
        }
        let head = Rc::new(Template::from(self.make_head(shared, encodings)));
        let mut heads = self.heads.borrow_mut();
        if heads.len() < HEADS_MAX {
            heads.push((encodings, head.clone()));
        }
        head
    }

    fn make_head(&self, shared: &Shared, encodings: Encodings) -> FieldList {
        let mut fields = FieldList::new();
        fields.push_known(Name::Method, b"POST");
        fields.push_known(Name::Scheme, shared.scheme().as_bytes());
        fields.push_known(Name::Path, self.method.path().as_bytes());
        fields.push_known(Name::Authority, shared.authority.as_bytes());
        fields.push_known(Name::Te, b"trailers");
        fields.push_known(Name::ContentType, b"application/grpc");
        fields.push(b"user-agent", shared.options.user_agent.as_bytes());
        if encodings.send != Encoding::Identity {
            fields.push_known(Name::GrpcEncoding, encodings.send.name().as_bytes());
        }
        if !encodings.accept.is_identity_only() {
            let mut accepted = Vec::new();
            encodings.accept.write(&mut accepted);
            fields.push_known(Name::GrpcAcceptEncoding, &accepted);
        }
        fields
    }
}
