//! The plugin of protoc and buf: descriptors come in, files go out, nothing else is touched.
//!
//! The parameter is a list of [options], separated by commas: `bytes=.,extern_path=.shop=::shop`. A comma that
//! belongs to a value stands behind a backslash, as does a backslash.
//!
//! A package's file holds everything of the package that protoc has told about, so all files of one package should be given in one
//! run. That is what buf does by itself.

use std::collections::HashSet;
use std::path::Path;

use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::compiler::code_generator_response::{Feature, File};
use prost_types::compiler::{CodeGeneratorRequest, CodeGeneratorResponse};

use crate::output::{Generated, include_file};
use crate::{Builder, CodegenError, configure, options, parse};

/// Answers an encoded `CodeGeneratorRequest` with an encoded `CodeGeneratorResponse`.
///
/// What is wrong with files or options is told in the response, as protoc wants it.
///
/// # Errors
///
/// If `request` is not what it should be: then it was not protoc that sent it.
pub fn respond(request: &[u8]) -> Result<Vec<u8>, CodegenError> {
    let request = CodeGeneratorRequest::decode(request)
        .map_err(|error| CodegenError::new(format!("the input is no CodeGeneratorRequest: {error}")))?;
    let mut response = CodeGeneratorResponse {
        supported_features: Some(Feature::Proto3Optional as u64),
        ..CodeGeneratorResponse::default()
    };
    match generate(request) {
        Ok(files) => response.file = files,
        Err(error) => response.error = Some(error.to_string()),
    }
    Ok(response.encode_to_vec())
}

fn generate(request: CodeGeneratorRequest) -> Result<Vec<File>, CodegenError> {
    let builder = read_parameter(request.parameter())?;
    let wanted: HashSet<&str> = request.file_to_generate.iter().map(String::as_str).collect();
    let parsed = parse::check(FileDescriptorSet { file: request.proto_file })?;
    let packages = parsed.files.iter().filter(|file| wanted.contains(file.name()));
    let packages: HashSet<Vec<String>> = packages.map(|file| modules(file.package())).collect();
    let mut files = builder.generate(parsed)?;
    files.retain(|file| packages.contains(&file.modules));
    let include = builder.include_file_name().map(|path| include(path, &files)).transpose()?;
    let files = files.into_iter().map(|file| response_file(file.file_name, file.content));
    Ok(files.chain(include).collect())
}

fn modules(package: &str) -> Vec<String> {
    prost_build::Module::from_protobuf_package_name(package).parts().map(str::to_owned).collect()
}

fn include(path: &Path, files: &[Generated]) -> Result<File, CodegenError> {
    let name = path.to_str().ok_or_else(|| CodegenError::new("`include_file` is not UTF-8"))?;
    Ok(response_file(name.to_owned(), include_file(files, |file| format!("{file:?}"))))
}

fn response_file(name: String, content: String) -> File {
    File { name: Some(name), content: Some(content), ..File::default() }
}

fn read_parameter(parameter: &str) -> Result<Builder, CodegenError> {
    let settings = split(parameter).into_iter().filter(|setting| !setting.is_empty());
    settings.into_iter().try_fold(configure(), |builder, setting| {
        let (name, value) = match setting.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (setting.as_str(), None),
        };
        options::find(name.trim())?.apply(builder, value)
    })
}

/// Cuts at commas without a backslash before them.
fn split(parameter: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = parameter.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
        let last = parts.last_mut().expect("there is a part from the start");
        match (character, escaped) {
            (',', _) => parts.push(String::new()),
            (_, Some(escaped @ (',' | '\\'))) => last.push(escaped),
            (_, escaped) => last.extend([Some(character), escaped].into_iter().flatten()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_cut_at_plain_commas() {
        assert_eq!(split("a=b,c"), ["a=b", "c"]);
        assert_eq!(split(r"a=#[derive(X\, Y)],b"), ["a=#[derive(X, Y)]", "b"]);
        assert_eq!(split(r"a\\,b\n\"), [r"a\", r"b\n\"]);
    }
}
