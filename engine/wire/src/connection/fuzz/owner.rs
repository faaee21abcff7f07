//! What the owner of a connection does while the peer talks: all that it may, and some that it may not.

use alloc::vec;
use alloc::vec::Vec;

use corelane_memory::Bytes;

use super::run::{MESSAGE_MAX, Recv, Run};
use super::script::Script;
use crate::connection::{Batch, Misuse, OpenError, Role, TAG_NONE};
use crate::field::FieldList;
use crate::frame::{EndStream, ErrorCode};
use crate::hpack::Template;

/// Messages in a batch at most.
const BATCH_MAX: usize = 8;
/// Octets of a header list that needs CONTINUATION.
const LARGE: usize = 20_000;

const REQUEST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x")];
const RESPONSE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];
const TRAILERS: [(&str, &str); 1] = [("grpc-status", "0")];

/// A request's head, a response's, and trailers.
pub(super) fn templates() -> [Template; 3] {
    [FieldList::from_iter(REQUEST), FieldList::from_iter(RESPONSE), FieldList::from_iter(TRAILERS)]
        .map(Template::from)
}

fn end(script: &mut Script<'_>) -> EndStream {
    if script.once_in(5) { EndStream::Yes } else { EndStream::No }
}

/// What a stream says to DATA or trailers.
fn body_is_open(headed: bool, ended: bool) -> Result<(), Misuse> {
    match (headed, ended) {
        (_, true) => Err(Misuse::AfterEnd),
        (false, false) => Err(Misuse::BeforeHead),
        (true, false) => Ok(()),
    }
}

impl Run {
    pub(super) fn act(&mut self, role: Role, script: &mut Script<'_>) {
        match script.below(24) {
            0..=3 if role == Role::Client => self.open(script),
            _ if role == Role::Client && self.known.is_empty() && script.below(2) == 0 => self.open(script),
            4..=20 => self.act_on_stream(script),
            21 => self.sleep(),
            22 => self.poll_writable(),
            23 => self.act_rarely(script),
            _ => self.act_on_stream(script),
        }
    }

    fn act_rarely(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        match script.below(12) {
            0..=2 => self.connection().ping([script.byte(); 8]),
            3..=5 => self.connection().drain(now),
            6 if script.once_in(4) => self.end(ErrorCode::NO_ERROR, script.raw(20)),
            7 => drop(self.connection().take_fields(Default::default)),
            _ => self.connection().shrink(),
        }
    }

    fn open(&mut self, script: &mut Script<'_>) {
        let (end, tag) = (end(script), u32::from(script.byte()));
        let streams_max = self.judge.streams_max as usize;
        let going = self.connection().is_going_away();
        let full = self.connection().streams_count() >= streams_max;
        let opened = match script.below(4) {
            0 => {
                let mut fields = FieldList::from_iter(REQUEST);
                if script.once_in(16) {
                    fields.push(b"large", &[0x7f; LARGE]);
                }
                self.connection().open(&fields, end).map(|key| (key, TAG_NONE))
            }
            choice => {
                let more = FieldList::from_iter([("grpc-timeout", "1S")]);
                let more = (choice == 1).then_some(&more);
                let connection = self.slot.as_mut().expect("it is taken out for a moment only");
                connection.open_template(&self.templates[0], more, end, tag).map(|key| (key, tag))
            }
        };
        match opened {
            Ok((key, tag)) => {
                assert!(!going && !full, "a stream was opened that the peer does not allow");
                let id = self.connection().stream(key).expect("just opened").id().get();
                self.add(id, key, tag, Recv::Head);
                let known = self.known.get_mut(&id).expect("just added");
                (known.headed, known.ended) = (true, end == EndStream::Yes);
            }
            Err(OpenError::GoingAway) => assert!(going),
            Err(OpenError::Full) => assert!(full),
            Err(OpenError::Exhausted) => panic!("a script does not open that many"),
        }
    }

    fn act_on_stream(&mut self, script: &mut Script<'_>) {
        let choice = script.below(16);
        let open: Vec<u32> = self.known.keys().copied().collect();
        if open.is_empty() {
            return;
        }
        let id = script.pick(&open);
        let key = self.known[&id].key;
        if self.connection().stream(key).is_none() {
            // Lost by a GOAWAY, which its owner is about to hear.
            return;
        }
        match choice {
            0..=3 if self.connection().role() == Role::Server => self.answer(id, script),
            0..=8 => self.send(id, script),
            9 | 10 => self.finish(id, script),
            11 => {
                let known = self.known.remove(&id).expect("picked among them");
                self.connection().stream(known.key).expect("it is open").reset(ErrorCode::CANCEL);
                assert!(self.connection().stream(known.key).is_none(), "a stream outlives its reset");
            }
            12..=14 => self.credit(id, script),
            _ => {
                let tag = u32::from(script.byte());
                self.known.get_mut(&id).expect("picked among them").tag = tag;
                self.connection().stream(key).expect("it is open").set_tag(tag);
            }
        }
    }

