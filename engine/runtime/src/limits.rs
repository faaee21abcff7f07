//! Every limit of a worker: its name, its reason, its default, and what they add up to.
//!
//! What one connection may hold inside the protocol (streams, windows, header lists) is limited by `wire`'s own
//! configuration; here is what a worker holds around that.

use corelane_wire::frame::HEADER_LEN;
use std::fmt;
use std::time::Duration;

/// Connections that wait to be accepted, for each listener. A burst of 2,000 against a backlog of 128 costs some of them a
/// second (a repeated SYN); the kernel caps this at `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// How long a start waits for a port that a dying process still holds, and how often it looks.
pub const PORT_WAIT: Duration = Duration::from_millis(200);

/// See [`PORT_WAIT`].
pub const PORT_WAIT_STEP: Duration = Duration::from_millis(5);

/// Connections of one worker. One more is closed as soon as it is accepted, which the client sees at once, while an
/// unaccepted one would hang in the backlog.
pub const CONNECTIONS_MAX: u32 = 16_384;

/// Bytes of the buffer that every connection has for itself: a few small calls or a PING fit in, so that an idle or
/// lightly used connection never holds one of the large buffers.
pub const RECEIVE_SMALL_BYTES: usize = 512;

/// Bytes of a large receive buffer: one read takes a whole batch of calls or four frames of payload. Larger if our SETTINGS
/// allow larger frames, since a frame must fit in with its header.
pub const RECEIVE_BYTES: usize = 64 * 1024;

/// Large receive buffers of one worker. A connection that finds none reads with its small buffer; one whose next frame
/// does not fit into that waits, and an idle holder is asked to give its buffer back.
pub const RECEIVE_BUFFERS_MAX: usize = 256;

/// Reads in a row that would have fitted into the small buffer, after which a large one is given back.
pub const SMALL_READS_MAX: u8 = 64;

/// Reads of a connection that was new or quiet that can be called back should it fall quiet again, so that it keeps no buffer.
pub const RECALLABLE_READS_MAX: u8 = 8;

/// Frames with an event that one connection may hand to its session in one turn: about 60 us of work. The rest waits
/// for the other connections' turns.
pub const EVENTS_PER_TURN: u16 = 512;

/// Calls of one connection that are polled in one turn because they were woken.
pub const POLLS_PER_TURN: u16 = 128;

/// Rounds in one turn of "complete, work, start". Under epoll what can be read or written completes at once, so a peer that
/// keeps up with us would never let a turn end.
pub const ROUNDS_PER_TURN: u32 = 8;

/// Rounds in one turn of "transmit, and let the streams that have room again produce more".
pub const REFILLS_PER_TURN: u32 = 4;

/// Connections that a listener accepts before others have their turn.
pub const ACCEPTS_PER_TURN: u32 = 64;

/// How many more connections than the worker with the fewest one has that hands fresh ones over: what several workers have differs by
/// no more, as long as none are closed. Below it, the way over costs a connection more than its place.
pub const HAND_OVER_MARGIN: u32 = 4;

/// Turns' worth of connections that a drain accepts from a listener's queue: as many as the queue held when it began.
pub const ACCEPTS_AT_END: u32 = 4096 / ACCEPTS_PER_TURN;

/// Messages from foreign threads that wait for one worker. When it is full, a wake is not lost but found by a scan.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// Tasks of one worker that [`crate::spawn_local`] has started and that have not ended: each is a box of its own, so this
/// bounds what a loop that spawns and forgets can do.
pub const SPAWNED_MAX: u32 = 1 << 20;

/// Spawned tasks that are polled before everything else has its turn.
pub const TASKS_PER_TURN: u32 = 512;

/// Output buffers that a worker keeps for reuse.
pub const OUTPUT_SPARES_MAX: usize = 64;

/// Bytes of capacity up to which an output buffer is kept for reuse; a larger one, made by a large reply, is freed.
pub const OUTPUT_SPARE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of capacity with which an output buffer starts.
pub const OUTPUT_BYTES: usize = 4 * 1024;

/// How long a write may make no progress before its connection is closed: a peer that does not read must not hold
/// what we owe it for ever.
pub const WRITE_STALL: Duration = Duration::from_secs(60);

