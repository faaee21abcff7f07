//! `corelane call` over TLS: whom it trusts, and who it says that it is.
//!
//! The server serves nothing, so UNIMPLEMENTED is as far as a call comes; UNAVAILABLE is a connection that was refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

use corelane::Server;
use corelane::server::{ServerHandle, Workers};
use corelane::tls::{ClientAuth, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const UNIMPLEMENTED: i32 = 64 + 12;
const UNAVAILABLE: i32 = 64 + 14;

/// An authority, and what it has issued to a server and to a client, as files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("corelane-call-tls-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Folder(path);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        folder.write("ca.pem", &authority.pem());
        let issuer = Issuer::new(params, key);
        for name in ["server.test", "client.test"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            folder.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
            folder.write(&format!("{name}.key"), &key.serialize_pem());
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    fn serve(&self, clients: Option<ClientAuth>) -> ServerHandle {
        let mut tls =
            ServerTls::builder().identity_pem(self.read("server.test.pem"), self.read("server.test.key"));
        if let Some(auth) = clients {
            tls = tls.client_ca_pem(self.read("ca.pem"), auth);
        }
        let server = Server::builder().workers(Workers::Count(1)).tls(tls.build().unwrap());
        server.start("127.0.0.1:0").unwrap()
    }

    /// The exit code of a call with these flags, in the folder; and what it says.
    fn call(&self, server: &ServerHandle, flags: &[&str]) -> (i32, String) {
        let target = server.addresses()[0].to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args(["call", &target, "list"])
            .args(flags)
            .current_dir(&self.0)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_server_is_trusted_for_its_authority_and_its_name() {
    let folder = Folder::new("server");
    let server = folder.serve(None);
    let (code, text) = folder.call(&server, &["--ca", "ca.pem", "--server-name", "server.test"]);
    assert_eq!(code, UNIMPLEMENTED, "{text}");
    let (code, text) = folder.call(&server, &["--ca", "ca.pem", "--server-name", "other.test"]);
    assert_eq!(code, UNAVAILABLE, "{text}");
    assert!(text.contains("the TLS handshake failed: "), "{text}");
    let (code, text) = folder.call(&server, &["--ca", "client.test.pem", "--server-name", "server.test"]);
    assert_eq!(code, UNAVAILABLE, "{text}");
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn any_server_is_trusted_on_request() {
    let folder = Folder::new("any");
    let server = folder.serve(None);
    let (code, text) = folder.call(&server, &["--insecure"]);
    assert_eq!(code, UNIMPLEMENTED, "{text}");
    let (code, text) = folder.call(&server, &[]);
    assert_eq!(code, UNAVAILABLE, "plain text is not what the server speaks: {text}");
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn a_client_shows_its_certificate() {
    let folder = Folder::new("client");
    let server = folder.serve(Some(ClientAuth::Required));
    let trust = ["--ca", "ca.pem", "--server-name", "server.test"];
    let identity = ["--cert", "client.test.pem", "--key", "client.test.key"];
    let (code, text) = folder.call(&server, &[trust, identity].concat());
    assert_eq!(code, UNIMPLEMENTED, "{text}");
    let (code, text) = folder.call(&server, &trust);
    assert_eq!(code, UNAVAILABLE, "{text}");
    server.shutdown();
    server.join().unwrap();
}
