//! What the client's tests share: a server that does what its requests tell it, and callers of it.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

pub(crate) mod counting;
pub(crate) mod failing;
pub(crate) mod hedging;
pub(crate) mod peer;

use std::fmt;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use corelane_call::{Code, ProstCodec, Request, Response, Status, Stream, Streaming, stream};
use corelane_client::{Caller, Channel, ChannelBuilder, Engine, Failure, Method};
use corelane_policy::resilience::BackoffConfig;
use corelane_runtime::{Backend, Workers};
use corelane_server::{Builder, Methods, Server, ServerHandle, Service, ServiceOptions};
use socket2::{Domain, Socket, Type};

/// Requests and responses are texts: `prost` reads and writes them as the well-known wrapper.
pub(crate) type Text = ProstCodec<String, String>;

pub(crate) const ECHO: Method = Method::new("/test.Texts/Echo");
pub(crate) const SPLIT: Method = Method::new("/test.Texts/Split");
pub(crate) const JOIN: Method = Method::new("/test.Texts/Join");
pub(crate) const CHAT: Method = Method::new("/test.Texts/Chat");
pub(crate) const NOBODY: Method = Method::new("/test.Texts/Nobody");

/// What a test can see of the handlers from its own thread.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
}

impl Seen {
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

struct Witness(Arc<Seen>);

impl Witness {
    fn new(seen: &Arc<Seen>) -> Witness {
        seen.started.fetch_add(1, Ordering::SeqCst);
        Witness(seen.clone())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

struct Texts {
    seen: Arc<Seen>,
    options: ServiceOptions,
}

/// `fail CODE` fails, `hang` hangs, `trailer` sets metadata both ways, `seen` says what metadata came, all else comes back.
async fn echo(request: Request<String>, seen: Arc<Seen>) -> Result<Response<String>, Status> {
    let _witness = Witness::new(&seen);
    let text = request.get_ref().clone();
    match text.split_once(' ').unwrap_or((&text, "")) {
        ("fail", code) => Err(Status::new(Code::from_i32(code.parse().unwrap()), "as you wish")),
        ("hang", _) => pending().await,
        ("metadata", name) => {
            let value = request.metadata().get(name).unwrap_or("none").to_owned();
            let mut response = Response::new(value.clone());
            response.metadata_mut().insert("x-head", &value)?;
            response.trailers_mut().insert("x-tail", &value)?;
            Ok(response)
        }
        ("timeout", _) => {
            let left = request.time_remaining(corelane_runtime::now());
            Ok(Response::new(left.map_or("none".to_owned(), |left| left.as_millis().to_string())))
        }
        ("repeat", count) => Ok(Response::new("x".repeat(count.parse().unwrap()))),
        _ => Ok(Response::new(text)),
    }
}

type Texted = Pin<Box<dyn Stream<Item = Result<String, Status>>>>;

impl Service for Texts {
    const NAME: &'static str = "test.Texts";

    fn register(self, methods: &mut Methods) {
        let Texts { seen, options } = self;
        methods.options(options);
        let witness = seen.clone();
        methods.unary(ECHO.path(), Text::new(), move |request| echo(request, witness.clone()));
        let witness = seen.clone();
        methods.server_streaming(SPLIT.path(), Text::new(), move |request: Request<String>| {
            let witness = Witness::new(&witness);
            async move {
                let words: Vec<String> = request.into_inner().split(' ').map(str::to_owned).collect();
                let words: Texted = Box::pin(stream::produce(async move |out: stream::Sender<String>| {
                    let _witness = witness;
                    for word in words {
                        match word.as_str() {
                            "!" => return Err(Status::aborted("an exclamation mark")),
                            "…" => pending::<()>().await,
                            _ => {}
                        }
                        out.send(word).await.map_err(|_| Status::cancelled("nobody listens"))?;
                    }
                    Ok(())
                }));
                Ok(Response::new(words))
            }
        });
        let witness = seen.clone();
        methods.client_streaming(JOIN.path(), Text::new(), move |request: Request<Streaming<String>>| {
            let witness = Witness::new(&witness);
            async move {
                let _witness = witness;
                let mut joined = Vec::new();
                let mut words = request.into_inner();
                while let Some(word) = words.message().await? {
                    joined.push(word);
                }
                Ok(Response::new(joined.join(" ")))
            }
        });
        methods.bidi(CHAT.path(), Text::new(), move |request: Request<Streaming<String>>| {
            let witness = Witness::new(&seen);
            async move {
                let mut words = request.into_inner();
                let answers: Texted = Box::pin(stream::produce(async move |out: stream::Sender<String>| {
                    let _witness = witness;
                    while let Some(word) = words.message().await? {
                        out.send(word.to_uppercase())
                            .await
                            .map_err(|_| Status::cancelled("nobody listens"))?;
                    }
                    Ok(())
                }));
                Ok(Response::new(answers))
            }
        });
    }
}

/// A running server of texts, on one worker.
pub(crate) struct Running {
    pub(crate) handle: ServerHandle,
    pub(crate) seen: Arc<Seen>,
    pub(crate) target: String,
}

impl Running {
    pub(crate) fn start() -> Running {
        Running::with("127.0.0.1:0", |builder| builder, |_| ())
    }

    /// A server that allows so many calls on one connection.
    pub(crate) fn narrow(streams: u32) -> Running {
        Running::with("127.0.0.1:0", |builder| builder.max_concurrent_streams(streams), |_| ())
    }

    pub(crate) fn with(
        address: &str,
        configure: impl FnOnce(Builder) -> Builder,
        options: impl Fn(&mut ServiceOptions) + Send + Sync + 'static,
    ) -> Running {
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let builder = configure(Server::builder().workers(Workers::Count(1))).add_service(move || {
            let mut own = ServiceOptions::new();
            options(&mut own);
            Texts { seen: shared.clone(), options: own }
        });
        let handle = builder.start(address).unwrap();
        let address = handle.addresses()[0].to_string();
        let target = if address.starts_with("unix:") { address } else { format!("static:///{address}") };
        Running { handle, seen, target }
    }

    pub(crate) fn address(&self) -> String {
        self.handle.addresses()[0].to_string()
    }
}

/// Runs `test` on a client's worker, with both backends as far as the kernel has them.
pub(crate) fn on_both<F>(test: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    on(Backend::Epoll, test.clone());
    match Engine::start_on(Workers::Count(1), Backend::Uring) {
        Ok(engine) => engine.block_on(test),
        Err(error) => eprintln!("left out the io_uring half: {error}"),
    }
}

/// As `on_both`, with a caller whose one connection has one stream at a time, and is there.
pub(crate) fn on_one_stream<F>(test: impl Fn(Caller) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let server = Running::narrow(1);
    let target = server.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1));
        let test = test.clone();
        async move {
            caller.channel().ready().await.unwrap();
            test(caller).await;
        }
    });
}

