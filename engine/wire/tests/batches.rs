//! Several messages of a stream that are sent together: one frame for those that fit, everything else as if each went alone.

mod support;

use corelane_wire::connection::{Batch, Config};
use corelane_wire::frame::{self, EndStream, SettingId};
use support::{OK, POST, Trace, Wrote, called, id, list, server, setting};

fn answering(mut trace: Trace) -> Trace {
    let key = trace.key(1);
    trace.connection.stream(key).expect("live").send_headers(&list(&OK), EndStream::No).expect("legal");
    trace.output();
    trace
}

/// A server of which stream 1 has been allowed so many octets.
fn windowed(octets: u32) -> Trace {
    let mut trace = server();
    trace.send(setting(SettingId::INITIAL_WINDOW_SIZE, octets));
    trace.headers(1, &POST, false);
    answering(trace)
}

fn send(trace: &mut Trace, write: impl FnOnce(&mut Batch<'_>)) {
    let key = trace.key(1);
    trace.connection.stream(key).expect("live").send_batch(write).expect("after the head, before the end");
}

fn add(batch: &mut Batch<'_>, message: &[u8]) {
    let added: Result<(), ()> = batch.add(|out| {
        out.heads().extend_from_slice(message);
        Ok(())
    });
    assert_eq!(added, Ok(()));
}

fn data(payload: &[u8]) -> Wrote {
    Wrote::Data { stream: 1, payload: payload.to_vec(), end: false }
}

#[test]
fn messages_that_fit_share_a_frame() {
    let mut trace = answering(called());
    send(&mut trace, |batch| {
        add(batch, b"one");
        add(batch, b"two");
    });
    send(&mut trace, |_| {});
    assert_eq!(trace.output(), [data(b"onetwo")], "and a batch of none is no frame");
}

#[test]
fn one_that_does_not_fit_behind_the_others_has_a_frame_of_its_own() {
    let mut trace = answering(called());
    let (first, second) = (vec![1; 10_000], vec![2; 10_000]);
    send(&mut trace, |batch| {
        add(batch, &first);
        assert!(batch.is_full(), "another one like it has no room in a frame of 16,384");
        add(batch, &second);
    });
    assert_eq!(trace.output(), [data(&first), data(&second)]);
}

#[test]
fn whoever_goes_on_though_the_batch_is_full_sends_no_frame_that_is_too_large() {
    let mut trace = answering(called());
    let messages = [1, 2, 3].map(|octet| vec![octet; 10_000]);
    send(&mut trace, |batch| messages.iter().for_each(|message| add(batch, message)));
    let rest = messages[1..].concat();
    assert_eq!(trace.output(), [data(&messages[0]), data(&rest[..16_384]), data(&rest[16_384..])]);
}

#[test]
fn a_window_lets_out_what_it_would_of_messages_sent_alone() {
    let mut trace = windowed(8);
    send(&mut trace, |batch| {
        add(batch, b"four");
        assert!(!batch.is_full());
        add(batch, b"seven__");
        assert!(batch.is_full());
    });
    assert_eq!(trace.output(), [data(b"four"), data(b"seve")]);
    // What comes next waits behind.
    send(&mut trace, |batch| {
        add(batch, b"a");
        add(batch, b"b");
    });
    assert!(trace.output().is_empty());
    trace.send(|out| frame::write_window_update(out, id(1), 100));
    assert_eq!(trace.output(), [data(b"n__ab")]);
}

#[test]
fn a_full_output_or_queue_ends_a_batch() {
    let config = Config { output_max: 100, send_queue_max: 50, ..Config::default() };
    let mut trace = Trace::server(config);
    trace.headers(1, &POST, false);
    let mut trace = answering(trace);
    let key = trace.key(1);
    let filled = |trace: &mut Trace| {
        let (mut batches, mut messages) = (0, 0);
        while trace.connection.stream(key).expect("live").send_room() > 0 {
            batches += 1;
            send(trace, |batch| {
                while !batch.is_full() {
                    add(batch, &[7; 20]);
                    messages += 1;
                }
            });
        }
        (batches, messages)
    };
    assert_eq!(filled(&mut trace), (1, 5));
    assert_eq!(trace.output(), [data(&[7; 100])]);
    let mut trace = windowed(0);
    trace
        .connection
        .stream(trace.key(1))
        .expect("live")
        .send_data(&[7; 65_530], EndStream::No)
        .expect("legal");
    send(&mut trace, |batch| {
        add(batch, b"four");
        assert!(batch.is_full(), "64 KiB are what may be queued, and 2 octets are left");
    });
}
