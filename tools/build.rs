//! Generates the services of the example server, the one that `corelane bench` calls, and what `corelane call` has to know before
//! it asks a server: reflection, and the details of errors.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    corelane_codegen::configure()
        .bytes(".bench")
        .file_descriptor_set_path(out.join("tools.bin"))
        .compile_protos(
            &[
                "../proto/example/v1/users.proto",
                "../proto/example/v1/orders.proto",
                "../proto/bench/v1/bench.proto",
                "../proto/grpc/reflection/v1/reflection.proto",
                "../proto/google/rpc/error_details.proto",
            ],
            &["../proto"],
        )?;
    Ok(())
}
