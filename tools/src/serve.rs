//! `corelane serve`: starts the example server, says what runs, and ends it in order on SIGINT and SIGTERM.

use std::error::Error;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use corelane::Server;
use corelane::server::{ServerHandle, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::Serve;
use crate::example::proto::order_service_server::OrderServiceServer;
use crate::example::proto::user_service_server::UserServiceServer;
use crate::example::{Orders, Store, Users};

pub(crate) fn run(options: Serve) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let store = Arc::new(Store::default());
    let (of_users, of_orders) = (store.clone(), store);
    let mut builder = Server::builder()
        .workers(options.workers.0)
        .backend(options.backend.into())
        .shutdown_grace(options.grace)
        .add_service(move || UserServiceServer::new(Users::new(of_users.clone())))
        .add_service(move || OrderServiceServer::new(Orders::new(of_orders.clone())));
    if let Some(max) = options.max_connections {
        builder = builder.max_connections(max);
    }
    if let Some(max) = options.max_streams {
        builder = builder.max_concurrent_streams(max);
    }
    if let Some(timeout) = options.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(admin) = options.admin {
        builder = builder.admin(admin);
    }
    let signals = signals()?;
    let handle = builder.start(options.address)?;
    describe(&handle);
    let stopper = handle.stopper();
    thread::spawn(move || obey(signals, &stopper));
    handle.join()?;
    println!("ended in order");
    Ok(())
}

/// Says what runs, where, and what it may cost.
fn describe(handle: &ServerHandle) {
    for address in handle.addresses() {
        println!("listening on {address}");
    }
    if let Some(address) = handle.admin_address() {
        println!("admin port at {address}");
    }
    println!("services: example.v1.UserService, example.v1.OrderService");
    println!("backend: {}", handle.backend());
    println!("workers: {}", handle.workers());
    println!("memory per worker: at most {}", handle.memory_per_worker());
}

/// A socket that yields an octet for each SIGINT and SIGTERM.
fn signals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// The first signal lets calls in flight finish, the second cuts them off.
fn obey(mut signals: UnixStream, stopper: &Stopper) {
    let mut signal = [0];
    if signals.read_exact(&mut signal).is_ok() {
        eprintln!("shutting down; once more to end at once");
        stopper.shutdown();
    }
    if signals.read_exact(&mut signal).is_ok() {
        stopper.shutdown_within(Duration::ZERO);
    }
}
