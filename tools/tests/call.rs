//! `corelane call` against `corelane serve`, as two programs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_corelane");

/// The example server, for as long as it is held.
struct Server {
    process: Child,
    target: String,
    /// Held, since a server that cannot say what it does ends.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Server {
        let mut process = Command::new(PROGRAM)
            .args(["serve", "--address", "127.0.0.1:0", "--workers", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let target = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Server { process, target, _output: output }
    }

    /// `corelane call` with these words behind the target.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["call", &self.target]).args(words).args(["--proto", "example/v1/users.proto"]);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto"));
        command
    }

    /// What it says and how it ends.
    fn call(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).stdin(Stdio::null()).output().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn create(name: &str) -> String {
    format!(r#"{{"name": "{name}", "email": "{name}@example.com"}}"#)
}

const CREATE: &str = "example.v1.UserService/CreateUser";

#[test]
fn a_response_is_json_on_stdout_and_nothing_else() {
    let server = Server::start();
    let said = server.call(&[CREATE, "-d", &create("ada")]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("{\n  \"id\": \"1\",\n  \"name\": \"ada\",\n"), "{}", said.out);
    let said = server.call(&["example.v1.UserService.GetUser", "-d", r#"{"id": 1}"#]);
    assert!(said.out.starts_with("{\n  \"id\": \"1\",\n"), "{}", said.out);
}

#[test]
fn each_response_of_a_stream_is_a_document() {
    let server = Server::start();
    for name in ["ada", "bob", "eve"] {
        assert_eq!(server.call(&[CREATE, "-d", &create(name)]).code, Some(0));
    }
    let said = server.call(&["example.v1.UserService/ListUsers", "-d", r#"{"page_size": 2}"#]);
    let pages: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&said.out).into_iter().map(|page| page.unwrap()).collect();
    let names: Vec<Vec<&str>> = pages
        .iter()
        .map(|page| {
            page["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect()
        })
        .collect();
    assert_eq!(names, [vec!["ada", "bob"], vec!["eve"]]);
}

#[test]
fn documents_one_after_the_other_are_a_stream_of_requests() {
    let server = Server::start();
    let users = ["ada", "bob"].map(|name| format!(r#"{{"user": {}}}"#, create(name))).concat();
    let said = server.call(&["example.v1.UserService/UploadUsers", "-d", &users]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer, serde_json::json!({ "createdIds": ["1", "2"] }));
}

#[test]
fn a_fault_in_a_later_document_cancels_the_call() {
    let server = Server::start();
    let users = format!(r#"{{"user": {}}} {{"user": 1}}"#, create("ada"));
    let said = server.call(&["example.v1.UserService/UploadUsers", "-d", &users]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(
        said.err.starts_with("error: document 2 of --data is no example.v1.UploadUsersRequest: "),
        "{}",
        said.err
    );
}

#[test]
fn a_chat_is_answered_before_the_next_request_is_typed() {
    let server = Server::start();
    assert_eq!(server.call(&[CREATE, "-d", &create("ada")]).code, Some(0));
    let mut chat = server.command(&["example.v1.UserService/Chat", "-d", "@"]);
    let mut chat = chat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut typing = chat.stdin.take().unwrap();
    let mut events =
        serde_json::Deserializer::from_reader(chat.stdout.take().unwrap()).into_iter::<serde_json::Value>();
    typing.write_all(br#"{"join": {"room": "r", "user_id": 1}}"#).unwrap();
    assert_eq!(events.next().unwrap().unwrap()["joined"], "ada");
    typing.write_all(br#"{"text": "hello"}"#).unwrap();
    assert_eq!(events.next().unwrap().unwrap()["text"], "hello");
    drop(typing);
    assert!(events.all(|event| event.is_ok()));
    assert_eq!(chat.wait().unwrap().code(), Some(0));
}

#[test]
fn a_failed_call_ends_with_its_status_and_tells_the_details() {
    let server = Server::start();
    let said = server.call(&["example.v1.UserService/GetUser", "-d", r#"{"id": 7}"#]);
    assert_eq!((said.code, said.out.as_str()), (Some(64 + 5), ""));
    assert!(said.err.starts_with("error: the call failed\n  Code: NOT_FOUND\n"), "{}", said.err);
    let said = server.call(&[CREATE]);
    assert_eq!(said.code, Some(64 + 3));
    assert!(said.err.contains("    google.rpc.BadRequest {\n"), "{}", said.err);
    let said = server.call(&[CREATE, "--max-message-size", "1", "-d", &create("ada")]);
    assert_eq!((said.code, said.out.as_str()), (Some(64 + 8), ""));
}

#[test]
fn where_nobody_listens_the_call_is_unavailable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = Command::new(PROGRAM).args(["call", &free.to_string(), "a.B/C"]).output().unwrap();
    let said = Said::of(output);
    assert_eq!((said.code, said.out.as_str()), (Some(64 + 14), ""));
    assert!(said.err.starts_with("error: the server could not be asked what it serves\n"), "{}", said.err);
    assert!(said.err.contains("Connection refused"), "{}", said.err);
}

#[test]
fn metadata_is_shown_on_stderr_and_values_can_be_left_out() {
    let server = Server::start();
    let words = [CREATE, "-d", &create("ada"), "-v", "-m", "x-token:secret"];
    let said = server.call(&words);
    let shown = "Method: /example.v1.UserService/CreateUser\nRequest metadata:\n  x-token: secret\n";
    assert!(said.err.starts_with(shown), "{}", said.err);
    let said = server.call(&[&words[..], &["--redact"]].concat());
    assert!(!said.err.contains("secret") && said.err.contains("  x-token: (not shown)\n"), "{}", said.err);
}

#[test]
fn files_are_listed_and_described_without_a_server() {
    let look = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("call").args(words).args(["--proto", "example/v1/orders.proto"]);
        let output = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto")).output().unwrap();
        let said = Said::of(output);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        said.out
    };
    assert_eq!(look(&["list"]), "example.v1.OrderService\n");
    let methods = ["CreateOrder", "GetOrder", "WatchOrder"];
    let methods = methods.map(|method| format!("example.v1.OrderService/{method}\n")).concat();
    assert_eq!(look(&["list", "example.v1.OrderService"]), methods);
    assert!(look(&["describe"]).starts_with("service example.v1.OrderService {\n"));
    let money = look(&["describe", "example.v1.Money"]);
    assert!(money.starts_with("message example.v1.Money {\n"), "{money}");
}

#[test]
fn wrong_flags_are_told_in_one_line() {
    for words in [&["call"][..], &["call", "host:1"], &["call", "host:1", "a.B/C", "--deadline", "soon"]] {
        let said = Said::of(Command::new(PROGRAM).args(words).output().unwrap());
        assert_eq!(
            (said.code, said.out.as_str(), said.err.lines().count()),
            (Some(2), "", 1),
            "{words:?} {}",
            said.err
        );
    }
}
