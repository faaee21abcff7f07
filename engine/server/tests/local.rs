//! A server as a future inside a monoio runtime that the test owns.

mod support;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use corelane_server::Server;
use support::client::Client;
use support::service::{ECHO, Note, Probe, Seen};

#[test]
fn a_server_runs_beside_other_tasks_and_ends_in_order() {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        let mut runtime =
            monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap();
        runtime.block_on(async move {
            let seen = Arc::new(Seen::default());
            let server = Server::builder()
                .shutdown_grace(Duration::from_secs(5))
                .add_service(move || Probe::new(seen.clone()))
                .bind_local("127.0.0.1:0")
                .unwrap();
            let counters = server.counters().clone();
            tell.send(server.address().as_tcp().unwrap()).unwrap();
            let done = async {
                while counters.snapshot().calls_ok < 3 {
                    monoio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            server.serve_with_shutdown(done).await.unwrap();
            counters.snapshot()
        })
    });
    let address = told.recv().unwrap();
    let mut client = Client::connect(address);
    for number in 0..3 {
        let answer = client.unary(ECHO, &[], &Note::new("sleep", number));
        assert_eq!(answer.only::<Note>().number, number);
    }
    client.until("the end", |client| client.closed);
    assert_eq!(thread.join().unwrap().calls_ok, 3);
}

#[test]
fn a_local_server_has_one_address() {
    let error = Server::builder().bind_local(["127.0.0.1:0", "127.0.0.1:0"]).unwrap_err();
    assert_eq!(error.to_string(), "a server inside another runtime listens at one address, and 2 were given");
}
