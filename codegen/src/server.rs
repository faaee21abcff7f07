//! Writes the server's half of a service: the trait to implement, and the type that enters its methods in a server's table.

use proc_macro2::TokenStream;
use quote::quote;

use crate::service::{Method, Service, Stubs};

/// The module `…_server` of one service.
pub(crate) fn generate(service: &Service<'_>) -> TokenStream {
    let module = &service.server_module;
    let module_docs = format!(" Generated server implementation of `{}`.", service.full_name);
    let module_attributes = service.attributes(&service.wishes.server_mod_attributes);
    let service_trait = service_trait(service);
    let server = server(service);
    let registration = registration(service);
    let full_name = &service.full_name;
    quote! {
        #[doc = #module_docs]
        #module_attributes
        pub mod #module {
            // Whoever includes this module has lints of their own, which are about code that somebody wrote.
            #![allow(
                async_fn_in_trait,
                dead_code,
                deprecated,
                missing_debug_implementations,
                missing_docs,
                unreachable_pub,
                unused_variables,
                clippy::all,
                clippy::pedantic
            )]
            #service_trait
            #server
            #registration
            /// The service's full name, as it stands in the paths of its methods.
            pub const SERVICE_NAME: &str = #full_name;
        }
    }
}

fn service_trait(service: &Service<'_>) -> TokenStream {
    let Service { name, docs, deprecated, .. } = service;
    let attributes = service.attributes(&service.wishes.trait_attributes);
    let methods = service.methods.iter().map(|method| trait_method(service, method));
    let docs = if docs.is_empty() {
        let text = format!(" What a server of `{}` implements.", service.full_name);
        quote!(#[doc = #text])
    } else {
        docs.clone()
    };
    quote! {
        #docs
        #deprecated
        #attributes
        pub trait #name: ::core::marker::Sized + 'static {
            #(#methods)*
        }
    }
}

fn trait_method(service: &Service<'_>, method: &Method) -> TokenStream {
    let krate = &service.wishes.crate_path;
    let Method { name, stream_name, docs, deprecated, input, output, shape, .. } = method;
    let request = if shape.streams_requests() { quote!(#krate::Streaming<#input>) } else { input.clone() };
    let stubs = service.wishes.stubs;
    let (stream, response) = match (shape.streams_responses(), stubs) {
        (false, _) => (None, output.clone()),
        // A trait cannot give a default for an associated type, so a stub's stream is boxed.
        (true, Stubs::Unimplemented) => (None, quote!(#krate::codegen::BoxStream<#output>)),
        (true, Stubs::None) => {
            let stream_docs = format!(" The responses of `{}`.", method.path);
            let item = quote!(::core::result::Result<#output, #krate::Status>);
            let stream = quote! {
                #[doc = #stream_docs]
                type #stream_name: #krate::codegen::Stream<Item = #item> + 'static;
            };
            (Some(stream), quote!(Self::#stream_name))
        }
    };
    let body = match stubs {
        Stubs::None => quote!(;),
        Stubs::Unimplemented => {
            quote!({ ::core::result::Result::Err(#krate::Status::unimplemented("not implemented")) })
        }
    };
    quote! {
        #stream
        #docs
        #deprecated
        async fn #name(
            &self,
            request: #krate::Request<#request>,
        ) -> ::core::result::Result<#krate::Response<#response>, #krate::Status>
        #body
    }
}

fn server(service: &Service<'_>) -> TokenStream {
    let krate = &service.wishes.crate_path;
    let Service { name, server_name, parameter, .. } = service;
    let attributes = service.attributes(&service.wishes.server_attributes);
    let deprecated = &service.deprecated;
    let docs = format!(" Serves a [`{name}`] as `{}`.", service.full_name);
    quote! {
        #[doc = #docs]
        ///
        /// It is made on the worker that serves it and stays there, so the service needs neither `Send` nor `Sync`.
        #deprecated
        #attributes
        pub struct #server_name<#parameter> {
            inner: #krate::codegen::Rc<#parameter>,
            options: #krate::server::ServiceOptions,
        }

        impl<#parameter: #name> #server_name<#parameter> {
            /// Serves `inner`.
            pub fn new(inner: #parameter) -> Self {
                Self::from_rc(#krate::codegen::Rc::new(inner))
            }

            /// Serves `inner`, of which the caller keeps a share.
            pub fn from_rc(inner: #krate::codegen::Rc<#parameter>) -> Self {
                Self { inner, options: ::core::default::Default::default() }
            }

            /// Serves `inner` behind an interceptor, which sees every call to this service first.
            pub fn with_interceptor<I>(inner: #parameter, interceptor: I) -> Self
            where
                I: #krate::codegen::Interceptor,
            {
                let mut server = Self::new(inner);
                server.options.interceptor(interceptor);
                server
            }

            /// Accepts requests that are compressed in this way.
            #[must_use]
            pub fn accept_compressed(mut self, encoding: #krate::codegen::Encoding) -> Self {
                self.options.accept_compressed(encoding);
                self
            }

            /// Compresses responses in this way for clients that accept it.
            #[must_use]
            pub fn send_compressed(mut self, encoding: #krate::codegen::Encoding) -> Self {
                self.options.send_compressed(encoding);
                self
            }

            /// Refuses requests that are larger than this many bytes: 4 MiB unless it is set.
            #[must_use]
            pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
                self.options.max_decoding_message_size(limit);
                self
            }

            /// Refuses to send responses that are larger than this many bytes: no limit unless it is set.
            #[must_use]
            pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
                self.options.max_encoding_message_size(limit);
                self
            }
        }
    }
}

fn registration(service: &Service<'_>) -> TokenStream {
    let krate = &service.wishes.crate_path;
    let Service { name, server_name, parameter, .. } = service;
    let methods = service.methods.iter().map(|method| method_registration(service, method));
    quote! {
        impl<#parameter: #name> #krate::server::Service for #server_name<#parameter> {
            const NAME: &'static str = SERVICE_NAME;

            fn register(self, methods: &mut #krate::server::Methods) {
                methods.options(self.options);
                #(#methods)*
            }
        }
    }
}

fn method_registration(service: &Service<'_>, method: &Method) -> TokenStream {
    let krate = &service.wishes.crate_path;
    let codec = &service.wishes.codec_path;
    let Service { name: service_name, parameter, .. } = service;
    let Method { name, path, .. } = method;
    let register = method.shape.ident();
    let rc = quote!(#krate::codegen::Rc);
    quote! {
        let inner = #rc::clone(&self.inner);
        methods.#register(#path, #codec::default(), move |request| {
            let inner = #rc::clone(&inner);
            async move { <#parameter as #service_name>::#name(&inner, request).await }
        });
    }
}
