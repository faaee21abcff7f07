//! Packet traces: what a connection says to what it hears, frame by frame.

mod support;

use std::time::Duration;

use corelane_wire::connection::{Cause, Config, OpenError, ResetBy, Role};
use corelane_wire::frame::{
    self, Ack, EndHeaders, EndStream, ErrorCode, Flags, Header, Kind, PREFACE, SettingId, StreamId,
    WINDOW_MAX,
};
use support::{DONE, OK, POST, Seen, Trace, Wrote, list, owned, setting, write_data};

fn id(stream: u32) -> StreamId {
    StreamId::new(stream)
}

fn server() -> Trace {
    Trace::server(Config::default())
}

/// A server with stream 1 open, its request's head read.
fn called() -> Trace {
    let mut trace = server();
    trace.headers(1, &POST, false);
    trace
}

fn answer(trace: &mut Trace, stream: u32, payload: &[u8]) {
    let key = trace.key(stream);
    trace.connection.stream(key).expect("live").send_headers(&list(&OK), EndStream::No).expect("legal");
    trace.connection.stream(key).expect("live").send_data(payload, EndStream::No).expect("legal");
    trace.connection.stream(key).expect("live").send_trailers(&list(&DONE)).expect("legal");
}

/// A header block in three frames, END_STREAM set.
fn split(stream: u32, block: &[u8]) -> [Vec<u8>; 3] {
    let mut parts = block.chunks(block.len().div_ceil(3));
    core::array::from_fn(|nth| {
        let part = parts.next().expect("three parts");
        let mut frame = Vec::new();
        if nth == 0 {
            let flags = Flags::END_STREAM;
            Header { len: part.len() as u32, kind: Kind::HEADERS, flags, stream: id(stream) }
                .write(&mut frame);
            frame.extend_from_slice(part);
        } else {
            frame::write_continuation(&mut frame, id(stream), EndHeaders::from(nth == 2), part);
        }
        frame
    })
}

#[test]
fn a_unary_call_is_three_frames_each_way() {
    let mut trace = server();
    let head = Seen::Headers { stream: 1, fields: owned(&POST), end: false };
    assert_eq!(trace.headers(1, &POST, false), [head]);
    let body = Seen::Data { stream: 1, payload: b"hello".to_vec(), end: true };
    assert_eq!(trace.data(1, b"hello", true), [body]);
    answer(&mut trace, 1, b"world");
    let expected = [
        Wrote::Headers { stream: 1, fields: owned(&OK), end: false },
        Wrote::Data { stream: 1, payload: b"world".to_vec(), end: false },
        Wrote::Headers { stream: 1, fields: owned(&DONE), end: true },
    ];
    assert_eq!(trace.output(), expected);
    assert_eq!(trace.connection.streams_count(), 0);
    assert!(trace.connection.stream(trace.key(1)).is_none(), "the key is dead");
}

#[test]
fn the_handshake_is_settings_both_ways() {
    let mut trace = Trace::fresh(Role::Server, Config::default());
    for byte in PREFACE {
        assert!(trace.raw(&[*byte]).is_empty());
    }
    assert_eq!(trace.send(|out| frame::write_settings(out, &[])), [Seen::Settings]);
    let raise = Wrote::WindowUpdate { stream: 0, increment: (1 << 20) - 65_535 };
    assert_eq!(trace.output(), [Wrote::Settings, raise, Wrote::SettingsAck]);
}

