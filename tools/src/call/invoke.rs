//! The call itself, in whichever of the four shapes its method has.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use corelane::client::{Caller, Method};
use corelane::{Metadata, Request, Response, Status, Streaming};
use futures_channel::oneshot;
use prost_reflect::{DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions};

use crate::call::args::{Call, Plan};
use crate::call::codec::DynamicCodec;
use crate::call::documents::{Data, Documents, Fault, feed};
use crate::call::render::{self, Values, show};
use crate::call::trouble::Trouble;

/// A method, and how it is called.
pub(crate) struct Invocation {
    caller: Caller,
    method: MethodDescriptor,
    plan: Plan,
    reading: DeserializeOptions,
    writing: SerializeOptions,
    /// How metadata is shown, if it is.
    verbose: Option<Values>,
}

impl Plan {
    /// Puts metadata and deadline on a request.
    pub(crate) fn apply<T>(&self, request: &mut Request<T>) {
        for entry in &self.metadata {
            entry.append_to(request.metadata_mut());
        }
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
    }
}

impl Invocation {
    pub(crate) fn new(mut caller: Caller, method: MethodDescriptor, options: &Call) -> Invocation {
        if let Some(max) = options.max_message_size {
            caller.max_decoding_message_size(usize::try_from(max).unwrap_or(usize::MAX));
        }
        let values = if options.redact { Values::Hidden } else { Values::Shown };
        Invocation {
            caller,
            method,
            plan: options.plan(),
            reading: DeserializeOptions::new().deny_unknown_fields(!options.allow_unknown_fields),
            writing: SerializeOptions::new().skip_default_fields(!options.emit_defaults),
            verbose: options.verbose.then_some(values),
        }
    }

    /// Makes the call and shows what comes.
    ///
    /// # Errors
    /// If the call fails, or a request is faulty, or a response cannot be shown.
    pub(crate) async fn run(self, data: Option<Data>) -> Result<(), Trouble> {
        let documents = Documents::open(data.as_ref(), self.method.input(), self.reading.clone());
        let documents = documents.map_err(Trouble::Other)?;
        // A tool calls one method, so what it leaks is one path.
        let path = format!("/{}/{}", self.method.parent_service().full_name(), self.method.name()).leak();
        let (method, codec) = (Method::new(path), DynamicCodec::new(self.method.output()));
        self.tell(|_| format!("Method: {path}"));
        let outcome = if self.method.is_client_streaming() {
            let (requests, faults) = feed(documents);
            let request = self.request(requests);
            let call = async {
                if self.method.is_server_streaming() {
                    self.stream(self.caller.bidi(method, codec, request).await).await
                } else {
                    self.one(self.caller.client_streaming(method, codec, request).await)
                }
            };
            unless(faults, call).await
        } else {
            let request = self.request(documents.only().map_err(Trouble::Other)?);
            if self.method.is_server_streaming() {
                self.stream(self.caller.server_streaming(method, codec, request).await).await
            } else {
                self.one(self.caller.unary(method, codec, request).await)
            }
        };
        if let Err(Trouble::Call(status)) = &outcome {
            self.tell_metadata("Trailers", status.metadata());
        }
        outcome
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.plan.apply(&mut request);
        self.tell_metadata("Request metadata", request.metadata());
        request
    }

    fn one(&self, response: Result<Response<DynamicMessage>, Status>) -> Result<(), Trouble> {
        let response = response.map_err(Trouble::Call)?;
        self.tell_metadata("Response metadata", response.metadata());
        self.show(response.get_ref())?;
        self.tell_metadata("Trailers", response.trailers());
        Ok(())
    }

    async fn stream(
        &self,
        response: Result<Response<Streaming<DynamicMessage>>, Status>,
    ) -> Result<(), Trouble> {
        let response = response.map_err(Trouble::Call)?;
        self.tell_metadata("Response metadata", response.metadata());
        let mut messages = response.into_inner();
        while let Some(message) = messages.message().await.map_err(Trouble::Call)? {
            self.show(&message)?;
        }
        let trailers = messages.trailers().await.map_err(Trouble::Call)?;
        self.tell_metadata("Trailers", &trailers.unwrap_or_default());
        Ok(())
    }

    fn show(&self, message: &DynamicMessage) -> Result<(), Trouble> {
        show(&render::message(message, &self.writing).map_err(Trouble::Other)?)
    }

    fn tell_metadata(&self, title: &str, metadata: &Metadata) {
        self.tell(|values| render::metadata(title, metadata, values));
    }

    /// Says something on stderr with `-v`.
    fn tell(&self, text: impl FnOnce(Values) -> String) {
        if let Some(values) = self.verbose {
            eprintln!("{}", text(values));
        }
    }
}

/// Waits for a call, unless there is a fault in its requests before: then the call is dropped, which cancels it.
async fn unless(
    faults: oneshot::Receiver<Fault>,
    call: impl Future<Output = Result<(), Trouble>>,
) -> Result<(), Trouble> {
    let (mut faults, mut call) = (Some(faults), pin!(call));
    poll_fn(|cx| {
        if let Some(fault) = &mut faults {
            match pin!(fault).poll(cx) {
                Poll::Ready(Ok(fault)) => return Poll::Ready(Err(Trouble::Other(fault.text))),
                // All requests were read.
                Poll::Ready(Err(_)) => faults = None,
                Poll::Pending => {}
            }
        }
        call.as_mut().poll(cx)
    })
    .await
}
