//! What is known of a call before its first attempt: its method's settings, its deadline, its head, its limits.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelane_call::compression::Compression;
use corelane_call::{CallParts, Encoding, Metadata, Status};
use corelane_policy::config::{HedgingPolicy, RetryPolicy};
use corelane_policy::resilience::PREVIOUS_ATTEMPTS_NAME;
use corelane_wire::grpc::timeout;
use corelane_wire::hpack::Template;
use corelane_wire::{FieldList, Instant, Name};

use super::cached::Cache;
use super::place::join;
use crate::caller::CallerOptions;
use crate::error::Failure;
use crate::local::{Counted, Local};
use crate::method::{Encodings, MethodState, Settings};
use crate::options::Retries;
use crate::time::by;
use crate::{Cause, Place};
use crate::{Idempotency, Method};

/// See the module.
pub(crate) struct Plan {
    pub(crate) local: Rc<Local>,
    pub(crate) method: Rc<MethodState>,
    pub(crate) settings: Rc<Settings>,
    pub(crate) began: Instant,
    /// [`Instant::MAX`] without one.
    pub(crate) deadline: Instant,
    pub(crate) wait_for_ready: bool,
    pub(crate) encodings: Encodings,
    pub(crate) send_max: usize,
    pub(crate) receive_max: usize,
    /// What the policy hashes.
    pub(crate) hash: Option<u64>,
    pub(crate) metadata: Metadata,
    /// The head of a request with nothing special.
    head: Rc<Template>,
    _counted: Counted,
}

/// Whether a call waits while no connection is ready (wait-for-ready.md): an extension of its request.
///
/// ```
/// use corelane_call::Request;
/// use corelane_client::WaitForReady;
///
/// let mut request = Request::new(());
/// request.extensions_mut().insert(WaitForReady(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitForReady(pub bool);

impl Plan {
    #[inline]
    pub(crate) fn new(
        local: &Rc<Local>,
        method: Method,
        options: &CallerOptions,
        parts: &mut CallParts,
    ) -> Plan {
        let began = corelane_runtime::now();
        local.touch(began);
        let method = local.method(method);
        let settings = method.settings(&local.shared, local.shared.version());
        let send = match parts.extensions.get::<Compression>() {
            None | Some(Compression::Service) => options.send,
            Some(Compression::Off) => Encoding::Identity,
            Some(Compression::Use(encoding)) => *encoding,
        };
        let encodings = Encodings { send, accept: options.accept };
        let own = parts.timeout.or(local.shared.options.timeout);
        let mut plan = Plan {
            local: local.clone(),
            head: method.head(&local.shared, encodings),
            method,
            settings,
            began,
            deadline: deadline(began, own, parts.deadline),
            wait_for_ready: local.shared.options.wait_for_ready,
            encodings,
            send_max: options.send_max,
            receive_max: options.receive_max,
            hash: None,
            metadata: std::mem::take(&mut parts.metadata),
            _counted: Counted::new(local),
        };
        plan.configure(options, parts);
        plan
    }

    /// Takes what the service config says.
    #[inline]
    fn configure(&mut self, options: &CallerOptions, parts: &CallParts) {
        let config = self.settings.method.as_deref();
        if let Some(timeout) = config.and_then(|config| config.timeout) {
            self.deadline = self.deadline.min(self.began + timeout);
        }
        let wanted = parts.extensions.get::<WaitForReady>().map(|wait| wait.0);
        self.wait_for_ready = wanted
            .or_else(|| config.and_then(|config| config.wait_for_ready))
            .unwrap_or(self.local.shared.options.wait_for_ready);
        let limit = |own: usize, configured: Option<u32>| {
            configured.map_or(own, |configured| own.min(usize::try_from(configured).unwrap_or(usize::MAX)))
        };
        self.send_max = limit(options.send_max, config.and_then(|config| config.max_request_message_bytes));
        self.receive_max =
            limit(options.receive_max, config.and_then(|config| config.max_response_message_bytes));
        self.hash = self.local.hash(&self.metadata);
    }

    /// Waits for the first result of the resolver, whatever it is, and plans anew: its service config holds for the calls that
    /// have waited for it, too.
    pub(crate) async fn await_config(
        &mut self,
        options: &CallerOptions,
        parts: &CallParts,
    ) -> Result<(), Failure> {
        while self.local.is_early() && !self.local.is_shut_down() {
            let wait = join(self, &self.local.waiting, 1)?;
            if by(self.deadline, wait).await.is_none() {
                return Err(self.expired(Place::Connecting, 1));
            }
        }
        self.settings = self.method.settings(&self.local.shared, self.local.shared.version());
        self.configure(options, parts);
        Ok(())
    }

