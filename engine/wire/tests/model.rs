//! A server's connection beside a reference model of its windows and stream states, under random histories.

mod support;

use std::collections::BTreeMap;

use corelane_wire::connection::{Config, ResetBy};
use corelane_wire::frame::{self, EndStream, ErrorCode, SettingId, StreamId};
use proptest::prelude::*;
use support::{DONE, OK, POST, Seen, Trace, Wrote, list};

/// What the peer or the application does.
#[derive(Clone, Debug)]
enum Step {
    Open { end: bool },
    Data { pick: usize, len: usize, end: bool },
    Reset { pick: usize },
    Window { pick: Option<usize>, increment: u32 },
    InitialWindow { size: u32 },
    Answer { pick: usize },
    Send { pick: usize, len: usize },
    Finish { pick: usize },
    Abort { pick: usize },
    Credit { pick: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0usize..8;
    prop_oneof![
        4 => any::<bool>().prop_map(|end| Step::Open { end }),
        4 => (pick.clone(), 0usize..9_000, any::<bool>()).prop_map(|(pick, len, end)| Step::Data { pick, len, end }),
        1 => pick.clone().prop_map(|pick| Step::Reset { pick }),
        3 => (proptest::option::of(pick.clone()), 1u32..40_000)
            .prop_map(|(pick, increment)| Step::Window { pick, increment }),
        1 => (0u32..30_000).prop_map(|size| Step::InitialWindow { size }),
        4 => pick.clone().prop_map(|pick| Step::Answer { pick }),
        6 => (pick.clone(), 0usize..20_000).prop_map(|(pick, len)| Step::Send { pick, len }),
        2 => pick.clone().prop_map(|pick| Step::Finish { pick }),
        1 => pick.clone().prop_map(|pick| Step::Abort { pick }),
        2 => pick.prop_map(|pick| Step::Credit { pick }),
    ]
}

/// One stream as RFC 9113 describes it, and nothing about how we keep it.
#[derive(Debug, Default)]
struct Stream {
    /// The peer may still send.
    open: bool,
    may_receive: i64,
    uncredited: u32,
    headed: bool,
    finishing: bool,
    queued: u64,
    may_send: i64,
}

const WINDOW: i64 = 20_000;
/// Octets by which all windows together may grow.
const GROWTH: i64 = 50_000;

struct Model {
    streams: BTreeMap<u32, Stream>,
    next: u32,
    initial: i64,
    may_send: i64,
}

impl Model {
    fn pick(&self, pick: usize) -> Option<u32> {
        let live: Vec<u32> = self.streams.keys().copied().collect();
        (!live.is_empty()).then(|| live[pick % live.len()])
    }

