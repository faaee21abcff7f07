//! Writes the client's half of a service: three types that make its calls. One lives on a worker, one goes to any thread and any
//! async runtime, one blocks.
//!
//! A method of theirs is one line: everything that it does is done by the caller which the type holds.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::service::{Idempotency, Method, Service};

/// The names that all three types have for themselves. A method of the service that is called like one of them gets a `_` behind
/// its name, which no other method can have, since names are made of words. `clone` is there so that a client can be cloned.
const TAKEN: [&str; 8] = [
    "accept_compressed",
    "clone",
    "connect",
    "max_decoding_message_size",
    "max_encoding_message_size",
    "new",
    "send_compressed",
    "with_interceptor",
];

/// Who makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    /// `GreeterClient`: on a worker.
    Worker,
    /// `GreeterHandle`: any thread, any async runtime.
    Handle,
    /// `BlockingGreeterClient`: any thread that may block.
    Blocking,
}

/// The module `…_client` of one service.
pub(crate) fn generate(service: &Service<'_>) -> TokenStream {
    let module = &service.client_module;
    let module_docs = format!(" Generated client implementations of `{}`.", service.full_name);
    let module_attributes = service.attributes(&service.wishes.client_mod_attributes);
    let types = [Face::Worker, Face::Handle, Face::Blocking].map(|face| client(service, face));
    quote! {
        #[doc = #module_docs]
        #module_attributes
        pub mod #module {
            // Whoever includes this module has lints of their own, which are about code that somebody wrote.
            #![allow(
                dead_code,
                deprecated,
                missing_docs,
                unreachable_pub,
                clippy::all,
                clippy::pedantic
            )]
            #(#types)*
        }
    }
}

/// One of the types: what it holds, how it is made, its options and its methods.
fn client(service: &Service<'_>, face: Face) -> TokenStream {
    let krate = &service.wishes.crate_path;
    let name = face.name(service);
    let caller = face.caller();
    let docs = face.docs(service);
    let attributes = service.attributes(&service.wishes.client_attributes);
    let deprecated = &service.deprecated;
    let constructors = constructors(krate, face);
    let options = options(krate);
    let methods = service.methods.iter().map(|method| face.method(service, method));
    quote! {
        #(#[doc = #docs])*
        #deprecated
        #attributes
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        pub struct #name {
            inner: #krate::client::#caller,
        }

        impl #name {
            #constructors
            #options
        }

        impl #name {
            #(#methods)*
        }
    }
}

