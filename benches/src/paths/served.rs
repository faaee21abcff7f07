//! A server as users have it, in this thread: a worker inside a runtime of its own (epoll, so that valgrind can follow), called over a
//! Unix socket, by a [`Script`] or by the engine's own client on the same worker.
//!
//! A Unix socket hands over what was written at once. So what the thread does is the same each time, but for what depends on the
//! clock.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corelane::client::{Channel, spawn_local};
use corelane::server::StartError;
use corelane_wire::Instant;
use corelane_wire::connection::{Config, Connection, Role};
use corelane_wire::frame::{Flags, HEADER_LEN, Header, Kind};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::UnixStream;
use monoio::task::JoinHandle;
use monoio::{LegacyDriver, Runtime, RuntimeBuilder};

use super::Path;
use super::codec::{encoded, request};
use super::exchange::{Extras, Requests, finish};
use super::script::Script;
use crate::proto::Request;
use crate::proto::bench_client::BenchClient;
use crate::service;

const WARM_UP: usize = 10;
const READ_BYTES: usize = 64 * 1024;
const NOW: Instant = Instant::from_nanos(1);

/// A runtime with a server in it, which ends in order: its thread has room for the next one then.
struct Worker {
    runtime: Runtime<LegacyDriver>,
    path: PathBuf,
    stop: Rc<Gate>,
    server: Option<JoinHandle<Result<(), StartError>>>,
}

impl Worker {
    fn start() -> Worker {
        let path = std::env::temp_dir().join(format!("corelane-benches-{}.sock", std::process::id()));
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build().expect("epoll is there");
        let address = format!("unix:{}", path.display());
        let stop = Rc::new(Gate::new(1));
        let stopped = stop.clone();
        let mut server = None;
        runtime.block_on(async {
            let builder = service::server().shutdown_grace(Duration::ZERO);
            let bound = builder.bind_local(address).expect("the path is free");
            server = Some(monoio::spawn(async move { bound.serve_with_shutdown(stopped.opened()).await }));
            yield_once().await;
        });
        Worker { runtime, path, stop, server }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let server = self.server.take().expect("taken here alone");
        let stop = self.stop.clone();
        let ended = self.runtime.block_on(async move {
            stop.pass();
            server.await
        });
        ended.expect("the server had started");
    }
}

