//! What a worker costs without calls: answers every finished request with the same reply, through the real protocol and
//! driver. `canned serve PORT` pairs with the peers' `compare.py unary --peer canned='… serve {port}'`.

use corelane_runtime::{Address, CloseReason, Config, Io, PeerInfo, Session, SessionFactory, Workers, start};
use corelane_wire::FieldList;
use corelane_wire::connection::{Event, StreamKey};
use corelane_wire::frame::EndStream;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;

struct Canned;

struct Answers {
    head: Rc<FieldList>,
    trailers: Rc<FieldList>,
}

impl SessionFactory for Canned {
    type Session = Answers;

    fn session(&self, _peer: &Rc<PeerInfo>) -> Answers {
        let mut head = FieldList::new();
        head.push(b":status", b"200");
        head.push(b"content-type", b"application/grpc");
        let mut trailers = FieldList::new();
        trailers.push(b"grpc-status", b"0");
        Answers { head: Rc::new(head), trailers: Rc::new(trailers) }
    }
}

impl Answers {
    fn answer(&self, io: &mut Io<'_>, key: StreamKey) -> Option<()> {
        let message = [0, 0, 0, 0, 18, 0x0a, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        io.wire.stream(key)?.send_headers(&self.head, EndStream::No).ok()?;
        io.wire.stream(key)?.send_with(EndStream::No, |out| out.extend_from_slice(&message)).ok()?;
        io.wire.stream(key)?.send_trailers(&self.trailers).ok()
    }
}

impl Session for Answers {
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>) {
        match *event {
            Event::Headers { key, end_stream: true, .. } | Event::Trailers { key, .. } => {
                self.answer(io, key);
            }
            Event::Data { key, payload, end_stream, .. } => {
                if let Some(mut stream) = io.wire.stream(key) {
                    stream.credit(u32::try_from(payload.len()).unwrap_or(0));
                }
                if end_stream {
                    self.answer(io, key);
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, _io: &mut Io<'_>, _slot: u32) {}
    fn timer(&mut self, _io: &mut Io<'_>, _slot: u32) {}
    fn writable(&mut self, _io: &mut Io<'_>, _tag: u32) {}
    fn drain(&mut self, _io: &mut Io<'_>) {}
    fn closed(&mut self, _reason: &CloseReason, _: &mut Vec<Waker>) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(2).ok_or("usage: canned serve PORT")?.parse()?;
    let address = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let config = Config { workers: Workers::Count(1), ..Config::default() };
    start(config, &[address], |_| Canned)?.join()?;
    Ok(())
}
