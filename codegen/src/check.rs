//! Finds names that are different in a `.proto` file and the same in Rust, before they become Rust that does not compile.
//!
//! Rust's names are made of the words of a name, so `GetUser` and `get_user` are one method, and `FOO_BAR` and `FooBar` one value.

use std::collections::HashMap;

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto};

use crate::deprecated::is_map_entry;
use crate::error::Position;
use crate::{CodegenError, tag};

/// Whether the variants of enums keep the enum's name where the values have it in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EnumPrefix {
    #[default]
    Strip,
    Retain,
}

/// Looks through one file.
pub(crate) fn check(file: &FileDescriptorProto, prefix: EnumPrefix) -> Result<(), CodegenError> {
    let mut checker = Checker { file, prefix, path: Vec::new() };
    let messages = file.message_type.iter().map(DescriptorProto::name);
    let enums = file.enum_type.iter().map(EnumDescriptorProto::name);
    let types = numbered(tag::FILE_MESSAGE, messages).chain(numbered(tag::FILE_ENUM, enums));
    checker.distinct("types", types, ToUpperCamelCase::to_upper_camel_case)?;
    checker.messages(tag::FILE_MESSAGE, &file.message_type)?;
    checker.enums(tag::FILE_ENUM, &file.enum_type)?;
    let services = file.service.iter().map(ServiceDescriptorProto::name);
    let services = numbered(tag::FILE_SERVICE, services);
    checker.distinct("services", services, ToUpperCamelCase::to_upper_camel_case)?;
    for (index, service) in file.service.iter().enumerate() {
        checker.within([tag::FILE_SERVICE, tag::number(index)], |checker| {
            let methods = service.method.iter().map(|method| method.name());
            let methods = numbered(tag::SERVICE_METHOD, methods);
            checker.distinct("methods", methods, ToSnakeCase::to_snake_case)
        })?;
    }
    Ok(())
}

/// The place of the declaration at `path`.
fn position(file: &FileDescriptorProto, path: &[i32]) -> Option<Position> {
    let locations = &file.source_code_info.as_ref()?.location;
    let span = &locations.iter().find(|location| location.path == path)?.span;
    let from_one = |index: usize| usize::try_from(*span.get(index)?).ok()?.checked_add(1);
    Some(Position { line: from_one(0)?, column: from_one(1)? })
}

/// Names with the last two steps of their paths.
fn numbered<'a>(tag: i32, names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = ([i32; 2], &'a str)> {
    names.enumerate().map(move |(index, name)| ([tag, tag::number(index)], name))
}

struct Checker<'a> {
    file: &'a FileDescriptorProto,
    prefix: EnumPrefix,
    path: Vec<i32>,
}

impl Checker<'_> {
    fn within(
        &mut self,
        step: [i32; 2],
        check: impl FnOnce(&mut Self) -> Result<(), CodegenError>,
    ) -> Result<(), CodegenError> {
        self.path.extend(step);
        let result = check(self);
        self.path.truncate(self.path.len() - step.len());
        result
    }

    fn messages(&mut self, tag: i32, messages: &[DescriptorProto]) -> Result<(), CodegenError> {
        for (index, message) in messages.iter().enumerate() {
            self.within([tag, tag::number(index)], |checker| checker.message(message))?;
        }
        Ok(())
    }

    fn message(&mut self, message: &DescriptorProto) -> Result<(), CodegenError> {
        // The entries of maps are messages for the wire only.
        let nested = numbered(tag::MESSAGE_NESTED, message.nested_type.iter().map(DescriptorProto::name));
        let nested = nested.zip(&message.nested_type).filter(|(_, nested)| !is_map_entry(nested));
        let enums = numbered(tag::MESSAGE_ENUM, message.enum_type.iter().map(EnumDescriptorProto::name));
        let types = nested.map(|(name, _)| name).chain(enums);
        self.distinct("types", types, ToUpperCamelCase::to_upper_camel_case)?;
        let fields = message.field.iter().map(|field| field.name());
        self.distinct("fields", numbered(tag::MESSAGE_FIELD, fields), ToSnakeCase::to_snake_case)?;
        self.messages(tag::MESSAGE_NESTED, &message.nested_type)?;
        self.enums(tag::MESSAGE_ENUM, &message.enum_type)
    }

    fn enums(&mut self, tag: i32, enums: &[EnumDescriptorProto]) -> Result<(), CodegenError> {
        for (index, declared) in enums.iter().enumerate() {
            self.within([tag, tag::number(index)], |checker| {
                // Of values with one number only the first becomes a variant.
                let mut numbers = std::collections::HashSet::new();
                let values = numbered(tag::ENUM_VALUE, declared.value.iter().map(|value| value.name()));
                let values = values.zip(&declared.value).filter(|(_, value)| numbers.insert(value.number()));
                checker.distinct("values", values.map(|(value, _)| value), |name| match checker.prefix {
                    EnumPrefix::Strip => variant(declared.name(), name),
                    EnumPrefix::Retain => name.to_upper_camel_case(),
                })
            })?;
        }
        Ok(())
    }

    fn distinct<'a>(
        &self,
        kind: &str,
        names: impl Iterator<Item = ([i32; 2], &'a str)>,
        in_rust: impl Fn(&str) -> String,
    ) -> Result<(), CodegenError> {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (step, name) in names {
            let Some(earlier) = seen.insert(in_rust(name), name) else { continue };
            let path: Vec<i32> = self.path.iter().copied().chain(step).collect();
            let reason = format!(
                "the {kind} `{earlier}` and `{name}` would have the same name in Rust, `{}`",
                in_rust(name)
            );
            return Err(CodegenError::in_file(self.file.name(), position(self.file, &path), reason));
        }
        Ok(())
    }
}

/// The name of an enum's variant: without the enum's own name in front, where what is left starts a word.
fn variant(declared: &str, value: &str) -> String {
    let value = value.to_upper_camel_case();
    match value.strip_prefix(&declared.to_upper_camel_case()) {
        Some(rest) if rest.starts_with(char::is_uppercase) => rest.to_owned(),
        _ => value,
    }
}