/// How long the last bytes of a connection (a GOAWAY, replies) may take to leave once it is over.
pub const FLUSH: Duration = Duration::from_secs(2);

/// How long we go on reading after our last byte, so that what the peer still had under way does not become
/// a reset that overtakes our GOAWAY.
pub const LINGER: Duration = Duration::from_millis(500);

/// Bytes that are read and thrown away while lingering.
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// The flush and the linger of a connection that a drain ends by force.
pub const FORCED: Duration = Duration::from_millis(250);

/// How often a worker looks over all of its connections: idle buffers, stalled writes.
pub const SWEEP: Duration = Duration::from_secs(1);

/// Places of connections that are looked over at once; where there are more, the sweep is made in parts. Most of 10,000 connections
/// with a call a second may have to be woken by it, which took 20 ms.
pub const SWEEP_PLACES: u32 = 256;

/// Pauses of a listener after an error that will not pass by itself at once (no descriptors left): doubled from the
/// first to the last.
pub const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// Pauses of a dial whose Unix socket has a full queue, which the kernel lets nobody wait for: doubled from the first to the
/// last.
pub const DIAL_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The longest time for which a worker spins after it has worked; a longer wish is cut to it. Beyond it, nothing of a wake-up is
/// left to be noticed.
pub const SPIN_MAX: Duration = Duration::from_millis(10);

/// Waits of a spinning worker that bring nothing, in a row, after which it no longer spins.
pub const SPIN_MISSES_MAX: u32 = 4;

/// Short gaps between work, in a row, after which a worker spins again: twice as many after each return that brought nothing, from
/// the first number to the second. At the second a return costs it less than one CPU second in two hundred.
pub const SPIN_GAPS_MIN: u32 = 4;
/// See [`SPIN_GAPS_MIN`].
pub const SPIN_GAPS_MAX: u32 = 1024;

/// What a gap may be longer than the time to spin and still be a short one: the wake-ups on both sides that spinning would spare.
pub const SPIN_WAKE: Duration = Duration::from_micros(100);

/// At most one line about failed accepts for each listener in this time.
pub const ACCEPT_LOG: Duration = Duration::from_secs(1);

/// How long a frame may take to become whole in a large receive buffer while others wait for one. Else a few connections
/// with half a frame each could keep all others from receiving.
pub const FRAME_HOLD: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take, on either side. As long as HTTP/2's own beginning, and counted from the same moment:
/// a server's peer has this time for both.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the rest of a TLS record may take, once it has begun and while we read: rustls holds up to 16 KiB of it for each
/// connection. As long as a frame may take that is no longer than a record.
pub const TLS_RECORD: Duration = Duration::from_secs(10);

/// Bytes of one read of a client's handshake: a chain of certificates is about as long. All of it must fit into what rustls
/// holds for us, 16 KiB, since nobody reads that before the handshake is over.
pub const TLS_READ_BYTES: usize = 4 * 1024;

/// How far a buffer hunt goes through the connections for one waiting connection.
pub const RECLAIM_SCAN: usize = 64;

/// Bytes that the kernel maps for a ring of 4096 entries and four times as many completions.
const RING_BYTES: usize = 4096 * 64 + 4 * 4096 * 16;

/// Bytes that a connection takes in a worker besides its buffers: task, protocol, wakers, slots. Measured with an empty
/// session (3.6 KiB, 2026-11, x86-64) and rounded up.
pub(crate) const CONNECTION_BYTES: usize = 4 * 1024;

/// Bytes that a stream in flight is taken to hold: its entries in the protocol and in the session, its waker. An estimate from the
/// sizes of these types; what its handler holds comes on top.
pub(crate) const STREAM_BYTES: usize = 1024;

const _: () =
    assert!(RECEIVE_BYTES >= 16 * 1024 + HEADER_LEN, "a partial frame must find room to become whole");
