//! The plugin, by a request made by hand, and by protoc where there is one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use corelane_codegen::plugin;
use prost::Message;
use prost_types::compiler::{CodeGeneratorRequest, CodeGeneratorResponse};
use prost_types::{
    DescriptorProto, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto, SourceCodeInfo,
};

mod support;

use support::Folder;

const PLUGIN: &str = env!("CARGO_BIN_EXE_protoc-gen-corelane");

fn message(name: &str) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), ..Default::default() }
}

/// `a.proto` with a service `S`, and `b.proto` of another package, which it imports.
fn request(parameter: &str) -> CodeGeneratorRequest {
    let method = MethodDescriptorProto {
        name: Some("Call".to_owned()),
        input_type: Some(".a.In".to_owned()),
        output_type: Some(".b.Out".to_owned()),
        server_streaming: Some(true),
        ..Default::default()
    };
    let service =
        ServiceDescriptorProto { name: Some("S".to_owned()), method: vec![method], ..Default::default() };
    let file = |name: &str, package: &str, messages| FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: messages,
        source_code_info: None::<SourceCodeInfo>,
        ..Default::default()
    };
    let a = FileDescriptorProto {
        dependency: vec!["b.proto".to_owned()],
        service: vec![service],
        ..file("a.proto", "a", vec![message("In")])
    };
    CodeGeneratorRequest {
        file_to_generate: vec!["a.proto".to_owned()],
        parameter: Some(parameter.to_owned()),
        proto_file: vec![file("b.proto", "b", vec![message("Out")]), a],
        compiler_version: None,
    }
}

fn respond(request: &CodeGeneratorRequest) -> CodeGeneratorResponse {
    let response = plugin::respond(&request.encode_to_vec()).unwrap();
    CodeGeneratorResponse::decode(response.as_slice()).unwrap()
}

fn names(response: &CodeGeneratorResponse) -> Vec<&str> {
    response.file.iter().map(|file| file.name()).collect()
}

#[test]
fn only_packages_that_were_asked_for_are_generated() {
    let response = respond(&request(""));
    assert_eq!(response.error, None);
    // Proto3's `optional`, and nothing else.
    assert_eq!(response.supported_features, Some(1));
    assert_eq!(names(&response), ["a.rs"]);
    let content = response.file[0].content();
    assert!(content.contains("pub mod s_server"), "{content}");
    assert!(content.contains("super::super::b::Out"), "{content}");
}

#[test]
fn the_parameter_has_options() {
    let parameter = r"extern_path=.b=::other::b,type_attribute=.a.In=#[derive(Eq\, Ord)],include_file=mod.rs";
    let response = respond(&request(parameter));
    assert_eq!(response.error, None);
    assert_eq!(names(&response), ["a.rs", "mod.rs"]);
    let content = response.file[0].content();
    assert!(content.contains("::other::b::Out") && content.contains("#[derive(Eq, Ord)]"), "{content}");
    assert!(response.file[1].content().contains("include!(\"a.rs\");"));
}

#[test]
fn a_wrong_option_is_told_in_the_response() {
    let error = |parameter| respond(&request(parameter)).error;
    assert_eq!(error("nonsense=1").as_deref(), Some("there is no option `nonsense`"));
    assert_eq!(error("build_server=maybe").as_deref(), Some("option `build_server` wants `true` or `false`"));
}

#[test]
fn faulty_descriptors_are_told_in_the_response() {
    let mut request = request("");
    request.proto_file.remove(0);
    let error = respond(&request).error.unwrap();
    assert!(error.starts_with("a.proto: the descriptors make no sense: "), "{error}");
}

#[test]
fn what_is_no_request_is_an_error() {
    let error = plugin::respond(b"\xff").unwrap_err().to_string();
    assert!(error.starts_with("the input is no CodeGeneratorRequest: "), "{error}");
}

fn run_plugin(input: &[u8]) -> Output {
    let mut child = Command::new(PLUGIN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_program_answers_on_stdout() {
    let request = request("").encode_to_vec();
    let output = run_plugin(&request);
    assert!(output.status.success());
    assert_eq!(output.stdout, plugin::respond(&request).unwrap());

    let output = run_plugin(b"\xff");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("protoc-gen-corelane: the input is no CodeGeneratorRequest"), "{text}");
}

#[test]
fn the_program_takes_no_arguments() {
    let output = Command::new(PLUGIN).arg("a.proto").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = Command::new(PLUGIN).arg("--help").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("extern_path=PATH=VALUE"));
}

/// protoc, if this machine has it.
fn protoc() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("protoc")).find(|path| path.is_file())
}

/// The arguments with which protoc generates the golden files.
fn run_protoc(protoc: &Path, out: &Path, options: &str, files: &[&str]) -> Output {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut command = Command::new(protoc);
    command.arg(format!("--plugin=protoc-gen-corelane={PLUGIN}")).arg(format!("-I{}", golden.display()));
    command.arg(format!("--corelane_out={}", out.display())).arg(format!("--corelane_opt={options}"));
    command.args(files).output().unwrap()
}

#[test]
fn protoc_gets_the_golden_files() {
    let Some(protoc) = protoc() else {
        eprintln!("left out: there is no protoc");
        return;
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let cases: [(&str, &[&str]); 4] = [
        ("greeter", &["greeter.proto"]),
        ("shapes", &["shapes.proto"]),
        ("packages", &["packages_a.proto", "packages_b.proto", "packages_c.proto"]),
        ("well_known", &["well_known.proto"]),
    ];
    for (case, files) in cases {
        let out = Folder::new(&format!("protoc_{case}"));
        let output = run_protoc(&protoc, out.path(), "include_file=mod.rs", files);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for entry in fs::read_dir(golden.join(case)).unwrap() {
            let name = entry.unwrap().file_name();
            let actual = fs::read_to_string(out.path().join(&name)).unwrap();
            let expected = fs::read_to_string(golden.join(case).join(&name)).unwrap();
            assert!(
                actual == expected,
                "{case}/{} by protoc is not the golden one:\n{actual}",
                name.display()
            );
        }
    }
}

#[test]
fn protoc_shows_the_error() {
    let Some(protoc) = protoc() else {
        eprintln!("left out: there is no protoc");
        return;
    };
    let out = Folder::new("protoc_error");
    let output = run_protoc(&protoc, out.path(), "nonsense", &["greeter.proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "--corelane_out: there is no option `nonsense`\n");
}
