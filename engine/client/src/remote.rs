//! Calls from any thread and any async runtime: they go to a worker through its mailbox and come back the same way.
//!
//! The mailbox is bounded: a call that finds it full fails with RESOURCE_EXHAUSTED at once. Dropping a call's future cancels the
//! call on its worker.
//!
//! Does not: wait for room. Invariant: what crosses threads is `Send`; a request's extensions are not, and stay behind.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use corelane_call::{Codec, Encoding, Metadata, Request, Response, Status, Stream, Streaming};
use corelane_runtime::Workers;
use futures_channel::{mpsc, oneshot};

use crate::caller::CallerOptions;
use crate::{BuildError, Caller, Cause, Channel, Engine, Failure, Method, SharedChannel};

/// Responses of a stream that wait to be read on the thread that asked for them; the worker reads on when there is room.
const RESPONSES_WAITING_MAX: usize = 16;

/// A channel that any thread may use.
#[derive(Clone, Debug)]
pub struct RemoteChannel {
    engine: Engine,
    channel: SharedChannel,
    held: Arc<Held>,
}

/// Keeps a channel on each worker that has made a call for it: its connections must outlive the calls, or each call would make
/// one. They are let go with the last handle.
#[derive(Debug)]
struct Held {
    /// By worker.
    kept: Vec<AtomicBool>,
    /// What ends the task on each worker that keeps it there.
    ends: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Held {
    fn new(engine: &Engine) -> Arc<Held> {
        let kept = std::iter::repeat_with(AtomicBool::default).take(engine.workers()).collect();
        Arc::new(Held { kept, ends: Mutex::default() })
    }

    /// On the worker with this number.
    fn keep(&self, worker: usize, channel: &Channel) {
        // Relaxed: nobody but this worker's own thread looks at its flag.
        if self.kept[worker].swap(true, Ordering::Relaxed) {
            return;
        }
        let (sender, end) = oneshot::channel();
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        let channel = channel.clone();
        corelane_runtime::spawn_local(async move {
            // It is never sent: the sender is dropped.
            let _ = end.await;
            drop(channel);
        });
    }
}

impl RemoteChannel {
    /// A channel to `target` on a worker of its own: one thread, which ends with the last clone. It connects when it is first
    /// used.
    ///
    /// # Errors
    /// [`BuildError`] says what is wrong.
    pub fn connect(target: impl Into<String>) -> Result<RemoteChannel, BuildError> {
        let channel = Channel::builder(target).build()?;
        let engine =
            Engine::start(Workers::Count(1)).map_err(|error| BuildError::Start(error.to_string()))?;
        Ok(RemoteChannel::on(&engine, channel))
    }

    /// A channel on the workers of `engine`: calls go to them in turn.
    #[must_use]
    pub fn on(engine: &Engine, channel: SharedChannel) -> RemoteChannel {
        RemoteChannel { engine: engine.clone(), channel, held: Held::new(engine) }
    }
}

/// A response that may go to any thread.
#[derive(Clone, Debug, Default)]
pub struct Answer<T> {
    metadata: Metadata,
    trailers: Metadata,
    message: T,
}

impl<T> Answer<T> {
    fn of(response: Response<T>) -> Answer<T> {
        let (mut parts, message) = response.into_reply();
        let metadata = std::mem::take(&mut parts.metadata);
        Answer { metadata, trailers: std::mem::take(&mut parts.trailers), message }
    }

    /// The message.
    pub fn get_ref(&self) -> &T {
        &self.message
    }

    /// The message alone.
    pub fn into_inner(self) -> T {
        self.message
    }

    /// The leading metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The trailing metadata; empty for a stream, which has not ended yet.
    pub fn trailers(&self) -> &Metadata {
        &self.trailers
    }

    /// The same with another message.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { metadata: self.metadata, trailers: self.trailers, message: change(self.message) }
    }
}

/// Messages that arrive from a worker; also a [`Stream`]. Dropping it cancels the call.
pub struct RemoteStreaming<T> {
    items: mpsc::Receiver<Result<T, Status>>,
    /// Has the trailers once the call has ended; the worker notices by it that the reader is gone.
    end: Option<oneshot::Receiver<Metadata>>,
    trailers: Option<Metadata>,
    /// The call has given its status.
    failed: bool,
    /// The engine lives for as long as its calls.
    engine: Option<Engine>,
}

