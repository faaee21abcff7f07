//! Two connections, one a client and one a server, over a virtual wire that chops the bytes as a seed says.
//!
//! The oracle: every call ends exactly once, with the right bytes or with the reset that was asked for; nothing is lost,
//! doubled or crossed between streams; and at the end no stream is left on either side.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use corelane_wire::connection::{Config, Connection, Event, Role, StreamKey};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::{FieldList, Instant};
use support::list;

/// SplitMix64: a seed makes a run, and the run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What one call sends each way, made of its number, so that crossed streams are seen.
fn body(call: u32, len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31) ^ (call as u8) ^ salt).collect()
}

/// One direction of one call.
#[derive(Default)]
struct Flow {
    unsent: Vec<u8>,
    ended: bool,
    received: Vec<u8>,
    done: bool,
    uncredited: usize,
}

struct Call {
    key: StreamKey,
    flow: Flow,
    expected: Vec<u8>,
    head_seen: bool,
}

/// One end: its connection, its calls by number, the bytes on their way to it.
struct End {
    connection: Connection,
    calls: BTreeMap<u32, Call>,
    incoming: Vec<u8>,
    input: Vec<u8>,
}

struct Pair {
    random: Random,
    now: Instant,
    client: End,
    server: End,
    finished: u32,
    reset: u32,
}

fn config(random: &mut Random) -> Config {
    Config {
        stream_window: [1, 100, 65_535, 1 << 20][random.below(4)],
        connection_window: [65_535, 1 << 20][random.below(2)],
        header_table_size: [0, 100, 4096][random.below(3)],
        max_concurrent_streams: 20,
        send_queue_max: 1 + random.below(5_000),
        output_max: 1 + random.below(50_000),
        seed: random.next(),
        ..Config::default()
    }
}

