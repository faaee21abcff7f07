//! What is wrong with a `.proto` file is told in one line, with the place, and never by a panic.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use corelane_codegen::{CodegenError, FileDescriptorSet, Position, configure};
use prost_types::{DescriptorProto, FileDescriptorProto};

mod support;

use support::Folder;

/// The error for a file of this content, under the name `a.proto`, in a folder of its own, and where its name stands.
fn error_for(case: &str, content: impl AsRef<[u8]>) -> CodegenError {
    let folder = Folder::new(case);
    folder.write("a.proto", content);
    compile(&folder, "a.proto").unwrap_err()
}

fn compile(folder: &Folder, proto: &str) -> Result<(), CodegenError> {
    let out = folder.path().join("out");
    std::fs::create_dir_all(&out).unwrap();
    let builder = configure().out_dir(out).emit_rerun_if_changed(false);
    builder.compile_protos(&[folder.path().join(proto)], &[folder.path()])
}

#[track_caller]
fn assert_error(error: &CodegenError, file: &str, position: Option<(usize, usize)>, reason: &str) {
    assert!(error.file().is_some_and(|path| path.ends_with(file)), "{error}");
    assert_eq!(error.position(), position.map(|(line, column)| Position { line, column }), "{error}");
    assert_eq!(error.reason(), reason);
    assert_eq!(error.to_string().lines().count(), 1);
}

const HEAD: &str = "syntax = \"proto3\";\npackage a;\n";

#[test]
fn an_unknown_type() {
    let error = error_for("unknown", format!("{HEAD}message A {{\n  B b = 1;\n}}\n"));
    assert_error(&error, "a.proto", Some((4, 3)), "name 'B' is not defined");
    assert!(error.file().is_some_and(Path::is_absolute), "{error}");
}

#[test]
fn an_unknown_type_of_a_request() {
    let error = error_for("request", format!("{HEAD}service S {{\n  rpc Call(B) returns (B);\n}}\n"));
    assert_error(&error, "a.proto", Some((4, 12)), "name 'B' is not defined");
}

#[test]
fn a_syntax_error() {
    let error = error_for("syntax", format!("{HEAD}message A {{\n  string b 1;\n}}\n"));
    assert_error(&error, "a.proto", Some((4, 12)), "expected '=', but found '1'");
}

#[test]
fn an_end_too_early() {
    let error = error_for("end", format!("{HEAD}message A {{\n"));
    let expected = "expected a message field, oneof, reserved range, enum, message, option or '}', but reached end of file";
    assert_error(&error, "a.proto", Some((4, 1)), expected);
}

#[test]
fn an_import_that_is_missing() {
    let error = error_for("import", "syntax = \"proto3\";\nimport \"b.proto\";\n");
    assert_error(&error, "a.proto", Some((2, 1)), "import 'b.proto' not found");
}

#[test]
fn an_error_in_an_import() {
    let folder = Folder::new("in_import");
    folder.write("a.proto", "syntax = \"proto3\";\nimport \"dir/b.proto\";\n");
    folder.write("dir/b.proto", format!("{HEAD}message B {{ C c = 1; }}\n"));
    let error = compile(&folder, "a.proto").unwrap_err();
    assert_error(&error, "dir/b.proto", Some((3, 13)), "name 'C' is not defined");
}

#[test]
fn imports_in_a_circle() {
    let error = error_for("circle", "syntax = \"proto3\";\nimport \"a.proto\";\n");
    assert_error(&error, "a.proto", None, "import cycle detected: a.proto -> a.proto");
}

#[test]
fn a_file_that_is_missing() {
    let folder = Folder::new("missing");
    let error = compile(&folder, "b.proto").unwrap_err();
    assert_error(&error, "b.proto", None, "there is no such file");
}

#[test]
fn a_file_under_none_of_the_includes() {
    let (folder, other) = (Folder::new("outside"), Folder::new("outside_include"));
    let file = folder.write("a.proto", HEAD);
    let error = configure().out_dir(folder.path()).compile_protos(&[file], &[other.path()]).unwrap_err();
    let reason = format!("the file lies under none of the include paths (`{}`)", other.path().display());
    assert_error(&error, "a.proto", None, &reason);
}

#[test]
fn a_number_that_is_taken() {
    let error = error_for("number", format!("{HEAD}message A {{\n  string b = 1;\n  string c = 1;\n}}\n"));
    assert_error(&error, "a.proto", Some((4, 14)), "field number '1' is already used");
}

#[test]
fn a_name_that_is_taken() {
    let error = error_for("name", format!("{HEAD}message A {{}}\nmessage A {{}}\n"));
    assert_error(&error, "a.proto", Some((3, 9)), "name 'a.A' is defined twice");
}