    /// Calls `with` with the head of an attempt: what all calls of the method have, and what only this one has; `previous` is how
    /// many attempts went before, in words.
    #[inline]
    pub(crate) fn with_head<R>(
        &self,
        now: Instant,
        previous: Option<&str>,
        with: impl FnOnce(&Template, Option<&FieldList>) -> R,
    ) -> R {
        if self.deadline == Instant::MAX && self.metadata.is_empty() && previous.is_none() {
            return with(&self.head, None);
        }
        let mut list = corelane_call::take_fields();
        let fields = Arc::make_mut(&mut list);
        if self.deadline < Instant::MAX {
            let mut value = [0; 16];
            let left = self.deadline.since(now).max(Duration::from_nanos(1));
            let len = format_timeout(left, &mut value);
            fields.push_known(Name::GrpcTimeout, &value[..len]);
        }
        if let Some(previous) = previous {
            fields.push(PREVIOUS_ATTEMPTS_NAME.as_bytes(), previous.as_bytes());
        }
        self.metadata.append_to(fields);
        let result = with(&self.head, Some(fields));
        corelane_call::give_fields(list);
        result
    }

    /// The method's path.
    #[inline]
    pub(crate) fn path(&self) -> &'static str {
        self.method.method.path()
    }

    /// What is known of the method.
    #[inline]
    pub(crate) fn idempotency(&self) -> Idempotency {
        self.method.method.idempotency()
    }

    /// How the call is hedged, if it is.
    #[inline]
    pub(crate) fn hedging(&self) -> Option<&HedgingPolicy> {
        let hedging = self.settings.method.as_ref()?.hedging.as_ref()?;
        Some(hedging).filter(|_| self.local.shared.options.retries == Retries::ByPolicy)
    }

    /// How the call is tried again, if it is.
    #[inline]
    pub(crate) fn retry(&self) -> Option<&RetryPolicy> {
        let retry = self.settings.method.as_ref()?.retry.as_ref()?;
        Some(retry).filter(|_| self.local.shared.options.retries == Retries::ByPolicy)
    }

    /// Whether it is one attempt after the other, each with all the time of the call, and nothing is kept of its answer.
    #[inline]
    pub(crate) fn is_simple(&self) -> bool {
        self.hedging().is_none()
            && self.retry().is_none_or(|retry| retry.per_attempt_recv_timeout.is_none())
            && self.cache().is_none()
    }

    /// Where its answer is kept, if it is.
    #[inline]
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.local.cache.as_ref().filter(|_| self.idempotency() == Idempotency::NoSideEffects)
    }

    /// When the attempt that begins now is given up, if before the call.
    #[inline]
    pub(crate) fn attempt_deadline(&self) -> Option<Instant> {
        Some(corelane_runtime::now() + self.retry()?.per_attempt_recv_timeout?)
    }

    /// Asks the client's own rate limit.
    #[inline]
    pub(crate) fn check_rate(&self) -> Result<(), Status> {
        let Some(limit) = &self.local.shared.rate_limit else { return Ok(()) };
        limit.check(corelane_runtime::now()).map_err(|retry_after| {
            self.failure(Cause::RateLimited { retry_after }, None, 0).into_status(None)
        })
    }

    /// A failure of this call.
    #[cold]
    pub(crate) fn failure(
        &self,
        cause: Cause,
        endpoint: Option<std::sync::Arc<str>>,
        attempt: u32,
    ) -> Failure {
        let elapsed = corelane_runtime::now().since(self.began);
        Failure { cause, endpoint, attempt, elapsed, before: None, stop: None }
    }

    /// The deadline was over while the call was there.
    #[cold]
    pub(crate) fn expired(&self, place: Place, attempt: u32) -> Failure {
        let mut expired = self.failure(Cause::Deadline(place), None, attempt);
        if place == Place::Connecting
            && let Some((cause, endpoint)) = self.local.trouble()
        {
            expired.before = Some(self.failure(cause, endpoint, attempt).into());
        }
        expired
    }
}

/// The earliest of the call's own time, and of the deadline of the handler that makes it.
fn deadline(began: Instant, own: Option<Duration>, parts: Option<Instant>) -> Instant {
    let own = own.map_or(Instant::MAX, |own| began + own);
    let inherited = corelane_call::inherited_deadline().unwrap_or(Instant::MAX);
    own.min(inherited).min(parts.unwrap_or(Instant::MAX))
}

/// `grpc-timeout`, without an allocation.
fn format_timeout(left: Duration, value: &mut [u8; 16]) -> usize {
    thread_local! {
        static SCRATCH: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        timeout::format(left, scratch);
        let len = scratch.len().min(value.len());
        value[..len].copy_from_slice(&scratch[..len]);
        len
    })
}
