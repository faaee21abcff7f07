//! Knows the modules that a package has already, so that those of its services do not take their names.
//!
//! A message with something nested in it has a module, as has a package within a package. A message `GreeterClient` beside a
//! service `Greeter` is enough for both to want `greeter_client`.

use std::collections::HashSet;

use heck::ToSnakeCase;
use prost_types::{DescriptorProto, FileDescriptorProto};

use crate::deprecated::is_map_entry;

/// The modules of all packages but those of services, each with its package.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modules {
    taken: HashSet<(String, String)>,
}

impl Modules {
    pub(crate) fn of(files: &[FileDescriptorProto]) -> Modules {
        let mut taken = HashSet::new();
        for file in files {
            let package = file.package();
            let messages = file.message_type.iter().filter(|message| has_module(message));
            taken.extend(messages.map(|message| (package.to_owned(), message.name().to_snake_case())));
            let mut parent = String::new();
            for part in package.split('.') {
                taken.insert((parent.clone(), part.to_snake_case()));
                parent = if parent.is_empty() { part.to_owned() } else { format!("{parent}.{part}") };
            }
        }
        Modules { taken }
    }

    /// The name for a module in `package` that would best be called `name`: the same, with a `_` behind it if it is taken.
    pub(crate) fn free(&self, package: &str, name: String) -> String {
        match self.taken.contains(&(package.to_owned(), name.clone())) {
            true => name + "_",
            false => name,
        }
    }
}

/// Whether prost makes a module for what is in a message.
fn has_module(message: &DescriptorProto) -> bool {
    // What is `optional` in proto3 is a oneof for the wire only.
    let is_oneof = message.field.iter().any(|field| field.oneof_index.is_some() && !field.proto3_optional());
    let has_messages = message.nested_type.iter().any(|nested| !is_map_entry(nested));
    is_oneof || has_messages || !message.enum_type.is_empty()
}