impl<T> RemoteStreaming<T> {
    /// The next message; `None` after the last one.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
    }

    /// The trailing metadata, once: after the stream has ended.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<Metadata> {
        self.trailers.take()
    }

    /// No further message comes: either the call has ended, or the worker has before it.
    fn ended(&mut self) -> Option<Result<T, Status>> {
        let mut end = self.end.take()?;
        self.engine = None;
        match end.try_recv() {
            Ok(Some(trailers)) => {
                self.trailers = Some(trailers);
                None
            }
            _ if self.failed => None,
            _ => Some(Err(Failure::at_once(Cause::WorkerEnded).into_status(None))),
        }
    }
}

impl<T> Unpin for RemoteStreaming<T> {}

impl<T> Stream for RemoteStreaming<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = match Pin::new(&mut self.items).poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => self.ended(),
            Poll::Ready(item) => item,
        };
        self.failed |= matches!(item, Some(Err(_)));
        Poll::Ready(item)
    }
}

impl<T> fmt::Debug for RemoteStreaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteStreaming").finish_non_exhaustive()
    }
}

/// What of a request may cross threads.
struct Luggage {
    metadata: Metadata,
    timeout: Option<Duration>,
}

impl Luggage {
    fn unpack<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata;
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        request
    }
}

fn pack<T>(request: Request<T>) -> (Luggage, T) {
    let timeout = request.timeout();
    let (metadata, _, message) = request.into_parts();
    (Luggage { metadata, timeout }, message)
}

/// A channel for any thread, and the options of one generated client.
#[derive(Clone, Debug)]
pub struct RemoteCaller {
    channel: RemoteChannel,
    options: CallerOptions,
}

impl RemoteCaller {
    /// Calls over `channel`.
    #[must_use]
    pub fn new(channel: RemoteChannel) -> RemoteCaller {
        RemoteCaller { channel, options: CallerOptions::default() }
    }

    /// Compresses requests in this way.
    pub fn send_compressed(&mut self, encoding: Encoding) {
        self.options.send = encoding;
    }

    /// Accepts responses that are compressed in this way.
    pub fn accept_compressed(&mut self, encoding: Encoding) {
        self.options.accept.insert(encoding);
    }

    /// Refuses responses that are larger than this many bytes.
    pub fn max_decoding_message_size(&mut self, limit: usize) {
        self.options.receive_max = limit;
    }

    /// Refuses to send requests that are larger than this many bytes.
    pub fn max_encoding_message_size(&mut self, limit: usize) {
        self.options.send_max = limit;
    }

    /// Whether the calling thread is a worker of the channel's, which must not wait for a call.
    pub(crate) fn is_here(&self) -> bool {
        self.channel.engine.is_here()
    }