pub(crate) fn on<F>(backend: Backend, test: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    Engine::start_on(Workers::Count(1), backend).unwrap().block_on(test);
}

/// Runs `test` on a client's worker.
pub(crate) fn run<F>(test: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F: Future + 'static,
    F::Output: Send + 'static,
{
    Engine::start(Workers::Count(1)).unwrap().block_on(test)
}

pub(crate) fn caller(target: &str) -> Caller {
    caller_with(Channel::builder(target))
}

pub(crate) fn caller_with(builder: ChannelBuilder) -> Caller {
    Caller::new(builder.connect_lazy().unwrap())
}

/// The failure under a status, which must be one of the client's.
pub(crate) fn failure(status: &Status) -> &Failure {
    Failure::of(status).unwrap_or_else(|| panic!("there is no failure under {status:?}"))
}

/// What a status says, without how long it took.
pub(crate) fn told(status: &Status) -> String {
    let text = status.message();
    let marks = ["(after ", ", after "];
    let Some((at, mark)) = marks.iter().find_map(|mark| Some((text.find(mark)?, mark))) else {
        return text.to_owned();
    };
    let (head, tail) = text.split_at(at + mark.len());
    let end = tail.find([',', ')']).unwrap();
    format!("{head}…{}", &tail[end..])
}

/// Pauses between attempts to connect that a test can wait for.
pub(crate) fn short_backoff() -> BackoffConfig {
    let (initial, max) = (Duration::from_millis(5), Duration::from_millis(20));
    BackoffConfig { initial, max, ..BackoffConfig::default() }
}

pub(crate) async fn say(caller: &Caller, text: &str) -> Result<String, Status> {
    caller.unary(ECHO, Text::new(), Request::new(text.to_owned())).await.map(Response::into_inner)
}

/// Waits for something that another thread does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A service config with a bucket of so many tokens for retries, of which each success brings `ratio`.
pub(crate) fn throttled(tokens: u32, ratio: &str, config: &str) -> String {
    let throttling = format!(r#"{{"retryThrottling": {{"maxTokens": {tokens}, "tokenRatio": {ratio}}}, "#);
    config.replacen('{', &throttling, 1)
}

/// As `eventually`, on a worker, which must not block.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    repeated(what, async || holds().then_some(())).await;
}

/// What another thread sends.
pub(crate) async fn received<T>(what: &str, mut receive: impl FnMut() -> Option<T>) -> T {
    repeated(what, async || receive()).await
}

/// What `attempt` gives as soon as it gives something.
pub(crate) async fn repeated<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let started = corelane_runtime::clock();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(corelane_runtime::clock().since(started).as_secs() < 20, "waited in vain for {what}");
        corelane_runtime::sleep(Duration::from_millis(1)).await;
    }
}

