//! What runs around every call: a flat list, in order before the handler and in reverse after it.
//!
//! An [`Interceptor`] is synchronous and costs one virtual call each way; tonic's closures
//! (`Fn(Request<()>) -> Result<Request<()>, Status>`) are interceptors as they are. An [`AsyncInterceptor`] may await; its
//! boxed future is paid for only on services where one is installed.
//!
//! Invariant: `after` runs exactly once for each interceptor whose `before` let the call through, whatever came after it.
//!
//! Does not: see messages. What must, wraps the service.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelane_wire::grpc::{Code, Metadata, Status};

use crate::{CallParts, Peer, Request};

/// Runs around each call, without waiting for anything.
///
/// ```
/// use corelane_call::{CallParts, Interceptor, Interceptors, Request, Status};
///
/// struct Tenant;
/// impl Interceptor for Tenant {
///     fn before(&self, call: &mut CallParts) -> Result<(), Status> {
///         match call.metadata.get("x-tenant") {
///             Some(_) => Ok(()),
///             None => Err(Status::unauthenticated("x-tenant is missing")),
///         }
///     }
/// }
///
/// let mut interceptors = Interceptors::new();
/// interceptors.push(Tenant);
/// interceptors.push(|request: Request<()>| Ok(request)); // tonic's shape
/// assert!(interceptors.before(&mut CallParts::new("/a.B/C")).is_err());
/// ```
pub trait Interceptor: 'static {
    /// Sees the call before the handler does; may change its metadata and extensions.
    ///
    /// # Errors
    /// The status that the caller gets in place of the handler's answer.
    fn before(&self, call: &mut CallParts) -> Result<(), Status>;

    /// Sees how the call ended; may change the trailing metadata. Not called where this interceptor's `before` refused.
    fn after(&self, ending: &mut Ending<'_>) {
        let _ = ending;
    }
}

/// tonic's interceptors: a function from request to request.
impl<F> Interceptor for F
where
    F: Fn(Request<()>) -> Result<Request<()>, Status> + 'static,
{
    fn before(&self, call: &mut CallParts) -> Result<(), Status> {
        let (changed, ()) = self(Request::from_call(std::mem::take(call), ()))?.into_call();
        *call = changed;
        Ok(())
    }
}

/// One interceptor for the services of several workers.
impl<T: Interceptor + ?Sized> Interceptor for Arc<T> {
    fn before(&self, call: &mut CallParts) -> Result<(), Status> {
        (**self).before(call)
    }

    fn after(&self, ending: &mut Ending<'_>) {
        (**self).after(ending);
    }
}

/// What an [`AsyncInterceptor`] returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs around each call and may wait before it lets the call through. The handler is not polled before, and the call's
/// deadline and cancellation drop this future as they drop the handler's.
///
/// ```
/// use corelane_call::{AsyncInterceptor, BoxFuture, CallParts, Status};
///
/// # async fn ask(_: &str) -> bool { true }
/// struct Quota;
/// impl AsyncInterceptor for Quota {
///     fn before<'a>(&'a self, call: &'a mut CallParts) -> BoxFuture<'a, Result<(), Status>> {
///         Box::pin(async move {
///             if ask(call.path).await { Ok(()) } else { Err(Status::resource_exhausted("quota")) }
///         })
///     }
/// }
/// ```
pub trait AsyncInterceptor: 'static {
    /// Sees the call before the handler does; may change its metadata and extensions.
    ///
    /// # Errors
    /// The future's status is what the caller gets in place of the handler's answer.
    fn before<'a>(&'a self, call: &'a mut CallParts) -> BoxFuture<'a, Result<(), Status>>;

    /// Sees how the call ended. Not called where this interceptor's `before` refused.
    fn after(&self, ending: &mut Ending<'_>) {
        let _ = ending;
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The method, as on the wire.
    pub path: &'a str,
    /// The status code.
    pub code: Code,
    /// The status message; `""` where there is none.
    pub message: &'a str,
    /// The trailing metadata that goes out with the status.
    pub trailers: &'a mut Metadata,
    /// The connection that the call came by.
    pub peer: Option<&'a Peer>,
    /// How long the call took, where whoever drives it measured.
    pub elapsed: Option<Duration>,
}

#[derive(Clone)]
enum Entry {
    Sync(Rc<dyn Interceptor>),
    Async(Rc<dyn AsyncInterceptor>),
}

/// The interceptors of one service, in order. A clone shares them.
#[derive(Clone, Default)]
pub struct Interceptors {
    entries: Vec<Entry>,
}

impl Interceptors {
    /// None.
    #[must_use]
    pub const fn new() -> Interceptors {
        Interceptors { entries: Vec::new() }
    }

