//! What must hold after every step, when all output was read, and when the connection has ended.

use alloc::vec::Vec;
use core::time::Duration;

use super::run::{ANSWER_MAX, MESSAGE_MAX, Recv, Run};
use crate::connection::{ConnectionError, Event, Role, StreamKey};
use crate::frame::{EndStream, ErrorCode, HEADER_LEN, PREFACE, WINDOW_DEFAULT};

/// Octets of the trailers that the owner sends, at most.
const TRAILERS_MAX: usize = 200;

impl Run {
    pub(super) fn check_fields(&mut self, too_large: bool) {
        let (size_max, fields_max) = (self.config.header_list_size_max, self.config.header_fields_max);
        let role = self.role;
        let connection = self.slot.as_mut().expect("it is taken out for a moment only");
        let fields = connection.fields();
        assert_eq!(fields, &self.judge.fields, "a header block says something else");
        assert!(fields.size() <= size_max && fields.len() <= fields_max, "a list is over its limits");
        assert!(too_large || role == Role::Client || !fields.is_malformed());
    }

    /// What a stream's owner has not credited is within the window that the configuration gives it, and what it may grow.
    pub(super) fn check_windows(&mut self, key: StreamKey) {
        let window = match self.judge.acknowledged {
            true => self.config.stream_window,
            false => self.config.stream_window.max(WINDOW_DEFAULT),
        };
        let (window, growth) = (i64::from(window), i64::from(self.config.stream_window_growth));
        let (id, known) = self.known(key);
        assert!(known.unread <= window + growth, "stream {id} was sent {} octets ahead", known.unread);
        if self.config.stream_window >= WINDOW_DEFAULT {
            let grown: i64 = self.known.values().map(|known| (known.unread - window).max(0)).sum();
            assert!(grown <= growth, "the windows have grown by {grown} octets");
        }
    }

    /// DATA is added while the output is below its maximum, a frame at a time.
    pub(super) fn assert_output_within(&mut self, before: usize) {
        let frame_max = self.config.send_frame_max as usize + HEADER_LEN;
        // The last frame may be a stream's end, with trailers and RST_STREAM behind it.
        let max = before.max(self.config.output_max) + frame_max + TRAILERS_MAX + 2 * ANSWER_MAX;
        let len = self.connection().output_len();
        assert!(len <= max, "{len} octets of output, where {max} are allowed");
    }

    /// All output was read: what was sent has arrived, or waits for windows.
    pub(super) fn check_settled(&mut self) {
        let connection = self.slot.as_mut().expect("it is taken out for a moment only");
        for (id, sent) in self.done.drain(..) {
            assert!(self.judge.has_ended(id), "stream {id} ended, and the peer was not told");
            assert_eq!(self.judge.data_of(id), sent, "stream {id}: octets were lost, or made up");
        }
        for (id, known) in &self.known {
            let Some(mut stream) = connection.stream(known.key) else { continue };
            let is_over = known.recv == Recv::Closed || self.role == Role::Server;
            assert!(!(self.judge.has_ended(*id) && is_over), "stream {id} is over and keeps its slot");
            let written = self.judge.data_of(*id) + stream.queued() as u64;
            assert_eq!(written, known.sent, "stream {id}: octets were lost, or made up");
            if self.judge.allowance(*id) > 0 {
                assert_eq!(stream.queued(), 0, "stream {id} waits for nothing");
                assert!(!known.starved, "stream {id}: its producer waits for nothing");
                assert!(!known.ended || self.judge.has_ended(*id), "stream {id}: its end waits for nothing");
            }
        }
    }

    /// The owner and the connection agree about every stream.
    pub(super) fn sync(&mut self) {
        let connection = self.slot.as_mut().expect("it is taken out for a moment only");
        #[cfg(debug_assertions)]
        connection.check_invariants();
        let awaits_event: Vec<StreamKey> = connection.pending.iter().filter_map(reset_key).collect();
        let (role, queue_max) = (self.role, self.config.send_queue_max + MESSAGE_MAX);
        let (before, done) = (self.known.len(), &mut self.done);
        self.known.retain(|id, known| {
            let Some(mut stream) = connection.stream(known.key) else {
                let in_order = known.ended && (known.recv == Recv::Closed || role == Role::Server);
                let announced = awaits_event.contains(&known.key);
                assert!(in_order || announced, "stream {id} ended and its owner was not told");
                if !announced {
                    done.push((*id, known.sent));
                }
                return announced;
            };
            assert_eq!((stream.id().get(), stream.tag()), (*id, known.tag));
            assert_eq!(stream.is_recv_closed(), known.recv == Recv::Closed, "stream {id}");
            assert_eq!(stream.is_send_closed(), known.ended, "stream {id}");
            assert!(stream.queued() <= queue_max, "stream {id}: {} octets are queued", stream.queued());
            true
        });
        self.reached.finished += (before - self.known.len()) as u32;
        assert_eq!(connection.streams_count() + awaits_event.len(), self.known.len(), "a slot has no owner");
        if role == Role::Server {
            assert!(self.known.len() <= self.config.max_concurrent_streams as usize, "too many streams");
        }
        let fragments_max = 2 * self.config.header_list_size_max.max(self.config.max_frame_size as usize);
        assert!(connection.inbound.fragments.len() <= fragments_max, "a header block grows without limit");
        let table_max = self.config.header_table_size.max(4096) as usize;
        assert!(connection.inbound.decoder.table_size() <= table_max, "HPACK's table is over its limit");
    }

    /// The connection has ended by `error`: it says so, to both sides, and for ever.
    pub(super) fn check_failed(&mut self, error: ConnectionError) {
        let output = core::mem::take(self.connection().output());
        self.judge.read(&output);
        let (last, code) = self.judge.goaway.expect("an error has its GOAWAY");
        assert!(self.judge.ends_with_goaway, "GOAWAY is the last word");
        assert_eq!(code, error.code);
        assert!(self.role == Role::Client || last.get() >= self.last, "stream {} was accepted", self.last);
        let now = self.now;
        assert!(self.connection().is_finished());
        for bytes in [&[][..], PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]] {
            assert_eq!(self.connection().receive(now, bytes), Err(error), "an error stays");
        }
        assert_eq!(self.connection().handle_timeout(now + Duration::from_secs(3600)), Err(error));
        self.connection().drain(now);
        self.connection().goaway(ErrorCode::NO_ERROR, &[]);
        assert_eq!(self.connection().output_len(), 0, "nothing follows the GOAWAY");
        // Its owner may not know yet.
        let keys: Vec<StreamKey> = self.known.values().map(|known| known.key).collect();
        for (at, key) in keys.into_iter().enumerate() {
            let Some(stream) = self.connection().stream(key) else { continue };
            if at % 2 == 0 {
                stream.reset(ErrorCode::CANCEL);
            } else {
                let _ = stream.send_data(b"late", EndStream::Yes);
            }
        }
        self.connection().transmit(now);
        let connection = self.slot.take().expect("it is taken out for a moment only");
        assert!(connection.sleep().is_err(), "it has no future to sleep for");
    }
}

fn reset_key(event: &Event<'static>) -> Option<StreamKey> {
    match event {
        Event::Reset { key, .. } => Some(*key),
        _ => None,
    }
}