const _: () = assert!(RECEIVE_SMALL_BYTES >= 64, "the client's preface and first SETTINGS should fit");
const _: () = assert!(
    ACCEPTS_AT_END * ACCEPTS_PER_TURN == LISTEN_BACKLOG.unsigned_abs(),
    "the whole queue is accepted"
);
const _: () = assert!(OUTPUT_BYTES <= OUTPUT_SPARE_BYTES_MAX, "a fresh output buffer must be worth keeping");
const _: () = assert!(FORCED.as_nanos() <= FLUSH.as_nanos(), "force must not take longer than courtesy");
const _: () = assert!(SWEEP.as_nanos() * 4 <= WRITE_STALL.as_nanos(), "a stall must be noticed in good time");
const _: () = assert!(TLS_READ_BYTES < 16 * 1024, "what comes with a handshake's end must fit into rustls");
const _: () = assert!(RECEIVE_BUFFERS_MAX >= 2, "one connection must not be able to hold all large buffers");

/// The limits of each worker that a configuration may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// [`CONNECTIONS_MAX`].
    pub connections_max: u32,
    /// [`RECEIVE_BUFFERS_MAX`]; less than 2 count as 2.
    pub receive_buffers_max: usize,
    /// [`WRITE_STALL`].
    pub write_stall: Duration,
    /// [`FRAME_HOLD`].
    pub frame_hold: Duration,
    /// [`TLS_HANDSHAKE`].
    pub tls_handshake: Duration,
    /// [`TLS_RECORD`].
    pub tls_record: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: CONNECTIONS_MAX,
            receive_buffers_max: RECEIVE_BUFFERS_MAX,
            write_stall: WRITE_STALL,
            frame_hold: FRAME_HOLD,
            tls_handshake: TLS_HANDSHAKE,
            tls_record: TLS_RECORD,
        }
    }
}

/// What a worker may hold at most, one line for each consumer. Windows, streams and handlers come on top: `wire`'s
/// configuration and the service decide about them.
///
/// ```
/// use corelane_runtime::limits::{Limits, RECEIVE_BYTES};
///
/// let memory = Limits::default().memory_per_worker(RECEIVE_BYTES);
/// assert_eq!(memory.total_bytes(), memory.lines().iter().map(|line| line.1).sum::<usize>());
/// println!("{memory}"); // "ring 0.5 MiB + receive buffers 16.0 MiB + …"
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    lines: Vec<(&'static str, usize)>,
}

impl Limits {
    /// The sum of what these limits allow a worker whose large receive buffers are of `receive_bytes`
    /// ([`RECEIVE_BYTES`] unless frames may be larger).
    #[must_use]
    pub fn memory_per_worker(&self, receive_bytes: usize) -> Memory {
        let connections = usize::try_from(self.connections_max).expect("a u32 fits where Linux runs");
        Memory {
            lines: vec![
                ("ring", RING_BYTES),
                ("receive buffers", self.receive_buffers_max * receive_bytes),
                ("spare output buffers", OUTPUT_SPARES_MAX * OUTPUT_SPARE_BYTES_MAX),
                ("mailbox", MAILBOX_MESSAGES_MAX * 32),
                ("small receive buffers", connections * RECEIVE_SMALL_BYTES),
                ("connections", connections * CONNECTION_BYTES),
            ],
        }
    }
}

impl Memory {
    /// With what others keep on the worker's thread.
    #[must_use]
    pub fn and(mut self, lines: &[(&'static str, usize)]) -> Memory {
        self.lines.extend_from_slice(lines);
        self
    }

    /// The consumers and the bytes that each may hold.
    #[must_use]
    pub fn lines(&self) -> &[(&'static str, usize)] {
        &self.lines
    }

    /// The sum of all lines.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.lines.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tenths by integers: a budget needs no more, and a float would need a cast.
        let mib = |bytes: usize| (bytes / (1024 * 1024), bytes % (1024 * 1024) * 10 / (1024 * 1024));
        for (index, (name, bytes)) in self.lines.iter().enumerate() {
            let (whole, tenths) = mib(*bytes);
            write!(f, "{}{name} {whole}.{tenths} MiB", if index == 0 { "" } else { " + " })?;
        }
        let (whole, tenths) = mib(self.total_bytes());
        write!(f, " = {whole}.{tenths} MiB")
    }
}
