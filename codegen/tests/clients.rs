//! What is generated for clients can be used: called by the names that a `.proto` file gives, sent to other threads, and it reaches
//! a server that was generated from the same file.

#![deny(warnings)]
#![allow(dead_code, unreachable_pub, reason = "only some of it is used here")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::module_inception, reason = "packages are named as their authors like")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use corelane::client::{Channel, Engine, RemoteChannel, Workers};
use corelane::codegen::{BoxStream, Encoding, Stream};
use corelane::server::ServerHandle;
use corelane::{Code, Request, Response, Server, Status, Streaming};

mod collisions {
    include!("golden/collisions/mod.rs");
}

mod greeter {
    include!("golden/greeter/mod.rs");
}

mod only_clients {
    include!("golden/only_clients/mod.rs");
}

mod only_servers {
    include!("golden/only_servers/mod.rs");
}

/// Where the golden file of options says that they are.
mod packages {
    include!("golden/packages/mod.rs");
}

use greeter::golden::greeter::greeter_client::{BlockingGreeterClient, GreeterClient, GreeterHandle};
use greeter::golden::greeter::greeter_server::{Greeter, GreeterServer};
use greeter::golden::greeter::{HelloReply, HelloRequest};

fn request(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}

fn reply(message: String) -> HelloReply {
    HelloReply { message, ..HelloReply::default() }
}

/// Values that are there already, as a stream.
struct Values<T>(VecDeque<T>);

impl<T: Unpin> Stream for Values<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn names() -> Values<HelloRequest> {
    Values([request("Ada"), request("Bob")].into())
}

struct MyGreeter;