    /// Adds one behind the others.
    pub fn push(&mut self, interceptor: impl Interceptor) {
        self.entries.push(Entry::Sync(Rc::new(interceptor)));
    }

    /// Adds one that may wait behind the others.
    pub fn push_async(&mut self, interceptor: impl AsyncInterceptor) {
        self.entries.push(Entry::Async(Rc::new(interceptor)));
    }

    /// Adds all of `others` behind these: a server's first, then the service's own.
    pub fn extend(&mut self, others: &Interceptors) {
        self.entries.extend_from_slice(&others.entries);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one may wait: then [`Interceptors::before_async`] must be used.
    #[must_use]
    pub fn has_async(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Async(_)))
    }

    /// Runs every `before` in order. Where one refuses, those before it see the ending in reverse order, and what they add
    /// to the trailers becomes the status's metadata; [`Interceptors::after`] must then not be called for this call.
    ///
    /// # Errors
    /// The status of the interceptor that refused.
    ///
    /// # Panics
    /// If one may wait: see [`Interceptors::has_async`].
    pub fn before(&self, call: &mut CallParts) -> Result<(), Status> {
        let seen = Seen::of(call);
        for (at, entry) in self.entries.iter().enumerate() {
            let Entry::Sync(interceptor) = entry else {
                panic!("an asynchronous interceptor needs before_async");
            };
            if let Err(status) = interceptor.before(call) {
                return Err(self.refused(at, &seen, status));
            }
        }
        Ok(())
    }

    /// [`Interceptors::before`] for a list in which some may wait.
    ///
    /// # Errors
    /// The status of the interceptor that refused.
    pub async fn before_async(&self, call: &mut CallParts) -> Result<(), Status> {
        let seen = Seen::of(call);
        for (at, entry) in self.entries.iter().enumerate() {
            let passed = match entry {
                Entry::Sync(interceptor) => interceptor.before(call),
                Entry::Async(interceptor) => interceptor.before(call).await,
            };
            if let Err(status) = passed {
                return Err(self.refused(at, &seen, status));
            }
        }
        Ok(())
    }

    /// Runs every `after` in reverse order.
    pub fn after(&self, ending: &mut Ending<'_>) {
        Interceptors::unwind(&self.entries, ending);
    }

    fn unwind(entries: &[Entry], ending: &mut Ending<'_>) {
        for entry in entries.iter().rev() {
            match entry {
                Entry::Sync(interceptor) => interceptor.after(ending),
                Entry::Async(interceptor) => interceptor.after(ending),
            }
        }
    }

    /// The status of a call that the interceptor at `at` refused, after those before it saw it.
    #[cold]
    fn refused(&self, at: usize, seen: &Seen, mut status: Status) -> Status {
        if at > 0 {
            let mut trailers = Metadata::new();
            let mut ending = Ending {
                path: seen.path,
                code: status.code(),
                message: status.message(),
                trailers: &mut trailers,
                peer: seen.peer.as_deref(),
                elapsed: None,
            };
            Interceptors::unwind(&self.entries[..at], &mut ending);
            if !trailers.is_empty() {
                status.metadata_mut().merge(&trailers);
            }
        }
        status
    }
}

/// What an ending says about its call; kept aside, since a closure in tonic's shape that refuses takes the parts with it.
struct Seen {
    path: &'static str,
    peer: Option<Rc<Peer>>,
}

