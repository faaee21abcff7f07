//! One run of a script: the connection, what its owner knows of it, and what must hold after every step.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Reached;
use super::judge::Judge;
use super::owner;
use super::peer::{Opened, Peer};
use super::script::Script;
use crate::Instant;
use crate::connection::{Cause, Config, Connection, ConnectionError, Event, Role, StreamKey, TAG_NONE};
use crate::frame::{ErrorCode, HEADER_LEN, Header, PREFACE};
use crate::hpack::Template;

/// Octets of the longest answer to a frame: RST_STREAM or WINDOW_UPDATE.
pub(super) const ANSWER_MAX: usize = HEADER_LEN + 4;
/// Octets of PING and of GOAWAY without debug data.
const CONTROL_LEN: usize = HEADER_LEN + 8;
/// Octets of one message of the owner's at most.
pub(super) const MESSAGE_MAX: usize = 100_000;
/// Steps of a script that are taken.
const STEPS_MAX: usize = 2_000;
/// Times that the connection is given what is left of what the peer has said, its output being read in between.
const ROUNDS_AT_END: usize = 8;
/// Times that the output can be taken before it has to be empty.
const WRITES_MAX: usize = 1_000_000;

/// A stream as its owner knows it.
pub(super) struct Known {
    pub(super) key: StreamKey,
    pub(super) tag: u32,
    /// What may still come.
    pub(super) recv: Recv,
    /// The head was sent.
    pub(super) headed: bool,
    /// The end was sent, or is queued.
    pub(super) ended: bool,
    /// The producer was told to stop, and not yet to go on.
    pub(super) starved: bool,
    /// Octets that the owner was given, less those that it has credited.
    pub(super) unread: i64,
    /// Octets that its owner has sent.
    pub(super) sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recv {
    Head,
    Body,
    Closed,
}

pub(super) struct Run {
    pub(super) role: Role,
    pub(super) config: Arc<Config>,
    /// Taken out only to sleep.
    pub(super) slot: Option<Box<Connection>>,
    pub(super) now: Instant,
    pub(super) peer: Peer,
    pub(super) judge: Judge,
    /// Octets of the preface that a server has yet to take.
    pub(super) preface_left: usize,
    /// What has arrived and was not consumed.
    pub(super) unread: Vec<u8>,
    pub(super) known: BTreeMap<u32, Known>,
    /// Streams that have ended in good order since all output was read last, and the octets that their owner had sent.
    pub(super) done: Vec<(u32, u64)>,
    /// Every key that there has been.
    pub(super) keys: Vec<StreamKey>,
    /// The highest stream that the owner has heard of.
    pub(super) last: u32,
    /// Octets of DATA since the connection's window could be announced last.
    pub(super) since_announced: u64,
    /// Octets that the peer has caused since the output was taken.
    pub(super) caused: usize,
    pub(super) templates: [Template; 3],
    pub(super) failed: Option<ConnectionError>,
    pub(super) reached: Reached,
}

/// Runs `bytes` with a connection of this role.
pub(super) fn run(role: Role, bytes: &[u8]) -> Reached {
    let mut script = Script::new(bytes);
    let mut run = Run::new(role, &mut script);
    for _ in 0..STEPS_MAX {
        if script.is_over() || run.failed.is_some() {
            break;
        }
        run.step(&mut script);
        if run.failed.is_none() {
            run.sync();
        }
    }
    for _ in 0..ROUNDS_AT_END {
        if run.failed.is_none() {
            run.flush();
            run.hear(usize::MAX);
        }
    }
    match run.failed {
        Some(error) => run.check_failed(error),
        None => run.flush(),
    }
    run.reached.error = run.failed;
    run.reached
}

fn config(script: &mut Script<'_>) -> Config {
    Config {
        header_table_size: script.pick(&[4096, 0, 100, 8192]),
        max_concurrent_streams: script.pick(&[3, 1, 2, 100]),
        stream_window: script.pick(&[65_535, 1, 0, 100, 20_000, 100_000, (1 << 31) - 1]),
        stream_window_growth: script.pick(&[0, 50_000, 1 << 20, u32::MAX]),
        connection_window: script.pick(&[65_535, 1 << 20, (1 << 31) - 1]),
        max_frame_size: script.pick(&[16_384, 20_000]),
        send_frame_max: script.pick(&[16_384, 40_000]),
        header_list_size_max: script.pick(&[16 * 1024, 0, 200, 1_000]),
        header_fields_max: script.pick(&[100, 0, 4]),
        send_queue_max: script.pick(&[64 * 1024, 0, 1, 1_000]),
        output_max: script.pick(&[64 * 1024, 1, 100, 4_000]),
        control_frames_max: script.pick(&[256, 1, 4]),
        seed: u64::from(script.byte()),
        ..Config::default()
    }
}

impl Run {
    fn new(role: Role, script: &mut Script<'_>) -> Run {
        let config = Arc::new(config(script));
        let now = Instant::from_nanos(1_000_000_000);
        Run {
            role,
            slot: Some(Box::new(Connection::with_seed(role, Arc::clone(&config), config.seed, now))),
            now,
            peer: Peer::new(role, script),
            judge: Judge::new(role, &config),
            config,
            preface_left: if role == Role::Server { PREFACE.len() } else { 0 },
            unread: Vec::new(),
            known: BTreeMap::new(),
            done: Vec::new(),
            keys: Vec::new(),
            last: 0,
            since_announced: 0,
            caused: 0,
            templates: owner::templates(),
            failed: None,
            reached: Reached::default(),
        }
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        self.slot.as_mut().expect("it is taken out for a moment only")
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0..=6 => {
                let open: Vec<u32> = self.known.keys().copied().collect();
                let opened = Opened { open: &open, last: self.last };
                self.peer.speak(opened, self.config.header_table_size, script);
                match script.below(8) {
                    0..=5 => self.hear(usize::MAX),
                    6 => self.hear(script.below(256)),
                    _ => {}
                }
            }
            7..=12 => self.act(self.role, script),
            13 => self.pass(script),
            14 => _ = self.write(),
            _ => self.flush(),
        }
    }

