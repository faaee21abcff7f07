//! The options, and the way from them to files on disk.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::CodegenError;
use crate::check::EnumPrefix;
use crate::output::{self, Generated};
use crate::parse::{self, Parsed};
use crate::paths::PathMap;
use crate::service::{Build, Package, Stubs, WellKnownTypes};

/// Options for what is generated, under the names that tonic has for them.
///
/// A *path* is the full name of something in a `.proto` file: `.` means everything, `.a.b` the package or type `a.b` and all that
/// is in it, `C` or `b.C` everything whose name ends so.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// corelane_codegen::configure()
///     .type_attribute("shop.v1.Order", "#[derive(serde::Serialize)]")
///     .bytes(".shop.v1.Picture")
///     .compile_protos(&["proto/shop/v1/orders.proto"], &["proto"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is generated until `compile_protos` or `compile_fds` is called"]
pub struct Builder {
    pub(crate) server: Build,
    pub(crate) client: Build,
    pub(crate) stubs: Stubs,
    pub(crate) package: Package,
    pub(crate) well_known_types: WellKnownTypes,
    pub(crate) enum_prefix: EnumPrefix,
    pub(crate) crate_path: String,
    pub(crate) codec_path: Option<String>,
    out_dir: Option<PathBuf>,
    include_file: Option<PathBuf>,
    file_descriptor_set_path: Option<PathBuf>,
    source: Source,
    rerun: Rerun,
    pub(crate) default_package_filename: String,
    pub(crate) type_names: TypeNames,
    pub(crate) messages: Vec<MessageOption>,
    pub(crate) comments_disabled: PathMap<()>,
    pub(crate) server_mod_attributes: PathMap<String>,
    pub(crate) server_attributes: PathMap<String>,
    pub(crate) trait_attributes: PathMap<String>,
    pub(crate) client_mod_attributes: PathMap<String>,
    pub(crate) client_attributes: PathMap<String>,
}

/// Where descriptors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Protos,
    DescriptorSet,
}

/// Whether messages know their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeNames {
    Known,
    Unknown,
}

/// Whether Cargo is told which files were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rerun {
    Emit,
    Silent,
}

/// An option that prost-build acts on, with its path.
#[derive(Clone, Debug)]
pub(crate) enum MessageOption {
    TypeAttribute(String, String),
    MessageAttribute(String, String),
    EnumAttribute(String, String),
    FieldAttribute(String, String),
    ExternPath(String, String),
    TypeNameDomain(String, String),
    Bytes(String),
    BtreeMap(String),
    Boxed(String),
    SkipDebug(String),
    DisableComments(String),
}

/// The options as they are without any.
///
/// See [`Builder`] for what can be changed.
pub fn configure() -> Builder {
    Builder {
        server: Build::Yes,
        client: Build::Yes,
        stubs: Stubs::None,
        package: Package::Named,
        well_known_types: WellKnownTypes::Given,
        enum_prefix: EnumPrefix::Strip,
        crate_path: "::corelane".to_owned(),
        codec_path: None,
        out_dir: None,
        include_file: None,
        file_descriptor_set_path: None,
        source: Source::Protos,
        // Set for build scripts, and for nothing else that Cargo runs.
        rerun: if env::var_os("OUT_DIR").is_some() { Rerun::Emit } else { Rerun::Silent },
        default_package_filename: "_".to_owned(),
        type_names: TypeNames::Unknown,
        messages: Vec::new(),
        comments_disabled: PathMap::default(),
        server_mod_attributes: PathMap::default(),
        server_attributes: PathMap::default(),
        trait_attributes: PathMap::default(),
        client_mod_attributes: PathMap::default(),
        client_attributes: PathMap::default(),
    }
}

/// What to generate.
impl Builder {
    /// Whether to generate servers: yes unless it is set.
    pub fn build_server(mut self, enable: bool) -> Builder {
        self.server = if enable { Build::Yes } else { Build::No };
        self
    }

    /// Whether to generate clients: yes unless it is set.
    pub fn build_client(mut self, enable: bool) -> Builder {
        self.client = if enable { Build::Yes } else { Build::No };
        self
    }

    /// Whether methods have a body that answers UNIMPLEMENTED, so that a server need not implement them all: no unless it is set.
    ///
    /// With it, methods return streams as `BoxStream`, and traits have no associated types.
    pub fn generate_default_stubs(mut self, enable: bool) -> Builder {
        self.stubs = if enable { Stubs::Unimplemented } else { Stubs::None };
        self
    }

    /// Leaves the package out of the names of services, and so out of the paths of their methods.
    pub fn disable_package_emission(mut self) -> Builder {
        self.package = Package::Omitted;
        self
    }

    /// Generates the types of `google.protobuf` instead of using those of `prost_types`; [`extern_path`](Builder::extern_path)
    /// says where they are, if somebody else generates them.
    pub fn compile_well_known_types(mut self, enable: bool) -> Builder {
        self.well_known_types = if enable { WellKnownTypes::Generated } else { WellKnownTypes::Given };
        self
    }

