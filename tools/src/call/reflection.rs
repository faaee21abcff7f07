//! What a server says that it serves: `grpc.reflection.v1`, or v1alpha where the server is older.
//!
//! Each question is a call of its own. That costs a round trip for each file, and there is no state between them; nobody waits for
//! more than a few.
//!
//! Does not: believe that a server sends all at once. Some send a file alone, some with everything that it imports.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use corelane::client::{Caller, Method};
use corelane::codegen::ProstCodec;
use corelane::prost::Message as _;
use corelane::prost_types::FileDescriptorProto;
use corelane::{Code, Request, Status};
use prost_reflect::DescriptorPool;

use crate::call::args::Plan;
use crate::call::proto::server_reflection_request::MessageRequest;
use crate::call::proto::server_reflection_response::MessageResponse;
use crate::call::proto::{ServerReflectionRequest, ServerReflectionResponse};
use crate::call::trouble::Trouble;

const V1: Method = Method::new("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
/// The same under another name, down to the numbers of fields.
const V1ALPHA: Method = Method::new("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");

/// Files that one symbol may need: many more than any real service imports, and few enough to be held.
const FILES_MAX: usize = 4_096;

/// A server, to be asked.
pub(crate) struct Reflection {
    caller: Caller,
    plan: Plan,
    /// The version that the server has, as far as it is known.
    method: Cell<Method>,
}

impl Reflection {
    pub(crate) fn new(mut caller: Caller, plan: Plan) -> Reflection {
        if let Some(max) = plan.response_bytes_max {
            caller.max_decoding_message_size(usize::try_from(max).unwrap_or(usize::MAX));
        }
        Reflection { caller, plan, method: Cell::new(V1) }
    }

    /// The full names of all services.
    pub(crate) async fn services(&self) -> Result<Vec<String>, Status> {
        match self.ask(MessageRequest::ListServices(String::new())).await? {
            MessageResponse::ListServicesResponse(list) => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The file that declares `symbol` and all that it imports; an empty pool if the server knows no such symbol.
    pub(crate) async fn pool_with(&self, symbol: &str) -> Result<DescriptorPool, Trouble> {
        let files = match self.files(MessageRequest::FileContainingSymbol(symbol.to_owned())).await {
            Err(status) if status.code() == Code::NotFound => return Ok(DescriptorPool::new()),
            files => files.map_err(Trouble::Reflection)?,
        };
        let files = self.with_imports(files).await?;
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files).map_err(|error| {
            Trouble::Other(format!("the server's descriptors of {symbol} make no sense: {error}"))
        })?;
        Ok(pool)
    }

    /// Asks for what is imported until nothing is missing.
    async fn with_imports(
        &self,
        files: Vec<FileDescriptorProto>,
    ) -> Result<Vec<FileDescriptorProto>, Trouble> {
        let mut known = BTreeMap::new();
        let mut fresh = VecDeque::from(files);
        while let Some(file) = fresh.pop_front() {
            let imports = file.dependency.clone();
            known.insert(file.name().to_owned(), file);
            for import in imports {
                if known.contains_key(&import) || fresh.iter().any(|file| file.name() == import) {
                    continue;
                }
                fresh.extend(self.file(&import).await?);
            }
            if known.len() + fresh.len() > FILES_MAX {
                return Err(Trouble::Other(format!("the server has more than {FILES_MAX} files for this")));
            }
        }
        Ok(known.into_values().collect())
    }

    async fn file(&self, name: &str) -> Result<Vec<FileDescriptorProto>, Trouble> {
        let answer = self.files(MessageRequest::FileByFilename(name.to_owned())).await;
        let files = match (answer, well_known(name)) {
            (Ok(files), _) => files,
            // Some servers leave out what everybody has.
            (Err(status), Some(file)) if status.code() == Code::NotFound => vec![file],
            (Err(status), _) => return Err(Trouble::Reflection(status)),
        };
        if files.iter().any(|file| file.name() == name) {
            return Ok(files);
        }
        Err(Trouble::Other(format!("the server was asked for {name} and answered with other files")))
    }

    async fn files(&self, question: MessageRequest) -> Result<Vec<FileDescriptorProto>, Status> {
        let answer = match self.ask(question).await? {
            MessageResponse::FileDescriptorResponse(answer) => answer,
            other => return Err(unexpected(&other)),
        };
        let decode = |file: &Vec<u8>| FileDescriptorProto::decode(file.as_slice());
        let files: Result<Vec<_>, _> = answer.file_descriptor_proto.iter().map(decode).collect();
        files.map_err(|error| Status::internal(format!("a file of the server's cannot be decoded: {error}")))
    }

    /// Asks in v1, and from then on in v1alpha if the server knows no v1.
    async fn ask(&self, question: MessageRequest) -> Result<MessageResponse, Status> {
        match self.ask_as(self.method.get(), question.clone()).await {
            Err(status) if status.code() == Code::Unimplemented && self.method.get() == V1 => {
                self.method.set(V1ALPHA);
                self.ask_as(V1ALPHA, question).await
            }
            answer => answer,
        }
    }

    async fn ask_as(&self, method: Method, question: MessageRequest) -> Result<MessageResponse, Status> {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut request = Request::new(corelane::stream::iter([question]));
        self.plan.apply(&mut request);
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::new();
        let mut answers = self.caller.bidi(method, codec, request).await?.into_inner();
        let answer = answers.message().await?.and_then(|answer| answer.message_response);
        match answer {
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message))
            }
            Some(answer) => Ok(answer),
            None => Err(Status::internal("the server answered nothing")),
        }
    }
}

/// What everybody has: the files of `google.protobuf`.
fn well_known(name: &str) -> Option<FileDescriptorProto> {
    let file = DescriptorPool::global().get_file_by_name(name)?;
    Some(file.file_descriptor_proto().clone())
}

fn unexpected(answer: &MessageResponse) -> Status {
    let kind = match answer {
        MessageResponse::FileDescriptorResponse(_) => "files",
        MessageResponse::AllExtensionNumbersResponse(_) => "numbers of extensions",
        MessageResponse::ListServicesResponse(_) => "services",
        MessageResponse::ErrorResponse(_) => "an error",
    };
    Status::internal(format!("the server was asked for something else and answered with {kind}"))
}

#[cfg(test)]
mod tests;