    /// Up to `len` octets of what the peer has said arrive, and are taken as a driver does: while answers wait, nothing is.
    fn hear(&mut self, len: usize) {
        let len = len.min(self.peer.said.len());
        self.unread.extend(self.peer.said.drain(..len));
        let input = core::mem::take(&mut self.unread);
        let mut at = 0;
        while self.connection().wants_input() {
            let caused_max = CONTROL_LEN * (self.config.control_frames_max as usize + 1);
            assert!(self.caused <= caused_max, "{} octets of answers wait, and more is read", self.caused);
            let (before, now) = (self.connection().output_len(), self.now);
            let received = match self.connection().receive(now, &input[at..]) {
                Ok(received) => received,
                Err(error) => {
                    // Those in front of the fault were answered.
                    self.frames(&input[at..]);
                    assert!(
                        self.peer.may_earn(error.cause),
                        "{error}, from a peer whose frames are well-formed"
                    );
                    self.failed = Some(error);
                    return;
                }
            };
            assert!(received.consumed <= input.len() - at, "more was consumed than there is");
            let frames = self.note(&input[at..at + received.consumed]);
            at += received.consumed;
            let caused = self.connection().output_len() - before;
            assert!(caused <= frames * CONTROL_LEN, "a frame has one answer");
            self.caused += caused;
            match received.event {
                Some(event) => self.heard(event),
                None => {
                    assert!(is_incomplete(&input[at..]), "a whole frame was left: {:?}", &input[at..]);
                    break;
                }
            }
            self.sync();
        }
        self.unread = input[at..].to_vec();
    }

