//! Reflection against servers of both versions, of which some send all and some no more than they are asked for.

use corelane::client::{Channel, Engine, Workers};
use corelane::codegen::{BoxStream, Methods, ProstCodec, Rc, Service};
use corelane::server::ServerHandle;
use corelane::{Response, Server, Streaming};
use prost_reflect::FileDescriptor;

use super::*;
use crate::bench::values::MethodPath;
use crate::call::proto::{ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServiceResponse};
use crate::call::source::Source;

/// How much comes with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    FileAlone,
    Imports,
    /// As a server does that takes for granted what everybody has.
    AllButWellKnown,
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(crate::call::DESCRIPTORS).unwrap()
}

fn answer(question: MessageRequest, sends: Sends) -> MessageResponse {
    let pool = pool();
    let file = match question {
        MessageRequest::ListServices(_) => {
            let name = |name: &str| ServiceResponse { name: name.to_owned() };
            let service = vec![name("example.v1.UserService"), name("example.v1.OrderService")];
            return MessageResponse::ListServicesResponse(ListServiceResponse { service });
        }
        MessageRequest::FileContainingSymbol(symbol) => {
            let service = pool.get_service_by_name(&symbol).map(|found| found.parent_file());
            service.or_else(|| pool.get_message_by_name(&symbol).map(|found| found.parent_file()))
        }
        MessageRequest::FileByFilename(name) => pool.get_file_by_name(&name),
        _ => None,
    };
    let hidden =
        |file: &FileDescriptor| sends == Sends::AllButWellKnown && file.package_name() == "google.protobuf";
    let Some(file) = file.filter(|file| !hidden(file)) else {
        let error_code = i32::from(Code::NotFound.number());
        return MessageResponse::ErrorResponse(ErrorResponse {
            error_code,
            error_message: "no such file".to_owned(),
        });
    };
    let mut files = vec![file.clone()];
    if sends != Sends::FileAlone {
        files.extend(file.dependencies().filter(|file| !hidden(file)));
    }
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
        file_descriptor_proto: files.iter().map(FileDescriptor::encode_to_vec).collect(),
    })
}

/// A server's service, under the name of either version.
struct V<const ALPHA: bool>(Sends);

async fn reply(
    request: Request<Streaming<ServerReflectionRequest>>,
    sends: Sends,
) -> Result<Response<BoxStream<ServerReflectionResponse>>, Status> {
    let mut questions = request.into_inner();
    let Some(question) = questions.message().await? else { return Err(Status::internal("no question")) };
    let asked = question.message_request.clone().ok_or_else(|| Status::internal("an empty question"))?;
    let message_response = Some(answer(asked, sends));
    let reply = ServerReflectionResponse {
        valid_host: String::new(),
        original_request: Some(question),
        message_response,
    };
    Ok(Response::new(Box::pin(corelane::stream::iter([Ok(reply)]))))
}

impl<const ALPHA: bool> Service for V<ALPHA> {
    const NAME: &'static str = if ALPHA {
        "grpc.reflection.v1alpha.ServerReflection"
    } else {
        "grpc.reflection.v1.ServerReflection"
    };

    fn register(self, methods: &mut Methods) {
        let path = if ALPHA { V1ALPHA.path() } else { V1.path() };
        let codec = ProstCodec::<ServerReflectionResponse, ServerReflectionRequest>::new();
        let sends = Rc::new(self.0);
        methods.bidi(path, codec, move |request| reply(request, *sends));
    }
}

fn serve<const ALPHA: bool>(sends: Sends) -> (ServerHandle, String) {
    let builder = Server::builder().workers(Workers::Count(1)).add_service(move || V::<ALPHA>(sends));
    let handle = builder.start("127.0.0.1:0").unwrap();
    let target = handle.addresses()[0].to_string();
    (handle, target)
}

/// Runs `ask` against a server, and gives what comes of it and the version that was spoken in the end.
fn with<const ALPHA: bool, F, T>(sends: Sends, ask: impl FnOnce(Rc<Source>) -> F + Send + 'static) -> T
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let (server, target) = serve::<ALPHA>(sends);
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let came = engine.block_on(move || async move {
        let channel = Channel::builder(target).connect_lazy().unwrap();
        let source = Rc::new(Source::Server(Reflection::new(Caller::new(channel), Plan::default())));
        ask(source).await
    });
    server.shutdown();
    server.join().unwrap();
    came
}