#[test]
fn a_wrong_preface_or_first_frame_ends_the_connection() {
    let mut trace = Trace::fresh(Role::Server, Config::default());
    assert_eq!(trace.send_fatal(|out| out.extend(b"GET / HTTP/1.1\r\n")), ErrorCode::PROTOCOL_ERROR);
    let mut trace = Trace::fresh(Role::Server, Config::default());
    trace.raw(PREFACE);
    let code = trace.send_fatal(|out| frame::write_ping(out, Ack::No, [0; 8]));
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_slow_handshake_and_a_slow_header_block_time_out() {
    let mut trace = Trace::fresh(Role::Server, Config::default());
    let at = trace.connection.poll_timeout().expect("waits for the preface");
    assert_eq!(at, trace.now + Duration::from_secs(10));
    let error = trace.connection.handle_timeout(at).expect_err("too slow");
    assert_eq!(error.code, ErrorCode::ENHANCE_YOUR_CALM);

    let mut trace = server();
    assert_eq!(trace.connection.poll_timeout(), None);
    let block = trace.encode(&POST);
    trace.send(|out| out.extend(&split(1, &block)[0]));
    let at = trace.connection.poll_timeout();
    assert_eq!(at, Some(trace.now + Duration::from_secs(10)));
}

#[test]
fn a_frame_that_never_becomes_whole_times_out() {
    let mut trace = called();
    let mut data = Vec::new();
    write_data(&mut data, 1, &[7; 600], false);
    trace.raw(&data[..5]);
    let due = trace.now + Duration::from_secs(10);
    assert_eq!(trace.connection.poll_timeout(), Some(due));
    trace.now = trace.now + Duration::from_secs(6);
    trace.raw(&data[5..300]);
    assert_eq!(trace.connection.poll_timeout(), Some(due), "a few more bytes buy no time");
    trace.raw(&data[300..]);
    assert_eq!(trace.connection.poll_timeout(), None, "a whole frame does");
    trace.raw(&data[..300]);
    let due = trace.now + Duration::from_secs(10);
    let error = trace.connection.handle_timeout(due).expect_err("too slow");
    assert_eq!((error.code, error.cause), (ErrorCode::ENHANCE_YOUR_CALM, Cause::Timeout));
}

#[test]
fn a_large_frame_has_the_time_of_as_many_small_ones() {
    let mut trace = Trace::server(Config { max_frame_size: 1 << 20, ..Config::default() });
    trace.headers(1, &POST, false);
    let mut data = Vec::new();
    write_data(&mut data, 1, &[7; 65_535], false);
    trace.raw(&data[..600]);
    assert_eq!(trace.connection.poll_timeout(), Some(trace.now + Duration::from_secs(40)));
}

#[test]
fn a_frame_is_not_late_while_we_do_not_read() {
    let mut trace = server();
    let mut bytes = Vec::new();
    (0..256).for_each(|_| frame::write_ping(&mut bytes, Ack::No, [0; 8]));
    frame::write_ping(&mut bytes, Ack::No, [0; 8]);
    trace.raw(&bytes[..bytes.len() - 3]);
    assert!(!trace.connection.wants_input());
    assert_eq!(trace.connection.poll_timeout(), None);
    trace.now = trace.now + Duration::from_secs(60);
    trace.connection.handle_timeout(trace.now).expect("it is us who wait");
    trace.output();
    assert_eq!(trace.connection.poll_timeout(), Some(trace.now + Duration::from_secs(10)));
}

#[test]
fn ping_is_answered_and_unknown_and_priority_frames_are_skipped() {
    let mut trace = server();
    assert!(trace.send(|out| frame::write_ping(out, Ack::No, *b"pingpong")).is_empty());
    assert_eq!(trace.output(), [Wrote::Ping { ack: true, payload: *b"pingpong" }]);
    trace.raw(&[0, 0, 3, 0x42, 0xff, 0, 0, 0, 0, 1, 2, 3]);
    trace.raw(&[0, 0, 5, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0, 16]);
    assert_eq!(trace.output(), []);
    trace.connection.ping(*b"8 octets");
    assert_eq!(trace.output(), [Wrote::Ping { ack: false, payload: *b"8 octets" }]);
    let pong = trace.send(|out| frame::write_ping(out, Ack::Yes, *b"8 octets"));
    assert_eq!(pong, [Seen::Pong { payload: *b"8 octets" }]);
}

#[test]
fn header_blocks_may_span_frames_but_nothing_may_come_between() {
    let mut trace = server();
    let block = trace.encode(&POST);
    let head = Seen::Headers { stream: 1, fields: owned(&POST), end: true };
    assert_eq!(trace.raw(&split(1, &block).concat()), [head]);

    let code = trace.send_fatal(|out| {
        out.extend(&split(3, &block)[0]);
        frame::write_ping(out, Ack::No, [0; 8]);
    });
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_header_block_that_rests_between_its_frames_is_whole_however_quiet_the_connection() {
    let mut trace = server();
    let block = trace.encode(&POST);
    let [head, more, end] = split(1, &block);
    trace.raw(&head);
    trace.connection.shrink();
    trace.raw(&more);
    trace.connection.shrink();
    let seen = trace.raw(&end);
    assert!(matches!(seen[..], [Seen::Headers { stream: 1, .. }]), "{seen:?}");
    assert_eq!(trace.connection.fields(), &list(&POST));
}

#[test]
fn a_header_block_that_never_ends_is_cut_off() {
    let mut trace = server();
    let code = trace.send_fatal(|out| {
        out.extend([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]);
        for _ in 0..9 {
            out.extend([0, 0, 1, 9, 0, 0, 0, 0, 1, 0x84]);
        }
    });
    assert_eq!(code, ErrorCode::ENHANCE_YOUR_CALM);
}

#[test]
fn a_list_over_its_limit_is_marked_and_the_table_stays_right() {
    let mut trace = Trace::server(Config { header_list_size_max: 200, ..Config::default() });
    let long = "v".repeat(300);
    let big = [&POST[..], &[("x", &long)]].concat();
    let seen = trace.headers(1, &big, true);
    assert!(matches!(seen[..], [Seen::Headers { .. }]), "{seen:?}");
    let again = Seen::Headers { stream: 3, fields: owned(&POST), end: true };
    assert_eq!(trace.headers(3, &POST, true), [again]);
}

#[test]
fn malformed_heads_are_stream_errors() {
    for bad in [("Upper", "x"), ("connection", "close"), (":path", "/twice")] {
        let mut trace = server();
        assert_eq!(trace.headers(1, &[&POST[..], &[bad]].concat(), true), [], "{bad:?}");
        let reset = Wrote::RstStream { stream: 1, code: ErrorCode::PROTOCOL_ERROR };
        assert_eq!(trace.output(), [reset]);
    }
}

#[test]
fn a_body_must_have_its_announced_length() {
    let with_length = [&POST[..], &[("content-length", "5")]].concat();
    for (payload, ends) in [(&b"123456"[..], false), (b"1234", true)] {
        let mut trace = server();
        trace.headers(1, &with_length, false);
        let reset = Seen::Reset { stream: 1, code: ErrorCode::PROTOCOL_ERROR, by: ResetBy::Us };
        assert_eq!(trace.data(1, payload, ends), [reset]);
    }
    let mut trace = server();
    trace.headers(1, &with_length, false);
    let fine = Seen::Data { stream: 1, payload: b"12345".to_vec(), end: true };
    assert_eq!(trace.data(1, b"12345", true), [fine]);
    assert_eq!(trace.headers(3, &with_length, true), [], "an empty body is too short");
    assert_eq!(trace.output(), [Wrote::RstStream { stream: 3, code: ErrorCode::PROTOCOL_ERROR }]);
}

#[test]
fn trailers_end_the_request() {
    let mut trace = called();
    let trailers = Seen::Trailers { stream: 1, fields: owned(&[("x", "y")]) };
    assert_eq!(trace.headers(1, &[("x", "y")], true), [trailers]);
    let mut trace = called();
    let reset = Seen::Reset { stream: 1, code: ErrorCode::PROTOCOL_ERROR, by: ResetBy::Us };
    assert_eq!(trace.headers(1, &[("x", "y")], false), [reset]);
}

#[test]
fn frames_for_idle_streams_end_the_connection() {
    assert_eq!(server().send_fatal(|out| write_data(out, 1, b"x", false)), ErrorCode::PROTOCOL_ERROR);
    let code = server().send_fatal(|out| frame::write_rst_stream(out, id(1), ErrorCode::CANCEL));
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
    assert_eq!(
        server().send_fatal(|out| frame::write_window_update(out, id(1), 1)),
        ErrorCode::PROTOCOL_ERROR
    );
    let mut trace = server();
    let block = trace.encode(&POST);
    let code = trace.send_fatal(|out| frame::write_headers(out, id(2), EndStream::Yes, &block, 16_384));
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn ids_only_grow() {
    let mut trace = server();
    trace.headers(5, &POST, true);
    let block = trace.encode(&POST);
    let code = trace.send_fatal(|out| frame::write_headers(out, id(3), EndStream::Yes, &block, 16_384));
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn frames_after_the_end_are_errors() {
    let mut trace = server();
    trace.headers(1, &POST, true);
    let reset = Seen::Reset { stream: 1, code: ErrorCode::STREAM_CLOSED, by: ResetBy::Us };
    assert_eq!(trace.data(1, b"late", true), [reset], "half-closed (remote)");

    let mut trace = server();
    trace.headers(1, &POST, true);
    answer(&mut trace, 1, b"");
    trace.output();
    assert_eq!(trace.data(1, b"late", true), []);
    assert_eq!(trace.output(), [Wrote::RstStream { stream: 1, code: ErrorCode::STREAM_CLOSED }]);
    let mut trace = server();
    trace.headers(1, &POST, true);
    answer(&mut trace, 1, b"");
    let block = trace.encode(&POST);
    let code = trace.send_fatal(|out| frame::write_headers(out, id(1), EndStream::Yes, &block, 16_384));
    assert_eq!(code, ErrorCode::STREAM_CLOSED);
}

#[test]
fn a_server_that_is_done_early_asks_its_client_to_stop() {
    let mut trace = called();
    answer(&mut trace, 1, b"x");
    let wrote = trace.output();
    assert_eq!(wrote[3..], [Wrote::RstStream { stream: 1, code: ErrorCode::NO_ERROR }]);
    assert_eq!(trace.data(1, b"on its way already", true), [], "and ignores what was on its way");
    assert_eq!(trace.headers(1, &[("x", "y")], true), []);
    assert_eq!(trace.output(), []);
}

#[test]
fn what_is_late_for_many_calls_that_were_ended_early_is_ignored() {
    let mut trace = server();
    let uploads = (1..200).step_by(2);
    for stream in uploads.clone() {
        trace.headers(stream, &POST, false);
    }
    for stream in uploads.clone() {
        answer(&mut trace, stream, b"");
    }
    // As many calls that end in good order must not push them out of the memory.
    for stream in (201..400).step_by(2) {
        trace.headers(stream, &POST, true);
        answer(&mut trace, stream, b"");
    }
    trace.output();
    for _ in 0..4 {
        for stream in uploads.clone() {
            assert_eq!(trace.data(stream, &[0; 1_000], false), []);
        }
    }
    let answers: Vec<_> = trace
        .output()
        .into_iter()
        .filter(|wrote| !matches!(wrote, Wrote::WindowUpdate { stream: 0, .. }))
        .collect();
    assert_eq!(answers, []);
}

#[test]
fn a_reset_ends_the_call_and_late_commands_find_nothing() {
    let mut trace = called();
    let seen = trace.send(|out| frame::write_rst_stream(out, id(1), ErrorCode::CANCEL));
    assert_eq!(seen, [Seen::Reset { stream: 1, code: ErrorCode::CANCEL, by: ResetBy::Peer }]);
    assert!(trace.connection.stream(trace.key(1)).is_none());
    trace.headers(3, &POST, false);
    trace.connection.stream(trace.key(3)).expect("live").reset(ErrorCode::CANCEL);
    assert_eq!(trace.output(), [Wrote::RstStream { stream: 3, code: ErrorCode::CANCEL }]);
    assert_eq!(trace.data(3, b"on its way", false), []);
}

#[test]
fn too_many_streams_are_refused() {
    let mut trace = Trace::server(Config { max_concurrent_streams: 2, ..Config::default() });
    trace.headers(1, &POST, false);
    trace.headers(3, &POST, false);
    assert_eq!(trace.headers(5, &POST, true), []);
    assert_eq!(trace.output(), [Wrote::RstStream { stream: 5, code: ErrorCode::REFUSED_STREAM }]);
    trace.data(1, b"", true);
    answer(&mut trace, 1, b"");
    assert_eq!(trace.headers(7, &POST, true).len(), 1, "an ended stream makes room");
    assert_eq!(trace.connection.counters().streams_refused, 1);
}

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

#[test]
fn going_away_takes_two_steps_and_loses_nothing() {
    let mut trace = called();
    trace.connection.drain(trace.now);
    let announced = Wrote::GoAway { last: WINDOW_MAX, code: ErrorCode::NO_ERROR };
    let ping = Wrote::Ping { ack: false, payload: *b"draining" };
    assert_eq!(trace.output(), [announced, ping]);
    assert_eq!(trace.headers(3, &POST, true).len(), 1, "a call that was on its way is served");
    trace.send(|out| frame::write_ping(out, Ack::Yes, *b"draining"));
    assert_eq!(trace.output(), [Wrote::GoAway { last: 3, code: ErrorCode::NO_ERROR }]);
    assert_eq!(trace.headers(5, &POST, true), [], "one that comes after the last is not");
    assert!(!trace.connection.is_finished());
    trace.data(1, b"", true);
    answer(&mut trace, 1, b"");
    answer(&mut trace, 3, b"");
    assert!(trace.connection.is_finished());
}

#[test]
fn a_drain_does_not_wait_for_ever_for_its_ping() {
    let mut trace = server();
    trace.connection.drain(trace.now);
    trace.output();
    let at = trace.connection.poll_timeout().expect("waits for the PING");
    trace.connection.handle_timeout(at).expect("not an error");
    assert_eq!(trace.output(), [Wrote::GoAway { last: 0, code: ErrorCode::NO_ERROR }]);
    assert!(trace.connection.is_finished());
}

#[test]
fn rapid_resets_are_told_to_calm_down() {
    let mut trace = server();
    let mut opened = 0;
    let error = loop {
        opened += 1;
        assert!(opened < 1_000, "resets have no limit");
        let stream = opened * 2 - 1;
        trace.headers(stream, &POST, true);
        let mut bytes = Vec::new();
        frame::write_rst_stream(&mut bytes, id(stream), ErrorCode::CANCEL);
        if let Err(error) = trace.try_raw(&bytes) {
            break error;
        }
    };
    assert_eq!(error.code, ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!(opened, 201);
}

#[test]
fn a_client_opens_streams_and_reads_responses() {
    let mut trace = Trace::client(Config::default());
    let key = trace.connection.open(&list(&POST), EndStream::No).expect("open");
    trace.note(1, key);
    trace.connection.stream(key).expect("live").send_data(b"ask", EndStream::Yes).expect("legal");
    let head = Wrote::Headers { stream: 1, fields: owned(&POST), end: false };
    assert_eq!(trace.output(), [head, Wrote::Data { stream: 1, payload: b"ask".to_vec(), end: true }]);
    assert_eq!(trace.headers(1, &[(":status", "103")], false), [Seen::Informational { stream: 1 }]);
    let head = Seen::Headers { stream: 1, fields: owned(&OK), end: false };
    assert_eq!(trace.headers(1, &OK, false), [head]);
    let data = Seen::Data { stream: 1, payload: b"reply".to_vec(), end: false };
    assert_eq!(trace.data(1, b"reply", false), [data]);
    let trailers = Seen::Trailers { stream: 1, fields: owned(&DONE) };
    assert_eq!(trace.headers(1, &DONE, true), [trailers]);
    assert_eq!(trace.connection.streams_count(), 0);
}

#[test]
fn a_client_refuses_push_and_obeys_the_servers_limits() {
    let mut trace = Trace::client(Config::default());
    trace.send(setting(SettingId::MAX_CONCURRENT_STREAMS, 1));
    trace.connection.open(&list(&POST), EndStream::Yes).expect("the first");
    assert_eq!(trace.connection.open(&list(&POST), EndStream::Yes), Err(OpenError::Full));
    let code = trace.send_fatal(|out| frame::write_push_promise(out, id(1), id(2), &[0x82], 16_384));
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
    assert_eq!(trace.connection.open(&list(&POST), EndStream::Yes), Err(OpenError::GoingAway));
}

#[test]
fn a_clients_streams_above_the_last_one_may_be_tried_elsewhere() {
    let mut trace = Trace::client(Config::default());
    for stream in [1, 3] {
        let key = trace.connection.open(&list(&POST), EndStream::Yes).expect("open");
        trace.note(stream, key);
    }
    let seen = trace.send(|out| frame::write_goaway(out, id(1), ErrorCode::NO_ERROR, b"bye"));
    let lost = Seen::Reset { stream: 3, code: ErrorCode::REFUSED_STREAM, by: ResetBy::Goaway };
    assert_eq!(seen, [Seen::Goaway { last: 1, code: ErrorCode::NO_ERROR }, lost]);
    assert_eq!(trace.connection.open(&list(&POST), EndStream::Yes), Err(OpenError::GoingAway));
    assert!(!trace.connection.is_finished());
    trace.headers(1, &[(":status", "200"), ("grpc-status", "0")], true);
    assert!(trace.connection.is_finished());
}
