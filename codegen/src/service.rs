//! What the server's half and the client's have to know about a service: its names in Rust, its types, its comments.
//!
//! Every path in generated code is absolute or starts with `super`, so that no name in a `.proto` file, not even `Result`,
//! changes what the code means.

use heck::{ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span, TokenStream};
use prost_build::Comments;
use prost_types::method_options::IdempotencyLevel;
use quote::{format_ident, quote};

use crate::CodegenError;
use crate::modules::Modules;
use crate::paths::PathMap;

/// What the user wants of the services, all of it checked.
#[derive(Clone)]
pub(crate) struct Wishes {
    pub(crate) crate_path: syn::Path,
    pub(crate) codec_path: syn::Path,
    pub(crate) server: Build,
    pub(crate) client: Build,
    pub(crate) stubs: Stubs,
    pub(crate) package: Package,
    pub(crate) well_known_types: WellKnownTypes,
    pub(crate) comments_disabled: PathMap<()>,
    pub(crate) server_mod_attributes: PathMap<TokenStream>,
    pub(crate) server_attributes: PathMap<TokenStream>,
    pub(crate) trait_attributes: PathMap<TokenStream>,
    pub(crate) client_mod_attributes: PathMap<TokenStream>,
    pub(crate) client_attributes: PathMap<TokenStream>,
}

/// Whether a half of a service is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    Yes,
    No,
}

/// Whether methods have a body that answers UNIMPLEMENTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stubs {
    None,
    Unimplemented,
}

/// Whether a service's name has its package in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Package {
    Named,
    Omitted,
}

/// Where the types of `google.protobuf` come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WellKnownTypes {
    Given,
    Generated,
}

/// A service, as generated code sees it.
pub(crate) struct Service<'a> {
    pub(crate) wishes: &'a Wishes,
    /// `Greeter`.
    pub(crate) name: Ident,
    /// `Greeter`, as the start or the end of other types' names: never escaped.
    pub(crate) camel: String,
    /// `GreeterServer`.
    pub(crate) server_name: Ident,
    /// The type parameter for what implements it: `T`, unless the service has taken that name.
    pub(crate) parameter: Ident,
    /// `greeter_client`, unless something else is called that.
    pub(crate) client_module: Ident,
    /// `greeter_server`, likewise.
    pub(crate) server_module: Ident,
    /// `helloworld.Greeter`, as it goes over the wire.
    pub(crate) full_name: String,
    /// `helloworld.Greeter`, as it stands in the file, and as the patterns of options mean it.
    declared: String,
    /// Doc comments, as attributes.
    pub(crate) docs: TokenStream,
    pub(crate) deprecated: TokenStream,
    pub(crate) methods: Vec<Method>,
}

/// A method of a service.
pub(crate) struct Method {
    /// `say_hello`, escaped if it is a keyword.
    pub(crate) name: Ident,
    /// `SayHelloStream`.
    pub(crate) stream_name: Ident,
    /// `/helloworld.Greeter/SayHello`.
    pub(crate) path: String,
    /// Doc comments, as attributes.
    pub(crate) docs: TokenStream,
    pub(crate) deprecated: TokenStream,
    pub(crate) shape: Shape,
    pub(crate) idempotency: Idempotency,
    pub(crate) input: TokenStream,
    pub(crate) output: TokenStream,
}

/// Who of the two sends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Unary,
    ServerStreaming,
    ClientStreaming,
    Bidi,
}

/// Whether a method may be called again without harm: its `idempotency_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idempotency {
    Unknown,
    NoSideEffects,
    Idempotent,
}

impl Shape {
    /// What `corelane` calls it, on both sides.
    pub(crate) fn ident(self) -> Ident {
        match self {
            Shape::Unary => format_ident!("unary"),
            Shape::ServerStreaming => format_ident!("server_streaming"),
            Shape::ClientStreaming => format_ident!("client_streaming"),
            Shape::Bidi => format_ident!("bidi"),
        }
    }

    pub(crate) fn streams_requests(self) -> bool {
        matches!(self, Shape::ClientStreaming | Shape::Bidi)
    }

    pub(crate) fn streams_responses(self) -> bool {
        matches!(self, Shape::ServerStreaming | Shape::Bidi)
    }
}

impl<'a> Service<'a> {
    pub(crate) fn new(
        service: &prost_build::Service,
        wishes: &'a Wishes,
        modules: &Modules,
    ) -> Result<Service<'a>, CodegenError> {
        let full_name = match wishes.package {
            Package::Named if !service.package.is_empty() => {
                format!("{}.{}", service.package, service.proto_name)
            }
            _ => service.proto_name.clone(),
        };
        let declared = match service.package.as_str() {
            "" => service.proto_name.clone(),
            package => format!("{package}.{}", service.proto_name),
        };
        let camel = service.proto_name.to_upper_camel_case();
        let stem = service.proto_name.to_snake_case();
        let module =
            |half| Ident::new(&modules.free(&service.package, format!("{stem}_{half}")), Span::call_site());
        let method = |method| Method::new(method, &declared, &full_name, wishes);
        Ok(Service {
            methods: service.methods.iter().map(method).collect::<Result<_, _>>()?,
            wishes,
            parameter: format_ident!("{}", if service.name == "T" { "S" } else { "T" }),
            name: ident(&service.name)?,
            server_name: format_ident!("{camel}Server"),
            camel,
            client_module: module("client"),
            server_module: module("server"),
            docs: docs(&service.comments, &declared, wishes),
            deprecated: deprecated(service.options.deprecated()),
            full_name,
            declared,
        })
    }

    /// The attributes that the user asked for in one of the maps.
    pub(crate) fn attributes(&self, map: &PathMap<TokenStream>) -> TokenStream {
        map.of(&self.declared).cloned().collect()
    }
}

