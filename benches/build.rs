//! Generates the service that load generators call.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Payloads as `Bytes`: a reply's is a slice of one static buffer, so that filling it is no part of what is measured.
    corelane_codegen::configure()
        .bytes(".")
        .compile_protos(&["../proto/bench/v1/bench.proto"], &["../proto"])?;
    Ok(())
}
