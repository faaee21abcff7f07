//! What every server program does besides serving: say where it listens, and end when it is told to.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use corelane::server::{ServerHandle, WorkerPanic};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Says where the server listens, in a line that `tests/run` waits for.
pub fn announce(handle: &ServerHandle) {
    for address in handle.addresses() {
        println!("listening on {address} backend={} workers={}", handle.backend(), handle.workers());
    }
}

/// Serves until SIGINT or SIGTERM, then lets calls in flight finish; a second signal cuts them off.
///
/// # Errors
/// A worker died, which would be a fault of the engine.
///
/// # Panics
/// If no signal handler can be installed.
pub fn serve_until_signal(handle: ServerHandle) -> Result<(), WorkerPanic> {
    let (mut read, write) = UnixStream::pair().expect("a pair of sockets can be made");
    for signal in [SIGINT, SIGTERM] {
        let write = write.try_clone().expect("a socket can be duplicated");
        signal_hook::low_level::pipe::register(signal, write).expect("the signal can be handled");
    }
    let stopper = handle.stopper();
    thread::spawn(move || {
        let mut byte = [0];
        if read.read_exact(&mut byte).is_ok() {
            stopper.shutdown();
        }
        if read.read_exact(&mut byte).is_ok() {
            stopper.shutdown_within(Duration::ZERO);
        }
    });
    handle.join()
}

/// Turns the end of a program into its exit code: one line on stderr says what was wrong.
#[must_use]
pub fn exit(result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a message behind its size in four octets, big-endian, as the conformance suite sends them.
///
/// # Errors
/// The input ends early, or the size is unreasonable.
pub fn read_sized(input: &mut impl io::Read) -> io::Result<Vec<u8>> {
    /// Far more than a configuration with certificates needs.
    const SIZE_MAX: usize = 16 * 1024 * 1024;
    let mut size = [0; 4];
    input.read_exact(&mut size)?;
    let size = usize::try_from(u32::from_be_bytes(size)).expect("a u32 fits where Linux runs");
    if size > SIZE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {size} octets")));
    }
    let mut message = vec![0; size];
    input.read_exact(&mut message)?;
    Ok(message)
}

/// Writes a message behind its size.
///
/// # Errors
/// The output is closed.
pub fn write_sized(output: &mut impl io::Write, message: &[u8]) -> io::Result<()> {
    let size = u32::try_from(message.len()).map_err(io::Error::other)?;
    output.write_all(&size.to_be_bytes())?;
    output.write_all(message)?;
    output.flush()
}
