//! Where files go to and come from, apart from what is in them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use corelane_codegen::{FileDescriptorSet, configure};
use prost::Message;

mod support;

use support::Folder;

const PROTO: &str = "syntax = \"proto3\";\npackage a.b;\n// A note.\nmessage A {}\n";

#[test]
fn a_descriptor_set_can_be_written_and_used_in_place_of_files() {
    let folder = Folder::new("set");
    let proto = folder.write("a.proto", PROTO);
    let set = folder.path().join("set.bin");
    let (first, second, third) = (folder.path().join("1"), folder.path().join("2"), folder.path().join("3"));
    for out in [&first, &second, &third] {
        fs::create_dir(out).unwrap();
    }

    let builder = configure().file_descriptor_set_path(&set).emit_rerun_if_changed(false);
    builder.clone().out_dir(&first).compile_protos(&[proto], &[folder.path()]).unwrap();
    let descriptors = FileDescriptorSet::decode(fs::read(&set).unwrap().as_slice()).unwrap();
    assert_eq!(descriptors.file.len(), 1);
    assert_eq!(descriptors.file[0].name(), "a.proto");
    assert_eq!(descriptors.file[0].source_code_info, None);

    let none: [&str; 0] = [];
    builder.skip_protoc_run().out_dir(&second).compile_protos(&none, &none).unwrap();
    configure().out_dir(&third).compile_fds(descriptors).unwrap();
    let text = fs::read_to_string(first.join("a.b.rs")).unwrap().replace("/// A note.\n", "");
    assert_eq!(fs::read_to_string(second.join("a.b.rs")).unwrap(), text);
    assert_eq!(fs::read_to_string(third.join("a.b.rs")).unwrap(), text);
}

#[test]
fn a_file_that_stays_the_same_is_not_written_again() {
    let folder = Folder::new("same");
    let proto = folder.write("a.proto", PROTO);
    let compile = || {
        let builder = configure().out_dir(folder.path()).emit_rerun_if_changed(false);
        builder.compile_protos(&[&proto], &[folder.path()]).unwrap();
    };
    compile();
    let file = folder.path().join("a.b.rs");
    // Reads only: writing would fail.
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    compile();
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
}

#[test]
fn a_package_in_several_files_is_one_module() {
    let folder = Folder::new("several");
    let files = [
        folder.write("a.proto", "syntax = \"proto3\"; package p; message A {}"),
        folder.write("b.proto", "syntax = \"proto3\"; package p; import \"a.proto\"; message B { A a = 1; }"),
    ];
    let builder = configure().out_dir(folder.path()).emit_rerun_if_changed(false);
    builder.compile_protos(&files, &[folder.path()]).unwrap();
    let text = fs::read_to_string(folder.path().join("p.rs")).unwrap();
    assert!(text.contains("pub struct A") && text.contains("pub struct B"), "{text}");
    assert!(text.contains("pub a: ::core::option::Option<A>"), "{text}");
}
