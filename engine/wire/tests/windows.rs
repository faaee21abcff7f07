//! Packet traces of flow control: what windows allow, when they are credited and grow, and whom a full output keeps waiting.

mod support;

use corelane_wire::connection::{Config, ResetBy, Role};
use corelane_wire::frame::{
    self, Ack, EndStream, ErrorCode, Flags, Header, Kind, PREFACE, SettingId, WINDOW_MAX,
};
use support::{DONE, OK, POST, Seen, Trace, Wrote, answer, called, id, list, owned, server, setting};

#[test]
fn sent_data_obeys_both_windows() {
    let mut trace = server();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 10));
    trace.headers(1, &POST, true);
    answer(&mut trace, 1, b"0123456789abcde");
    let wrote = trace.output();
    assert_eq!(wrote[0], Wrote::SettingsAck);
    assert_eq!(wrote[2], Wrote::Data { stream: 1, payload: b"0123456789".to_vec(), end: false });
    assert_eq!(wrote.len(), 3, "the trailers wait behind the data");
    trace.send(|out| frame::write_window_update(out, id(1), 3));
    assert_eq!(trace.output(), [Wrote::Data { stream: 1, payload: b"abc".to_vec(), end: false }]);
    // Lowering the initial window makes this one negative: -9 + 3 + 8 leaves 2.
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 1));
    trace.send(|out| frame::write_window_update(out, id(1), 9));
    assert_eq!(trace.output(), [Wrote::SettingsAck]);
    trace.send(|out| frame::write_window_update(out, id(1), 2));
    let rest = Wrote::Data { stream: 1, payload: b"de".to_vec(), end: false };
    assert_eq!(trace.output(), [rest, Wrote::Headers { stream: 1, fields: owned(&DONE), end: true }]);
    assert_eq!(trace.connection.streams_count(), 0);
}

#[test]
fn a_changed_initial_window_sets_waiting_streams_free() {
    let mut trace = server();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 0));
    trace.headers(1, &POST, true);
    answer(&mut trace, 1, b"abc");
    trace.output();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 1));
    assert_eq!(trace.output()[1..], [Wrote::Data { stream: 1, payload: b"a".to_vec(), end: false }]);
}

#[test]
fn the_connection_window_is_shared_in_turn() {
    let mut trace = server();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 1 << 20));
    for stream in [1, 3] {
        trace.headers(stream, &POST, true);
        answer(&mut trace, stream, &[b'x'; 60_000]);
    }
    let data = |wrote: &[Wrote], stream: u32| -> usize {
        let of = |one: &Wrote| match one {
            Wrote::Data { stream: id, payload, .. } if *id == stream => payload.len(),
            _ => 0,
        };
        wrote.iter().map(of).sum()
    };
    let mut wrote = Vec::new();
    while let [first, ..] = &trace.output()[..] {
        wrote.push(first.clone());
        wrote.extend(trace.output());
    }
    let _ = data(&wrote, 1);
    assert_eq!(trace.connection.streams_count(), 2);
    trace.send(|out| frame::write_window_update(out, id(0), 1 << 20));
    let mut rest = trace.output();
    rest.extend(trace.output());
    assert_eq!(trace.connection.streams_count(), 0, "{rest:?}");
}

#[test]
fn calls_that_end_while_the_connections_window_is_used_up_leave_nothing_behind() {
    let mut trace = server();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 1 << 20));
    trace.headers(1, &POST, true);
    answer(&mut trace, 1, &[b'x'; 100_000]);
    trace.output();
    for stream in (3..1_000).step_by(2) {
        trace.headers(stream, &POST, true);
        answer(&mut trace, stream, &[b'y'; 6_000]);
        trace.output();
        // The invariants, which bound the queues, are checked with each frame.
        trace.connection.stream(trace.key(stream)).expect("held back").reset(ErrorCode::CANCEL);
    }
    trace.send(|out| frame::write_window_update(out, id(0), 1 << 20));
    trace.output();
    assert_eq!(trace.connection.streams_count(), 0, "the first call was not lost with the others");
}

