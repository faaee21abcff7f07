//! `corelane call` and `corelane bench` over TLS: whom they trust, and who they say that they are.
//!
//! The server serves nothing, so UNIMPLEMENTED is as far as a call comes; UNAVAILABLE is a connection that was refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs, process};

use corelane::Server;
use corelane::server::{ServerHandle, Workers};
use corelane::tls::{ClientAuth, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

const UNIMPLEMENTED: i32 = 64 + 12;
const UNAVAILABLE: i32 = 64 + 14;

/// An authority, and what it has issued to a server and to a client, as files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("corelane-tools-tls-{}-{name}", process::id()));
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

    /// Runs a command against the server, in the folder.
    fn run(&self, command: &str, server: &ServerHandle, words: &[&str]) -> Output {
        let target = server.addresses()[0].to_string();
        let mut program = Command::new(env!("CARGO_BIN_EXE_corelane"));
        program.args([command, &target]).args(words).current_dir(&self.0).output().unwrap()
    }

    /// The exit code of a call with these flags; and what it says.
    fn call(&self, server: &ServerHandle, flags: &[&str]) -> (i32, String) {
        let output = self.run("call", server, &[&["list"], flags].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Like [`call`](Self::call) for a run of five calls, whose figures are the last.
    fn bench(&self, server: &ServerHandle, flags: &[&str]) -> (i32, String, Value) {
        let output = self.run("bench", server, &[&["-n", "5", "--no-progress", "--json"], flags].concat());
        let figures = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap(), figures)
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

#[test]
fn load_goes_over_tls_whatever_its_kind() {
    let folder = Folder::new("bench");
    let server = folder.serve(Some(ClientAuth::Required));
    let trust = ["--tls", "--ca", "ca.pem", "--cert", "client.test.pem", "--key", "client.test.key"];
    for kind in ["unary", "chat"] {
        let flags = [&trust[..], &["--kind", kind, "--authority", "server.test"]].concat();
        let (code, text, figures) = folder.bench(&server, &flags);
        assert_eq!(code, 0, "{text}");
        let unimplemented = &figures["status"][1];
        assert_eq!((&unimplemented["code"], &unimplemented["count"]), (&"UNIMPLEMENTED".into(), &5.into()));
        let flags = [&trust[..], &["--kind", kind, "--authority", "other.test"]].concat();
        let (code, text, _) = folder.bench(&server, &flags);
        assert_eq!(code, 1);
        assert!(text.contains("other.test") && text.lines().count() == 1, "{text}");
    }
    server.shutdown();
    server.join().unwrap();
}
