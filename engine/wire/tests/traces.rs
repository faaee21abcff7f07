//! Packet traces: what a connection says to what it hears, frame by frame.

mod support;

use std::time::Duration;

use corelane_wire::connection::{Cause, Config, OpenError, ResetBy, Role};
use corelane_wire::frame::{
    self, Ack, EndHeaders, EndStream, ErrorCode, Flags, Header, Kind, PREFACE, SettingId, WINDOW_MAX,
};
use support::{
    DONE, OK, POST, Seen, Trace, Wrote, answer, called, id, list, owned, server, setting, write_data,
};

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
fn a_servers_stream_is_idle_for_ever() {
    let open = || {
        let mut trace = server();
        trace.headers(5, &POST, false);
        trace
    };
    assert_eq!(open().send_fatal(|out| write_data(out, 2, b"x", false)), ErrorCode::PROTOCOL_ERROR);
    let code = open().send_fatal(|out| frame::write_rst_stream(out, id(2), ErrorCode::CANCEL));
    assert_eq!(code, ErrorCode::PROTOCOL_ERROR);
    assert_eq!(open().send_fatal(|out| frame::write_window_update(out, id(2), 1)), ErrorCode::PROTOCOL_ERROR);
    // To a client that drains as well.
    let mut trace = Trace::client(Config::default());
    trace.connection.drain(trace.now);
    assert_eq!(trace.send_fatal(|out| write_data(out, 26, b"x", false)), ErrorCode::PROTOCOL_ERROR);
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
