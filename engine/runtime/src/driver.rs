//! The driver of one connection: a task that owns its socket, its protocol state and its session, and moves bytes and
//! events between them.
//!
//! ```text
//! socket ─recv→ Input ─(TLS)→ wire.receive ─→ Session::event ───┐
//!    ↑                         timers, wakes ─→ Session::…     ├→ wire.transmit ─→ output
//!    └─────────send── Output ←─(TLS)──────────────────────────────┴──────────────────────┘
//! ```
//!
//! A poll of the task is a turn: take what completed, hand events over, poll the calls that were woken, transmit, start
//! one write and one read. Each of these has a budget; what is left gets another turn when everybody else has had theirs.
//! Reading and writing go on beside each other: a write that the peer does not take stops neither input nor timers nor
//! cancellation, until the protocol itself stops reading because answers pile up.
//!
//! Does not: parse, decode, or decide about calls.
//!
//! Invariant: an operation in flight is never dropped. At its end a connection shuts its socket down, which makes both
//! operations end soon, and waits for them.

mod input;
mod link;
mod output;
mod secure;
mod turn;
mod wire;

pub use self::link::Link;

use self::input::Input;
use self::output::Output;
use self::wire::Wire;
use crate::backend::{self, Outgoing, Socket};
use crate::inbox::Inbox;
use crate::limits::ROUNDS_PER_TURN;
use crate::session::{PeerInfo, Session, SessionFactory};
use crate::tls::Machine;
use crate::waker::CallSlots;
use crate::worker::Worker;
use corelane_memory::TimerKey;
use corelane_wire::Instant;
use corelane_wire::connection::{Config as WireConfig, Connection, Role};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How far a connection's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Frames are exchanged.
    Open,
    /// It is over; what it still owes the peer is being written, until then at the latest.
    Flushing { until: Instant, linger: std::time::Duration },
    /// Our last byte has left; the peer's last ones are read and thrown away.
    Lingering { until: Instant, bytes_left: usize },
    /// The socket is shut down; operations in flight are ending.
    Closing,
}

/// See the module.
pub(crate) struct Driver<S> {
    worker: Rc<Worker>,
    inbox: Rc<Inbox>,
    peer: Rc<PeerInfo>,
    socket: Socket,
    /// Between the two, where it is wanted.
    tls: Option<Box<Machine>>,
    wire: Wire,
    session: S,
    calls: CallSlots,
    input: Input,
    output: Output,
    phase: Phase,
    /// The time of this turn.
    now: Instant,
    /// Events that this turn may still hand over.
    events_left: u16,
    /// An operation was started and not polled yet, since the turn's rounds were used up.
    unpolled: bool,
    /// Calls that this turn may still poll.
    polls_left: u16,
    /// Something was produced, or may be now: transmit.
    touched: bool,
    /// Calls to be polled in the next turn.
    later: Vec<u32>,
    /// Calls that are being polled; kept for its storage.
    ready: Vec<u32>,
    /// The connection's own timer.
    timer: Option<(Instant, TimerKey)>,
    /// Wakers to be called when nothing of this is borrowed any more.
    woken: Vec<Waker>,
}

/// Starts the driver of a server's connection.
pub(crate) fn start<F: SessionFactory>(
    worker: &Rc<Worker>,
    factory: &F,
    inbox: Rc<Inbox>,
    socket: Socket,
    peer: Rc<PeerInfo>,
) {
    let session = factory.session(&peer);
    let (config, seed) = worker.wire_config();
    let wire = Connection::with_seed(Role::Server, config, seed, worker.begin_turn());
    launch(worker, session, wire, worker.server_tls(), inbox, socket, peer);
}

/// Starts the driver of a client's connection.
pub(crate) fn dialed<S: Session>(
    worker: &Rc<Worker>,
    session: S,
    wire: WireConfig,
    tls: Option<Box<Machine>>,
    inbox: Rc<Inbox>,
    socket: Socket,
    peer: Rc<PeerInfo>,
) -> Link<S> {
    let wire = Connection::new(Role::Client, wire, worker.begin_turn());
    Link::new(launch(worker, session, wire, tls, inbox.clone(), socket, peer), inbox)
}

fn launch<S: Session>(
    worker: &Rc<Worker>,
    session: S,
    wire: Connection,
    tls: Option<Box<Machine>>,
    inbox: Rc<Inbox>,
    socket: Socket,
    peer: Rc<PeerInfo>,
) -> Rc<RefCell<Driver<S>>> {
    let now = worker.now();
    inbox.received_ns.set(now.as_nanos());
    inbox.cord.get_or_init(|| socket.cord());
    let mut input = Input::new();
    // Something may have come with the end of the handshake.
    input.starved = tls.is_none();
    let driver = Driver {
        session,
        wire: Wire::new(wire),
        tls,
        worker: worker.clone(),
        inbox,
        peer,
        socket,
        calls: CallSlots::default(),
        input,
        output: Output::default(),
        phase: Phase::Open,
        now,
        events_left: 0,
        unpolled: false,
        polls_left: 0,
        touched: true,
        later: Vec::new(),
        ready: Vec::new(),
        timer: None,
        woken: Vec::new(),
    };
    let driver = Rc::new(RefCell::new(driver));
    backend::spawn(drive(driver.clone()));
    driver
}