    /// Shows the judge the whole frames in `bytes`; says how many there are, and what is left.
    fn frames<'b>(&mut self, bytes: &'b [u8]) -> (usize, &'b [u8]) {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        let (mut rest, mut frames) = (&bytes[preface..], 0);
        while let Some((header, tail)) = rest.split_first_chunk::<HEADER_LEN>() {
            let header = Header::parse(header);
            let Some((payload, tail)) = tail.split_at_checked(header.payload_len()) else { break };
            self.judge.consumed(header, payload);
            (rest, frames) = (tail, frames + 1);
        }
        (frames, rest)
    }

    /// Notes what was consumed; says how many frames it was.
    fn note(&mut self, consumed: &[u8]) -> usize {
        let (frames, rest) = self.frames(consumed);
        assert!(rest.is_empty(), "whole frames are consumed");
        let taken = core::mem::take(&mut self.judge.data_taken);
        self.since_announced += taken;
        assert!(self.since_announced <= u64::from(self.config.connection_window), "the window was exceeded");
        frames
    }

    fn heard(&mut self, event: Event<'_>) {
        match event {
            Event::Headers { key, tag, end_stream, too_large } => {
                self.check_fields(too_large);
                if self.role == Role::Server {
                    self.accepted(key, tag);
                } else {
                    self.expect(key, tag, Recv::Head);
                }
                self.received(key, end_stream);
            }
            Event::Informational { key, tag } => {
                assert_eq!(self.role, Role::Client, "a request has no head before its head");
                self.check_fields(false);
                self.expect(key, tag, Recv::Head);
            }
            Event::Trailers { key, tag, too_large } => {
                self.check_fields(too_large);
                self.expect(key, tag, Recv::Body);
                self.received(key, true);
            }
            Event::Data { key, tag, payload, end_stream } => {
                self.expect(key, tag, Recv::Body);
                self.reached.data += payload.len() as u64;
                self.known(key).1.unread += payload.len() as i64;
                if !payload.is_empty() {
                    self.check_windows(key);
                }
                self.received(key, end_stream);
            }
            Event::Reset { key, tag, .. } => {
                let (id, known) = self.known(key);
                assert_eq!(known.tag, tag);
                self.known.remove(&id);
                assert!(self.connection().stream(key).is_none(), "a stream outlives its reset");
            }
            Event::Settings | Event::Goaway { .. } | Event::Pong { .. } => {}
        }
        self.reached.events += 1;
    }

    /// A request has arrived.
    fn accepted(&mut self, key: StreamKey, tag: u32) {
        let id = self.connection().stream(key).expect("it has not been answered").id().get();
        assert!(id > self.last && id % 2 == 1, "stream {id} cannot be opened after {}", self.last);
        let too_late = self.judge.goaway.is_some_and(|(last, _)| last.get() < id);
        assert!(!too_late, "stream {id} was accepted after a GOAWAY that excludes it");
        assert_eq!(tag, TAG_NONE);
        self.add(id, key, tag, Recv::Body);
    }

    /// A stream has begun.
    pub(super) fn add(&mut self, id: u32, key: StreamKey, tag: u32, recv: Recv) {
        assert!(!self.keys.contains(&key), "a key was given out twice");
        self.keys.push(key);
        self.last = id;
        self.judge.opened(id);
        let known = Known { key, tag, recv, headed: false, ended: false, starved: false, unread: 0, sent: 0 };
        self.known.insert(id, known);
    }

    pub(super) fn known(&mut self, key: StreamKey) -> (u32, &mut Known) {
        let known = self.known.iter_mut().find(|(_, known)| known.key == key);
        known.map(|(id, known)| (*id, known)).expect("an event is of a stream that is open")
    }

    fn expect(&mut self, key: StreamKey, tag: u32, recv: Recv) {
        let (id, known) = self.known(key);
        assert_eq!((known.tag, known.recv), (tag, recv), "stream {id}");
    }

    fn received(&mut self, key: StreamKey, end_stream: bool) {
        self.known(key).1.recv = if end_stream { Recv::Closed } else { Recv::Body };
    }

    /// Time passes.
    fn pass(&mut self, script: &mut Script<'_>) {
        let steps = [1, 0, 10, 100, 100, 500, 1_000, 3_000].map(Duration::from_millis);
        let step = if script.once_in(16) { Duration::from_secs(3_600) } else { script.pick(&steps) };
        let due = self.connection().poll_timeout();
        self.now = match due {
            Some(at) if script.once_in(16) => self.now.max(at),
            _ => self.now + step,
        };
        let (now, before) = (self.now, self.connection().output_len());
        let is_due = due.is_some_and(|at| at <= now);
        match self.connection().handle_timeout(now) {
            Ok(()) => {
                let next = self.connection().poll_timeout();
                assert!(next.is_none_or(|at| at > now), "the same timeout would be asked for, for ever");
                assert!(is_due || self.connection().output_len() == before, "nothing was due");
            }
            Err(error) => {
                assert!(is_due, "{error} before its time");
                self.failed = Some(error);
            }
        }
    }

    /// A turn ends: what is queued goes out as far as it may, and the output is read. Says whether there was any.
    fn write(&mut self) -> bool {
        let (before, now) = (self.connection().output_len(), self.now);
        self.connection().transmit(now);
        self.since_announced = 0;
        self.assert_output_within(before);
        let output = core::mem::take(self.connection().output());
        self.caused = 0;
        self.judge.read(&output);
        !output.is_empty()
    }

    /// All output is read: what waits now waits for windows.
    pub(super) fn flush(&mut self) {
        let empty = (0..WRITES_MAX).any(|_| !self.write());
        assert!(empty, "the output does not end");
        self.judge.assert_answered();
        assert!(self.connection().wants_input(), "everything was read, so that more can be");
        self.poll_writable();
        self.sync();
        self.check_settled();
    }

    /// Producers hear that they may go on.
    pub(super) fn poll_writable(&mut self) {
        while let Some((key, tag)) = self.connection().poll_writable() {
            let (id, known) = self.known(key);
            assert_eq!(known.tag, tag, "stream {id}");
            known.starved = false;
        }
    }

    /// The owner ends the connection.
    pub(super) fn end(&mut self, code: ErrorCode, debug: &[u8]) {
        self.connection().goaway(code, debug);
        self.failed = Some(ConnectionError { code, cause: Cause::Local });
    }
}

fn is_incomplete(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else { return true };
    rest.len() < Header::parse(header).payload_len()
}