    /// Runs `call` on a worker, until it has ended or nobody waits for it any more.
    fn dispatch<M, F, T>(&self, call: M) -> impl Future<Output = Result<T, Status>> + Send + use<M, F, T>
    where
        M: FnOnce(Caller) -> F + Send + 'static,
        F: Future<Output = Result<T, Status>> + 'static,
        T: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let RemoteChannel { engine, channel, held } = self.channel.clone();
        let (worker, options) = (engine.turn(), self.options.clone());
        let spawned = engine.spawn_on(worker, move || {
            let channel = channel.local();
            held.keep(worker, &channel);
            drop(held);
            deliver(call(Caller::with_options(channel, options)), sender)
        });
        async move {
            spawned?;
            let received = receiver.await;
            // The engine lives for as long as its calls.
            drop(engine);
            received.unwrap_or_else(|_| Err(Failure::at_once(Cause::WorkerEnded).into_status(None)))
        }
    }

    /// The stream that `call` gives keeps the engine.
    fn kept<T, F>(&self, call: F) -> impl Future<Output = F::Output> + Send + use<T, F>
    where
        F: Future<Output = Result<Answer<RemoteStreaming<T>>, Status>> + Send,
    {
        let engine = self.channel.engine.clone();
        async move {
            let mut answer = call.await?;
            answer.message.engine = Some(engine);
            Ok(answer)
        }
    }

    /// One request, one response.
    ///
    /// The future may be awaited anywhere; its errors are those of [`Caller::unary`], and [`Cause::MailboxFull`].
    pub fn unary<C>(
        &self,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> impl Future<Output = Result<Answer<C::Decode>, Status>> + Send + use<C>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        let (luggage, message) = pack(request);
        self.dispatch(move |caller| async move {
            caller.unary(method, codec, luggage.unpack(message)).await.map(Answer::of)
        })
    }

    /// One request, a stream of responses.
    pub fn server_streaming<C>(
        &self,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> impl Future<Output = Result<Answer<RemoteStreaming<C::Decode>>, Status>> + Send + use<C>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        let (luggage, message) = pack(request);
        self.kept(self.dispatch(move |caller| async move {
            caller.server_streaming(method, codec, luggage.unpack(message)).await.map(relay)
        }))
    }

    /// A stream of requests, one response. The stream is polled on the worker.
    pub fn client_streaming<C, S>(
        &self,
        method: Method,
        codec: C,
        request: Request<S>,
    ) -> impl Future<Output = Result<Answer<C::Decode>, Status>> + Send + use<C, S>
    where
        C: Codec + Send,
        C::Decode: Send,
        S: Stream<Item = C::Encode> + Send + 'static,
    {
        let (luggage, requests) = pack(request);
        self.dispatch(move |caller| async move {
            caller.client_streaming(method, codec, luggage.unpack(requests)).await.map(Answer::of)
        })
    }

    /// A stream of requests, a stream of responses. The stream of requests is polled on the worker.
    pub fn bidi<C, S>(
        &self,
        method: Method,
        codec: C,
        request: Request<S>,
    ) -> impl Future<Output = Result<Answer<RemoteStreaming<C::Decode>>, Status>> + Send + use<C, S>
    where
        C: Codec + Send,
        C::Decode: Send,
        S: Stream<Item = C::Encode> + Send + 'static,
    {
        let (luggage, requests) = pack(request);
        self.kept(self.dispatch(move |caller| async move {
            caller.bidi(method, codec, luggage.unpack(requests)).await.map(relay)
        }))
    }
}

/// Awaits `call` and sends its outcome, unless the receiver goes first: then the call is dropped, which cancels it.
async fn deliver<T>(call: impl Future<Output = T>, mut sender: oneshot::Sender<T>) {
    let mut call = pin!(call);
    let outcome = poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => sender.poll_canceled(cx).map(|()| None),
    })
    .await;
    if let Some(outcome) = outcome {
        // The receiver may have gone in this very moment.
        let _ = sender.send(outcome);
    }
}

/// Hands the messages of a stream over as they are read on the other side.
fn relay<T: Send + 'static>(response: Response<Streaming<T>>) -> Answer<RemoteStreaming<T>> {
    let (sender, items) = mpsc::channel(RESPONSES_WAITING_MAX);
    let (finish, end) = oneshot::channel();
    let mut answer = Answer::of(response.map(|streaming| (streaming, ())));
    let metadata = std::mem::take(&mut answer.metadata);
    let (streaming, ()) = answer.into_inner();
    corelane_runtime::spawn_local(pass_on(streaming, sender, finish));
    Answer {
        metadata,
        trailers: Metadata::new(),
        message: RemoteStreaming { items, end: Some(end), trailers: None, failed: false, engine: None },
    }
}

async fn pass_on<T>(
    mut messages: Streaming<T>,
    mut sender: mpsc::Sender<Result<T, Status>>,
    finish: oneshot::Sender<Metadata>,
) {
    let mut finish = Some(finish);
    poll_fn(|cx| {
        if finish.as_mut().is_some_and(|finish| finish.poll_canceled(cx).is_ready()) {
            // Nobody reads any more, and perhaps nothing comes either: the call ends with its messages.
            return Poll::Ready(());
        }
        loop {
            // Room first: a message that was read must not be lost.
            match sender.poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            let item = match messages.poll_message(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(item) => item.transpose(),
            };
            let Some(item) = item else {
                if let Some(finish) = finish.take() {
                    let _ = finish.send(messages.take_trailers().unwrap_or_default());
                }
                return Poll::Ready(());
            };
            if sender.start_send(item).is_err() {
                return Poll::Ready(());
            }
        }
    })
    .await;
}
