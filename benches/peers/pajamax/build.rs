//! Generates the service, without the calls that stream: pajamax has unary calls only. Needs `protoc`, or its path in `PROTOC`.

use std::path::PathBuf;

const PROTO: &str = "../../../proto/bench/v1/bench.proto";

fn main() {
    println!("cargo::rerun-if-changed={PROTO}");
    let whole = std::fs::read_to_string(PROTO).expect("bench.proto is in the repository");
    let unary: Vec<&str> = whole.lines().filter(|line| !line.contains("stream ")).collect();
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let file = folder.join("unary.proto");
    std::fs::write(&file, unary.join("\n")).expect("the build folder can be written");
    pajamax_build::compile_protos_in_local(&[file], &[folder])
        .expect("protoc reads what is left of bench.proto");
}
