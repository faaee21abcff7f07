//! A service of octets whose handlers do what their path says.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use corelane::codegen::{BoxStream, Methods, ProstCodec, Service};
use corelane::{Metadata, Request, Response, Status, Streaming, time};

pub const ECHO: &str = "/test.Probe/Echo";
pub const SLEEP: &str = "/test.Probe/Sleep";
pub const SPIN: &str = "/test.Probe/Spin";
pub const WAKE: &str = "/test.Probe/Wake";
pub const READY: &str = "/test.Probe/Ready";
pub const PANIC: &str = "/test.Probe/Panic";
pub const GATE: &str = "/test.Probe/Gate";
pub const FLOOD: &str = "/test.Probe/Flood";
pub const CHAT: &str = "/test.Probe/Chat";

/// The size of each message of a flood.
pub const FLOOD_MESSAGE_BYTES: u64 = 1000;

type Octets = Vec<u8>;

/// What a test sees of the handlers from its own thread, and how it lets them go on.
#[derive(Debug, Default)]
pub struct Seen {
    /// Handlers of [`READY`] and [`GATE`] that have begun.
    pub begun: AtomicU64,
    /// Polls of [`SPIN`], [`WAKE`] and [`READY`].
    pub spins: AtomicU64,
    /// Messages that floods have made.
    pub floods: AtomicU64,
    /// Lets the handlers of [`READY`] and [`GATE`] end.
    pub open: AtomicU64,
}

impl Seen {
    pub fn get(&self, counter: impl Fn(&Seen) -> &AtomicU64) -> u64 {
        counter(self).load(Ordering::SeqCst)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// The service. One for each worker, not `Send`.
pub struct Probe(Arc<Seen>, PhantomData<Rc<()>>);

impl Probe {
    pub fn new(seen: Arc<Seen>) -> Probe {
        Probe(seen, PhantomData)
    }
}

impl Service for Probe {
    const NAME: &'static str = "test.Probe";

    fn register(self, methods: &mut Methods) {
        let seen = self.0;
        let codec = ProstCodec::<Octets, Octets>::default;
        methods.unary(ECHO, codec(), |request| async { Ok(echo(request)) });
        methods.unary(SLEEP, codec(), |request| async {
            time::sleep(Duration::from_millis(10)).await;
            Ok(echo(request))
        });
        methods.unary(PANIC, codec(), |request| async move {
            let when = request.into_inner();
            if when == b"later" {
                time::yield_now().await;
            }
            panic!("told to")
        });
        busy(methods, &seen);
        gated(methods, &seen);
        methods.server_streaming(FLOOD, codec(), move |_: Request<Octets>| {
            let seen = seen.clone();
            async move {
                let messages = (0_u64..).map(move |_| {
                    count(&seen.floods);
                    Ok(vec![7; usize::try_from(FLOOD_MESSAGE_BYTES).unwrap()])
                });
                Ok(Response::new(corelane::stream::iter(messages)))
            }
        });
        methods.bidi(CHAT, codec(), |request: Request<Streaming<Octets>>| async {
            let mut messages = request.into_inner();
            let replies: BoxStream<Octets> = Box::pin(async_stream::try_stream! {
                while let Some(message) = messages.message().await? {
                    yield message;
                }
            });
            Ok(Response::new(replies))
        });
    }
}

/// Methods that never leave the worker alone.
fn busy(methods: &mut Methods, seen: &Arc<Seen>) {
    let codec = ProstCodec::<Octets, Octets>::default;
    let this = seen.clone();
    methods.unary(SPIN, codec(), move |_: Request<Octets>| {
        let seen = this.clone();
        async move {
            loop {
                count(&seen.spins);
                time::yield_now().await;
            }
        }
    });
    let this = seen.clone();
    methods.unary(WAKE, codec(), move |_: Request<Octets>| {
        let seen = this.clone();
        // What a careless future does: it wakes itself in each poll.
        poll_fn(move |cx| {
            count(&seen.spins);
            cx.waker().wake_by_ref();
            Poll::<Result<Response<Octets>, Status>>::Pending
        })
    });
}

/// Methods that wait for the test: one awake, one asleep.
fn gated(methods: &mut Methods, seen: &Arc<Seen>) {
    let codec = ProstCodec::<Octets, Octets>::default;
    let this = seen.clone();
    methods.unary(READY, codec(), move |request: Request<Octets>| {
        let seen = this.clone();
        async move {
            count(&seen.begun);
            poll_fn(|cx| {
                count(&seen.spins);
                cx.waker().wake_by_ref();
                if seen.get(|seen| &seen.open) == 0 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            Ok(echo(request))
        }
    });
    let this = seen.clone();
    methods.unary(GATE, codec(), move |request| {
        let seen = this.clone();
        async move {
            count(&seen.begun);
            while seen.get(|seen| &seen.open) == 0 {
                time::sleep(Duration::from_millis(1)).await;
            }
            Ok(echo(request))
        }
    });
}

/// Gives everything back: the message, and the metadata both before and after it.
fn echo(request: Request<Octets>) -> Response<Octets> {
    let given: Metadata = request.metadata().clone();
    let mut response = Response::new(request.into_inner());
    for (name, value) in given.iter().filter(|(name, _)| name.starts_with("x-")) {
        if let corelane::MetadataValue::Ascii(value) = value {
            response.metadata_mut().append(name, value).unwrap();
            response.trailers_mut().append(name, value).unwrap();
        }
    }
    response
}