/// What `future` comes to, which must not take long: what may hang is run so.
pub(crate) async fn soon<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let (done, outcome) = std::sync::mpsc::channel();
    corelane_runtime::spawn_local(async move {
        // Nobody may wait for it any more.
        let _ = done.send(future.await);
    });
    received("the future", || outcome.try_recv().ok()).await
}

/// `future`, polled once: it must not be done with that.
pub(crate) async fn begin<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    future
}

/// What `future` comes to, while `beside` goes on until that is done.
pub(crate) async fn beside<F: Future>(future: F, beside: impl Future) -> F::Output {
    let (mut future, mut beside) = (pin!(future), pin!(beside));
    let mut over = false;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        over = over || beside.as_mut().poll(cx).is_ready();
        Poll::Pending
    })
    .await
}

/// What two futures come to, polled in turns.
pub(crate) async fn both<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(|cx| {
        if one.is_none()
            && let Poll::Ready(output) = first.as_mut().poll(cx)
        {
            one = Some(output);
        }
        if other.is_none()
            && let Poll::Ready(output) = second.as_mut().poll(cx)
        {
            other = Some(output);
        }
        if one.is_some() && other.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (one.expect("it is done"), other.expect("it is done"))
}

/// An address where nobody listens, and nobody can begin to: its port is bound for as long as this lives.
#[derive(Clone, Debug)]
pub(crate) struct Deserted {
    address: String,
    bound: Arc<Socket>,
}

impl Deserted {
    /// The address that somebody listened on; `None` while it is still in use.
    pub(crate) fn again(address: &str) -> Option<Deserted> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // What is left of connections there does not count.
        socket.set_reuse_address(true).unwrap();
        let parsed: SocketAddr = address.parse().unwrap();
        socket.bind(&parsed.into()).ok()?;
        Some(Deserted { address: address.to_owned(), bound: Arc::new(socket) })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Gives the port up, to whoever listens there next: that should be at once.
    pub(crate) fn free(self) -> String {
        drop(Arc::into_inner(self.bound).expect("a clone would keep the port"));
        self.address
    }
}

impl fmt::Display for Deserted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// An address where nobody listens.
pub(crate) fn deserted() -> Deserted {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    Deserted { address, bound: Arc::new(socket) }
}

/// All that a stream gives.
pub(crate) async fn collect(mut messages: Streaming<String>) -> Result<Vec<String>, Status> {
    let mut all = Vec::new();
    while let Some(message) = messages.message().await? {
        all.push(message);
    }
    Ok(all)
}