/// The task: keeps the two operations beside the driver, which only says what to start.
///
/// The operations are the larger part of it, and boxed: a quiet connection waits until it is readable instead, and has none.
///
/// Not an `async fn`: that would hold its argument twice.
#[allow(clippy::manual_async_fn)]
fn drive<S: Session>(driver: Rc<RefCell<Driver<S>>>) -> impl Future<Output = ()> {
    async move {
        let task = Task(driver);
        let operations = || {
            let receiving = vacant(|| task.0.borrow().socket.recv(Vec::new(), None));
            let sending = vacant(|| task.0.borrow().socket.send(Outgoing::default()));
            (Box::pin(receiving), Box::pin(sending))
        };
        let mut busy = None;
        let mut quiet = pin!(vacant(|| task.0.borrow().socket.readable()));
        let mut woken = Vec::new();
        poll_fn(|cx| {
            let ended = {
                let driver = &mut *task.0.borrow_mut();
                if let Some(readable) = quiet.as_mut().as_pin_mut() {
                    // An error is the next read's to tell.
                    let readable = readable.poll(cx).map(drop);
                    quiet.set(None);
                    driver.rouse(readable);
                }
                let (receiving, sending) = busy.get_or_insert_with(operations);
                let receive =
                    |socket: &Socket, input: &mut Input, buffer| socket.recv(buffer, input.canceller());
                let ended = turn(driver, cx, receiving.as_mut(), sending.as_mut(), receive, Socket::send);
                std::mem::swap(&mut woken, &mut driver.woken);
                if ended.is_pending() && driver.input.is_dozing() {
                    if sending.is_none() {
                        busy = None;
                    }
                    quiet.set(Some(driver.socket.readable()));
                    if quiet.as_mut().as_pin_mut().is_some_and(|readable| readable.poll(cx).is_ready()) {
                        quiet.set(None);
                        driver.rouse(Poll::Ready(()));
                        driver.worker.ticker.later(&driver.inbox);
                    }
                }
                ended
            };
            // Wakers are foreign code, and may come back here.
            woken.drain(..).for_each(Waker::wake);
            ended
        })
        .await;
    }
}

/// One turn. The two operations live beside the driver, since their types have no names; `receive` and `send` start them.
fn turn<S: Session, R, W>(
    driver: &mut Driver<S>,
    cx: &mut Context<'_>,
    mut receiving: Pin<&mut Option<R>>,
    mut sending: Pin<&mut Option<W>>,
    receive: impl Fn(&Socket, &mut Input, Vec<u8>) -> R,
    send: impl Fn(&Socket, Outgoing) -> W,
) -> Poll<()>
where
    R: Future<Output = (std::io::Result<usize>, Vec<u8>)>,
    W: Future<Output = (std::io::Result<usize>, Outgoing)>,
{
    driver.begin(cx);
    for _ in 0..ROUNDS_PER_TURN {
        if let Some(operation) = receiving.as_mut().as_pin_mut()
            && let Poll::Ready((result, buffer)) = operation.poll(cx)
        {
            receiving.set(None);
            driver.received(result, buffer);
        }
        if let Some(operation) = sending.as_mut().as_pin_mut()
            && let Poll::Ready((result, outgoing)) = operation.poll(cx)
        {
            sending.set(None);
            driver.sent(result, outgoing);
        }
        driver.work();
        driver.unpolled = false;
        if let Some(outgoing) = driver.next_send() {
            sending.set(Some(send(&driver.socket, outgoing)));
            driver.unpolled = true;
        }
        if let Some(buffer) = driver.next_recv() {
            receiving.set(Some(receive(&driver.socket, &mut driver.input, buffer)));
            driver.unpolled = true;
        }
        if !driver.unpolled {
            break;
        }
    }
    driver.end()
}

/// A place for an operation of the kind that `_start` would start. Their types have no names.
fn vacant<F>(_start: impl Fn() -> F) -> Option<F> {
    None
}

/// The task's share of its driver: when the task ends, by its own turn or by a panic in the session, the connection is over,
/// whoever else still holds a share.
struct Task<S>(Rc<RefCell<Driver<S>>>);

impl<S> Drop for Task<S> {
    fn drop(&mut self) {
        let mut driver = self.0.borrow_mut();
        let driver = &mut *driver;
        driver.phase = Phase::Closing;
        if std::thread::panicking() {
            // A receive in flight would keep the socket open in a ring that nobody drives any more.
            driver.socket.shutdown(Shutdown::Both);
        }
        for timer in driver.calls.take_timers() {
            driver.worker.timers.cancel(timer);
        }
        if let Some((_, timer)) = driver.timer.take() {
            driver.worker.timers.cancel(timer);
        }
        driver.worker.dismiss(&driver.inbox);
    }
}
