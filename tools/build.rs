//! Generates the services of the example server, and the one that `corelane bench` calls.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    corelane_codegen::configure().bytes(".bench").compile_protos(
        &[
            "../proto/example/v1/users.proto",
            "../proto/example/v1/orders.proto",
            "../proto/bench/v1/bench.proto",
        ],
        &["../proto"],
    )?;
    Ok(())
}
