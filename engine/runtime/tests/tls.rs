//! TLS on both sides: who is believed, what each mistake of a configuration looks like, and that bytes stay the same however
//! records cut them.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_observe::Limit;
use corelane_runtime::{
    Address, Backend, CertificateFault, ClientAuth, ClientTls, Config, DialOptions, Handle, Limits, Link,
    ServerTls, TlsConfigError, TlsError, dial, start_clients,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConnection, RootCertStore, ServerConnection, StreamOwned};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use support::caller::{Caller, Calls, begin, call, clients, connect, on_worker, reply, wire};
use support::certificates::{Authority, Issued, Time};
use support::{Client, Log, PATIENCE, config, eventually, on_both, serve, serve_at, serve_with};

const NAME: &str = "service.test";

fn server_tls(issued: &Issued) -> ServerTls {
    ServerTls::builder().identity_pem(issued.pem.clone(), issued.key.clone()).build().unwrap()
}

fn client_tls(authority: &Authority) -> ClientTls {
    ClientTls::builder().ca_pem(authority.pem.clone()).build().unwrap()
}

fn serve_tls(backend: Backend, tls: ServerTls) -> (Handle, Arc<Log>) {
    serve_with(Config { tls: Some(tls), ..config(backend) })
}

/// A secured connection to `address`.
async fn secured(
    address: &Address,
    tls: &ClientTls,
    name: &str,
    log: &Arc<Calls>,
) -> Result<Link<Caller>, TlsError> {
    let dialed = dial(address, &DialOptions::default()).await.unwrap();
    Ok(dialed.secure(tls, name).await?.start(&wire(), Caller::new(log)).unwrap())
}

/// Why a client with `tls` cannot connect to `address`.
fn refusal(engine: &Handle, address: &Address, tls: ClientTls, name: &'static str) -> TlsError {
    let address = address.clone();
    let outcome = move || async move { secured(&address, &tls, name, &Arc::default()).await.err() };
    on_worker(engine, outcome).expect("the handshake fails")
}

fn fault(error: TlsError) -> CertificateFault {
    match error {
        TlsError::Certificate { fault, .. } => fault,
        other => panic!("{other:?}"),
    }
}

/// What the server's only session was told.
fn reason(log: &Log) -> String {
    eventually("the session heard of its end", || !log.closed.lock().unwrap().is_empty());
    log.closed.lock().unwrap()[0].clone()
}

