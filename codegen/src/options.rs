//! The options as text, for the command and for the plugin: one table for both, so that neither has what the other lacks.
//!
//! A build script has no use for this; it calls the methods of [`Builder`].

use crate::{Builder, CodegenError};

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name: that of the method of [`Builder`]. The command has hyphens for underscores.
    pub name: &'static str,
    /// What has to be said with it.
    pub value: Value,
    /// One line about it.
    pub help: &'static str,
    apply: Apply,
}

/// What has to be said with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true`, or `false`, or nothing, which is like `true`.
    Switch,
    /// A text.
    Text,
    /// A path, as in "all that is in this package". The option can be given more than once.
    Path,
    /// A path, `=`, and a text for it. The option can be given more than once.
    PathAndText,
}

#[derive(Clone, Copy, Debug)]
enum Apply {
    Switch(fn(Builder, bool) -> Builder),
    /// Both for [`Value::Text`] and for [`Value::Path`].
    Text(fn(Builder, &str) -> Builder),
    PathAndText(fn(Builder, &str, &str) -> Builder),
}

impl Setting {
    const fn switch(name: &'static str, apply: fn(Builder, bool) -> Builder, help: &'static str) -> Setting {
        Setting { name, value: Value::Switch, help, apply: Apply::Switch(apply) }
    }

    const fn text(name: &'static str, apply: fn(Builder, &str) -> Builder, help: &'static str) -> Setting {
        Setting { name, value: Value::Text, help, apply: Apply::Text(apply) }
    }

    const fn path(name: &'static str, apply: fn(Builder, &str) -> Builder, help: &'static str) -> Setting {
        Setting { name, value: Value::Path, help, apply: Apply::Text(apply) }
    }

    const fn pair(
        name: &'static str,
        apply: fn(Builder, &str, &str) -> Builder,
        help: &'static str,
    ) -> Setting {
        Setting { name, value: Value::PathAndText, help, apply: Apply::PathAndText(apply) }
    }

    /// Sets the option. `value` is what was said with it, if anything was.
    ///
    /// # Errors
    ///
    /// If that is not what has to be said with it.
    pub fn apply(&self, builder: Builder, value: Option<&str>) -> Result<Builder, CodegenError> {
        let wants = |what: &str| CodegenError::new(format!("option `{}` wants {what}", self.name));
        match (self.apply, value) {
            (Apply::Switch(apply), None | Some("true")) => Ok(apply(builder, true)),
            (Apply::Switch(apply), Some("false")) => Ok(apply(builder, false)),
            (Apply::Switch(_), Some(_)) => Err(wants("`true` or `false`")),
            (Apply::Text(apply), Some(text)) if !text.is_empty() => Ok(apply(builder, text)),
            (Apply::Text(_), _) => Err(wants("a value")),
            (Apply::PathAndText(apply), value) => {
                let (path, text) = value.and_then(split_pair).ok_or_else(|| wants("PATH=VALUE"))?;
                Ok(apply(builder, path, text))
            }
        }
    }
}

fn split_pair(value: &str) -> Option<(&str, &str)> {
    value.split_once('=').filter(|(path, text)| !path.is_empty() && !text.is_empty())
}

/// The option of this name.
///
/// # Errors
///
/// If there is none.
pub fn find(name: &str) -> Result<&'static Setting, CodegenError> {
    let option = OPTIONS.iter().find(|option| option.name == name);
    option.ok_or_else(|| CodegenError::new(format!("there is no option `{name}`")))
}

