//! One unary gRPC call between two connections that are handed each other's bytes.
//!
//! It goes through what a server goes through: settings, HPACK both ways, frames, windows, message framing, trailers with
//! status and message, and percent-encoding; all with allocation and nothing else from outside.
//!
//! Does not: test the protocol (wire's own tests do). It has to reach enough of wire's code that the linker must resolve it.

use alloc::vec::Vec;
use core::mem;

use corelane_wire::connection::{Config, Connection, Event, Role, StreamKey};
use corelane_wire::frame::EndStream;
use corelane_wire::grpc::{Code, Deframer, Prefix, Status};
use corelane_wire::{FieldList, Instant};

const QUESTION: &[u8] = b"is anybody there?";
const ANSWER: &[u8] = b"no std is";
/// Larger than any message of the call.
const MESSAGE_MAX: usize = 1024;
/// More turns than the call needs; a call that has not ended by then never will.
const TURNS_MAX: u64 = 10;

/// The steps of the call; a failure's exit code is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Open = 1,
    Receive = 2,
    Answer = 3,
    Message = 4,
    Status = 5,
    End = 6,
}

/// 0, or the step that failed.
pub(crate) fn exit_code() -> u8 {
    match run() {
        Ok(()) => 0,
        Err(step) => step as u8,
    }
}

/// What the client has heard so far.
#[derive(Default)]
struct Heard {
    body: Deframer,
    answered: bool,
    ended: bool,
}

/// Makes the call.
fn run() -> Result<(), Step> {
    let mut now = Instant::default();
    let mut client = Connection::new(Role::Client, Config::default(), now);
    let mut server = Connection::new(Role::Server, Config::default(), now);
    let mut question = Deframer::default();
    let mut heard = Heard::default();
    ask(&mut client)?;
    for turn in 0..TURNS_MAX {
        now = Instant::from_nanos(turn * 1_000_000);
        client.transmit(now);
        let sent = mem::take(client.output());
        deliver(&mut server, now, &sent, |server, event| serve(server, &mut question, event))?;
        server.transmit(now);
        let sent = mem::take(server.output());
        deliver(&mut client, now, &sent, |client, event| hear(client, &mut heard, event))?;
        if heard.ended {
            return if heard.answered { Ok(()) } else { Err(Step::Message) };
        }
    }
    Err(Step::End)
}

/// Hands `bytes` to a connection and each event to `on_event`.
fn deliver(
    to: &mut Connection,
    now: Instant,
    mut bytes: &[u8],
    mut on_event: impl FnMut(&mut Connection, Event<'_>) -> Result<(), Step>,
) -> Result<(), Step> {
    loop {
        let received = to.receive(now, bytes).map_err(|_| Step::Receive)?;
        bytes = bytes.get(received.consumed..).ok_or(Step::Receive)?;
        match received.event {
            Some(event) => on_event(to, event)?,
            None if bytes.is_empty() => return Ok(()),
            None => return Err(Step::Receive),
        }
    }
}

fn ask(client: &mut Connection) -> Result<(), Step> {
    let head = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/corelane.Nostd/Ask"),
        (":authority", "nowhere"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "1S"),
    ]);
    let key = client.open(&head, EndStream::No).map_err(|_| Step::Open)?;
    let stream = client.stream(key).ok_or(Step::Open)?;
    stream.send_with(EndStream::Yes, |out| message(QUESTION, out)).map_err(|_| Step::Open)
}

fn serve(server: &mut Connection, question: &mut Deframer, event: Event<'_>) -> Result<(), Step> {
    match event {
        Event::Headers { .. } if server.fields().get(b":path") == Some(b"/corelane.Nostd/Ask") => Ok(()),
        Event::Data { key, payload, end_stream, .. } => {
            take(server, key, payload, question)?;
            if end_stream { answer(server, question, key).ok_or(Step::Answer) } else { Ok(()) }
        }
        Event::Settings => Ok(()),
        _ => Err(Step::Answer),
    }
}

/// Sends head, message and trailers if the question is the one expected.
fn answer(server: &mut Connection, question: &mut Deframer, key: StreamKey) -> Option<()> {
    if question.next(MESSAGE_MAX).ok()??.payload != QUESTION {
        return None;
    }
    let head = fields(&[(":status", "200"), ("content-type", "application/grpc")]);
    server.stream(key)?.send_headers(&head, EndStream::No).ok()?;
    server.stream(key)?.send_with(EndStream::No, |out| message(ANSWER, out)).ok()?;
    let mut trailers = FieldList::new();
    Status::new(Code::DataLoss, "100 % of std").to_fields(&mut trailers);
    server.stream(key)?.send_trailers(&trailers).ok()
}

fn hear(client: &mut Connection, heard: &mut Heard, event: Event<'_>) -> Result<(), Step> {
    match event {
        Event::Data { key, payload, .. } => {
            take(client, key, payload, &mut heard.body)?;
            let message = heard.body.next(MESSAGE_MAX).map_err(|_| Step::Message)?;
            heard.answered |= message.is_some_and(|message| message.payload == ANSWER);
        }
        Event::Trailers { .. } => {
            let fields = client.fields();
            let is_right = fields.get(b"grpc-status") == Some(b"15")
                && fields.get(b"grpc-message") == Some(b"100 %25 of std");
            if !is_right {
                return Err(Step::Status);
            }
            heard.ended = true;
        }
        Event::Headers { end_stream: false, .. } | Event::Settings => {}
        _ => return Err(Step::Receive),
    }
    Ok(())
}

/// Moves a piece of a body into its deframer and gives the window back.
fn take(of: &mut Connection, key: StreamKey, payload: &[u8], into: &mut Deframer) -> Result<(), Step> {
    into.push(payload);
    let len = u32::try_from(payload.len()).map_err(|_| Step::Receive)?;
    if let Some(mut stream) = of.stream(key) {
        stream.credit(len);
    }
    Ok(())
}

fn message(payload: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).expect("the messages of this call are short");
    out.extend_from_slice(&Prefix { compressed: false, len }.to_bytes());
    out.extend_from_slice(payload);
}

fn fields(pairs: &[(&str, &str)]) -> FieldList {
    let mut fields = FieldList::new();
    for (name, value) in pairs {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_call_is_answered() {
        assert_eq!(super::run(), Ok(()));
    }
}