/// A client of rustls's own, for what ours does not do.
fn foreign(
    server: &Handle,
    authority: &Authority,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(server.addresses()[0].as_tcp().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

/// A peer of rustls's own that accepts one connection and speaks as `work` does.
fn foreign_server(
    issued: &Issued,
    alpn: &[&[u8]],
    work: impl FnOnce(StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
) -> Address {
    let chain = CertificateDer::pem_slice_iter(issued.pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        work(StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream));
    });
    address
}

#[test]
fn calls_over_a_secured_connection_are_answered() {
    on_both(|backend| {
        let authority = Authority::new();
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        let (engine, tls) = (clients(backend), client_tls(&authority));
        let address = server.addresses()[0].clone();
        let replies = on_worker(&engine, move || async move {
            let link = secured(&address, &tls, NAME, &Arc::default()).await.unwrap();
            let small = call(&link, "/echo", 5).await.unwrap();
            let large = call(&link, "/large/5000000", 0).await.unwrap();
            let uploaded = call(&link, "/echo", 3_000_000).await.unwrap();
            // Both ways at once, and more streams than the connection's window has room for.
            let slots: Vec<_> = (0..20)
                .map(|_| link.with(|session, io| session.open(io, "/echo", 200_000)).unwrap())
                .collect();
            let mut replies = vec![small, large, uploaded];
            for slot in slots {
                replies.push(reply(&link, slot).await.unwrap());
            }
            assert!(replies[2..].iter().all(|reply| reply.body.iter().all(|byte| *byte == b'q')));
            replies.iter().map(|reply| (reply.body.len(), reply.ended, reply.reset)).collect::<Vec<_>>()
        });
        assert_eq!(replies[..3], [(5, true, None), (5_000_000, true, None), (3_000_000, true, None)]);
        assert_eq!(replies[3..], [(200_000, true, None); 20]);
        engine.drain(PATIENCE);
        engine.join().unwrap();
        eventually("the session heard of the end", || log.closed.lock().unwrap().len() == 1);
    });
}

#[test]
fn an_ip_address_and_a_unix_socket_are_secured_too() {
    on_both(|backend| {
        let authority = Authority::new();
        let tls = client_tls(&authority);
        let path = std::env::temp_dir().join(format!("corelane-tls-{}-{backend:?}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let addresses = ["127.0.0.1:0".parse().unwrap(), Address::Unix(path)];
        let config = Config { tls: Some(server_tls(&authority.issue("127.0.0.1"))), ..config(backend) };
        let (server, _) = serve_at(config, &addresses);
        let engine = clients(backend);
        let addresses = server.addresses().to_vec();
        let bodies = on_worker(&engine, move || async move {
            let mut bodies = Vec::new();
            for address in &addresses {
                let link = secured(address, &tls, "127.0.0.1", &Arc::default()).await.unwrap();
                bodies.push(call(&link, "/echo", 3).await.unwrap().body);
            }
            bodies
        });
        assert_eq!(bodies, [b"qqq", b"qqq"]);
    });
}

#[test]
fn a_servers_certificate_is_believed_only_if_everything_is_right() {
    on_both(|backend| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let engine = clients(backend);
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        let address = &server.addresses()[0];
        let unknown = refusal(&engine, address, client_tls(&stranger), NAME);
        assert_eq!(fault(unknown), CertificateFault::UnknownIssuer);
        assert_eq!(reason(&log), "the peer refused with the TLS alert 48 (UnknownCA)");
        let wrong = refusal(&engine, address, client_tls(&authority), "other.test");
        assert!(wrong.to_string().contains("other.test"), "{wrong}");
        assert_eq!(fault(wrong), CertificateFault::WrongName);
        for (time, expected) in
            [(Time::Past, CertificateFault::Expired), (Time::Future, CertificateFault::NotYetValid)]
        {
            let (server, _) = serve_tls(backend, server_tls(&authority.issue_for(NAME, time)));
            let error = refusal(&engine, &server.addresses()[0], client_tls(&authority), NAME);
            assert_eq!(fault(error), expected);
        }
        let name = refusal(&engine, address, client_tls(&authority), "not a name");
        assert!(matches!(name, TlsError::InvalidServerName { .. }), "{name:?}");
    });
}

#[test]
fn a_tool_that_was_told_to_accepts_any_certificate() {
    on_both(|backend| {
        let issued = Authority::new().issue_for("whoever.test", Time::Past);
        let (server, _) = serve_tls(backend, server_tls(&issued));
        let engine = clients(backend);
        let address = server.addresses()[0].clone();
        let body = on_worker(&engine, move || async move {
            let tls = ClientTls::builder().danger_accept_any_certificate().build().unwrap();
            let link = secured(&address, &tls, NAME, &Arc::default()).await.unwrap();
            call(&link, "/echo", 2).await.unwrap().body
        });
        assert_eq!(body, b"qq");
    });
}

#[test]
fn a_plaintext_peer_is_recognised_by_either_side() {
    on_both(|backend| {
        let authority = Authority::new();
        let engine = clients(backend);
        // A client that wants TLS, and a server that knows none.
        let (plain, _) = serve(backend);
        let error = refusal(&engine, &plain.addresses()[0], client_tls(&authority), NAME);
        assert!(matches!(error, TlsError::PlaintextPeer), "{error:?}");
        // The other way round.
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        let address = server.addresses()[0].clone();
        let calls = Arc::new(Calls::default());
        let theirs = calls.clone();
        let reply = on_worker(&engine, move || async move {
            let link = connect(&address, &theirs).await;
            call(&link, "/echo", 1).await
        });
        assert_eq!(reply, None);
        let theirs = "the peer speaks TLS, and this connection is a plaintext one";
        assert_eq!(*calls.closed.lock().unwrap(), [theirs]);
        assert_eq!(reason(&log), "the peer does not speak TLS: its port is a plaintext one");
    });
}

#[test]
fn a_plaintext_server_says_that_its_client_speaks_tls() {
    on_both(|backend| {
        let (server, log) = serve(backend);
        let mut stream = foreign(&server, &Authority::new(), &[b"h2"], rustls::ALL_VERSIONS);
        assert!(stream.write_all(b"x").is_err());
        assert_eq!(reason(&log), "the peer speaks TLS, and this connection is a plaintext one");
    });
}

#[test]
fn a_peer_that_does_not_agree_to_http2_is_turned_away() {
    on_both(|backend| {
        let authority = Authority::new();
        let issued = authority.issue(NAME);
        let engine = clients(backend);
        for alpn in [&[][..], &[&b"http/1.1"[..]][..]] {
            let address = foreign_server(&issued, alpn, |mut stream| {
                let _ = stream.read(&mut [0; 16]);
            });
            let error = refusal(&engine, &address, client_tls(&authority), NAME);
            assert!(matches!(error, TlsError::NoAlpn), "{error:?}");
            let (server, log) = serve_tls(backend, server_tls(&issued));
            let mut stream = foreign(&server, &authority, alpn, rustls::ALL_VERSIONS);
            let _ = stream.write_all(b"x");
            let heard = stream.read(&mut [0; 16]);
            assert!(heard.is_err() || heard.unwrap() == 0);
            assert_eq!(reason(&log), "the peer does not agree to HTTP/2 (no \"h2\" in its ALPN)");
        }
    });
}

#[test]
fn a_client_shows_its_certificate_where_one_is_asked_for() {
    on_both(|backend| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let engine = clients(backend);
        let issued = authority.issue(NAME);
        let asking = |auth| {
            let builder = ServerTls::builder().identity_pem(issued.pem.clone(), issued.key.clone());
            builder.client_ca_pem(authority.pem.clone(), auth).build().unwrap()
        };
        let with = |identity: Option<Issued>| {
            let builder = ClientTls::builder().ca_pem(authority.pem.clone());
            match identity {
                None => builder,
                Some(issued) => builder.identity_pem(issued.pem, issued.key),
            }
            .build()
            .unwrap()
        };
        let outcome = |server: &Handle, tls: ClientTls| {
            let address = server.addresses()[0].clone();
            let log = Arc::new(Calls::default());
            let theirs = log.clone();
            let body = on_worker(&engine, move || async move {
                // With TLS 1.3 the refusal comes after the client's handshake.
                let link = secured(&address, &tls, NAME, &theirs).await.unwrap();
                call(&link, "/echo", 1).await.map(|reply| reply.body)
            });
            (body, log.closed.lock().unwrap().clone())
        };
        let (required, _) = serve_tls(backend, asking(ClientAuth::Required));
        let (optional, _) = serve_tls(backend, asking(ClientAuth::Optional));
        let served = (Some(b"q".to_vec()), Vec::new());
        assert_eq!(outcome(&required, with(Some(authority.issue("client.test")))), served);
        assert_eq!(outcome(&optional, with(Some(authority.issue("client.test")))), served);
        assert_eq!(outcome(&optional, with(None)), served);
        let missing = "the peer refused with the TLS alert 116 (CertificateRequired)".to_owned();
        assert_eq!(outcome(&required, with(None)), (None, vec![missing]));
        let unknown = "the peer refused with the TLS alert 48 (UnknownCA)".to_owned();
        for server in [&required, &optional] {
            let refused = outcome(server, with(Some(stranger.issue("client.test"))));
            assert_eq!(refused, (None, vec![unknown.clone()]));
        }
    });
}

#[test]
fn a_handshake_that_does_not_come_is_given_up() {
    on_both(|backend| {
        let authority = Authority::new();
        let limits = Limits { tls_handshake: Duration::from_millis(30), ..Limits::default() };
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(mute.local_addr().unwrap());
        let engine = start_clients(Config { limits: limits.clone(), ..config(backend) }).unwrap();
        let error = refusal(&engine, &address, client_tls(&authority), NAME);
        assert!(matches!(error, TlsError::Timeout), "{error:?}");
        let tls = Some(server_tls(&authority.issue(NAME)));
        let (server, log) = serve_with(Config { limits, tls, ..config(backend) });
        let mut stream = TcpStream::connect(server.addresses()[0].as_tcp().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The beginning of a ClientHello.
        stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
        assert_eq!(reason(&log), "the TLS handshake took too long");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, [21, 3, 3, 0, 2, 1, 0], "close_notify, and the end");
    });
}

#[test]
fn a_peer_that_closes_in_the_handshake_is_told_apart() {
    on_both(|backend| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        });
        let error = refusal(&clients(backend), &address, client_tls(&Authority::new()), NAME);
        assert!(matches!(error, TlsError::PeerClosed), "{error:?}");
        peer.join().unwrap();
    });
}

