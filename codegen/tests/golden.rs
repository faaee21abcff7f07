//! What is generated for a few files, to the letter. `UPDATE_GOLDEN=1 cargo test` writes it anew, for a look at the difference.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use corelane_codegen::{Builder, configure};

mod support;

use support::Folder;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Generates from `proto` and compares every file that comes out with the one of the same name in `golden/CASE`.
fn check(case: &str, proto: &str, options: impl FnOnce(Builder) -> Builder) {
    let out = Folder::new(case);
    let builder =
        options(configure()).out_dir(out.path()).include_file("mod.rs").emit_rerun_if_changed(false);
    builder.compile_protos(&[golden().join(proto)], &[golden()]).unwrap();
    let expected = golden().join(case);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&expected).unwrap();
        read_all(&expected).keys().for_each(|name| fs::remove_file(expected.join(name)).unwrap());
        read_all(out.path()).iter().for_each(|(name, text)| fs::write(expected.join(name), text).unwrap());
        return;
    }
    let (expected, actual) = (read_all(&expected), read_all(out.path()));
    assert_eq!(actual.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "files of {case}");
    for (name, text) in &actual {
        assert!(*text == expected[name], "{case}/{name} is not as it was; it is now\n{text}");
        syn::parse_file(text).unwrap();
    }
}

fn read_all(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn every_shape_of_call() {
    check("greeter", "greeter.proto", |builder| builder);
}

#[test]
fn every_shape_of_field() {
    check("shapes", "shapes.proto", |builder| builder);
}

#[test]
fn keywords_and_names_of_the_prelude() {
    check("keywords", "keywords.proto", |builder| builder);
}

#[test]
fn names_that_clients_have_themselves() {
    check("collisions", "collisions.proto", |builder| builder);
}

#[test]
fn only_servers() {
    check("only_servers", "collisions.proto", |builder| builder.build_client(false));
}

#[test]
fn only_clients() {
    check("only_clients", "options.proto", |builder| builder.build_server(false).build_client(true));
}

#[test]
fn nested_packages() {
    check("packages", "packages_a.proto", |builder| builder);
}

#[test]
fn no_package() {
    check("no_package", "no_package.proto", |builder| builder.default_package_filename("lonely"));
}

#[test]
fn well_known_types_that_are_given() {
    check("well_known", "well_known.proto", |builder| builder);
}

#[test]
fn well_known_types_that_are_generated() {
    check("well_known_generated", "well_known.proto", |builder| builder.compile_well_known_types(true));
}

#[test]
fn all_options_of_the_look() {
    check("options", "options.proto", |builder| {
        builder
            .bytes(".golden.options.Picture.data")
            .btree_map(".")
            .boxed("Picture.sibling")
            .type_attribute("Picture", "#[must_use]")
            .message_attribute(".", "#[allow(clippy::large_enum_variant)]")
            .enum_attribute("Size", "#[non_exhaustive]")
            .field_attribute("Picture.data", "#[allow(unused)]")
            .server_mod_attribute("Pictures", "#[allow(clippy::all)]")
            .server_attribute(".golden.options", "#[must_use]")
            .client_mod_attribute("Pictures", "#[allow(clippy::nursery)]")
            .client_attribute(".golden.options", "#[must_use]")
            .trait_attribute(".", "#[diagnostic::on_unimplemented(message = \"no pictures here\")]")
            .extern_path(".golden.sibling", "crate::packages::golden::sibling")
            .crate_path("::corelane")
            .codec_path("::corelane::codegen::ProstCodec")
            .generate_default_stubs(true)
            .disable_package_emission()
            .disable_comments(".golden.options")
            .enable_type_names()
            .type_name_domain(".", "types.example.com")
            .retain_enum_prefix()
            .skip_debug("Picture")
    });
}

#[test]
fn only_messages() {
    check("only_messages", "no_package.proto", |builder| builder.build_server(false).build_client(false));
}
