//! The repository's own `.proto` files are sound, and what is said about them in Rust is, too.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use corelane_codegen::configure;

mod support;

use support::Folder;

fn protos(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { protos(&path) } else { vec![path] }).collect()
}

#[test]
fn every_file_is_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let files = protos(&root);
    assert!(
        files.iter().all(|path| path.extension().is_some_and(|extension| extension == "proto")),
        "{files:?}"
    );
    let out = Folder::new("protos");
    configure().out_dir(out.path()).emit_rerun_if_changed(false).compile_protos(&files, &[root]).unwrap();

    let services = |file: &str| {
        let text = fs::read_to_string(out.path().join(file)).unwrap();
        let names =
            text.lines().filter_map(|line| line.strip_prefix("    pub const SERVICE_NAME: &str = \""));
        names.map(|name| name.trim_end_matches("\";").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(services("bench.v1.rs"), ["bench.v1.Bench"]);
    assert_eq!(services("connectrpc.conformance.v1.rs"), ["connectrpc.conformance.v1.ConformanceService"]);
    let mut example = services("example.v1.rs");
    example.sort();
    assert_eq!(example, ["example.v1.OrderService", "example.v1.UserService"]);
    let testing = ["TestService", "UnimplementedService", "ReconnectService"];
    assert_eq!(services("grpc.testing.rs"), testing.map(|name| format!("grpc.testing.{name}")));
}
