//! The floor under every gRPC server: `peer-floor serve PORT RESPONSE_SIZE`.
//!
//! It cuts what arrives into frames and answers each request that has ended with the same canned reply, one write for each read.
//! What a real server takes on top of this is the price of its own code; the rest is the kernel's TCP and the ring.
//!
//! Does not: decode header blocks or messages, run a handler, heed the peer's windows. It is no server to use.

mod frames;
mod ring;

use std::rc::Rc;

use frames::{Connection, Reply};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

const USAGE: &str = "usage: peer-floor serve PORT RESPONSE_SIZE";
const READ_BYTES: usize = 64 * 1024;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (port, size) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", port, size] => (port.parse().expect(USAGE), size.parse().expect(USAGE)),
        _ => panic!("{USAGE}"),
    };
    ring::runtime()?.block_on(async move {
        let reply = Rc::new(Reply::new(size));
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(serve(stream, reply.clone()));
        }
    })
}

/// One connection until it ends; that it may end with an error is the client's affair.
async fn serve(mut stream: TcpStream, reply: Rc<Reply>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(reply);
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let (read, filled) = stream.read(buffer).await;
        buffer = filled;
        if read? == 0 {
            return Ok(());
        }
        connection.receive(&buffer);
        let out = connection.take_output();
        if out.is_empty() {
            continue;
        }
        let (written, out) = stream.write_all(out).await;
        written?;
        connection.give_back(out);
    }
}