    /// Uses the Rust type or module `rust_path` for the type or package `proto_path`, and generates nothing for it.
    pub fn extern_path(self, proto_path: impl AsRef<str>, rust_path: impl AsRef<str>) -> Builder {
        self.message(MessageOption::ExternPath(owned(proto_path), owned(rust_path)))
    }

    /// The path of the crate `corelane` in generated code, for those who re-export it: `::corelane` unless it is set. It must be
    /// absolute: it starts with `::` or `crate::`.
    pub fn crate_path(mut self, path: impl AsRef<str>) -> Builder {
        self.crate_path = owned(path);
        self
    }

    /// The codec of all methods: a type that implements `Codec` and `Default`, for messages of any type. Protocol Buffers by prost,
    /// unless it is set.
    pub fn codec_path(mut self, path: impl AsRef<str>) -> Builder {
        self.codec_path = Some(owned(path));
        self
    }

    fn message(mut self, option: MessageOption) -> Builder {
        self.messages.push(option);
        self
    }
}

/// How messages and services look.
impl Builder {
    /// Puts an attribute on messages, enums and oneofs.
    pub fn type_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.message(MessageOption::TypeAttribute(owned(path), owned(attribute)))
    }

    /// Puts an attribute on messages.
    pub fn message_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.message(MessageOption::MessageAttribute(owned(path), owned(attribute)))
    }

    /// Puts an attribute on enums and oneofs.
    pub fn enum_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.message(MessageOption::EnumAttribute(owned(path), owned(attribute)))
    }

    /// Puts an attribute on fields of messages, and on variants.
    pub fn field_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.message(MessageOption::FieldAttribute(owned(path), owned(attribute)))
    }

    /// Puts an attribute on the module of a service's server.
    pub fn server_mod_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.server_mod_attributes.insert(owned(path), owned(attribute));
        self
    }

    /// Puts an attribute on the type of a service's server.
    pub fn server_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.server_attributes.insert(owned(path), owned(attribute));
        self
    }

    /// Puts an attribute on the trait of a service.
    pub fn trait_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.trait_attributes.insert(owned(path), owned(attribute));
        self
    }

    /// Puts an attribute on the module of a service's clients.
    pub fn client_mod_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.client_mod_attributes.insert(owned(path), owned(attribute));
        self
    }

    /// Puts an attribute on the types of a service's clients: on all three of them.
    pub fn client_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Builder {
        self.client_attributes.insert(owned(path), owned(attribute));
        self
    }

    /// Makes `bytes` fields `Bytes` instead of `Vec<u8>`.
    pub fn bytes(self, path: impl AsRef<str>) -> Builder {
        self.message(MessageOption::Bytes(owned(path)))
    }

    /// Makes `map` fields `BTreeMap`s instead of `HashMap`s.
    pub fn btree_map(self, path: impl AsRef<str>) -> Builder {
        self.message(MessageOption::BtreeMap(owned(path)))
    }

    /// Puts a field, or a oneof's variant, in a `Box`.
    pub fn boxed(self, path: impl AsRef<str>) -> Builder {
        self.message(MessageOption::Boxed(owned(path)))
    }

    /// Generates no `Debug`, where one writes it oneself.
    pub fn skip_debug(self, path: impl AsRef<str>) -> Builder {
        self.message(MessageOption::SkipDebug(owned(path)))
    }

    /// Makes no rustdoc of comments.
    pub fn disable_comments(mut self, path: impl AsRef<str>) -> Builder {
        self.comments_disabled.insert(owned(&path), ());
        self.message(MessageOption::DisableComments(owned(path)))
    }

    /// Keeps the enum's name in front of its variants, where its values have it.
    pub fn retain_enum_prefix(mut self) -> Builder {
        self.enum_prefix = EnumPrefix::Retain;
        self
    }

    /// Lets messages know their names: implements `prost::Name`, which `Any` goes by.
    pub fn enable_type_names(mut self) -> Builder {
        self.type_names = TypeNames::Known;
        self
    }

    /// What stands before the `/` in the type URL of messages; with [`enable_type_names`](Builder::enable_type_names).
    pub fn type_name_domain(self, path: impl AsRef<str>, domain: impl AsRef<str>) -> Builder {
        self.message(MessageOption::TypeNameDomain(owned(path), owned(domain)))
    }
}

/// From where to where.
impl Builder {
    /// The folder that files are written to: Cargo's `OUT_DIR` unless it is set.
    pub fn out_dir(mut self, path: impl AsRef<Path>) -> Builder {
        self.out_dir = Some(path.as_ref().to_owned());
        self
    }

    /// The name of a file, in the same folder, that declares the modules of all packages and includes their code.
    pub fn include_file(mut self, path: impl AsRef<Path>) -> Builder {
        self.include_file = Some(path.as_ref().to_owned());
        self
    }

    /// The name of the file, without `.rs`, for what has no package: `_` unless it is set.
    pub fn default_package_filename(mut self, name: impl AsRef<str>) -> Builder {
        self.default_package_filename = owned(name);
        self
    }

