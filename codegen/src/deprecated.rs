//! `deprecated`, where prost-build leaves it out.
//!
//! Fields, values, methods and services get the attribute. Messages and enums cannot: what prost derives for them uses them, and
//! would warn in the user's crate where nobody can switch it off. For those, their documentation says it.

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, SourceCodeInfo};

use crate::tag;

/// The line that a deprecated type has at the end of its documentation.
const NOTE: &str = " **Deprecated.**\n";

/// Marks what is deprecated in a file, in its comments and in `config`.
pub(crate) fn mark(file: &mut FileDescriptorProto, config: &mut prost_build::Config) {
    let mut marker = Marker { maps: Vec::new(), types: Vec::new() };
    let package = match file.package() {
        "" => String::new(),
        package => format!(".{package}"),
    };
    marker.messages(&package, &[], tag::FILE_MESSAGE, &file.message_type);
    marker.enums(&[], tag::FILE_ENUM, &file.enum_type);
    for path in &marker.maps {
        config.field_attribute(path, "#[deprecated]");
    }
    if let Some(info) = &mut file.source_code_info {
        marker.types.iter().for_each(|path| note(info, path));
    }
}

/// Collects what is to be marked.
struct Marker {
    /// The full names of map fields, for which prost-build has forgotten the attribute.
    maps: Vec<String>,
    /// The paths of messages and enums.
    types: Vec<Vec<i32>>,
}

impl Marker {
    fn messages(&mut self, scope: &str, path: &[i32], tag: i32, messages: &[DescriptorProto]) {
        for (index, message) in messages.iter().enumerate() {
            let path = tag::step(path, tag, index);
            let name = format!("{scope}.{}", message.name());
            self.messages(&name, &path, tag::MESSAGE_NESTED, &message.nested_type);
            self.enums(&path, tag::MESSAGE_ENUM, &message.enum_type);
            let entries = message.nested_type.iter().filter(|nested| is_map_entry(nested));
            let entries: Vec<_> = entries.map(|entry| format!("{name}.{}", entry.name())).collect();
            for field in &message.field {
                let is_deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
                if is_deprecated && entries.iter().any(|entry| entry == field.type_name()) {
                    self.maps.push(format!("{name}.{}", field.name()));
                }
            }
            if message.options.as_ref().is_some_and(|options| options.deprecated()) {
                self.types.push(path);
            }
        }
    }

    fn enums(&mut self, path: &[i32], tag: i32, enums: &[EnumDescriptorProto]) {
        for (index, declared) in enums.iter().enumerate() {
            if declared.options.as_ref().is_some_and(|options| options.deprecated()) {
                self.types.push(tag::step(path, tag, index));
            }
        }
    }
}

/// Whether a message is the entry of a map, which is there for the wire only.
pub(crate) fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

fn note(info: &mut SourceCodeInfo, path: &[i32]) {
    let Some(location) = info.location.iter_mut().find(|location| location.path == path) else { return };
    let comment = location.leading_comments.get_or_insert_default();
    if !comment.is_empty() {
        comment.push('\n');
    }
    comment.push_str(NOTE);
}