    /// Takes one written frame off the model; panics where it breaks the rules.
    fn wrote(&mut self, wrote: &Wrote) {
        match wrote {
            Wrote::Data { stream, payload, end } => {
                assert!(!end, "the application ends with trailers");
                let len = payload.len() as i64;
                let state = self.streams.get_mut(stream).expect("only live streams write");
                state.queued -= payload.len() as u64;
                state.may_send -= len;
                self.may_send -= len;
                assert!(state.may_send >= 0 && self.may_send >= 0, "more was sent than the windows allow");
            }
            Wrote::Headers { stream, end: true, .. } => {
                let state = self.streams.get_mut(stream).expect("only live streams end");
                assert!(state.finishing && state.queued == 0, "trailers overtook data");
                if !state.open {
                    self.streams.remove(stream);
                }
            }
            Wrote::RstStream { stream, code: ErrorCode::NO_ERROR } => {
                let state = self.streams.remove(stream).expect("live");
                assert!(state.finishing && state.open, "only an early end asks the peer to stop");
            }
            Wrote::WindowUpdate { stream: 0, .. } => {}
            Wrote::WindowUpdate { stream, increment } => {
                if let Some(state) = self.streams.get_mut(stream) {
                    state.may_receive += i64::from(*increment);
                }
                let grown = self.streams.values().map(|state| (state.may_receive - WINDOW).max(0));
                assert!(grown.sum::<i64>() <= GROWTH, "more was credited than was consumed and may be grown");
            }
            Wrote::Headers { .. } | Wrote::SettingsAck | Wrote::RstStream { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Nothing may wait that could be sent.
    fn check_progress(&self) {
        for (id, state) in &self.streams {
            let blocked = state.may_send <= 0 || self.may_send <= 0;
            assert!(state.queued == 0 || blocked, "stream {id} waits for nothing: {state:?}");
        }
    }
}

struct Run {
    trace: Trace,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let config = Config {
            stream_window: WINDOW as u32,
            stream_window_growth: GROWTH as u32,
            max_concurrent_streams: 8,
            output_max: usize::MAX / 4,
            ..Config::default()
        };
        let model = Model { streams: BTreeMap::new(), next: 1, initial: 65_535, may_send: 65_535 };
        Run { trace: Trace::server(config), model }
    }

    fn open(&mut self, end: bool) {
        let id = self.model.next;
        self.model.next += 2;
        let seen = self.trace.headers(id, &POST, end);
        if self.model.streams.len() >= 8 {
            assert_eq!(seen, []);
            return;
        }
        assert!(matches!(&seen[..], [Seen::Headers { stream, .. }] if *stream == id));
        let (open, may_receive, may_send) = (!end, WINDOW, self.model.initial);
        self.model.streams.insert(id, Stream { open, may_receive, may_send, ..Stream::default() });
    }

    fn data(&mut self, id: u32, len: usize, end: bool) {
        let seen = self.trace.data(id, &vec![0; len], end);
        let state = self.model.streams.get_mut(&id).expect("live");
        let fault = match () {
            () if !state.open => Some(ErrorCode::STREAM_CLOSED),
            () if len as i64 > state.may_receive => Some(ErrorCode::FLOW_CONTROL_ERROR),
            () => None,
        };
        if let Some(code) = fault {
            assert_eq!(seen, [Seen::Reset { stream: id, code, by: ResetBy::Us }]);
            self.model.streams.remove(&id);
            return;
        }
        assert_eq!(seen, [Seen::Data { stream: id, payload: vec![0; len], end }]);
        state.may_receive -= len as i64;
        state.uncredited += len as u32;
        state.open = !end;
    }

    fn window(&mut self, id: Option<u32>, increment: u32) {
        let stream = StreamId::new(id.unwrap_or(0));
        let seen = self.trace.send(|out| frame::write_window_update(out, stream, increment));
        assert_eq!(seen, []);
        match id {
            None => self.model.may_send += i64::from(increment),
            Some(id) => self.model.streams.get_mut(&id).expect("live").may_send += i64::from(increment),
        }
    }

    fn initial_window(&mut self, size: u32) {
        let entries = [(SettingId::INITIAL_WINDOW_SIZE, size)];
        assert_eq!(self.trace.send(|out| frame::write_settings(out, &entries)), [Seen::Settings]);
        let delta = i64::from(size) - self.model.initial;
        self.model.initial = i64::from(size);
        self.model.streams.values_mut().for_each(|stream| stream.may_send += delta);
    }

    /// What the application does to a live stream; the connection says whether that is legal.
    fn act(&mut self, id: u32, step: &Step) {
        let key = self.trace.key(id);
        let mut stream = self.trace.connection.stream(key).expect("the model says it lives");
        let state = self.model.streams.get_mut(&id).expect("live");
        match step {
            Step::Answer { .. } => {
                let legal = !state.headed;
                assert_eq!(stream.send_headers(&list(&OK), EndStream::No).is_ok(), legal);
                state.headed = true;
            }
            Step::Send { len, .. } => {
                let legal = state.headed && !state.finishing;
                assert_eq!(stream.send_data(&vec![1; *len], EndStream::No).is_ok(), legal);
                state.queued += if legal { *len as u64 } else { 0 };
            }
            Step::Finish { .. } => {
                let legal = state.headed && !state.finishing;
                assert_eq!(stream.send_trailers(&list(&DONE)).is_ok(), legal);
                state.finishing |= legal;
            }
            Step::Abort { .. } => {
                stream.reset(ErrorCode::CANCEL);
                self.model.streams.remove(&id);
            }
            Step::Credit { .. } => stream.credit(std::mem::take(&mut state.uncredited)),
            other => unreachable!("{other:?} is not the application's"),
        }
    }

    fn step(&mut self, step: &Step) {
        let picked = match step {
            Step::Data { pick, .. }
            | Step::Reset { pick }
            | Step::Window { pick: Some(pick), .. }
            | Step::Answer { pick }
            | Step::Send { pick, .. }
            | Step::Finish { pick }
            | Step::Abort { pick }
            | Step::Credit { pick } => match self.model.pick(*pick) {
                Some(id) => Some(id),
                None => return,
            },
            _ => None,
        };
        match (step, picked) {
            (Step::Open { end }, _) => self.open(*end),
            (Step::Data { len, end, .. }, Some(id)) => self.data(id, *len, *end),
            (Step::Window { increment, .. }, id) => self.window(id, *increment),
            (Step::InitialWindow { size }, _) => self.initial_window(*size),
            (Step::Reset { .. }, Some(id)) => {
                let stream = StreamId::new(id);
                let seen = self.trace.send(|out| frame::write_rst_stream(out, stream, ErrorCode::CANCEL));
                assert_eq!(seen, [Seen::Reset { stream: id, code: ErrorCode::CANCEL, by: ResetBy::Peer }]);
                self.model.streams.remove(&id);
            }
            (step, Some(id)) => self.act(id, step),
            (step, None) => unreachable!("{step:?} needs a stream"),
        }
        for wrote in self.trace.output() {
            self.model.wrote(&wrote);
        }
        self.model.check_progress();
        assert_eq!(self.trace.connection.streams_count(), self.model.streams.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_connection_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
    }
}
