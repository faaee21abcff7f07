//! The fuzz body for frames: any bytes parse or are refused, and what parses survives being written again.

use alloc::vec::Vec;

use super::{
    Ack, EndHeaders, EndStream, Flags, Frame, HEADER_LEN, Header, MAX_FRAME_SIZE_MIN, SettingId,
    finish_headers, parse, reserve_header, write_continuation, write_data, write_goaway, write_ping,
    write_priority, write_push_promise, write_rst_stream, write_settings, write_settings_ack,
    write_window_update,
};

/// Takes `bytes` for frames, one behind the other.
///
/// # Panics
///
/// If a frame that was accepted is another one after it was written and parsed again.
pub fn fuzz_parse(mut bytes: &[u8]) {
    let mut out = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        // Announced lengths are mostly longer than the input: clip them, or nothing would be parsed.
        let mut header = Header::parse(header);
        header.len = header.len.min(MAX_FRAME_SIZE_MIN).min(u32::try_from(rest.len()).unwrap_or(u32::MAX));
        let (payload, rest) = rest.split_at(header.payload_len());
        bytes = rest;
        if let Ok(frame) = parse(header, payload) {
            out.clear();
            if rewrite(frame, &mut out) {
                same_again(frame, &out);
            }
        }
    }
}

/// Writes `frame` anew; false if there is no one way to do so.
fn rewrite(frame: Frame<'_>, out: &mut Vec<u8>) -> bool {
    match frame {
        Frame::Data(data) => write_data(out, data.stream, EndStream::from(data.end_stream), data.payload),
        Frame::Headers(headers) if headers.end_headers && headers.priority.is_none() => {
            let at = reserve_header(out);
            out.extend_from_slice(headers.fragment);
            let end = EndStream::from(headers.end_stream);
            finish_headers(out, at, headers.stream, end, MAX_FRAME_SIZE_MIN);
        }
        Frame::PushPromise(push) if push.end_headers => {
            write_push_promise(out, push.stream, push.promised, push.fragment, MAX_FRAME_SIZE_MIN);
        }
        Frame::Headers(_) | Frame::PushPromise(_) | Frame::Unknown => return false,
        Frame::Priority(priority) => write_priority(out, priority.stream, priority.fields),
        Frame::RstStream(reset) => write_rst_stream(out, reset.stream, reset.code),
        Frame::Settings(settings) if settings.ack => write_settings_ack(out),
        Frame::Settings(settings) => {
            let entries: Vec<(SettingId, u32)> = settings.entries().collect();
            write_settings(out, &entries);
        }
        Frame::Ping(ping) => write_ping(out, Ack::from(ping.ack), ping.payload),
        Frame::GoAway(goaway) => write_goaway(out, goaway.last_stream, goaway.code, goaway.debug),
        Frame::WindowUpdate(update) => write_window_update(out, update.stream, update.increment),
        Frame::Continuation(more) => {
            write_continuation(out, more.stream, EndHeaders::from(more.end_headers), more.fragment);
        }
    }
    true
}

fn same_again(frame: Frame<'_>, written: &[u8]) {
    let (header, payload) = written.split_first_chunk::<HEADER_LEN>().expect("a header was written");
    let header = Header::parse(header);
    assert!(!header.flags.contains(Flags::PADDED) || matches!(frame, Frame::Unknown), "we never pad");
    let again = parse(header, payload).expect("what we write can be parsed");
    match (frame, again) {
        // Padding counted for the window and is gone.
        (Frame::Data(before), Frame::Data(after)) => {
            assert_eq!((before.stream, before.payload), (after.stream, after.payload));
            assert_eq!(before.end_stream, after.end_stream);
        }
        (before, after) => assert_eq!(before, after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::Random;
    use crate::frame::{Kind, StreamId};

    #[test]
    fn random_bytes() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            fuzz_parse(&random.bytes(64));
        }
    }

    #[test]
    fn random_payloads_in_plausible_frames() {
        let mut random = Random::new(2);
        for _ in 0..50_000 {
            let payload = random.bytes(24);
            let mut bytes = Vec::new();
            let header = Header {
                len: u32::try_from(payload.len()).unwrap(),
                kind: Kind(random.byte() % 11),
                flags: Flags(random.byte()),
                stream: StreamId::new(u32::from(random.byte() % 4)),
            };
            header.write(&mut bytes);
            bytes.extend_from_slice(&payload);
            fuzz_parse(&bytes);
        }
    }
}