/// Opens when so many have passed; one waits for that.
struct Gate {
    left: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Gate {
    fn new(left: usize) -> Gate {
        Gate { left: Cell::new(left), waiting: RefCell::new(None) }
    }

    fn pass(&self) {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }

    async fn opened(self: Rc<Gate>) {
        poll_fn(|cx| {
            self.waiting.replace(Some(cx.waker().clone()));
            if self.left.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Lets the runtime's tasks run.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What the calls of a [`Served`] are.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// 100 at once, with 16 octets each way.
    Unary,
    /// Four at once, with 100 replies.
    Download,
    /// Four at once, with 100 requests.
    Upload,
}

/// Messages of a stream.
const MESSAGES: u32 = 100;

impl Shape {
    fn requests(self, extras: Extras) -> Requests {
        let one = encoded(&request(16));
        match self {
            Shape::Unary => Requests::new("/bench.v1.Bench/Unary", vec![one], 100, extras),
            Shape::Download => {
                let order = Request { messages: MESSAGES, response_size: 16, ..Request::default() };
                Requests::new("/bench.v1.Bench/Download", vec![encoded(&order)], 4, extras)
            }
            Shape::Upload => Requests::new("/bench.v1.Bench/Upload", vec![one; MESSAGES as usize], 4, extras),
        }
    }
}

/// A server whose client is a script.
pub struct Served {
    worker: Worker,
    peer: Peer,
    shape: Shape,
    calls: usize,
    ids: u32,
}

/// The client's end of the connection.
struct Peer {
    stream: UnixStream,
    script: Script,
    /// What is written, kept for its storage.
    output: Vec<u8>,
    input: Vec<u8>,
}

impl Served {
    /// A server that has been called before.
    #[must_use]
    pub fn new(shape: Shape, extras: Extras) -> Served {
        let mut worker = Worker::start();
        let requests = shape.requests(extras);
        let path = worker.path.clone();
        let (stream, script) = worker.runtime.block_on(async {
            let mut stream = UnixStream::connect(path).await.expect("the server listens");
            let script = record(&mut stream, &requests).await;
            (stream, script)
        });
        let input = Vec::with_capacity(READ_BYTES);
        let peer = Peer { stream, script, output: Vec::new(), input };
        let mut served = Served { worker, peer, shape, calls: requests.calls(), ids: requests.ids() };
        for _ in 0..WARM_UP {
            served.prepare();
            served.step();
        }
        served
    }
}

/// Makes calls with a real client, the last of which are the script.
async fn record(stream: &mut UnixStream, requests: &Requests) -> Script {
    let mut client = Connection::new(Role::Client, Config::default(), NOW);
    // SETTINGS first: the server's say how many calls may be open.
    exchange(stream, &mut client).await;
    let mut script = Script::new(&[], 0);
    for _ in 0..WARM_UP {
        requests.open(&mut client);
        let sent = client.output().clone();
        let octets = exchange(stream, &mut client).await;
        script = Script::new(&sent, octets);
    }
    script
}

/// Carries bytes until something has come and no call is open; gives the octets of all messages that came.
async fn exchange(stream: &mut UnixStream, client: &mut Connection) -> u32 {
    let (mut input, mut octets, mut whole) = (Vec::with_capacity(READ_BYTES), 0, 0);
    loop {
        let output = std::mem::take(client.output());
        if !output.is_empty() {
            stream.write_all(output).await.0.expect("the server reads");
        }
        if whole > 0 && client.streams_count() == 0 {
            return octets;
        }
        input = receive(stream, input).await;
        let seen = look(&input);
        octets += seen.octets;
        whole = seen.whole;
        finish(client, &input[..whole]);
        input.drain(..whole);
    }
}

/// Reads behind what `input` holds.
async fn receive(stream: &mut UnixStream, mut input: Vec<u8>) -> Vec<u8> {
    let at = input.len();
    input.reserve(READ_BYTES);
    let (read, input) = stream.read(monoio::buf::IoBufMut::slice_mut(input, at..)).await;
    assert_ne!(read.expect("the connection lives"), 0, "the server stays");
    input.into_inner()
}

/// What whole frames say.
#[derive(Default)]
struct Seen {
    /// Octets of frames that are complete.
    whole: usize,
    /// Calls that ended.
    ended: usize,
    /// Octets of DATA.
    octets: u32,
}

fn look(input: &[u8]) -> Seen {
    let mut seen = Seen::default();
    while let Some(header) = input[seen.whole..].first_chunk() {
        let header = Header::parse(header);
        let next = seen.whole + HEADER_LEN + header.len as usize;
        if next > input.len() {
            break;
        }
        seen.whole = next;
        if header.kind == Kind::DATA {
            seen.octets += header.len;
        } else if header.kind == Kind::HEADERS && header.flags.contains(Flags::END_STREAM) {
            seen.ended += 1;
        }
    }
    seen
}

impl Path for Served {
    fn operations(&self) -> u64 {
        let messages = match self.shape {
            Shape::Unary => 1,
            Shape::Download | Shape::Upload => u64::from(MESSAGES),
        };
        self.calls as u64 * messages
    }

    fn prepare(&mut self) {
        self.peer.script.advance(self.ids);
        self.peer.output.clear();
        self.peer.output.extend_from_slice(self.peer.script.bytes());
    }

    fn step(&mut self) {
        let Served { worker, peer, calls, .. } = self;
        worker.runtime.block_on(async {
            let output = std::mem::take(&mut peer.output);
            let (written, output) = peer.stream.write_all(output).await;
            written.expect("the server reads");
            peer.output = output;
            let mut ended = 0;
            while ended < *calls {
                let input = receive(&mut peer.stream, std::mem::take(&mut peer.input)).await;
                let seen = look(&input);
                ended += seen.ended;
                peer.input = input;
                peer.input.drain(..seen.whole);
            }
        });
    }
}

/// Calls that a task makes in a step.
const CALLS: usize = 10;

/// The engine's client and server, which are one worker.
pub struct EndToEnd {
    /// Dropped within the runtime.
    client: Option<BenchClient>,
    tasks: usize,
    payload: usize,
    worker: Worker,
}

impl EndToEnd {
    /// Unary calls, so many at once, with so many octets each way.
    ///
    /// # Panics
    /// If the server cannot be reached.
    #[must_use]
    pub fn new(at_once: usize, payload: usize) -> EndToEnd {
        let mut worker = Worker::start();
        let target = format!("unix:{}", worker.path.display());
        let client = worker.runtime.block_on(async {
            BenchClient::new(Channel::connect(target).await.expect("the server listens"))
        });
        let mut path = EndToEnd { client: Some(client), tasks: at_once, payload, worker };
        (0..WARM_UP).for_each(|_| path.step());
        path
    }
}

impl Drop for EndToEnd {
    fn drop(&mut self) {
        let client = self.client.take();
        self.worker.runtime.block_on(async { drop(client) });
    }
}

impl Path for EndToEnd {
    fn operations(&self) -> u64 {
        (self.tasks * CALLS) as u64
    }

    fn step(&mut self) {
        let EndToEnd { client, tasks, payload, worker } = self;
        let (client, tasks) = (client.as_ref().expect("it is there until the end"), *tasks);
        let order =
            Request { response_size: u32::try_from(*payload).expect("it is small"), ..request(*payload) };
        worker.runtime.block_on(async {
            let ended = Rc::new(Gate::new(tasks));
            for _ in 0..tasks {
                let (client, order, ended) = (client.clone(), order.clone(), ended.clone());
                spawn_local(async move {
                    for _ in 0..CALLS {
                        let reply = client.unary(order.clone()).await.expect("the server answers");
                        assert_eq!(reply.get_ref().payload.len(), order.payload.len());
                    }
                    ended.pass();
                });
            }
            ended.opened().await;
        });
    }
}