    /// A response's head, or one before it.
    fn answer(&mut self, id: u32, script: &mut Script<'_>) {
        let connection = self.slot.as_mut().expect("it is taken out for a moment only");
        let known = self.known.get_mut(&id).expect("picked among them");
        let stream = connection.stream(known.key).expect("it is open");
        let end = end(script);
        let sent = match script.below(4) {
            0 => stream.send_headers_template(&self.templates[1], end),
            1 => {
                let early = FieldList::from_iter([(":status", "103")]);
                let sent = stream.send_informational(&early);
                return assert_eq!(sent.is_ok(), !known.headed);
            }
            _ => {
                let mut fields = FieldList::from_iter(RESPONSE);
                if script.once_in(16) {
                    fields.push(b"large", &[0x7f; LARGE]);
                }
                stream.send_headers(&fields, end)
            }
        };
        let expected = match (known.headed, known.ended) {
            (false, _) => Ok(()),
            (true, false) => Err(Misuse::SecondHead),
            (true, true) => Err(Misuse::AfterEnd),
        };
        assert_eq!(sent, expected, "stream {id}");
        known.ended |= sent.is_ok() && end == EndStream::Yes;
        known.headed = true;
    }

    /// A piece of the body, or several.
    fn send(&mut self, id: u32, script: &mut Script<'_>) {
        let before = self.connection().output_len();
        let connection = self.slot.as_mut().expect("it is taken out for a moment only");
        let known = self.known.get_mut(&id).expect("picked among them");
        let mut stream = connection.stream(known.key).expect("it is open");
        if stream.send_room() == 0 {
            known.starved = true;
            return;
        }
        let len = script.pick(&[10, 0, 1, 1_000, 5_000, 16_384, 16_385, 40_000, MESSAGE_MAX]);
        let (mut end, message, mut octets) = (end(script), vec![b'o'; len], len);
        let sent = match script.below(4) {
            0 | 1 => stream.send_data(&message, end),
            2 => stream.send_gathered(end, |out| {
                out.heads().extend_from_slice(&message[..len.min(5)]);
                out.append(Bytes::from(message).slice(len.min(5)..));
            }),
            _ => {
                end = EndStream::No;
                let piece = &message[..len / BATCH_MAX];
                let (count, fails) = (script.below(BATCH_MAX + 1), script.below(BATCH_MAX));
                octets = 0;
                stream.send_batch(|batch| octets = add_all(batch, piece, count, fails))
            }
        };
        assert_eq!(sent, body_is_open(known.headed, known.ended), "stream {id}");
        known.ended |= sent.is_ok() && end == EndStream::Yes;
        known.sent += if sent.is_ok() { octets as u64 } else { 0 };
        self.assert_output_within(before);
    }

    fn finish(&mut self, id: u32, script: &mut Script<'_>) {
        let connection = self.slot.as_mut().expect("it is taken out for a moment only");
        let known = self.known.get_mut(&id).expect("picked among them");
        let stream = connection.stream(known.key).expect("it is open");
        let sent = match script.below(2) {
            0 => stream.send_trailers_template(&self.templates[2]),
            _ => stream.send_trailers(&FieldList::from_iter(TRAILERS)),
        };
        assert_eq!(sent, body_is_open(known.headed, known.ended), "stream {id}");
        known.ended |= sent.is_ok();
    }

    /// All that has come is consumed, or a part, or what is known to come.
    fn credit(&mut self, id: u32, script: &mut Script<'_>) {
        let known = self.known.get_mut(&id).expect("picked among them");
        let key = known.key;
        let unread = u32::try_from(known.unread).unwrap_or(0);
        let octets = match script.below(8) {
            0..=5 => unread,
            6 => unread / 2,
            _ => script.word(),
        };
        known.unread -= i64::from(octets);
        self.connection().stream(key).expect("it is open").credit(octets);
    }

    fn sleep(&mut self) {
        if self.known.is_empty() {
            self.flush();
        }
        let connection = self.slot.take().expect("it is taken out for a moment only");
        let counters = connection.counters();
        self.slot = Some(match connection.sleep() {
            Ok(dormant) => {
                assert!(self.known.is_empty(), "it sleeps although streams are open");
                self.reached.slept += 1;
                dormant.wake()
            }
            Err(connection) => connection,
        });
        assert_eq!(self.connection().counters(), counters, "a sleep changes nothing");
    }
}

/// Adds `count` messages while there is room, and says how many octets they are; the one at `fails` is taken back.
fn add_all(batch: &mut Batch<'_>, piece: &[u8], count: usize, fails: usize) -> usize {
    let mut octets = 0;
    for at in 0..count {
        if batch.is_full() {
            break;
        }
        let added = batch.add(|out| {
            out.heads().extend_from_slice(piece);
            if at == fails { Err(()) } else { Ok(()) }
        });
        assert_eq!(added.is_ok(), at != fails);
        octets += if added.is_ok() { piece.len() } else { 0 };
    }
    octets
}