impl Method {
    fn new(
        method: &prost_build::Method,
        declared: &str,
        service: &str,
        wishes: &Wishes,
    ) -> Result<Method, CodegenError> {
        let shape = match (method.client_streaming, method.server_streaming) {
            (false, false) => Shape::Unary,
            (false, true) => Shape::ServerStreaming,
            (true, false) => Shape::ClientStreaming,
            (true, true) => Shape::Bidi,
        };
        let known = wishes.well_known_types;
        Ok(Method {
            name: ident(&method.name)?,
            stream_name: format_ident!("{}Stream", camel(&method.proto_name)),
            path: format!("/{service}/{}", method.proto_name),
            docs: docs(&method.comments, &format!("{declared}.{}", method.proto_name), wishes),
            deprecated: deprecated(method.options.deprecated()),
            shape,
            idempotency: match method.options.idempotency_level() {
                IdempotencyLevel::IdempotencyUnknown => Idempotency::Unknown,
                IdempotencyLevel::NoSideEffects => Idempotency::NoSideEffects,
                IdempotencyLevel::Idempotent => Idempotency::Idempotent,
            },
            input: from_service_module(&method.input_type, &method.input_proto_type, known)?,
            output: from_service_module(&method.output_type, &method.output_proto_type, known)?,
        })
    }
}

fn ident(name: &str) -> Result<Ident, CodegenError> {
    syn::parse_str(name).map_err(|_| CodegenError::new(format!("`{name}` cannot be a name in Rust")))
}

/// A method's name as the start of a type's name. What is in camel case already stays as its author wrote it.
fn camel(name: &str) -> String {
    let is_camel = name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('_');
    if is_camel { name.to_owned() } else { name.to_upper_camel_case() }
}

fn deprecated(is: bool) -> TokenStream {
    if is { quote!(#[deprecated]) } else { TokenStream::new() }
}

fn docs(comments: &Comments, declared: &str, wishes: &Wishes) -> TokenStream {
    if wishes.comments_disabled.of(declared).next().is_some() {
        return TokenStream::new();
    }
    let mut text = String::new();
    comments.append_with_indent(0, &mut text);
    // Comments that stand apart from what follows them come as `//`; they are about the file.
    let lines = text.lines().filter_map(|line| line.strip_prefix("///"));
    lines.map(|line| quote!(#[doc = #line])).collect()
}

/// A message's type, as it is called within the module of a service. prost gives it as it is called in the package's module,
/// one level up.
fn from_service_module(rust: &str, proto: &str, known: WellKnownTypes) -> Result<TokenStream, CodegenError> {
    let is_given = proto.starts_with(".google.protobuf.") && known == WellKnownTypes::Given;
    let is_absolute = rust.starts_with("::") || rust.starts_with("crate::") || rust == "()";
    let path = if is_given || is_absolute { rust.to_owned() } else { format!("super::{rust}") };
    let parsed: syn::Type = syn::parse_str(&path).map_err(|_| {
        CodegenError::new(format!("`{rust}`, for `{}`, is no type in Rust", proto.trim_start_matches('.')))
    })?;
    Ok(quote!(#parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_after_its_method() {
        assert_eq!(camel("ListUsers"), "ListUsers");
        assert_eq!(camel("GetURL"), "GetURL");
        assert_eq!(camel("list_users"), "ListUsers");
        assert_eq!(camel("List_Users"), "ListUsers");
        assert_eq!(camel("list"), "List");
    }

    #[test]
    fn a_type_of_the_package_is_one_level_up() {
        let path = |rust, proto, known| from_service_module(rust, proto, known).unwrap().to_string();
        assert_eq!(path("Reply", ".a.Reply", WellKnownTypes::Given), "super :: Reply");
        assert_eq!(
            path("super::b::Reply", ".b.Reply", WellKnownTypes::Given),
            "super :: super :: b :: Reply"
        );
        assert_eq!(path("::other::Reply", ".b.Reply", WellKnownTypes::Given), ":: other :: Reply");
        assert_eq!(path("crate::b::Reply", ".b.Reply", WellKnownTypes::Given), "crate :: b :: Reply");
        assert_eq!(path("()", ".google.protobuf.Empty", WellKnownTypes::Given), "()");
        assert_eq!(path("bool", ".google.protobuf.BoolValue", WellKnownTypes::Given), "bool");
        let generated =
            path("super::google::protobuf::Empty", ".google.protobuf.Empty", WellKnownTypes::Generated);
        assert_eq!(generated, "super :: super :: google :: protobuf :: Empty");
    }
}