impl Seen {
    fn of(call: &CallParts) -> Seen {
        Seen { path: call.path, peer: call.peer.clone() }
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptors")
            .field("len", &self.len())
            .field("has_async", &self.has_async())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Log = Rc<RefCell<Vec<String>>>;

    /// Logs both ways; refuses where it is told to.
    struct Logging {
        name: &'static str,
        log: Log,
        refuse: bool,
    }

    impl Logging {
        fn enter(&self, call: &CallParts) -> Result<(), Status> {
            self.log.borrow_mut().push(format!("{} before {}", self.name, call.path));
            if self.refuse { Err(Status::permission_denied(self.name)) } else { Ok(()) }
        }

        fn leave(&self, ending: &mut Ending<'_>) {
            self.log.borrow_mut().push(format!("{} after {} {}", self.name, ending.path, ending.code));
            ending.trailers.append("x-seen", self.name).unwrap();
        }
    }

    impl Interceptor for Logging {
        fn before(&self, call: &mut CallParts) -> Result<(), Status> {
            self.enter(call)
        }

        fn after(&self, ending: &mut Ending<'_>) {
            self.leave(ending);
        }
    }

    /// The same, but yields once before it answers.
    struct Yielding(Logging);

    impl AsyncInterceptor for Yielding {
        fn before<'a>(&'a self, call: &'a mut CallParts) -> BoxFuture<'a, Result<(), Status>> {
            Box::pin(async move {
                let mut yielded = false;
                std::future::poll_fn(|_| {
                    if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                self.0.enter(call)
            })
        }

        fn after(&self, ending: &mut Ending<'_>) {
            self.0.leave(ending);
        }
    }

    fn logging(log: &Log, name: &'static str, refuse: bool) -> Logging {
        Logging { name, log: log.clone(), refuse }
    }

    fn end(interceptors: &Interceptors, trailers: &mut Metadata) {
        let mut ending =
            Ending { path: "/a.B/C", code: Code::Ok, message: "", trailers, peer: None, elapsed: None };
        interceptors.after(&mut ending);
    }

    fn run<T>(future: impl Future<Output = T>) -> (T, usize) {
        let mut future = std::pin::pin!(future);
        let mut polls = 1;
        loop {
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(value) => return (value, polls),
                Poll::Pending => polls += 1,
            }
        }
    }

    #[test]
    fn they_run_in_order_and_end_in_reverse() {
        let log = Log::default();
        let mut service = Interceptors::new();
        service.push(logging(&log, "c", false));
        let mut all = Interceptors::new();
        all.push(logging(&log, "a", false));
        all.push(logging(&log, "b", false));
        all.extend(&service);
        assert_eq!((all.len(), all.has_async(), all.is_empty()), (3, false, false));
        all.before(&mut CallParts::new("/a.B/C")).unwrap();
        let mut trailers = Metadata::new();
        end(&all, &mut trailers);
        let befores = ["a before /a.B/C", "b before /a.B/C", "c before /a.B/C"];
        let afters = ["c after /a.B/C OK", "b after /a.B/C OK", "a after /a.B/C OK"];
        assert_eq!(*log.borrow(), [befores, afters].concat());
        assert_eq!(trailers.get_all("x-seen").collect::<Vec<_>>(), ["c", "b", "a"]);
    }

    #[test]
    fn a_refusal_ends_those_before_it_and_hides_those_behind() {
        let log = Log::default();
        let mut all = Interceptors::new();
        all.push(logging(&log, "a", false));
        all.push(logging(&log, "b", true));
        all.push(logging(&log, "c", false));
        let status = all.before(&mut CallParts::new("/a.B/C")).unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "b"));
        assert_eq!(*log.borrow(), ["a before /a.B/C", "b before /a.B/C", "a after /a.B/C PERMISSION_DENIED"]);
        assert_eq!(status.metadata().get("x-seen"), Some("a"));
    }

    #[test]
    fn closures_in_tonics_shape_change_the_call() {
        let mut all = Interceptors::new();
        all.push(|mut request: Request<()>| {
            request.extensions_mut().insert(7_u8);
            request.metadata_mut().insert("x-added", "yes").unwrap();
            Ok(request)
        });
        all.push(Arc::new(|request: Request<()>| {
            assert_eq!(request.path(), "/a.B/C");
            if request.extensions().contains::<u8>() {
                Ok(request)
            } else {
                Err(Status::unauthenticated("who?"))
            }
        }));
        let mut call = CallParts::new("/a.B/C");
        call.compressed = true;
        all.before(&mut call).unwrap();
        assert_eq!(call.extensions.get::<u8>(), Some(&7));
        assert_eq!(call.metadata.get("x-added"), Some("yes"));
        assert_eq!((call.path, call.compressed), ("/a.B/C", true));
    }

    #[test]
    fn a_closure_that_refuses_still_ends_the_others_with_the_path() {
        let log = Log::default();
        let mut all = Interceptors::new();
        all.push(logging(&log, "a", false));
        all.push(|_: Request<()>| Err(Status::unauthenticated("no")));
        assert!(all.before(&mut CallParts::new("/a.B/C")).is_err());
        assert_eq!(*log.borrow(), ["a before /a.B/C", "a after /a.B/C UNAUTHENTICATED"]);
    }

    #[test]
    fn those_that_wait_keep_the_order() {
        let log = Log::default();
        let mut all = Interceptors::new();
        all.push(logging(&log, "a", false));
        all.push_async(Yielding(logging(&log, "b", false)));
        all.push_async(Yielding(logging(&log, "c", true)));
        assert!(all.has_async());
        let mut call = CallParts::new("/a.B/C");
        let (refused, polls) = run(all.before_async(&mut call));
        assert_eq!(refused.unwrap_err().message(), "c");
        assert_eq!(polls, 3);
        let afters = ["b after /a.B/C PERMISSION_DENIED", "a after /a.B/C PERMISSION_DENIED"];
        assert_eq!(log.borrow()[3..], afters);
    }
}
