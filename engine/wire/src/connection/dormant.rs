//! A connection that sleeps: what must outlive a quiet time, in a quarter of the memory.
//!
//! A quiet connection has no streams, no block or frame in parts, nothing to write and no timer. What is left are the windows,
//! the tables of HPACK, what the two ends have agreed on, and the budgets. What it had kept to be faster is made anew when it
//! wakes.
//!
//! Invariant: a connection that has slept behaves as one that has not, but for the code of an error about a stream that ended
//! lately (see [`DormantStreams`]). Every part is taken to pieces by name, so that a new field cannot be overlooked here.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::budget::Budget;
use super::flow::{RecvWindow, SendWindow};
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::settings::Settings;
use super::shutdown::Shutdown;
use super::streams::DormantStreams;
use super::{Config, Connection, Counters, Role};
use crate::Instant;
use crate::frame::StreamId;
use crate::hpack::{DormantDecoder, DormantEncoder};

/// See the module. Made by [`Connection::sleep`].
pub struct Dormant {
    role: Role,
    config: Arc<Config>,
    seed: u64,
    settings: Settings,
    next_stream: Option<StreamId>,
    inbound: DormantInbound,
    outbound: DormantOutbound,
    streams: DormantStreams,
}

/// What the receiving half remembers.
pub(super) struct DormantInbound {
    decoder: DormantDecoder,
    window: RecvWindow,
    last_stream: StreamId,
    budget: Budget,
    counters: Counters,
}

/// What the sending half remembers.
pub(super) struct DormantOutbound {
    encoder: DormantEncoder,
    window: SendWindow,
    initial_window: u32,
    frame_max: u32,
    resets_sent: u64,
}

impl Connection {
    /// Puts a quiet connection to sleep; gives one back that is not quiet.
    ///
    /// # Errors
    /// The connection, as it was: something is under way, or it is over.
    pub fn sleep(mut self: Box<Self>) -> Result<Box<Dormant>, Box<Connection>> {
        if !self.is_quiet() {
            return Err(self);
        }
        self.shrink();
        let Connection {
            role,
            config,
            seed,
            inbound,
            outbound,
            streams,
            settings,
            shutdown: _,
            next_stream,
            pending: _,
            failed: _,
            incidents: _,
            heads: _,
            trailers: _,
        } = *self;
        let (inbound, outbound, streams) = (inbound.fold(), outbound.fold(), streams.fold());
        Ok(Box::new(Dormant { role, config, seed, settings, next_stream, inbound, outbound, streams }))
    }

    /// Whether both ends have greeted, and there has been no stream.
    #[inline]
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.inbound.last_stream == StreamId::ZERO && self.inbound.greeted && self.role == Role::Server
    }

    /// Whether nothing is under way that [`Dormant`] has no place for.
    fn is_quiet(&self) -> bool {
        self.streams.is_quiet()
            && self.inbound.is_quiet()
            && self.outbound.len() == 0
            && self.pending.is_empty()
            && self.shutdown == Shutdown::Running
            && self.failed.is_none()
    }
}

impl Dormant {
    /// The connection again.
    #[must_use]
    pub fn wake(self: Box<Self>) -> Box<Connection> {
        let Dormant { role, config, seed, settings, next_stream, inbound, outbound, streams } = *self;
        // The time is that of a greeting, which is over.
        let new = Connection::silent(role, config, seed, Instant::default());
        Box::new(Connection {
            inbound: new.inbound.unfold(inbound),
            outbound: new.outbound.unfold(outbound),
            streams: new.streams.unfold(streams),
            settings,
            next_stream,
            ..new
        })
    }
}

impl Inbound {
    fn is_quiet(&self) -> bool {
        self.greeted && !self.awaits_preface() && self.open.is_none() && self.part.is_none()
    }

    fn fold(self) -> DormantInbound {
        let Inbound {
            preface_left: _,
            greeted: _,
            started: _,
            decoder,
            known: _,
            decoded: _,
            fragments: _,
            open: _,
            part: _,
            limits: _,
            continuations_max: _,
            fragments_max: _,
            window,
            window_size: _,
            last_stream,
            budget,
            counters,
        } = self;
        DormantInbound { decoder: decoder.fold(), window, last_stream, budget, counters }
    }

    fn unfold(self, dormant: DormantInbound) -> Inbound {
        let DormantInbound { decoder, window, last_stream, budget, counters } = dormant;
        Inbound {
            preface_left: &[],
            greeted: true,
            started: None,
            decoder: decoder.unfold(),
            window,
            last_stream,
            budget,
            counters,
            ..self
        }
    }
}

impl Outbound {
    fn fold(self) -> DormantOutbound {
        let Outbound {
            role: _,
            out: _,
            pieces: _,
            encoder,
            window,
            initial_window,
            frame_max,
            send_frame_max: _,
            controls: _,
            controls_max: _,
            output_max: _,
            queue_max: _,
            counters,
            resets_sent: _,
        } = self;
        let resets_sent = counters.resets_sent;
        DormantOutbound { encoder: encoder.fold(), window, initial_window, frame_max, resets_sent }
    }