fn number(fields: &FieldList) -> u32 {
    let text = fields.get(b"x-call").expect("every head names its call");
    std::str::from_utf8(text).expect("digits").parse().expect("digits")
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let mut random = Random(seed);
        let now = Instant::from_nanos(random.next() >> 8);
        let mut end = |role| {
            let connection = Connection::new(role, config(&mut random), now);
            End { connection, calls: BTreeMap::new(), incoming: Vec::new(), input: Vec::new() }
        };
        let (client, server) = (end(Role::Client), end(Role::Server));
        Pair { random, now, client, server, finished: 0, reset: 0 }
    }

    fn open(&mut self, call: u32) -> bool {
        let text = call.to_string();
        let head = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b"), ("x-call", &text)];
        let Ok(key) = self.client.connection.open(&list(&head), EndStream::No) else { return false };
        self.client.connection.stream(key).expect("live").set_tag(call);
        let request = body(call, self.random.below(40_000), 0);
        let expected = body(call, (call as usize * 977) % 40_000, 1);
        let flow = Flow { unsent: request, ..Flow::default() };
        self.client.calls.insert(call, Call { key, flow, expected, head_seen: false });
        true
    }

    /// Moves some of one end's output to the other, and feeds it some of what has arrived.
    fn carry(&mut self, to_server: bool) {
        let (from, to) = match to_server {
            true => (&mut self.client, &mut self.server),
            false => (&mut self.server, &mut self.client),
        };
        from.connection.transmit(self.now);
        to.incoming.append(from.connection.output());
        if !to.connection.wants_input() {
            return;
        }
        let chop = 1 + self.random.below([3, 100, 20_000][self.random.0 as usize % 3]);
        let arriving = chop.min(to.incoming.len());
        to.input.extend(to.incoming.drain(..arriving));
        self.feed(to_server);
    }

    fn feed(&mut self, server: bool) {
        let end = if server { &mut self.server } else { &mut self.client };
        let input = std::mem::take(&mut end.input);
        let mut at = 0;
        loop {
            let end = if server { &mut self.server } else { &mut self.client };
            let received = end.connection.receive(self.now, &input[at..]).expect("both ends obey the rules");
            at += received.consumed;
            let Some(event) = received.event else { break };
            self.event(server, event);
        }
        let end = if server { &mut self.server } else { &mut self.client };
        end.input = input[at..].to_vec();
        #[cfg(debug_assertions)]
        end.connection.check_invariants();
    }

    fn event(&mut self, server: bool, event: Event<'_>) {
        let end = if server { &mut self.server } else { &mut self.client };
        match event {
            Event::Headers { key, .. } if server => {
                let call = number(end.connection.fields());
                end.connection.stream(key).expect("live").set_tag(call);
                let reply = body(call, (call as usize * 977) % 40_000, 1);
                let head = list(&[(":status", "200")]);
                end.connection.stream(key).expect("live").send_headers(&head, EndStream::No).expect("legal");
                let flow = Flow { unsent: reply, ..Flow::default() };
                end.calls.insert(call, Call { key, flow, expected: Vec::new(), head_seen: true });
            }
            Event::Headers { tag, .. } => end.calls.get_mut(&tag).expect("known").head_seen = true,
            Event::Data { tag, payload, end_stream, .. } => {
                let flow = &mut end.calls.get_mut(&tag).expect("known").flow;
                assert!(!flow.done, "data after the end");
                flow.received.extend_from_slice(payload);
                flow.uncredited += payload.len();
                flow.done = end_stream;
            }
            Event::Trailers { tag, .. } => {
                let call = end.calls.get_mut(&tag).expect("known");
                assert_eq!(end.connection.fields().get(b"grpc-status"), Some(&b"0"[..]));
                call.flow.done = true;
            }
            // The server was done before its client: the answer is complete already.
            Event::Reset { tag, code: ErrorCode::NO_ERROR, .. } => {
                assert!(!server && !end.calls.contains_key(&tag), "a reset overtook the answer");
            }
            Event::Reset { tag, code, .. } => {
                assert_eq!(code, ErrorCode::CANCEL, "only cancellations happen here");
                // A server's call may have said its last word, which then still waits for windows.
                assert!(end.calls.remove(&tag).is_some() || server);
            }
            Event::Settings => {}
            other => panic!("{other:?}"),
        }
        self.settle(server);
    }

    /// Compares what has ended with what was sent.
    fn settle(&mut self, server: bool) {
        if server {
            self.server.calls.retain(|_, call| !(call.flow.done && call.flow.ended));
            return;
        }
        let done: Vec<u32> =
            self.client.calls.iter().filter(|(_, call)| call.flow.done).map(|(call, _)| *call).collect();
        for call in done {
            let ended = self.client.calls.remove(&call).expect("known");
            assert!(ended.head_seen);
            assert_eq!(ended.flow.received, ended.expected, "call {call}");
            self.finished += 1;
        }
    }

    /// Lets one end's application do something: send a piece, credit what it has read, cancel a call.
    fn work(&mut self, server: bool) {
        let random = &mut self.random;
        let end = if server { &mut self.server } else { &mut self.client };
        while end.connection.poll_writable().is_some() {}
        let calls: Vec<u32> = end.calls.keys().copied().collect();
        let Some(call) = (!calls.is_empty()).then(|| calls[random.below(calls.len())]) else { return };
        let state = end.calls.get_mut(&call).expect("known");
        let Some(mut stream) = end.connection.stream(state.key) else { return };
        if !server && random.one_in(60) {
            stream.reset(ErrorCode::CANCEL);
            end.calls.remove(&call);
            self.reset += 1;
            return;
        }
        stream.credit(std::mem::take(&mut state.flow.uncredited) as u32);
        if state.flow.ended || stream.send_room() == 0 {
            return;
        }
        let piece = random.below(10_000).min(state.flow.unsent.len());
        let piece: Vec<u8> = state.flow.unsent.drain(..piece).collect();
        let last = state.flow.unsent.is_empty();
        let ends = EndStream::from(last && !server);
        stream.send_data(&piece, ends).expect("legal");
        state.flow.ended = last;
        if last && server {
            let trailers = list(&[("grpc-status", "0")]);
            if let Some(stream) = end.connection.stream(state.key) {
                stream.send_trailers(&trailers).expect("legal");
            }
        }
        self.settle(server);
    }

    fn run(&mut self, calls: u32) {
        let mut opened = 0;
        for _ in 0..2_000_000 {
            self.now = self.now + Duration::from_millis(20);
            if opened < calls && self.random.one_in(4) {
                opened += u32::from(self.open(opened));
            }
            let (carry, work) = (self.random.one_in(2), self.random.one_in(2));
            self.carry(carry);
            self.work(work);
            if opened == calls && self.client.calls.is_empty() {
                return self.finish(calls);
            }
        }
        panic!("{} of {calls} calls finished, {} were reset: the pair is stuck", self.finished, self.reset);
    }

    fn finish(&mut self, calls: u32) {
        assert_eq!(self.finished + self.reset, calls);
        for _ in 0..1_000_000 {
            if self.client.connection.streams_count() + self.server.connection.streams_count() == 0 {
                return;
            }
            self.now = self.now + Duration::from_millis(20);
            self.carry(true);
            self.carry(false);
            self.work(true);
        }
        panic!("streams are left over");
    }
}

#[test]
fn every_call_ends_once_with_the_right_bytes() {
    for seed in 0..500 {
        println!("seed {seed}");
        Pair::new(seed).run(40);
    }
}
