//! The command, as somebody types it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::{Command, Output};

mod support;

use support::Folder;

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_corelane-codegen"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn project(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write(
        "proto/a.proto",
        "syntax = \"proto3\"; package a; import \"b.proto\"; message A { b.B b = 1; }",
    );
    folder.write("more/b.proto", "syntax = \"proto3\"; package b; message B { bytes data = 1; }");
    folder
}

#[test]
fn files_are_written_where_it_was_told() {
    let folder = project("written");
    let output = run(
        &folder,
        &[
            "-Iproto",
            "-I",
            "more",
            "--out",
            "src/gen",
            "--include-file",
            "mod.rs",
            "--bytes",
            ".",
            "proto/a.proto",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let read = |name: &str| fs::read_to_string(folder.path().join("src/gen").join(name)).unwrap();
    assert!(read("a.rs").contains("super::b::B"));
    assert!(read("b.rs").contains("bytes::Bytes"));
    assert!(read("mod.rs").contains("include!(\"b.rs\");"));
}

#[test]
fn switches_can_be_off_and_on() {
    let folder = Folder::new("switches");
    folder.write(
        "a.proto",
        "syntax = \"proto3\"; package a; message M {} service S { rpc Call(M) returns (M); }",
    );
    let generate = |switch: &str| {
        let output = run(&folder, &["--out", ".", switch, "a.proto"]);
        assert!(output.status.success(), "{}", stderr(&output));
        fs::read_to_string(folder.path().join("a.rs")).unwrap()
    };
    assert!(!generate("--build-server=false").contains("s_server"));
    assert!(generate("--generate-default-stubs").contains("Status::unimplemented"));
    assert!(!generate("--generate-default-stubs=false").contains("Status::unimplemented"));
}

#[test]
fn a_descriptor_set_is_written_too() {
    let folder = project("descriptors");
    let output = run(&folder, &["-Imore", "--out", "out", "--descriptor-set", "set.bin", "more/b.proto"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!fs::read(folder.path().join("set.bin")).unwrap().is_empty());
}

#[test]
fn a_faulty_file_is_one_line_and_exit_code_1() {
    let folder = Folder::new("faulty");
    folder.write("a.proto", "syntax = \"proto3\";\nmessage A {\n  B b = 1;\n}\n");
    let output = run(&folder, &["--out", "out", "a.proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "./a.proto:3:3: name 'B' is not defined\n");

    let output = run(&folder, &["--out", "out", "missing.proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "missing.proto: there is no such file\n");
}

#[test]
fn a_wrong_call_is_exit_code_2() {
    let folder = Folder::new("wrong");
    for arguments in
        [&["a.proto"][..], &["--out", "."], &["--nonsense"], &["--out", ".", "--extern-path", "x", "a.proto"]]
    {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
    }
}