fn path(text: &str) -> MethodPath {
    text.parse().unwrap()
}

#[test]
fn services_are_listed_in_order() {
    let names =
        with::<false, _, _>(Sends::FileAlone, |source| async move { source.services().await.unwrap() });
    assert_eq!(names, ["example.v1.OrderService", "example.v1.UserService"]);
}

#[test]
fn a_server_of_before_v1_is_asked_in_its_own_version() {
    let found = with::<true, _, _>(Sends::Imports, |source| async move {
        let names = source.services().await.unwrap();
        let Source::Server(reflection) = &*source else { unreachable!() };
        assert_eq!(reflection.method.get(), V1ALPHA);
        let method = source.method(&path("example.v1.UserService/Chat")).await.unwrap();
        (names.len(), method.input().full_name().to_owned())
    });
    assert_eq!(found, (2, "example.v1.ChatRequest".to_owned()));
}

#[test]
fn what_a_file_imports_is_asked_for_if_it_did_not_come_along() {
    for sends in [Sends::FileAlone, Sends::Imports, Sends::AllButWellKnown] {
        let output = with::<false, _, _>(sends, |source| async move {
            let method = source.method(&path("example.v1.UserService/DeleteUser")).await.unwrap();
            method.output().full_name().to_owned()
        });
        assert_eq!(output, "google.protobuf.Empty");
    }
}

#[test]
fn a_service_that_the_server_does_not_know_is_named() {
    let text = with::<false, _, _>(Sends::Imports, |source| async move {
        source.method(&path("example.v1.Nobody/Get")).await.unwrap_err().to_string()
    });
    assert_eq!(text, "error: there is no service example.v1.Nobody");
}

#[test]
fn a_server_without_reflection_is_told_of() {
    let server = Server::builder().workers(Workers::Count(1)).start("127.0.0.1:0").unwrap();
    let target = server.addresses()[0].to_string();
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let (code, text) = engine.block_on(move || async move {
        let channel = Channel::builder(target).connect_lazy().unwrap();
        let source = Source::Server(Reflection::new(Caller::new(channel), Plan::default()));
        let trouble = source.services().await.unwrap_err();
        (trouble.exit_code(), trouble.to_string())
    });
    assert_eq!(code, 76);
    assert!(text.starts_with("error: the server has no reflection; give --proto or --protoset\n"), "{text}");
    server.shutdown();
    server.join().unwrap();
}

/// A server that invents an import for each file is given up.
#[test]
fn imports_without_end_are_refused() {
    struct Endless;

    impl Service for Endless {
        const NAME: &'static str = V::<false>::NAME;

        fn register(self, methods: &mut Methods) {
            let codec = ProstCodec::<ServerReflectionResponse, ServerReflectionRequest>::new();
            methods.bidi(
                V1.path(),
                codec,
                |request: Request<Streaming<ServerReflectionRequest>>| async move {
                    let mut questions = request.into_inner();
                    let question = questions.message().await?.and_then(|question| question.message_request);
                    let name = match question {
                        Some(MessageRequest::FileByFilename(name)) => name,
                        _ => "a".to_owned(),
                    };
                    let file = FileDescriptorProto {
                        dependency: (0..2).map(|number| format!("{name}{number}")).collect(),
                        name: Some(name),
                        ..FileDescriptorProto::default()
                    };
                    let files = FileDescriptorResponse { file_descriptor_proto: vec![file.encode_to_vec()] };
                    let reply = ServerReflectionResponse {
                        message_response: Some(MessageResponse::FileDescriptorResponse(files)),
                        ..ServerReflectionResponse::default()
                    };
                    let stream: BoxStream<ServerReflectionResponse> =
                        Box::pin(corelane::stream::iter([Ok(reply)]));
                    Ok(Response::new(stream))
                },
            );
        }
    }

    let server =
        Server::builder().workers(Workers::Count(1)).add_service(|| Endless).start("127.0.0.1:0").unwrap();
    let target = server.addresses()[0].to_string();
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let text = engine.block_on(move || async move {
        let channel = Channel::builder(target).connect_lazy().unwrap();
        let source = Source::Server(Reflection::new(Caller::new(channel), Plan::default()));
        source.service("a.B").await.unwrap_err().to_string()
    });
    assert_eq!(text, "error: the server has more than 4096 files for this");
    server.shutdown();
    server.join().unwrap();
}