#[test]
fn a_dropped_handshake_closes_its_connection() {
    on_both(|backend| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let (engine, tls) = (clients(backend), client_tls(&Authority::new()));
        on_worker(&engine, move || async move {
            let dialed = dial(&address, &DialOptions::default()).await.unwrap();
            let mut securing = pin!(dialed.secure(&tls, NAME));
            poll_fn(|cx| {
                assert!(securing.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        });
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        engine.drain(Duration::ZERO);
        engine.join().unwrap();
    });
}

#[test]
fn both_versions_are_spoken() {
    on_both(|backend| {
        let authority = Authority::new();
        let (server, _) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut client = Client::over(Box::new(foreign(&server, &authority, &[b"h2"], &[version])));
            assert_eq!(client.call("/echo", b"hello"), b"hello");
            assert_eq!(client.call("/large/300000", b"").len(), 300_000);
        }
    });
}

#[test]
fn frames_may_be_cut_into_records_anywhere() {
    /// Makes a record of every few bytes.
    struct Crumbs(StreamOwned<ClientConnection, TcpStream>, usize);
    impl Read for Crumbs {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Crumbs {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let bytes = &bytes[..bytes.len().min(self.1)];
            self.0.write_all(bytes)?;
            self.0.flush()?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    on_both(|backend| {
        let authority = Authority::new();
        let (server, _) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        for (crumb, bytes) in [(1, 300), (7, 20_000), (4_099, 200_000), (16_384, 500_000)] {
            let stream = foreign(&server, &authority, &[b"h2"], rustls::ALL_VERSIONS);
            let mut client = Client::over(Box::new(Crumbs(stream, crumb)));
            client.call("/echo", b"windows are opened");
            let body: Vec<u8> = (0..bytes).map(|at: u32| at.to_le_bytes()[0]).collect();
            let half = body.len() / 2;
            assert!(client.call("/echo", &body[..half]) == body[..half]);
            assert!(client.call("/echo", &body[half..]) == body[half..]);
        }
    });
}

#[test]
fn an_end_is_told_in_tls_too_and_understood_without() {
    on_both(|backend| {
        let authority = Authority::new();
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        // The socket ends without a close_notify; what was asked before is answered.
        let stream = foreign(&server, &authority, &[b"h2"], rustls::ALL_VERSIONS);
        let socket = stream.sock.try_clone().unwrap();
        let mut client = Client::over(Box::new(stream));
        client.call("/echo", b"settings are exchanged");
        let last = client.open("/echo", b"the last");
        client.flush();
        socket.shutdown(Shutdown::Write).unwrap();
        // A read of rustls's that meets the end without a close_notify would panic here.
        client.read_to_end();
        assert_eq!(client.replies[&last].body, b"the last");
        assert_eq!(reason(&log), "the peer closed the connection");
        // The server ends first.
        let mut client = Client::over(Box::new(foreign(&server, &authority, &[b"h2"], rustls::ALL_VERSIONS)));
        client.call("/echo", b"settings are exchanged");
        server.drain(PATIENCE);
        client.read_to_end();
        server.join().unwrap();
    });
}

#[test]
fn a_close_notify_ends_a_connection_whose_socket_stays_open() {
    on_both(|backend| {
        let authority = Authority::new();
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        let mut stream = foreign(&server, &authority, &[b"h2"], rustls::ALL_VERSIONS);
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        assert_eq!(reason(&log), "the peer closed the connection");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert!(!heard.is_empty(), "our SETTINGS");
    });
}

#[test]
fn garbage_behind_the_handshake_is_answered_with_an_alert() {
    on_both(|backend| {
        let authority = Authority::new();
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        let stream = foreign(&server, &authority, &[b"h2"], rustls::ALL_VERSIONS);
        let mut socket = stream.sock.try_clone().unwrap();
        let mut client = Client::over(Box::new(stream));
        client.call("/echo", b"settings are exchanged");
        socket.write_all(&[23, 3, 3, 0, 32]).unwrap();
        socket.write_all(&[0; 32]).unwrap();
        let mut rest = Vec::new();
        let end = client.stream.read_to_end(&mut rest).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::InvalidData, "{end}");
        assert_eq!(reason(&log), "TLS failed: cannot decrypt peer's message");
    });
}

#[test]
fn half_a_record_is_not_waited_for_without_end() {
    on_both(|backend| {
        let authority = Authority::new();
        let limits = Limits { tls_record: Duration::from_millis(30), ..Limits::default() };
        let tls = Some(server_tls(&authority.issue(NAME)));
        let (server, log) = serve_with(Config { limits, tls, ..config(backend) });
        let stream = foreign(&server, &authority, &[b"h2"], rustls::ALL_VERSIONS);
        let mut socket = stream.sock.try_clone().unwrap();
        let mut client = Client::over(Box::new(stream));
        client.call("/echo", b"settings are exchanged");
        // As long as a record may be, and none of it follows.
        socket.write_all(&[23, 3, 3, 0x40, 0]).unwrap();
        assert_eq!(reason(&log), "the rest of a TLS record took too long");
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(server.counters().snapshot().limit_hits(Limit::PeerTime), 1);
    });
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_not_lost() {
    on_both(|backend| {
        let authority = Authority::new();
        let engine = clients(backend);
        let goaway = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
        // TLS 1.3 lets a server speak before the client has finished.
        let address = foreign_server(&authority.issue(NAME), &[b"h2"], |mut stream| {
            stream.write_all(goaway).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let (tls, log) = (client_tls(&authority), Arc::new(Calls::default()));
        let theirs = log.clone();
        let _task = begin(&engine.spawner(), move || async move {
            let link = secured(&address, &tls, NAME, &theirs).await.unwrap();
            std::future::pending::<()>().await;
            drop(link);
        });
        eventually("the connection is over", || !log.closed.lock().unwrap().is_empty());
        assert_eq!(*log.closed.lock().unwrap(), ["the connection has served what it had to"]);
    });
}

#[test]
fn a_drain_in_the_middle_of_a_handshake_ends_it() {
    on_both(|backend| {
        let authority = Authority::new();
        let (server, log) = serve_tls(backend, server_tls(&authority.issue(NAME)));
        let mut stream = TcpStream::connect(server.addresses()[0].as_tcp().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        eventually("the session is made", || log.workers.lock().unwrap().len() == 1);
        server.drain(Duration::ZERO);
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, [21, 3, 3, 0, 2, 1, 0], "close_notify, and nothing in plaintext");
        server.join().unwrap();
    });
}

#[test]
fn a_configuration_that_cannot_work_says_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (issued, foreign) = (authority.issue(NAME), other.issue(NAME));
    let server = |chain: &str, key: &str| {
        ServerTls::builder().identity_pem(chain, key).build().expect_err("it cannot work").to_string()
    };
    assert_eq!(
        server("", &issued.key),
        "the certificate chain holds no certificate (no \"BEGIN CERTIFICATE\" in the PEM)"
    );
    assert_eq!(
        server(&issued.pem, &issued.pem),
        "the private key's input holds none (no \"BEGIN PRIVATE KEY\" in the PEM)"
    );
    let mismatch = server(&issued.pem, &foreign.key);
    assert!(mismatch.starts_with("the certificate and its key cannot be used: "), "{mismatch}");
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let broken = ClientTls::builder().ca_pem(broken).build().unwrap_err();
    assert!(matches!(broken, TlsConfigError::Pem { what: "the certificate authority", .. }), "{broken:?}");
    let no_client = ServerTls::builder()
        .identity_pem(issued.pem, issued.key)
        .client_ca_pem("nothing", ClientAuth::Required)
        .build()
        .unwrap_err();
    let what = "the clients' certificate authority";
    assert_eq!(no_client, TlsConfigError::NoCertificate { what });
    assert!(matches!(ClientTls::builder().build(), Err(TlsConfigError::NoRoots { .. })));
}