#[test]
fn windows_past_their_maximum_are_flow_control_errors() {
    let mut trace = called();
    let seen = trace.send(|out| frame::write_window_update(out, id(1), WINDOW_MAX));
    assert_eq!(seen, [Seen::Reset { stream: 1, code: ErrorCode::FLOW_CONTROL_ERROR, by: ResetBy::Us }]);
    let code = called().send_fatal(|out| frame::write_window_update(out, id(0), WINDOW_MAX));
    assert_eq!(code, ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn received_data_is_held_to_the_windows_and_credited_by_halves() {
    let config = Config {
        stream_window: 70_000,
        stream_window_growth: 0,
        max_frame_size: 40_000,
        ..Config::default()
    };
    let mut trace = Trace::server(config);
    trace.headers(1, &POST, false);
    trace.data(1, &[0; 40_000], false);
    trace.connection.stream(trace.key(1)).expect("live").credit(34_999);
    assert_eq!(trace.output(), []);
    trace.connection.stream(trace.key(1)).expect("live").credit(1);
    assert_eq!(trace.output(), [Wrote::WindowUpdate { stream: 1, increment: 35_000 }]);
    trace.data(1, &[0; 40_000], false);
    let over = trace.data(1, &[0; 25_001], false);
    assert_eq!(over, [Seen::Reset { stream: 1, code: ErrorCode::FLOW_CONTROL_ERROR, by: ResetBy::Us }]);
}

/// So much arrives on a stream, and so much of it is consumed: the increment that this is answered with.
fn consumed(trace: &mut Trace, stream: u32, arrive: usize, consume: u32) -> Option<u32> {
    trace.data(stream, &vec![0; arrive], false);
    trace.connection.stream(trace.key(stream)).expect("live").credit(consume);
    match trace.output().as_slice() {
        [] => None,
        [Wrote::WindowUpdate { stream: of, increment }] if *of == stream => Some(*increment),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_window_grows_while_its_data_is_consumed_as_it_comes() {
    let config = Config {
        stream_window: 20_000,
        stream_window_growth: 50_000,
        connection_window: 1 << 24,
        ..Config::default()
    };
    let mut trace = Trace::server(config);
    trace.output();
    for stream in [1, 3, 5] {
        trace.headers(stream, &POST, false);
    }
    assert_eq!(consumed(&mut trace, 1, 10_000, 10_000), Some(10_000 + 20_000), "it doubles");
    assert_eq!(consumed(&mut trace, 1, 16_000, 16_000), None, "which is less than half of it");
    assert_eq!(consumed(&mut trace, 1, 4_000, 4_000), Some(20_000 + 30_000), "by no more than there is");
    assert_eq!(consumed(&mut trace, 3, 10_000, 10_000), Some(10_000), "nothing is left for others");
    trace.connection.stream(trace.key(1)).expect("live").reset(ErrorCode::CANCEL);
    trace.output();
    assert_eq!(consumed(&mut trace, 5, 16_000, 10_000), Some(10_000), "much of it lies here unread");
    assert_eq!(
        consumed(&mut trace, 3, 10_000, 10_000),
        Some(10_000 + 20_000),
        "what ended streams had is free"
    );
}

#[test]
fn padding_is_credited_whatever_the_owner_does() {
    let mut trace = Trace::server(Config { stream_window_growth: 0, ..Config::default() });
    trace.headers(1, &POST, false);
    let mut padded = Vec::new();
    Header { len: 257, kind: Kind::DATA, flags: Flags::PADDED, stream: id(1) }.write(&mut padded);
    padded.extend_from_slice(&[&[255, b'x'][..], &[0; 255]].concat());
    let mut announced = 0;
    for _ in 0..1_000 {
        assert_eq!(trace.raw(&padded).len(), 1, "the window is never used up by padding");
        for wrote in trace.output() {
            if let Wrote::WindowUpdate { stream: 1, increment } = wrote {
                announced += increment;
            }
        }
    }
    assert!(announced > 1_000 * 257 - 65_535, "{announced}");
}

#[test]
fn an_empty_end_is_allowed_whatever_the_window() {
    let mut trace = Trace::fresh(Role::Server, Config { stream_window: 1_000, ..Config::default() });
    trace.raw(PREFACE);
    trace.send(|out| frame::write_settings(out, &[]));
    trace.headers(1, &POST, false);
    // The peer has not read our SETTINGS yet, so it may use the default window; then this one is negative.
    trace.data(1, &[0; 10_000], false);
    trace.send(frame::write_settings_ack);
    let end = Seen::Data { stream: 1, payload: Vec::new(), end: true };
    assert_eq!(trace.data(1, b"", true), [end], "RFC 9113 section 6.9.1");
}

#[test]
fn a_slow_call_does_not_use_up_the_connections_window() {
    let mut trace = server();
    let mut announced = 0;
    for stream in (1..200).step_by(2) {
        trace.headers(stream, &POST, false);
        for _ in 0..4 {
            assert_eq!(trace.data(stream, &[0; 16_000], false).len(), 1);
        }
        for wrote in trace.output() {
            let Wrote::WindowUpdate { stream: 0, increment } = wrote else { panic!("{wrote:?}") };
            announced += increment;
        }
    }
    assert!(announced > 5 << 20, "{announced}");
}

#[test]
fn a_producer_waits_for_room_and_hears_of_it() {
    let mut trace = server();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, 0));
    trace.headers(1, &POST, true);
    let key = trace.key(1);
    trace.connection.stream(key).expect("live").set_tag(77);
    trace.connection.stream(key).expect("live").send_headers(&list(&OK), EndStream::No).expect("legal");
    trace.connection.stream(key).expect("live").send_data(&[1; 64 * 1024], EndStream::No).expect("legal");
    assert_eq!(trace.connection.stream(key).expect("live").send_room(), 0);
    trace.output();
    assert_eq!(trace.connection.poll_writable(), None);
    trace.send(|out| frame::write_window_update(out, id(1), 20_000));
    trace.output();
    assert_eq!(trace.connection.poll_writable(), None, "not by a few bytes");
    trace.send(|out| frame::write_window_update(out, id(1), 20_000));
    trace.output();
    assert_eq!(trace.connection.poll_writable(), Some((key, 77)));
    assert_eq!(trace.connection.poll_writable(), None);
}

#[test]
fn a_producer_waits_while_the_output_is_full() {
    let mut trace = Trace::server(Config { output_max: 1_000, ..Config::default() });
    for stream in [1, 3] {
        trace.headers(stream, &POST, true);
        let key = trace.key(stream);
        trace.connection.stream(key).expect("live").set_tag(stream);
        trace.connection.stream(key).expect("live").send_headers(&list(&OK), EndStream::No).expect("legal");
    }
    trace.output();
    let room = |trace: &mut Trace, stream| {
        let key = trace.key(stream);
        trace.connection.stream(key).expect("live").send_room()
    };
    assert_ne!(room(&mut trace, 3), 0);
    trace
        .connection
        .stream(trace.key(1))
        .expect("live")
        .send_data(&[7; 2_000], EndStream::No)
        .expect("legal");
    assert_eq!(room(&mut trace, 3), 0, "it would be copied, and copied again");
    assert_eq!(room(&mut trace, 3), 0);
    trace.connection.transmit(trace.now);
    assert_eq!(trace.connection.poll_writable(), None, "nobody has taken the output");
    trace.output();
    trace.connection.transmit(trace.now);
    assert_eq!(trace.connection.poll_writable(), Some((trace.key(3), 3)));
    assert_eq!(trace.connection.poll_writable(), None);
    assert_ne!(room(&mut trace, 3), 0);
}

#[test]
fn output_that_is_not_read_stops_the_reading_and_holds_data_back() {
    let mut trace = server();
    trace.send(|out| (0..256).for_each(|_| frame::write_ping(out, Ack::No, [0; 8])));
    assert!(!trace.connection.wants_input(), "256 answers are not read");
    trace.output();
    assert!(trace.connection.wants_input());

    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, WINDOW_MAX));
    trace.send(|out| frame::write_window_update(out, id(0), WINDOW_MAX - 65_535));
    for stream in (1..100).step_by(2) {
        trace.headers(stream, &POST, true);
        answer(&mut trace, stream, &[7; 50_000]);
        trace.connection.transmit(trace.now);
    }
    let waiting = trace.connection.output_len();
    assert!(waiting < 64 * 1024 + 16 * 1024 + 4096, "{waiting} octets wait for the socket");
}
