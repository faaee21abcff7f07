//! Generates the service. Payloads are `Bytes`, as in our own peer: filling them is no part of what is measured.

fn main() {
    println!("cargo::rerun-if-changed=../../../proto/bench/v1/bench.proto");
    let files = protox::compile(["bench/v1/bench.proto"], ["../../../proto"]).expect("bench.proto is valid");
    tonic_prost_build::configure().bytes(".").compile_fds(files).expect("stubs are generated");
}