fn constructors(krate: &syn::Path, face: Face) -> TokenStream {
    let target = quote!(target: impl ::core::convert::Into<::std::string::String>);
    let channel = if face == Face::Worker { quote!(Channel) } else { quote!(RemoteChannel) };
    let caller = face.caller();
    let new = quote! {
        /// Calls over `channel`.
        pub fn new(channel: #krate::client::#channel) -> Self {
            Self { inner: #krate::client::#caller::new(channel) }
        }
    };
    if face != Face::Worker {
        return quote! {
            /// Calls `target`, over a channel on a worker of its own. It connects with the first call.
            ///
            /// # Errors
            ///
            /// If `target` is none.
            pub fn connect(#target) -> ::core::result::Result<Self, #krate::client::BuildError> {
                ::core::result::Result::Ok(Self::new(#krate::client::RemoteChannel::connect(target)?))
            }

            #new
        };
    }
    quote! {
        /// Calls `target`, over a channel that is connected when this returns.
        ///
        /// # Errors
        ///
        /// `INVALID_ARGUMENT` if `target` is none, `UNAVAILABLE` if no connection could be made.
        pub async fn connect(#target) -> ::core::result::Result<Self, #krate::Status> {
            ::core::result::Result::Ok(Self::new(#krate::client::Channel::connect(target).await?))
        }

        #new

        /// Calls over `channel`, through an interceptor, which sees every call of this client first.
        pub fn with_interceptor<I>(channel: #krate::client::Channel, interceptor: I) -> Self
        where
            I: #krate::codegen::Interceptor,
        {
            let mut client = Self::new(channel);
            client.inner.add_interceptor(interceptor);
            client
        }
    }
}

fn options(krate: &syn::Path) -> TokenStream {
    quote! {
        /// Compresses requests in this way.
        #[must_use]
        pub fn send_compressed(mut self, encoding: #krate::codegen::Encoding) -> Self {
            self.inner.send_compressed(encoding);
            self
        }

        /// Accepts responses that are compressed in this way.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: #krate::codegen::Encoding) -> Self {
            self.inner.accept_compressed(encoding);
            self
        }

        /// Refuses responses that are larger than this many bytes: 4 MiB unless it is set.
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.inner.max_decoding_message_size(limit);
            self
        }

        /// Refuses to send requests that are larger than this many bytes: no limit unless it is set.
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.inner.max_encoding_message_size(limit);
            self
        }
    }
}

impl Face {
    fn name(self, service: &Service<'_>) -> Ident {
        let camel = &service.camel;
        match self {
            Face::Worker => format_ident!("{camel}Client"),
            Face::Handle => format_ident!("{camel}Handle"),
            Face::Blocking => format_ident!("Blocking{camel}Client"),
        }
    }

    /// What the type holds.
    fn caller(self) -> Ident {
        match self {
            Face::Worker => format_ident!("Caller"),
            Face::Handle => format_ident!("RemoteCaller"),
            Face::Blocking => format_ident!("BlockingCaller"),
        }
    }

    fn docs(self, service: &Service<'_>) -> Vec<String> {
        let name = &service.full_name;
        let [handle, blocking] = [Face::Handle, Face::Blocking].map(|face| face.name(service));
        let lines = match self {
            Face::Worker => [
                format!(" Calls `{name}`, from a worker."),
                format!(" It stays on its worker; [`{handle}`] and [`{blocking}`] call from elsewhere. A clone"),
                " uses the same connections.".to_owned(),
            ],
            Face::Handle => [
                format!(" Calls `{name}`, from any thread and any async runtime."),
                " A call goes to a worker at once. Its future is `Send` and borrows nothing; dropping it gives the".to_owned(),
                " call up.".to_owned(),
            ],
            Face::Blocking => [
                format!(" Calls `{name}`, and blocks the thread until there is an answer."),
                " Not for workers and not for async runtimes: nothing else goes on there while a thread is".to_owned(),
                " blocked.".to_owned(),
            ],
        };
        let [first, rest @ ..] = lines;
        [first, String::new()].into_iter().chain(rest).collect()
    }

    fn method(self, service: &Service<'_>, method: &Method) -> TokenStream {
        let krate = &service.wishes.crate_path;
        let codec = &service.wishes.codec_path;
        let name = name(method);
        let Method { docs, deprecated, .. } = method;
        let docs = if docs.is_empty() {
            let text = format!(" Calls `{}`.", method.path);
            quote!(#[doc = #text])
        } else {
            docs.clone()
        };
        let head = self.head(krate, &name, method);
        let call = method.shape.ident();
        let path = described(krate, method);
        let request = match (self, method.shape.streams_requests()) {
            (Face::Worker | Face::Handle, true) => {
                quote!(#krate::codegen::IntoStreamingRequest::into_streaming_request(request))
            }
            _ => quote!(#krate::codegen::IntoRequest::into_request(request)),
        };
        let streams = method.shape.streams_requests() || method.shape.streams_responses();
        let wait = if self == Face::Worker && streams { quote!(.await) } else { TokenStream::new() };
        quote! {
            #docs
            #deprecated
            #head {
                self.inner.#call(#path, #codec::default(), #request)#wait
            }
        }
    }

    /// A method up to its body.
    fn head(self, krate: &syn::Path, name: &Ident, method: &Method) -> TokenStream {
        let Method { input, output, shape, .. } = method;
        let into_request = quote!(#krate::codegen::IntoRequest<#input>);
        let into_stream = quote!(#krate::codegen::IntoStreamingRequest<Message = #input>);
        let streaming = match self {
            Face::Worker => quote!(#krate::Streaming),
            Face::Handle => quote!(#krate::client::RemoteStreaming),
            Face::Blocking => quote!(#krate::client::BlockingStreaming),
        };
        let message = if shape.streams_responses() { quote!(#streaming<#output>) } else { quote!(#output) };
        let response =
            if self == Face::Worker { quote!(#krate::Response) } else { quote!(#krate::client::Answer) };
        let result = quote!(::core::result::Result<#response<#message>, #krate::Status>);
        match (self, shape.streams_requests()) {
            // A future that is the call itself: an async function would be one more around it.
            (Face::Worker, false) if !shape.streams_responses() => quote! {
                pub fn #name<R>(
                    &self,
                    request: R,
                ) -> impl ::core::future::Future<Output = #result> + use<'_, R>
                where
                    R: #into_request,
            },
            (Face::Worker, false) => {
                quote!(pub async fn #name(&self, request: impl #into_request) -> #result)
            }
            (Face::Worker, true) => quote!(pub async fn #name(&self, request: impl #into_stream) -> #result),
            // What is captured has to be named, and what is named cannot be `impl`.
            (Face::Handle, streams) => {
                let bounds = if streams {
                    quote!(R: #into_stream, R::Stream: ::core::marker::Send)
                } else {
                    quote!(R: #into_request)
                };
                quote! {
                    pub fn #name<R>(
                        &self,
                        request: R,
                    ) -> impl ::core::future::Future<Output = #result> + ::core::marker::Send + use<R>
                    where
                        #bounds,
                }
            }
            (Face::Blocking, false) => quote!(pub fn #name(&self, request: impl #into_request) -> #result),
            (Face::Blocking, true) => quote! {
                pub fn #name<I, R>(&self, request: R) -> #result
                where
                    I: ::core::iter::IntoIterator<Item = #input>,
                    I::IntoIter: ::core::marker::Send + 'static,
                    R: #krate::codegen::IntoRequest<I>,
            },
        }
    }
}

/// A method's name here.
fn name(method: &Method) -> Ident {
    match method.name.to_string() {
        taken if TAKEN.contains(&taken.as_str()) => format_ident!("{taken}_"),
        _ => method.name.clone(),
    }
}

/// What a caller has to know about a method.
fn described(krate: &syn::Path, method: &Method) -> TokenStream {
    let path = &method.path;
    let described = quote!(#krate::client::Method::new(#path));
    let idempotency = match method.idempotency {
        Idempotency::Unknown => return described,
        Idempotency::NoSideEffects => quote!(NoSideEffects),
        Idempotency::Idempotent => quote!(Idempotent),
    };
    quote!(#described.with_idempotency(#krate::client::Idempotency::#idempotency))
}