impl Greeter for MyGreeter {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let title = request.metadata().get("x-title").unwrap_or("").to_owned();
        Ok(Response::new(reply(title + &request.into_inner().name)))
    }

    type LotsOfRepliesStream = BoxStream<HelloReply>;

    async fn lots_of_replies(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Self::LotsOfRepliesStream>, Status> {
        let name = request.into_inner().name;
        let replies = name.chars().map(|letter| Ok(reply(letter.into()))).collect();
        Ok(Response::new(Box::pin(Values(replies))))
    }

    async fn lots_of_greetings(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut message = request.metadata().get("x-title").unwrap_or("").to_owned();
        let mut requests = request.into_inner();
        while let Some(request) = requests.message().await? {
            message += &request.name;
        }
        Ok(Response::new(reply(message)))
    }

    type BidiHelloStream = BoxStream<HelloReply>;

    async fn bidi_hello(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Self::BidiHelloStream>, Status> {
        let mut requests = request.into_inner();
        let mut replies = VecDeque::new();
        while let Some(request) = requests.message().await? {
            replies.push_back(Ok(reply(request.name)));
        }
        Ok(Response::new(Box::pin(Values(replies))))
    }

    async fn say_goodbye(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Err(Status::not_found("nobody left"))
    }
}

fn serve() -> (ServerHandle, String) {
    let server = Server::builder()
        .workers(corelane::server::Workers::Count(1))
        .add_service(|| GreeterServer::new(MyGreeter).accept_compressed(Encoding::Gzip));
    let handle = server.start("127.0.0.1:0").unwrap();
    let target = format!("static:///{}", handle.addresses()[0]);
    (handle, target)
}

fn texts(replies: impl IntoIterator<Item = Result<HelloReply, Status>>) -> Vec<String> {
    replies.into_iter().map(|reply| reply.unwrap().message).collect()
}

async fn all(mut replies: Streaming<HelloReply>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(reply) = replies.message().await.unwrap() {
        texts.push(reply.message);
    }
    texts
}

#[test]
fn a_client_on_a_worker_makes_calls_of_every_shape() {
    let (server, target) = serve();
    let engine = Engine::start(Workers::Count(1)).unwrap();
    engine.block_on(|| async move {
        let client = GreeterClient::connect(target).await.unwrap().send_compressed(Encoding::Gzip);
        assert_eq!(client.say_hello(request("Ada")).await.unwrap().into_inner().message, "Ada");
        let mut titled = Request::new(request("Ada"));
        titled.metadata_mut().insert("x-title", "Dr.").unwrap();
        assert_eq!(client.say_hello(titled).await.unwrap().into_inner().message, "Dr.Ada");
        let client = client.clone();
        let replies = client.lots_of_replies(request("Ada")).await.unwrap().into_inner();
        assert_eq!(all(replies).await, ["A", "d", "a"]);
        assert_eq!(client.lots_of_greetings(names()).await.unwrap().into_inner().message, "AdaBob");
        let replies = client.bidi_hello(Request::new(names())).await.unwrap().into_inner();
        assert_eq!(all(replies).await, ["Ada", "Bob"]);
        #[expect(deprecated, reason = "the attribute reaches the caller")]
        let status = client.say_goodbye(request("Ada")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "nobody left"));
    });
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn an_interceptor_sees_the_calls_of_its_client() {
    let (server, target) = serve();
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let message = engine.block_on(|| async move {
        let channel = Channel::connect(target).await.unwrap();
        let client = GreeterClient::with_interceptor(channel, |mut request: Request<()>| {
            request.metadata_mut().insert("x-title", "Prof.")?;
            Ok(request)
        });
        client.say_hello(request("Ada")).await.unwrap().into_inner().message
    });
    assert_eq!(message, "Prof.Ada");
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn limits_are_those_of_the_client() {
    let (server, target) = serve();
    let client = BlockingGreeterClient::connect(&target).unwrap();
    let code = |client: BlockingGreeterClient| client.say_hello(request("Ada")).unwrap_err().code();
    assert_eq!(code(client.clone().max_decoding_message_size(1)), Code::ResourceExhausted);
    assert_eq!(code(client.clone().max_encoding_message_size(1)), Code::ResourceExhausted);
    assert!(client.say_hello(request("Ada")).is_ok());
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn a_client_that_blocks_makes_calls_of_every_shape() {
    let (server, target) = serve();
    let client = BlockingGreeterClient::connect(target).unwrap();
    assert_eq!(client.say_hello(request("Ada")).unwrap().into_inner().message, "Ada");
    let replies = client.lots_of_replies(request("Ada")).unwrap().into_inner();
    assert_eq!(texts(replies), ["A", "d", "a"]);
    let both = || ["Ada", "Bob"].into_iter().map(request);
    assert_eq!(client.lots_of_greetings(both()).unwrap().into_inner().message, "AdaBob");
    assert_eq!(texts(client.bidi_hello(both()).unwrap().into_inner()), ["Ada", "Bob"]);
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn a_client_that_blocks_sends_metadata_with_a_stream() {
    let (server, target) = serve();
    let client = BlockingGreeterClient::connect(target).unwrap();
    let mut titled = Request::new(vec![request("Ada")]);
    titled.metadata_mut().insert("x-title", "Dr.").unwrap();
    // Whether the request or what is in it is the stream cannot be inferred.
    let answer = client.lots_of_greetings::<Vec<_>, _>(titled).unwrap();
    assert_eq!(answer.into_inner().message, "Dr.Ada");
    server.shutdown();
    server.join().unwrap();
}

fn is_for_any_thread<T: Send + 'static>(value: T) -> T {
    value
}

fn is_shared<T: Send + Sync + Clone + std::fmt::Debug + 'static>(_: &T) {}

#[test]
fn the_futures_of_a_handle_go_to_any_thread_and_outlive_it() {
    let (server, target) = serve();
    let handle = GreeterHandle::connect(target).unwrap();
    is_shared(&handle);
    let hello = is_for_any_thread(handle.say_hello(request("Ada")));
    let replies = is_for_any_thread(handle.lots_of_replies(Request::new(request("Ada"))));
    let greetings = is_for_any_thread(handle.lots_of_greetings(names()));
    let bidi = is_for_any_thread(handle.bidi_hello(names()));
    drop(handle);
    // Any executor will do, so an engine's worker does: here, of an engine that has nothing to do with the channel.
    let engine = Engine::start(Workers::Count(1)).unwrap();
    engine.block_on(|| async move {
        assert_eq!(hello.await.unwrap().into_inner().message, "Ada");
        let mut replies = replies.await.unwrap().into_inner();
        assert_eq!(replies.message().await.unwrap().unwrap().message, "A");
        assert_eq!(greetings.await.unwrap().into_inner().message, "AdaBob");
        let mut bidi = bidi.await.unwrap().into_inner();
        assert_eq!(bidi.message().await.unwrap().unwrap().message, "Ada");
    });
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn a_target_that_is_none_is_told_at_once() {
    assert!(GreeterHandle::connect("nonsense://x:y:z").is_err());
    assert!(BlockingGreeterClient::connect("nonsense://x:y:z").is_err());
}

#[test]
fn names_that_a_client_has_itself_can_be_called() {
    use collisions::golden::collisions::Message;
    use collisions::golden::collisions::client_client::{BlockingClientClient, ClientClient, ClientHandle};
    use collisions::golden::collisions::handle_client_::{BlockingHandleClient, HandleClient, HandleHandle};

    // Nobody is there: it is enough that they can be called.
    async fn on_a_worker(client: ClientClient, message: Message) -> Result<(), Status> {
        client.new_(message.clone()).await?;
        client.connect_(Values([message.clone()].into())).await?;
        client.with_interceptor_(message.clone()).await?;
        client.send_compressed_(message.clone()).await?;
        client.accept_compressed_(Values([message.clone()].into())).await?;
        client.max_decoding_message_size_(message.clone()).await?;
        client.max_encoding_message_size_(message.clone()).await?;
        client.clone_(message.clone()).await?;
        client.clone().fmt(message.clone()).await?;
        client.inner(message.clone()).await?;
        client.unary(message.clone()).await?;
        client.into_request(message).await?;
        Ok(())
    }
    let _callable =
        (on_a_worker, ClientHandle::new_::<Message>, BlockingClientClient::connect_::<Vec<_>, Vec<Message>>);
    let _others = (HandleClient::new, HandleHandle::drop::<Message>, BlockingHandleClient::new);
    let channel = RemoteChannel::connect("static:///127.0.0.1:1").unwrap();
    let shown = format!("{:?}", ClientHandle::new(channel).clone());
    assert!(shown.starts_with("ClientHandle"), "{shown}");
}
