//! How far a peer may go that makes work for nothing, and how far one goes that means well.

mod support;

use std::time::Duration;

use corelane_wire::connection::{Cause, Config, ConnectionError, Incidents, ResetBy};
use corelane_wire::frame::{self, EndStream, ErrorCode, Flags, Header, Kind, SettingId, WINDOW_MAX};
use support::{DONE, OK, POST, Seen, Trace, Wrote, answer, id, list, server, write_data};

/// How often a peer may do something before it is told to calm down.
fn times(
    mut trace: Trace,
    mut abuse: impl FnMut(&mut Trace, u32) -> Result<(), ConnectionError>,
) -> (u32, Cause) {
    for time in 0..1_000 {
        if let Err(error) = abuse(&mut trace, time) {
            let told = trace.output().pop();
            let code = ErrorCode::ENHANCE_YOUR_CALM;
            assert!(matches!(told, Some(Wrote::GoAway { code: told, .. }) if told == code), "{told:?}");
            assert_eq!(error.code, code);
            return (time, error.cause);
        }
        // A driver takes the output in each turn.
        trace.output();
    }
    panic!("there is no limit");
}

fn try_see(trace: &mut Trace, write: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Seen>, ConnectionError> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    trace.try_raw(&bytes)
}

fn try_send(trace: &mut Trace, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), ConnectionError> {
    try_see(trace, write).map(drop)
}

fn reset(trace: &mut Trace, stream: u32) -> Result<Vec<Seen>, ConnectionError> {
    try_see(trace, |out| frame::write_rst_stream(out, id(stream), ErrorCode::CANCEL))
}

fn nth(time: u32) -> u32 {
    2 * time + 1
}

#[test]
fn streams_that_are_opened_and_reset() {
    let rapid = |trace: &mut Trace, time| {
        assert_eq!(trace.headers(nth(time), &POST, true).len(), 1);
        reset(trace, nth(time)).map(drop)
    };
    assert_eq!(times(server(), rapid), (200, Cause::Resets));
    let many = Trace::server(Config { max_concurrent_streams: 250, ..Config::default() });
    assert_eq!(times(many, rapid), (500, Cause::Resets));
}

#[test]
fn resets_of_a_stream_that_is_over() {
    let mut trace = server();
    trace.headers(1, &POST, true);
    answer(&mut trace, 1, b"");
    assert_eq!(times(trace, |trace, _| reset(trace, 1).map(drop)), (201, Cause::Resets));

    let mut trace = Trace::client(Config::default());
    trace.connection.open(&list(&POST), EndStream::Yes).expect("open");
    assert_eq!(times(trace, |trace, _| reset(trace, 1).map(drop)), (201, Cause::Resets));
}

/// Each way to have the server reset a stream that lives (CVE-2025-8671).
#[test]
fn streams_that_we_are_made_to_reset() {
    type Fault = fn(&mut Trace, u32) -> Result<(), ConnectionError>;
    let faults: [(&str, Fault); 7] = [
        ("no window", |trace, stream| {
            // Written by hand: ours writes no increment of zero.
            let header = Header { len: 4, kind: Kind::WINDOW_UPDATE, flags: Flags::NONE, stream: id(stream) };
            try_send(trace, |out| {
                header.write(out);
                out.extend([0; 4]);
            })
        }),
        ("too much window", |trace, stream| {
            try_send(trace, |out| frame::write_window_update(out, id(stream), WINDOW_MAX))
        }),
        ("DATA after the end", |trace, stream| {
            try_send(trace, |out| {
                write_data(out, stream, b"", true);
                write_data(out, stream, b"more", false);
            })
        }),
        ("HEADERS after the end", |trace, stream| {
            try_send(trace, |out| write_data(out, stream, b"", true))?;
            let block = trace.encode(&POST);
            try_send(trace, |out| frame::write_headers(out, id(stream), EndStream::Yes, &block, 16_384))
        }),
        ("PRIORITY of a wrong size", |trace, stream| {
            let header = Header { len: 4, kind: Kind::PRIORITY, flags: Flags::NONE, stream: id(stream) };
            try_send(trace, |out| {
                header.write(out);
                out.extend([0; 4]);
            })
        }),
        ("PRIORITY on itself", |trace, stream| {
            let header = Header { len: 5, kind: Kind::PRIORITY, flags: Flags::NONE, stream: id(stream) };
            try_send(trace, |out| {
                header.write(out);
                out.extend(stream.to_be_bytes());
                out.push(0);
            })
        }),
        ("trailers that are none", |trace, stream| {
            let block = trace.encode(&[(":path", "/a.B/C")]);
            try_send(trace, |out| frame::write_headers(out, id(stream), EndStream::Yes, &block, 16_384))
        }),
    ];
    for (name, fault) in faults {
        let made = |trace: &mut Trace, time| {
            assert_eq!(trace.headers(nth(time), &POST, false).len(), 1, "{name}");
            fault(trace, nth(time))?;
            assert_eq!(trace.connection.streams_count(), 0, "{name}");
            Ok(())
        };
        assert_eq!(times(server(), made), (200, Cause::Faults), "{name}");
    }
}

