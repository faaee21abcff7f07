//! The client under connectconformance: it is told on stdin what to call, and says on stdout what came.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use corelane::client::{Backend, Engine, Workers};
use corelane::prost::Message as _;
use corelane_tests::conformance::client::call;
use corelane_tests::program::{exit, read_sized, write_sized};
use corelane_tests::protos::connectrpc::conformance::v1::ClientCompatRequest;

fn main() -> ExitCode {
    exit(run())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::start_on(Workers::Count(1), Backend::Auto)?;
    let (sender, answers) = channel::<Vec<u8>>();
    let writer = std::thread::spawn(move || -> io::Result<()> {
        for answer in answers {
            write_sized(&mut io::stdout().lock(), &answer)?;
        }
        Ok(())
    });
    loop {
        let bytes = match read_sized(&mut io::stdin().lock()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        };
        let order = ClientCompatRequest::decode(&*bytes)?;
        let sender = sender.clone();
        // The suite bounds how many it asks for at once.
        engine.spawn(move || async move {
            let answer = call(order).await;
            // Nobody reads if the writer has failed.
            let _ = sender.send(answer.encode_to_vec());
        })?;
    }
    drop(sender);
    writer.join().map_err(|_| "the thread that writes panicked")??;
    Ok(())
}
