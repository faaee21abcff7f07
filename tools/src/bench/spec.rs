//! What is called, as it is called over and over: from flags, `.proto` files and the server's reflection to octets.
//!
//! Does not: send.

use std::cell::Cell;
use std::time::Duration;

use corelane::client::{Caller, Channel, ChannelBuilder, Engine, Workers};
use corelane::prost::Message;
use corelane::prost::bytes::Bytes;
use corelane::{Code, Metadata};
use corelane_wire::grpc::PREFIX_LEN;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor};

use crate::bench::args::{Bench, Kind};
use crate::bench::values::MethodPath;
use crate::call::Plan;
use crate::call::documents::Documents;
use crate::call::reflection::Reflection;
use crate::call::source::{self, Source};
use crate::call::trouble::Trouble;

/// What is generated from `proto/bench`.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]
pub(crate) mod proto {
    corelane::include_proto!("bench.v1");
}

/// One call.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    /// As it is on the wire: `/package.Service/Method`.
    pub(crate) path: String,
    /// The encoded message.
    pub(crate) request: Bytes,
    /// How often it is sent, where requests are streamed.
    pub(crate) messages: u32,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Duration>,
    pub(crate) answer: Answer,
}

/// What responses are.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Reply,
    Summary,
    Known(MessageDescriptor),
    Unknown,
}

impl Answer {
    /// Whether a message is of this type.
    pub(crate) fn is(&self, message: &[u8]) -> bool {
        match self {
            Answer::Reply => proto::Reply::decode(message).is_ok(),
            Answer::Summary => proto::Summary::decode(message).is_ok(),
            Answer::Known(kind) => DynamicMessage::decode(kind.clone(), message).is_ok(),
            Answer::Unknown => true,
        }
    }

    /// Whether a body of one message is: not compressed, which nobody has asked for, and of this type.
    pub(crate) fn accepts(&self, body: &[u8]) -> bool {
        body.split_first_chunk::<PREFIX_LEN>()
            .is_some_and(|(prefix, message)| prefix[0] == 0 && self.is(message))
    }
}

/// Which responses are decoded: the first, which tells most, and one of so many after it.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    until_next: Cell<u32>,
}

impl Sampler {
    const EVERY: u32 = 1_024;

    /// Whether the next one is.
    #[inline]
    pub(crate) fn takes_next(&self) -> bool {
        let left = self.until_next.get();
        self.until_next.set(left.checked_sub(1).unwrap_or(Self::EVERY - 1));
        left == 0
    }
}

impl Spec {
    /// The call that the flags ask for.
    ///
    /// # Errors
    /// Files that cannot be read, a method that is not there, a request that is none or too long.
    pub(crate) fn new(options: &Bench) -> Result<Spec, String> {
        let (kind, request, answer) = match &options.method {
            None => {
                let answer = if options.kind() == Kind::Upload { Answer::Summary } else { Answer::Reply };
                (options.kind(), encoded(&order(options))?, answer)
            }
            Some(path) => of_method(options, path)?,
        };
        // A method of one request decides itself how many responses it has; only bench.v1.Bench is told.
        let is_streamed = matches!(kind, Kind::Upload | Kind::Chat);
        if options.method.is_some() && options.messages.is_some() && !is_streamed {
            return Err(
                "--messages is for a METHOD that takes a stream, and this one takes one message".to_owned()
            );
        }
        let mut metadata = Metadata::new();
        options.metadata.iter().for_each(|entry| entry.append_to(&mut metadata));
        Ok(Spec {
            kind,
            path: format!("/{}", options.method_path()),
            request: request.into(),
            messages: options.messages.unwrap_or(1),
            metadata,
            deadline: options.deadline,
            answer,
        })
    }
}

/// The request to `bench.v1.Bench`.
fn order(options: &Bench) -> proto::Request {
    let size = usize::try_from(options.request_size.unwrap_or(0)).expect("a u32 fits where Linux runs");
    proto::Request {
        payload: Bytes::from(vec![0; size]),
        response_size: options.response_size.unwrap_or(0),
        messages: options.messages.unwrap_or(1),
    }
}

/// The octets of a message, whose length must fit in its prefix.
fn encoded(message: &impl Message) -> Result<Vec<u8>, String> {
    match message.encoded_len() {
        length if u32::try_from(length).is_ok() => Ok(message.encode_to_vec()),
        length => Err(format!("a request of {length} bytes is too long: a message has less than 4 GiB")),
    }
}

/// The shape of a method, a request to it, and what it answers.
fn of_method(options: &Bench, path: &MethodPath) -> Result<(Kind, Vec<u8>, Answer), String> {
    let Some(method) = find(options, path)? else {
        return Ok((Kind::Unary, Vec::new(), Answer::Unknown));
    };
    let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Kind::Unary,
        (false, true) => Kind::Download,
        (true, false) => Kind::Upload,
        (true, true) => Kind::Chat,
    };
    let reading = DeserializeOptions::new().deny_unknown_fields(true);
    let request = Documents::open(options.data.as_ref(), method.input(), reading)?.only()?;
    Ok((kind, encoded(&request)?, Answer::Known(method.output())))
}

/// What the files say about a method, or the server; `None` if the server says nothing, and nobody needs to know.
fn find(options: &Bench, path: &MethodPath) -> Result<Option<MethodDescriptor>, String> {
    let files = match options.proto.as_slice() {
        [] => None,
        protos => Some(source::from_protos(protos, &options.import_path)?),
    };
    let (path, is_needed) = (path.clone(), options.data.is_some());
    let channel = channel(options)?;
    let engine = Engine::start_on(Workers::Count(1), options.backend.into());
    let engine = engine.map_err(|error| error.to_string())?;
    let plan = Plan { metadata: options.metadata.clone(), ..Plan::default() };
    engine.block_on(move || async move {
        let source = match files {
            Some(pool) => Source::Files(pool),
            None => {
                let caller = Caller::new(channel.connect_lazy().map_err(|error| error.to_string())?);
                Source::Server(Reflection::new(caller, plan))
            }
        };
        match source.method(&path).await {
            Err(Trouble::Reflection(status)) if status.code() == Code::Unimplemented && !is_needed => {
                Ok(None)
            }
            found => found.map(Some).map_err(in_a_line),
        }
    })
}

fn in_a_line(trouble: Trouble) -> String {
    match trouble {
        Trouble::Reflection(status) if status.code() == Code::Unimplemented => {
            "the server has no reflection; give --proto".to_owned()
        }
        Trouble::Call(status) | Trouble::Reflection(status) => {
            let (code, text) = (status.code(), status.message());
            format!("the server could not be asked what it serves: {code}: {text}")
        }
        Trouble::Other(text) => text,
    }
}

/// A channel of one connection.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn channel(options: &Bench) -> Result<ChannelBuilder, String> {
    let mut builder = Channel::builder(&options.target).connections(1, 1);
    if let Some(authority) = &options.authority {
        builder = builder.authority(authority);
    }
    if let Some(tls) = options.client_tls()? {
        builder = builder.tls(tls);
    }
    Ok(builder)
}
