//! How the input is cut changes nothing: two connections hear the same, one at once and one piece by piece.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::peer::{Opened, Peer};
use super::script::Script;
use crate::Instant;
use crate::connection::{Config, Connection, Event, Role};
use crate::field::FieldList;
use crate::frame::EndStream;

/// Streams that a client has open before it hears anything.
const OPENED: [u32; 3] = [1, 3, 5];
/// Octets after which the peer has said enough.
const SAID_MAX: usize = 32 * 1024;

/// Has a peer talk as `bytes` say, and nobody answer.
pub(super) fn run(role: Role, bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let piece = script.pick(&[1, 2, 5, 9, 100, 1_000]);
    let mut peer = Peer::new(role, &mut script);
    while !script.is_over() && peer.said.len() < SAID_MAX {
        peer.speak(Opened { open: &OPENED, last: 9 }, 4096, &mut script);
    }
    let said = &peer.said[..peer.said.len().min(SAID_MAX)];
    assert_eq!(hear(role, said, said.len().max(1)), hear(role, said, piece), "pieces of {piece} octets");
}

/// What a connection makes of `said`, which arrives in pieces: its events, and what it writes.
fn hear(role: Role, said: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let now = Instant::from_nanos(1);
    let mut connection = Connection::new(role, Config::default(), now);
    if role == Role::Client {
        let head = FieldList::from_iter([(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C")]);
        for _ in OPENED {
            connection.open(&head, EndStream::No).expect("a hundred are allowed");
        }
    }
    let (mut taken, mut events) = (0, Vec::new());
    for end in (0..said.len()).step_by(piece).map(|at| said.len().min(at + piece)) {
        loop {
            match connection.receive(now, &said[taken..end]) {
                Ok(received) => {
                    taken += received.consumed;
                    let Some(event) = received.event else { break };
                    events.push(described(&connection, event));
                }
                Err(error) => {
                    events.push(format!("{error:?}"));
                    return (events, core::mem::take(connection.output()));
                }
            }
        }
    }
    (events, core::mem::take(connection.output()))
}

fn described(connection: &Connection, event: Event<'_>) -> String {
    match event {
        Event::Headers { .. } | Event::Trailers { .. } | Event::Informational { .. } => {
            format!("{event:?} {:?}", connection.fields())
        }
        other => format!("{other:?}"),
    }
}