    fn unfold(self, dormant: DormantOutbound) -> Outbound {
        let DormantOutbound { encoder, window, initial_window, frame_max, resets_sent } = dormant;
        let counters = Counters { resets_sent, ..self.counters };
        Outbound { encoder: encoder.unfold(), window, initial_window, frame_max, counters, ..self }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::connection::Event;
    use crate::field::FieldList;
    use crate::frame::{EndStream, ErrorCode};

    fn request(path: &str) -> FieldList {
        FieldList::from_iter([(":method", "POST"), (":scheme", "http"), (":path", path), ("te", "trailers")])
    }

    /// Has both ends hear all that the other has said; gives the requests' heads that the server heard.
    fn exchange(
        client: &mut Connection,
        server: &mut Connection,
    ) -> Vec<(crate::connection::StreamKey, Vec<u8>)> {
        let now = Instant::from_nanos(7);
        let mut heads = Vec::new();
        loop {
            let said = core::mem::take(client.output());
            let answered = core::mem::take(server.output());
            if said.is_empty() && answered.is_empty() {
                return heads;
            }
            let mut rest = &said[..];
            while let received = server.receive(now, rest).unwrap()
                && (received.event.is_some() || received.consumed > 0)
            {
                let head = match received.event {
                    Some(Event::Headers { key, .. }) => Some(key),
                    _ => None,
                };
                rest = &rest[received.consumed..];
                if let Some(key) = head {
                    heads.push((key, server.fields().get(b":path").unwrap().to_vec()));
                }
            }
            let mut rest = &answered[..];
            while let received = client.receive(now, rest).unwrap()
                && (received.event.is_some() || received.consumed > 0)
            {
                rest = &rest[received.consumed..];
            }
        }
    }

    fn pair() -> (Box<Connection>, Box<Connection>) {
        let new = |role| Box::new(Connection::new(role, Config::default(), Instant::default()));
        (new(Role::Client), new(Role::Server))
    }

    fn sleep_and_wake(connection: Box<Connection>) -> Box<Connection> {
        connection.sleep().ok().expect("it is quiet").wake()
    }

    #[test]
    fn a_connection_that_has_slept_goes_on_where_it_was() {
        let (mut client, mut server) = pair();
        let mut keys = Vec::new();
        for round in 0..4 {
            let path = ["/a.B/C", "/a.B/C", "/d.E/F", "/a.B/C"][round];
            client.open(&request(path), EndStream::Yes).unwrap();
            let heads = exchange(&mut client, &mut server);
            assert_eq!(heads.len(), 1);
            assert_eq!(heads[0].1, path.as_bytes());
            keys.push(heads[0].0);
            let head = FieldList::from_iter([(":status", "200"), ("content-type", "application/grpc")]);
            server.stream(heads[0].0).unwrap().send_headers(&head, EndStream::Yes).unwrap();
            exchange(&mut client, &mut server);
            assert_eq!((client.streams_count(), server.streams_count()), (0, 0));
            (client, server) = (sleep_and_wake(client), sleep_and_wake(server));
        }
        assert_eq!(server.counters().streams_accepted, 4);
        keys.dedup();
        assert_eq!(keys.len(), 4, "no key comes again");
    }

    #[test]
    fn what_we_reset_is_remembered_over_a_sleep() {
        let (mut client, mut server) = pair();
        client.open(&request("/a.B/C"), EndStream::No).unwrap();
        let head = exchange(&mut client, &mut server).remove(0).0;
        server.stream(head).unwrap().reset(ErrorCode::CANCEL);
        exchange(&mut client, &mut server);
        let mut server = sleep_and_wake(server);
        // DATA that was on its way when the reset left.
        let late = [0, 0, 1, 0, 1, 0, 0, 0, 1, b'x'];
        assert!(server.receive(Instant::from_nanos(9), &late).unwrap().event.is_none());
        assert_eq!(server.counters().resets_sent, 1);
    }

    #[test]
    fn a_connection_that_is_busy_does_not_sleep() {
        let (client, server) = pair();
        let mut server = server.sleep().err().expect("nobody has greeted");
        let mut client = client.sleep().err().expect("nobody has greeted");
        client.open(&request("/a.B/C"), EndStream::No).unwrap();
        exchange(&mut client, &mut server);
        let mut server = server.sleep().err().expect("a stream is open");
        server.drain(Instant::from_nanos(9));
        assert!(server.sleep().is_err(), "it goes away");
    }

    #[test]
    fn a_sleeper_takes_little() {
        assert!(size_of::<Dormant>() <= 384, "{}", size_of::<Dormant>());
    }
}
