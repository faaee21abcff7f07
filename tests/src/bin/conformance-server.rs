//! The server under connectconformance: it is told on stdin what to serve and says on stdout where it does.

use std::io;
use std::process::ExitCode;

use corelane::prost::Message as _;
use corelane::server::Workers;
use corelane_tests::conformance::server;
use corelane_tests::program::{exit, read_sized, serve_until_signal, write_sized};
use corelane_tests::protos::connectrpc::conformance::v1::{ServerCompatRequest, ServerCompatResponse};

fn main() -> ExitCode {
    exit(run())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let request = ServerCompatRequest::decode(&*read_sized(&mut io::stdin().lock())?)?;
    if request.use_tls {
        return Err("this server has no TLS yet".into());
    }
    // The suite starts several servers at once, so each stays small.
    let handle = server(request.message_receive_limit).workers(Workers::Count(1)).start("127.0.0.1:0")?;
    let address = handle.addresses()[0].as_tcp().ok_or("the server listens on TCP")?;
    let response = ServerCompatResponse {
        host: address.ip().to_string(),
        port: address.port().into(),
        ..Default::default()
    };
    write_sized(&mut io::stdout().lock(), &response.encode_to_vec())?;
    Ok(serve_until_signal(handle)?)
}
