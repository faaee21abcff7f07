//! Generates the services of the example server.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    corelane_codegen::compile_protos(
        &["../proto/example/v1/users.proto", "../proto/example/v1/orders.proto"],
        &["../proto"],
    )?;
    Ok(())
}