#[test]
fn a_file_that_is_not_text() {
    let error = error_for("utf8", b"syntax = \"proto3\";\n// \xff\xfe\n");
    assert_error(&error, "a.proto", None, "file 'a.proto' is not valid utf-8");
}

#[test]
fn a_folder_in_place_of_a_file() {
    let folder = Folder::new("folder");
    folder.write("a.proto/b", "");
    let error = compile(&folder, "a.proto").unwrap_err();
    assert!(error.to_string().contains("a.proto"), "{error}");
}

#[test]
fn names_that_are_one_in_rust() {
    let methods = "service S {\n  rpc GetIt(M) returns (M);\n  rpc get_it(M) returns (M);\n}\nmessage M {}\n";
    let error = error_for("methods", format!("{HEAD}{methods}"));
    let reason = "the methods `GetIt` and `get_it` would have the same name in Rust, `get_it`";
    assert_error(&error, "a.proto", Some((5, 3)), reason);

    let error = error_for("types", format!("{HEAD}message FooBar {{}}\nenum foo_bar {{ A = 0; }}\n"));
    let reason = "the types `FooBar` and `foo_bar` would have the same name in Rust, `FooBar`";
    assert_error(&error, "a.proto", Some((4, 1)), reason);

    let values = "message M {\n  enum E {\n    E_NONE = 0;\n    NONE = 1;\n  }\n}\n";
    let error = error_for("values", format!("{HEAD}{values}"));
    let reason = "the values `E_NONE` and `NONE` would have the same name in Rust, `None`";
    assert_error(&error, "a.proto", Some((6, 5)), reason);
}

#[test]
fn options_that_are_not_rust() {
    let folder = Folder::new("options");
    folder.write("a.proto", format!("{HEAD}message A {{}}\n"));
    let compile = |builder: corelane_codegen::Builder| {
        let builder = builder.out_dir(folder.path()).emit_rerun_if_changed(false);
        builder.compile_protos(&[folder.path().join("a.proto")], &[folder.path()]).unwrap_err().to_string()
    };
    let error = compile(configure().type_attribute(".", "derive(Debug)"));
    assert!(
        error.starts_with("`type_attribute` wants an attribute, and `derive(Debug)` is none: "),
        "{error}"
    );
    let error = compile(configure().client_attribute(".", "derive(Eq)"));
    assert!(
        error.starts_with("`client_attribute` wants an attribute, and `derive(Eq)` is none: "),
        "{error}"
    );
    let error = compile(configure().extern_path(".b", "b c"));
    assert!(error.starts_with("`extern_path` wants a path, and `b c` is none: "), "{error}");
    let error = compile(configure().crate_path("corelane"));
    assert_eq!(error, "`crate_path` must be absolute, and `corelane` is not");
    let error = compile(configure().extern_path("b", "::b"));
    assert!(error.contains("must be fully qualified"), "{error}");
}

#[test]
fn a_place_to_write_to_that_is_missing() {
    let folder = Folder::new("nowhere");
    let file = folder.write("a.proto", format!("{HEAD}message A {{}}\n"));
    let builder = configure().out_dir(folder.path().join("none")).emit_rerun_if_changed(false);
    let error = builder.compile_protos(&[file], &[folder.path()]).unwrap_err();
    assert_error(&error, "none/a.rs", None, "cannot write it: there is no such folder");
}

#[test]
fn descriptors_that_make_no_sense() {
    let message = DescriptorProto {
        name: Some("A".to_owned()),
        field: vec![prost_types::FieldDescriptorProto {
            name: Some("b".to_owned()),
            number: Some(1),
            type_name: Some(".a.B".to_owned()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("a.proto".to_owned()),
        package: Some("a".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![message],
        ..Default::default()
    };
    let folder = Folder::new("descriptors");
    let builder = configure().out_dir(folder.path());
    let error = builder.compile_fds(FileDescriptorSet { file: vec![file] }).unwrap_err();
    assert_error(&error, "a.proto", None, "the descriptors make no sense: name '.a.B' is not defined");
}

#[test]
fn a_descriptor_set_that_is_none() {
    let folder = Folder::new("set");
    let path = folder.write("set.bin", b"\xff");
    let none: [&str; 0] = [];
    let error = configure().skip_protoc_run().compile_protos(&none, &none).unwrap_err();
    assert_eq!(error.to_string(), "`skip_protoc_run` needs `file_descriptor_set_path`");
    let builder = configure().skip_protoc_run().file_descriptor_set_path(path);
    let error = builder.compile_protos(&none, &none).unwrap_err();
    assert!(error.reason().starts_with("it is no FileDescriptorSet: "), "{error}");
}