#[test]
fn heads_that_are_malformed_and_streams_too_many() {
    let malformed = |trace: &mut Trace, time| {
        let block = trace.encode(&[(":method", "POST")]);
        try_send(trace, |out| frame::write_headers(out, id(nth(time)), EndStream::Yes, &block, 16_384))
    };
    assert_eq!(times(server(), malformed), (200, Cause::Faults));

    let beyond = |trace: &mut Trace, time| {
        let block = trace.encode(&POST);
        try_send(trace, |out| frame::write_headers(out, id(nth(time)), EndStream::No, &block, 16_384))
    };
    let one = Trace::server(Config { max_concurrent_streams: 1, ..Config::default() });
    assert_eq!(times(one, beyond), (201, Cause::Faults));
}

#[test]
fn settings_and_empty_frames() {
    let settings = |trace: &mut Trace, _| {
        try_send(trace, |out| frame::write_settings(out, &[(SettingId::MAX_FRAME_SIZE, 16_384)]))
    };
    // The handshake has taken one.
    assert_eq!(times(server(), settings), (99, Cause::Settings));

    let with = |entries| {
        let entry = (SettingId::INITIAL_WINDOW_SIZE, 65_535);
        try_send(&mut server(), |out| frame::write_settings(out, &vec![entry; entries]))
    };
    assert_eq!(with(32), Ok(()));
    let error = ConnectionError { code: ErrorCode::ENHANCE_YOUR_CALM, cause: Cause::Settings };
    assert_eq!(with(33), Err(error));

    let mut trace = server();
    trace.headers(1, &POST, false);
    let empty = |trace: &mut Trace, _| try_send(trace, |out| write_data(out, 1, b"", false));
    assert_eq!(times(trace, empty), (100, Cause::EmptyData));
}

/// A server that turns calls away before it has read them answers, and asks each to stop (RFC 9113, section 8.1).
#[test]
fn a_client_bears_any_number_of_early_answers() {
    let mut trace = Trace::client(Config::default());
    for time in 0..2_000 {
        let stream = nth(time);
        let end = EndStream::from(time % 2 == 0);
        let key = trace.connection.open(&list(&POST), end).expect("open");
        trace.note(stream, key);
        let fields = [OK[0], DONE[0]];
        assert_eq!(trace.headers(stream, &fields, true).len(), 1);
        let asked_to_stop = try_send(&mut trace, |out| {
            frame::write_rst_stream(out, id(stream), ErrorCode::NO_ERROR);
        });
        asked_to_stop.expect("nothing that this client has not asked for");
        assert_eq!(trace.connection.streams_count(), 0);
        trace.output();
    }
}

#[test]
fn a_client_bears_any_number_of_refusals() {
    let mut trace = Trace::client(Config::default());
    for time in 0..2_000 {
        let key = trace.connection.open(&list(&POST), EndStream::Yes).expect("open");
        trace.note(nth(time), key);
        let seen = reset(&mut trace, nth(time)).expect("each is the end of a stream that it has opened");
        assert_eq!(seen, [Seen::Reset { stream: nth(time), code: ErrorCode::CANCEL, by: ResetBy::Peer }]);
        trace.output();
    }
}

/// A client whose deadline has passed resets its stream; the server's may have passed just before.
#[test]
fn a_server_bears_any_number_of_resets_that_cross_its_ends() {
    let mut trace = server();
    for time in 0..2_000 {
        let stream = nth(time);
        assert_eq!(trace.headers(stream, &POST, true).len(), 1);
        if time % 2 == 0 {
            answer(&mut trace, stream, b"late");
        } else {
            trace.connection.stream(trace.key(stream)).expect("live").reset(ErrorCode::CANCEL);
        }
        assert_eq!(reset(&mut trace, stream), Ok(Vec::new()));
        trace.output();
    }
}

/// Half of the calls are hedges that were not needed, say.
#[test]
fn a_server_bears_as_many_resets_as_there_are_good_ends() {
    let mut trace = server();
    for time in 0..5_000 {
        let stream = nth(time);
        assert_eq!(trace.headers(stream, &POST, true).len(), 1);
        match time % 2 {
            0 => answer(&mut trace, stream, b"well"),
            _ => assert_eq!(reset(&mut trace, stream).expect("every second one").len(), 1),
        }
        trace.output();
    }
}

/// A hundred streams at once, all of which their client gives up after a tenth of a second, since the service hangs.
#[test]
fn a_server_bears_a_client_whose_calls_all_time_out() {
    let mut trace = server();
    for round in 0..100 {
        for time in 0..100 {
            assert_eq!(trace.headers(nth(100 * round + time), &POST, true).len(), 1);
        }
        trace.now = trace.now + Duration::from_millis(100);
        for time in 0..100 {
            assert_eq!(reset(&mut trace, nth(100 * round + time)).expect("within the rate").len(), 1);
        }
        trace.output();
    }
}

#[test]
fn incidents_are_told_once() {
    let mut trace = Trace::server(Config { max_concurrent_streams: 2, ..Config::default() });
    assert_eq!(trace.connection.take_incidents(), None);
    for stream in [1, 3, 5, 7] {
        trace.headers(stream, &POST, false);
    }
    reset(&mut trace, 1).expect("within the budget");
    answer(&mut trace, 3, b"before its request has ended");
    let told = trace.connection.take_incidents();
    assert_eq!(told, Some(Incidents { resets_received: 1, resets_sent: 3, streams_refused: 2 }));
    assert_eq!(trace.connection.take_incidents(), None);
}
