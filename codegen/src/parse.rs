//! From `.proto` files to descriptors, by protox: no protoc, no process, no temporary file.

use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::prost_reflect::DescriptorPool;

use crate::CodegenError;

/// What a set of `.proto` files says.
pub(crate) struct Parsed {
    /// The files and all that they import, each after what it imports, names resolved.
    pub(crate) files: Vec<FileDescriptorProto>,
    /// The same as an encoded `FileDescriptorSet`, custom options included, without comments.
    pub(crate) encoded: Vec<u8>,
    /// The files on disk that were read.
    pub(crate) paths: Vec<PathBuf>,
}

/// Reads `protos` and what they import.
pub(crate) fn parse(protos: &[PathBuf], includes: &[PathBuf]) -> Result<Parsed, CodegenError> {
    let explain = |error: protox::Error| CodegenError::from_protox(&error, includes);
    let mut compiler = protox::Compiler::new(includes).map_err(explain)?;
    compiler.include_imports(true).include_source_info(true);
    for proto in protos {
        compiler.open_file(proto).map_err(|error| match error.file() {
            // The parser's word for a file that none of the includes has, be it missing or in another place.
            None if error.is_file_not_found() => not_found(proto, includes),
            _ => CodegenError::from_protox(&error, includes),
        })?;
    }
    let paths = compiler.files().filter_map(|file| file.path().map(Path::to_owned)).collect();
    let files = compiler.file_descriptor_set().file;
    let encoded = compiler.include_source_info(false).encode_file_descriptor_set();
    Ok(Parsed { files, encoded, paths })
}

/// Checks descriptors that somebody else made, and resolves what names in them are still relative.
///
/// What generates code further on takes a sound set for granted and would panic without it.
pub(crate) fn check(set: FileDescriptorSet) -> Result<Parsed, CodegenError> {
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_set(set).map_err(|error| {
        let reason = format!("the descriptors make no sense: {error}");
        match error.file() {
            Some(file) => CodegenError::in_file(file, None, reason),
            None => CodegenError::new(reason),
        }
    })?;
    let files: Vec<_> = pool.file_descriptor_protos().cloned().collect();
    let mut bare = FileDescriptorSet { file: files.clone() };
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    Ok(Parsed { files, encoded: bare.encode_to_vec(), paths: Vec::new() })
}

fn not_found(proto: &Path, includes: &[PathBuf]) -> CodegenError {
    if !proto.exists() {
        return CodegenError::in_file(proto, None, "there is no such file");
    }
    let includes: Vec<_> = includes.iter().map(|include| format!("`{}`", include.display())).collect();
    let reason = match includes.as_slice() {
        [] => "no include path was given, and the file must lie under one".to_owned(),
        _ => format!("the file lies under none of the include paths ({})", includes.join(", ")),
    };
    CodegenError::in_file(proto, None, reason)
}
