//! The golden files compile, without a warning, against the real crate, and what they offer can be used as tonic's can.

#![deny(warnings)]
#![allow(dead_code, unreachable_pub, reason = "only some of it is used here")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::module_inception, reason = "packages are named as their authors like")]

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use corelane::codegen::{BoxStream, Encoding};
use corelane::server::{Methods, Service, Workers};
use corelane::{Request, Response, Server, Status, Streaming};

mod greeter {
    include!("golden/greeter/mod.rs");
}

mod keywords {
    include!("golden/keywords/mod.rs");
}

mod no_package {
    include!("golden/no_package/mod.rs");
}

mod only_messages {
    include!("golden/only_messages/mod.rs");
}

mod options {
    include!("golden/options/mod.rs");
}

mod packages {
    include!("golden/packages/mod.rs");
}

mod shapes {
    include!("golden/shapes/mod.rs");
}

mod well_known {
    include!("golden/well_known/mod.rs");
}

mod well_known_generated {
    include!("golden/well_known_generated/mod.rs");
}

use greeter::golden::greeter::greeter_server::{Greeter, GreeterServer};
use greeter::golden::greeter::{HelloReply, HelloRequest};
use options::golden::options::Picture;
use options::golden::options::pictures_server::{Pictures, PicturesServer};

/// Neither `Send` nor `Sync`, as services may be.
#[derive(Default)]
struct MyGreeter {
    greeted: Cell<u32>,
}

fn reply(message: String) -> HelloReply {
    HelloReply { message, ..HelloReply::default() }
}

impl Greeter for MyGreeter {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.greeted.set(self.greeted.get() + 1);
        Ok(Response::new(reply(request.into_inner().name)))
    }

    type LotsOfRepliesStream = BoxStream<HelloReply>;

    async fn lots_of_replies(
        &self,
        _request: Request<HelloRequest>,
    ) -> Result<Response<Self::LotsOfRepliesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn lots_of_greetings(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut requests = request.into_inner();
        let mut message = String::new();
        while let Some(request) = requests.message().await? {
            message += &request.name;
        }
        Ok(Response::new(reply(message)))
    }

    type BidiHelloStream = BoxStream<HelloReply>;

    async fn bidi_hello(
        &self,
        _request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Self::BidiHelloStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn say_goodbye(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.say_hello(request).await
    }
}

/// What `skip_debug` leaves to the user.
impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Picture")
    }
}

/// Nothing to implement, with stubs.
struct NoPictures;

impl Pictures for NoPictures {}

fn name_of<S: Service>(_service: &S) -> &'static str {
    S::NAME
}

#[test]
fn a_server_offers_what_tonic_does() {
    let server = GreeterServer::new(MyGreeter::default())
        .accept_compressed(Encoding::Gzip)
        .send_compressed(Encoding::Gzip)
        .max_decoding_message_size(1 << 20)
        .max_encoding_message_size(1 << 20);
    assert_eq!(name_of(&server), "golden.greeter.Greeter");
    assert_eq!(greeter::golden::greeter::greeter_server::SERVICE_NAME, "golden.greeter.Greeter");
    let shared = Rc::new(MyGreeter::default());
    let _server = GreeterServer::from_rc(Rc::clone(&shared));
    let _server = GreeterServer::with_interceptor(MyGreeter::default(), |request: Request<()>| Ok(request));
    let _register: fn(GreeterServer<MyGreeter>, &mut Methods) = Service::register;
}

#[test]
fn a_server_takes_all_methods() {
    let server = Server::builder()
        .workers(Workers::Count(1))
        .add_service(|| GreeterServer::new(MyGreeter::default()))
        .add_service(|| PicturesServer::new(NoPictures));
    let handle = server.start("127.0.0.1:0").unwrap();
    assert_eq!(handle.addresses().len(), 1);
    handle.shutdown();
    handle.join().unwrap();
}

#[test]
fn the_package_can_be_left_out_of_the_name() {
    assert_eq!(name_of(&PicturesServer::new(NoPictures)), "Pictures");
}

#[test]
fn messages_know_their_type() {
    use corelane::prost::Name;

    assert_eq!(Picture::type_url(), "types.example.com/golden.options.Picture");
}

#[test]
fn messages_survive_the_wire() {
    use corelane::prost::Message;
    use keywords::golden::r#type::r#match::{Type, r#type::Fn};
    use shapes::golden::shapes::{Shapes, shapes as nested};

    let keywords = Type { r#type: "a".to_owned(), r#fn: Some(Fn::Async("b".to_owned())), ..Type::default() };
    assert_eq!(Type::decode(keywords.encode_to_vec().as_slice()), Ok(keywords));
    let shapes = Shapes {
        perhaps: Some(0),
        tree: [(1, Shapes::default())].into(),
        either: Some(nested::Either::Text(String::new())),
        ..Shapes::default()
    };
    assert_eq!(Shapes::decode(shapes.encode_to_vec().as_slice()), Ok(shapes));
    let picture = Picture { data: vec![1, 2].into(), ..Picture::default() };
    assert_eq!(Picture::decode(picture.encode_to_vec().as_slice()), Ok(picture));
}
