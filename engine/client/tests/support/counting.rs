//! A peer that notes what becomes of each attempt.

use std::sync::{Arc, Mutex};

use corelane_client::{Caller, Channel, ChannelBuilder};
use corelane_wire::frame::{ErrorCode, Flags, Header, Kind};

use super::peer::{Incoming, Peer, Wire, texts};
use super::{caller_with, on_both};

/// An attempt as the peer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// `grpc-previous-rpc-attempts`.
    pub(crate) previous: Option<String>,
    pub(crate) connection: usize,
    pub(crate) stream: u32,
    /// What came of its requests, as far as the peer reads them.
    pub(crate) requests: Vec<String>,
    /// Their end came.
    pub(crate) ended: bool,
    /// A message that has not come whole.
    partial: Vec<u8>,
    /// With which code the client has reset it, if it has.
    pub(crate) reset: Option<ErrorCode>,
}

/// A peer that notes each attempt, and answers with `answer` by its number from 0.
pub(crate) struct Counting {
    pub(crate) peer: Peer,
    pub(crate) attempts: Arc<Mutex<Vec<Attempt>>>,
}

impl Counting {
    pub(crate) fn start(answer: impl Fn(&mut Wire, &Incoming, usize) + Send + Sync + 'static) -> Counting {
        Counting::with(answer, |_, _, _, _| ())
    }

    /// A peer that reads the requests of all attempts beside one another, and has `react` look at all attempts each time one, by
    /// its number, has got something of its requests. Those that `stalls` says so of get no more room than streams have at first.
    pub(crate) fn reading(
        stalls: fn(usize) -> bool,
        react: impl Fn(&mut Wire, &[Attempt], usize) + Send + Sync + 'static,
    ) -> Counting {
        Counting::with(
            |_, _, _| (),
            move |wire, attempts, number, read| {
                wire.credit(0, read);
                if !stalls(number) && !attempts[number].ended {
                    wire.credit(attempts[number].stream, read);
                }
                react(wire, attempts, number);
            },
        )
    }

    fn with(
        answer: impl Fn(&mut Wire, &Incoming, usize) + Send + Sync + 'static,
        react: impl Fn(&mut Wire, &[Attempt], usize, usize) + Send + Sync + 'static,
    ) -> Counting {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let shared = attempts.clone();
        let peer = Peer::start(move |wire| {
            wire.greet(&[]);
            while let Some((header, payload)) = wire.next() {
                match header.kind {
                    Kind::HEADERS => {
                        let call = wire.incoming(header, &payload);
                        let number = Counting::note(&shared, wire.number, &call);
                        answer(wire, &call, number);
                    }
                    Kind::DATA => {
                        if let Some((attempts, number)) =
                            Counting::read(&shared, wire.number, header, &payload)
                        {
                            react(wire, &attempts, number, payload.len());
                        }
                    }
                    Kind::RST_STREAM => {
                        let code = ErrorCode::new(u32::from_be_bytes(payload.try_into().unwrap()));
                        let mut attempts = shared.lock().unwrap();
                        if let Some(number) = Counting::number(&attempts, wire.number, header) {
                            attempts[number].reset = Some(code);
                        }
                    }
                    _ => {}
                }
            }
        });
        Counting { peer, attempts }
    }

    /// The number of the attempt that a frame belongs to. What a test has taken it does not ask about any more.
    fn number(attempts: &[Attempt], connection: usize, header: Header) -> Option<usize> {
        let stream = header.stream.get();
        attempts.iter().position(|attempt| (attempt.connection, attempt.stream) == (connection, stream))
    }

    /// Notes an attempt; gives its number.
    fn note(attempts: &Mutex<Vec<Attempt>>, connection: usize, call: &Incoming) -> usize {
        let previous = call.field("grpc-previous-rpc-attempts");
        let mut attempts = attempts.lock().unwrap();
        attempts.push(Attempt {
            previous,
            connection,
            stream: call.stream,
            requests: Vec::new(),
            ended: false,
            partial: Vec::new(),
            reset: None,
        });
        attempts.len() - 1
    }

    /// Notes what came of an attempt's requests; gives all attempts, and its number.
    fn read(
        attempts: &Mutex<Vec<Attempt>>,
        connection: usize,
        header: Header,
        payload: &[u8],
    ) -> Option<(Vec<Attempt>, usize)> {
        let mut attempts = attempts.lock().unwrap();
        let number = Counting::number(&attempts, connection, header)?;
        let attempt = &mut attempts[number];
        attempt.partial.extend_from_slice(payload);
        let (requests, rest) = texts(&attempt.partial);
        attempt.partial.drain(..attempt.partial.len() - rest);
        attempt.requests.extend(requests);
        attempt.ended = header.flags.contains(Flags::END_STREAM);
        Some((attempts.clone(), number))
    }

    /// What came since it was last asked.
    pub(crate) fn taken(attempts: &Mutex<Vec<Attempt>>) -> Vec<Attempt> {
        std::mem::take(&mut attempts.lock().unwrap())
    }
}

/// Runs `test` with a caller of the peer, on both backends; it gets what the peer saw, too.
pub(crate) fn with_peer<F>(
    counting: &Counting,
    configure: impl Fn(ChannelBuilder) -> ChannelBuilder + Clone + Send + 'static,
    test: impl Fn(Caller, Arc<Mutex<Vec<Attempt>>>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let (target, attempts) = (counting.peer.target.clone(), counting.attempts.clone());
    on_both(move || {
        Counting::taken(&attempts);
        test(caller_with(configure(Channel::builder(&target))), attempts.clone())
    });
}

/// How many attempts went before each one, as its head said.
pub(crate) fn previous(attempts: &Mutex<Vec<Attempt>>) -> Vec<Option<String>> {
    Counting::taken(attempts).into_iter().map(|attempt| attempt.previous).collect()
}

pub(crate) fn numbers<const N: usize>(expected: [Option<&str>; N]) -> Vec<Option<String>> {
    expected.map(|number| number.map(str::to_owned)).to_vec()
}

/// With which code each attempt was reset.
pub(crate) fn resets(attempts: &Mutex<Vec<Attempt>>) -> Vec<Option<ErrorCode>> {
    attempts.lock().unwrap().iter().map(|attempt| attempt.reset).collect()
}