/// All options.
pub const OPTIONS: &[Setting] = &[
    Setting::switch("build_server", Builder::build_server, "generate servers (default: true)"),
    Setting::switch("build_client", Builder::build_client, "generate clients (default: true)"),
    Setting::switch(
        "generate_default_stubs",
        Builder::generate_default_stubs,
        "give methods a body that answers UNIMPLEMENTED",
    ),
    Setting::switch(
        "disable_package_emission",
        |builder, on| if on { builder.disable_package_emission() } else { builder },
        "leave the package out of the names of services",
    ),
    Setting::switch(
        "compile_well_known_types",
        Builder::compile_well_known_types,
        "generate google.protobuf instead of using prost_types",
    ),
    Setting::switch(
        "retain_enum_prefix",
        |builder, on| if on { builder.retain_enum_prefix() } else { builder },
        "keep the enum's name in front of its variants",
    ),
    Setting::switch(
        "enable_type_names",
        |builder, on| if on { builder.enable_type_names() } else { builder },
        "implement prost::Name for messages",
    ),
    Setting::text(
        "crate_path",
        |b, text| b.crate_path(text),
        "path of the crate corelane (default: ::corelane)",
    ),
    Setting::text("codec_path", |b, text| b.codec_path(text), "codec of all methods"),
    Setting::text(
        "include_file",
        |b, text| b.include_file(text),
        "also write a file that declares all modules",
    ),
    Setting::text(
        "default_package_filename",
        |builder, text| builder.default_package_filename(text),
        "file name for what has no package (default: _)",
    ),
    Setting::pair(
        "extern_path",
        |b, path, text| b.extern_path(path, text),
        "use this Rust path for a type or package",
    ),
    Setting::pair(
        "type_attribute",
        |b, path, text| b.type_attribute(path, text),
        "attribute for messages, enums, oneofs",
    ),
    Setting::pair(
        "message_attribute",
        |b, path, text| b.message_attribute(path, text),
        "attribute for messages",
    ),
    Setting::pair(
        "enum_attribute",
        |b, path, text| b.enum_attribute(path, text),
        "attribute for enums and oneofs",
    ),
    Setting::pair(
        "field_attribute",
        |b, path, text| b.field_attribute(path, text),
        "attribute for fields and variants",
    ),
    Setting::pair(
        "server_mod_attribute",
        |builder, path, text| builder.server_mod_attribute(path, text),
        "attribute for the module of a server",
    ),
    Setting::pair(
        "server_attribute",
        |b, path, text| b.server_attribute(path, text),
        "attribute for the type of a server",
    ),
    Setting::pair(
        "trait_attribute",
        |b, path, text| b.trait_attribute(path, text),
        "attribute for the trait of a service",
    ),
    Setting::pair(
        "client_mod_attribute",
        |builder, path, text| builder.client_mod_attribute(path, text),
        "attribute for the module of clients",
    ),
    Setting::pair(
        "client_attribute",
        |b, path, text| b.client_attribute(path, text),
        "attribute for the types of clients",
    ),
    Setting::pair(
        "type_name_domain",
        |b, path, text| b.type_name_domain(path, text),
        "what stands before / in type URLs",
    ),
    Setting::path("bytes", |b, path| b.bytes(path), "use Bytes for fields of type bytes"),
    Setting::path("btree_map", |b, path| b.btree_map(path), "use BTreeMap for maps"),
    Setting::path("boxed", |b, path| b.boxed(path), "put a field in a Box"),
    Setting::path("skip_debug", |b, path| b.skip_debug(path), "generate no Debug"),
    Setting::path("disable_comments", |b, path| b.disable_comments(path), "make no rustdoc of comments"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_by_name() {
        let refused = |name: &str, value| {
            let applied = find(name).unwrap().apply(crate::configure(), value);
            applied.map(drop).unwrap_err().to_string()
        };
        assert_eq!(refused("build_server", Some("yes")), "option `build_server` wants `true` or `false`");
        assert_eq!(refused("bytes", None), "option `bytes` wants a value");
        assert_eq!(refused("extern_path", Some(".a=")), "option `extern_path` wants PATH=VALUE");
        assert_eq!(find("nonsense").unwrap_err().to_string(), "there is no option `nonsense`");
    }

    #[test]
    fn no_name_is_taken_twice() {
        let names: std::collections::HashSet<_> = OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(names.len(), OPTIONS.len());
    }
}
