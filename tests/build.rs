//! Generates the services that foreign judges call, and the one of the README.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    corelane_codegen::configure().include_file("protos.rs").compile_protos(
        &[
            "../proto/hello/hello.proto",
            "../proto/chaos/v1/chaos.proto",
            "../proto/grpc/testing/test.proto",
            "../proto/xds/service/orca/v3/orca.proto",
            "../proto/connectrpc/conformance/v1/service.proto",
            "../proto/connectrpc/conformance/v1/server_compat.proto",
            "../proto/connectrpc/conformance/v1/client_compat.proto",
        ],
        &["../proto"],
    )?;
    Ok(())
}
