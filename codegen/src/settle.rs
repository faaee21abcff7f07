//! Checks the options, and hands each to who acts on it: prost-build for messages, this crate for services.

use proc_macro2::TokenStream;

use crate::builder::{MessageOption, TypeNames};
use crate::check::EnumPrefix;
use crate::paths::PathMap;
use crate::service::{WellKnownTypes, Wishes};
use crate::{Builder, CodegenError};

impl Builder {
    /// What prost-build is to know.
    pub(crate) fn prost_config(&self) -> prost_build::Config {
        let mut config = prost_build::Config::new();
        // Laying out is done once, over messages and services together, and without panicking.
        config.format(false);
        config.prost_path(format!("{}::prost", self.crate_path));
        config.prost_types_path(format!("{}::prost_types", self.crate_path));
        config.default_package_filename(&self.default_package_filename);
        if self.well_known_types == WellKnownTypes::Generated {
            config.compile_well_known_types();
        }
        if self.enum_prefix == EnumPrefix::Retain {
            config.retain_enum_prefix();
        }
        if self.type_names == TypeNames::Known {
            config.enable_type_names();
        }
        // What prost-build takes as a list replaces the list before, so those are gathered first.
        let mut lists = Lists::default();
        for option in &self.messages {
            lists.gather(option);
            match option {
                MessageOption::TypeAttribute(path, text) => config.type_attribute(path, text),
                MessageOption::MessageAttribute(path, text) => config.message_attribute(path, text),
                MessageOption::EnumAttribute(path, text) => config.enum_attribute(path, text),
                MessageOption::FieldAttribute(path, text) => config.field_attribute(path, text),
                MessageOption::ExternPath(proto, rust) => config.extern_path(proto, rust),
                MessageOption::TypeNameDomain(path, domain) => config.type_name_domain([path], domain),
                MessageOption::Boxed(path) => config.boxed(path),
                _ => &mut config,
            };
        }
        config.bytes(lists.bytes).btree_map(lists.maps);
        config.disable_comments(lists.comments).skip_debug(lists.debug);
        config
    }

    /// What the services are to look like.
    pub(crate) fn wishes(&self) -> Result<Wishes, CodegenError> {
        let is_absolute = self.crate_path.starts_with("::")
            || self.crate_path == "crate"
            || self.crate_path.starts_with("crate::");
        if !is_absolute {
            let reason = format!("`crate_path` must be absolute, and `{}` is not", self.crate_path);
            return Err(CodegenError::new(reason));
        }
        let codec = self.codec_path.clone();
        let codec = codec.unwrap_or_else(|| format!("{}::codegen::ProstCodec", self.crate_path));
        for option in &self.messages {
            check_message_option(option)?;
        }
        Ok(Wishes {
            crate_path: path("crate_path", &self.crate_path)?,
            codec_path: path("codec_path", &codec)?,
            server: self.server,
            client: self.client,
            stubs: self.stubs,
            package: self.package,
            well_known_types: self.well_known_types,
            comments_disabled: self.comments_disabled.clone(),
            server_mod_attributes: attributes("server_mod_attribute", &self.server_mod_attributes)?,
            server_attributes: attributes("server_attribute", &self.server_attributes)?,
            trait_attributes: attributes("trait_attribute", &self.trait_attributes)?,
            client_mod_attributes: attributes("client_mod_attribute", &self.client_mod_attributes)?,
            client_attributes: attributes("client_attribute", &self.client_attributes)?,
        })
    }
}

/// Paths for which something holds, by what it is.
#[derive(Default)]
struct Lists<'a> {
    bytes: Vec<&'a str>,
    maps: Vec<&'a str>,
    comments: Vec<&'a str>,
    debug: Vec<&'a str>,
}

impl<'a> Lists<'a> {
    fn gather(&mut self, option: &'a MessageOption) {
        match option {
            MessageOption::Bytes(path) => self.bytes.push(path),
            MessageOption::BtreeMap(path) => self.maps.push(path),
            MessageOption::DisableComments(path) => self.comments.push(path),
            MessageOption::SkipDebug(path) => self.debug.push(path),
            _ => {}
        }
    }
}

/// Says which option is wrong, where the code as a whole could only say that something is.
fn check_message_option(option: &MessageOption) -> Result<(), CodegenError> {
    match option {
        MessageOption::TypeAttribute(_, text) => attribute("type_attribute", text).map(drop),
        MessageOption::MessageAttribute(_, text) => attribute("message_attribute", text).map(drop),
        MessageOption::EnumAttribute(_, text) => attribute("enum_attribute", text).map(drop),
        MessageOption::FieldAttribute(_, text) => attribute("field_attribute", text).map(drop),
        MessageOption::ExternPath(_, rust) => match syn::parse_str::<syn::Type>(rust) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_rust("extern_path", "a path", rust, &error)),
        },
        _ => Ok(()),
    }
}

fn attributes(option: &str, texts: &PathMap<String>) -> Result<PathMap<TokenStream>, CodegenError> {
    let mut parsed = PathMap::default();
    for (path, text) in texts.iter() {
        parsed.insert(path.clone(), attribute(option, text)?);
    }
    Ok(parsed)
}

/// One or more attributes.
fn attribute(option: &str, text: &str) -> Result<TokenStream, CodegenError> {
    let parser = |input: syn::parse::ParseStream<'_>| input.call(syn::Attribute::parse_outer);
    let attributes = syn::parse::Parser::parse_str(parser, text)
        .map_err(|error| not_rust(option, "an attribute", text, &error))?;
    Ok(quote::quote!(#(#attributes)*))
}

fn path(option: &str, text: &str) -> Result<syn::Path, CodegenError> {
    syn::parse_str(text).map_err(|error| not_rust(option, "a path", text, &error))
}

fn not_rust(option: &str, what: &str, text: &str, error: &syn::Error) -> CodegenError {
    CodegenError::new(format!("`{option}` wants {what}, and `{text}` is none: {error}"))
}