    /// Also writes an encoded `FileDescriptorSet` to this path, which reflection needs.
    pub fn file_descriptor_set_path(mut self, path: impl AsRef<Path>) -> Builder {
        self.file_descriptor_set_path = Some(path.as_ref().to_owned());
        self
    }

    /// Reads the `FileDescriptorSet` at [`file_descriptor_set_path`](Builder::file_descriptor_set_path), which must be there,
    /// instead of `.proto` files. The name is tonic's; protoc is never run.
    pub fn skip_protoc_run(mut self) -> Builder {
        self.source = Source::DescriptorSet;
        self
    }

    /// Whether to tell Cargo which files to watch: in build scripts yes, unless it is set.
    pub fn emit_rerun_if_changed(mut self, enable: bool) -> Builder {
        self.rerun = if enable { Rerun::Emit } else { Rerun::Silent };
        self
    }

    /// Generates the code of `.proto` files and of everything that they import, which is looked for in `includes`. The files
    /// themselves must lie under an include, too.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or is wrong, if an option makes no sense, or if a file cannot be written.
    pub fn compile_protos(
        &self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), CodegenError> {
        let parsed = match self.source {
            Source::DescriptorSet => parse::check(self.read_descriptor_set()?)?,
            Source::Protos => {
                let protos = protos.iter().map(|path| path.as_ref().to_owned()).collect::<Vec<_>>();
                let includes = includes.iter().map(|path| path.as_ref().to_owned()).collect::<Vec<_>>();
                // Told before anything can fail, so that Cargo tries again when a faulty file has changed.
                protos.iter().for_each(|path| self.rerun_if_changed(path));
                let parsed = parse::parse(&protos, &includes)?;
                if let Some(path) = &self.file_descriptor_set_path {
                    write(path, &parsed.encoded)?;
                }
                parsed
            }
        };
        parsed.paths.iter().for_each(|path| self.rerun_if_changed(path));
        self.write_all(parsed)
    }

    /// Generates the code of descriptors that something else has made.
    ///
    /// # Errors
    ///
    /// If the descriptors are not sound, if an option makes no sense, or if a file cannot be written.
    pub fn compile_fds(&self, descriptors: FileDescriptorSet) -> Result<(), CodegenError> {
        let parsed = parse::check(descriptors)?;
        if let (Some(path), Source::Protos) = (&self.file_descriptor_set_path, self.source) {
            write(path, &parsed.encoded)?;
        }
        self.write_all(parsed)
    }

    fn read_descriptor_set(&self) -> Result<FileDescriptorSet, CodegenError> {
        let Some(path) = &self.file_descriptor_set_path else {
            return Err(CodegenError::new("`skip_protoc_run` needs `file_descriptor_set_path`"));
        };
        self.rerun_if_changed(path);
        let encoded = fs::read(path).map_err(|error| CodegenError::io(path, "read it", &error))?;
        FileDescriptorSet::decode(encoded.as_slice()).map_err(|error| {
            CodegenError::in_file(path, None, format!("it is no FileDescriptorSet: {error}"))
        })
    }

    fn rerun_if_changed(&self, path: &Path) {
        if self.rerun == Rerun::Emit {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }

    fn write_all(&self, parsed: Parsed) -> Result<(), CodegenError> {
        let out_dir = self.out_dir.clone().or_else(|| env::var_os("OUT_DIR").map(PathBuf::from));
        let Some(out_dir) = out_dir else {
            return Err(CodegenError::new(
                "there is no place to write to: `out_dir` is not set, and neither is OUT_DIR, which Cargo sets for build scripts",
            ));
        };
        let files = self.generate(parsed)?;
        for file in &files {
            write(&out_dir.join(&file.file_name), file.content.as_bytes())?;
        }
        let Some(include_file) = &self.include_file else { return Ok(()) };
        let is_own_folder = self.out_dir.is_some();
        let text = output::include_file(&files, |name| match is_own_folder {
            true => format!("{name:?}"),
            false => format!("concat!(env!(\"OUT_DIR\"), {:?})", format!("/{name}")),
        });
        write(&out_dir.join(include_file), text.as_bytes())
    }

    /// Generates in memory.
    pub(crate) fn generate(&self, parsed: Parsed) -> Result<Vec<Generated>, CodegenError> {
        let wishes = self.wishes()?;
        let config = self.prost_config();
        output::generate(config, &wishes, self.enum_prefix, &self.default_package_filename, parsed.files)
    }

    /// The name that an include file was asked for under, if it was.
    pub(crate) fn include_file_name(&self) -> Option<&Path> {
        self.include_file.as_deref()
    }
}

fn owned(text: impl AsRef<str>) -> String {
    text.as_ref().to_owned()
}

/// Writes a file unless it is like that already: what is newer than its users makes Cargo build them again.
fn write(path: &Path, content: &[u8]) -> Result<(), CodegenError> {
    if fs::read(path).is_ok_and(|current| current == content) {
        return Ok(());
    }
    fs::write(path, content).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            CodegenError::in_file(path, None, "cannot write it: there is no such folder")
        }
        _ => CodegenError::io(path, "write it", &error),
    })
}
