//! A service that does what its requests tell it, written by hand as generated code would be.

use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use corelane_call::{Metadata, ProstCodec, Request, Response, Status, Streaming};
use corelane_server::{Methods, Service, ServiceOptions};
use futures_core::Stream;

/// The one message type.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) number: u32,
}

impl Note {
    pub(crate) fn new(text: &str, number: u32) -> Note {
        Note { text: text.to_owned(), number }
    }
}

/// What a test can see of the handlers from its own thread.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Handlers that began.
    pub(crate) started: AtomicUsize,
    /// Handlers (and streams) that were dropped, done or not.
    pub(crate) dropped: AtomicUsize,
}

/// Counts its own drop.
pub(crate) struct Witness(Arc<Seen>);

impl Witness {
    pub(crate) fn new(seen: &Arc<Seen>) -> Witness {
        seen.started.fetch_add(1, Ordering::SeqCst);
        Witness(seen.clone())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a destructor panics");
    }
}

/// A stream made of a closure.
pub(crate) struct FromFn<F>(F);

impl<T, F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin> Stream for FromFn<F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        (self.0)(cx)
    }
}

type Notes = Pin<Box<dyn Stream<Item = Result<Note, Status>>>>;

pub(crate) const ECHO: &str = "/test.Probe/Echo";
pub(crate) const COUNT: &str = "/test.Probe/Count";
pub(crate) const SUM: &str = "/test.Probe/Sum";
pub(crate) const CHAT: &str = "/test.Probe/Chat";

/// The service. One for each worker, not `Send`.
pub(crate) struct Probe {
    inner: Rc<Inner>,
    pub(crate) options: ServiceOptions,
}

struct Inner {
    seen: Arc<Seen>,
}

impl Probe {
    pub(crate) fn new(seen: Arc<Seen>) -> Probe {
        Probe { inner: Rc::new(Inner { seen }), options: ServiceOptions::default() }
    }

    pub(crate) fn with(seen: Arc<Seen>, set: impl FnOnce(&mut ServiceOptions)) -> Probe {
        let mut probe = Probe::new(seen);
        set(&mut probe.options);
        probe
    }
}

impl Service for Probe {
    const NAME: &'static str = "test.Probe";

    fn register(self, methods: &mut Methods) {
        methods.options(self.options);
        let codec = ProstCodec::<Note, Note>::default;
        let inner = self.inner;
        let this = inner.clone();
        methods.unary(ECHO, codec(), move |request| {
            let this = this.clone();
            async move { this.echo(request).await }
        });
        let this = inner.clone();
        methods.server_streaming(COUNT, codec(), move |request| {
            let this = this.clone();
            async move { this.count(request).await }
        });
        let this = inner.clone();
        methods.client_streaming(SUM, codec(), move |request| {
            let this = this.clone();
            async move { this.sum(request).await }
        });
        methods.bidi(CHAT, codec(), move |request| {
            let this = inner.clone();
            async move { this.chat(request).await }
        });
    }
}

impl Inner {
    async fn echo(&self, request: Request<Note>) -> Result<Response<Note>, Status> {
        let _witness = Witness::new(&self.seen);
        let asked = request.get_ref().text.clone();
        match asked.as_str() {
            "panic" => panic!("the handler was told to"),
            "panic late" => {
                corelane_runtime::yield_now().await;
                panic!("the handler was told to, later")
            }
            "panic in drop" => {
                let _bomb = Bomb;
                pending::<()>().await;
            }
            "pend" => pending::<()>().await,
            "sleep" => {
                corelane_runtime::sleep(Duration::from_millis(request.get_ref().number.into())).await;
            }
            "fail" => {
                let mut status =
                    Status::with_details(corelane_call::Code::NotFound, "nö: 100 %", b"\x01\x02".to_vec());
                status.metadata_mut().insert("x-why", "told to").unwrap();
                return Err(status);
            }
            "large" => {
                let number = request.get_ref().number;
                return Ok(Response::new(Note { text: "x".repeat(number as usize), number }));
            }
            "metadata" => return Ok(metadata(&request)),
            "time" => {
                let left = request
                    .time_remaining(corelane_runtime::now())
                    .map_or(0, |left| u32::try_from(left.as_millis()).unwrap());
                return Ok(Response::new(Note::new("left", left)));
            }
            "uncompressed" => {
                let mut response = Response::new(request.into_inner());
                response.disable_compression();
                return Ok(response);
            }
            _ => {}
        }
        Ok(Response::new(request.into_inner()))
    }

    async fn count(&self, request: Request<Note>) -> Result<Response<Notes>, Status> {
        let witness = Witness::new(&self.seen);
        let Note { text, number } = request.into_inner();
        if text == "fail early" {
            return Err(Status::invalid_argument("no"));
        }
        let mut sent = 0;
        let stream = FromFn(move |_: &mut Context<'_>| {
            let _witness = &witness;
            sent += 1;
            match text.as_str() {
                "forever" => Poll::Ready(Some(Ok(Note::new(&"y".repeat(1000), sent)))),
                _ if sent <= number => Poll::Ready(Some(Ok(Note::new("", sent)))),
                "fail" => Poll::Ready(Some(Err(Status::aborted("after the last")))),
                "panic" => panic!("the stream was told to"),
                "pend" => Poll::Pending,
                _ => Poll::Ready(None),
            }
        });
        let mut response = Response::new(Box::pin(stream) as Notes);
        response.metadata_mut().insert("x-head", "h").unwrap();
        response.trailers_mut().insert("x-tail", "t").unwrap();
        Ok(response)
    }

    async fn sum(&self, request: Request<Streaming<Note>>) -> Result<Response<Note>, Status> {
        let _witness = Witness::new(&self.seen);
        let mut stream = request.into_inner();
        let mut sum = 0;
        while let Some(note) = stream.message().await? {
            if note.text == "stop" {
                return Ok(Response::new(Note::new("stopped", sum)));
            }
            sum += note.number;
        }
        Ok(Response::new(Note::new("sum", sum)))
    }

    async fn chat(&self, request: Request<Streaming<Note>>) -> Result<Response<Notes>, Status> {
        let witness = Witness::new(&self.seen);
        let mut stream = Box::pin(request.into_inner());
        let answers = FromFn(move |cx: &mut Context<'_>| {
            let _witness = &witness;
            stream.as_mut().poll_next(cx).map_ok(|note| Note::new(&note.text.to_uppercase(), note.number))
        });
        Ok(Response::new(Box::pin(answers) as Notes))
    }
}

/// Gives back what came: as metadata, as trailing metadata, and as a text.
fn metadata(request: &Request<Note>) -> Response<Note> {
    let given = request.metadata();
    let text = given.get("x-given").unwrap_or("nothing").to_owned();
    let mut response = Response::new(Note::new(&text, 0));
    let copy = |metadata: &mut Metadata| {
        metadata.insert("x-given", &text).unwrap();
        metadata.insert_bin("x-given-bin", &[0, 255]).unwrap();
    };
    copy(response.metadata_mut());
    copy(response.trailers_mut());
    response
}
