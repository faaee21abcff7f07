//! Unary calls with as little work as there can be: what is sent is encoded once, and what comes is counted and not kept.
//!
//! The ordinary client makes a future, a plan and a message of each call, and takes the answer apart again; a generator
//! that does so measures itself. Here a connection's session sends the next call within the event that ended the last
//! one, so a worker costs a fraction of what a server does. Each worker has a lane, connections of its own, and a task that
//! keeps the pace of an open loop.
//!
//! Does not: retry, balance, compress. A connection that is lost is made anew; meanwhile the others take what is due, and where
//! there is none, what is due fails.

mod body;
mod endpoint;
mod ledger;
mod pauses;
mod session;
mod standing;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corelane::client::spawn_local;
use corelane::{Code, time};
use corelane_runtime::Link;
use corelane_wire::connection::Connection;

use crate::bench::args::Bench;
use crate::bench::drive::{Lane, Load};
use crate::bench::recorder::{Failure, Recorder};
use crate::bench::schedule::Pace;
use crate::bench::spec::Spec;
use crate::bench::workers::{LOOK, Place, TIMER_LATE, Transport};

use self::endpoint::Endpoint;
use self::ledger::{Ledger, Template};
use self::pauses::Pauses;
use self::session::{LeanSession, now_ns};
use self::standing::{Phase, Standing};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a closed loop that only its number of calls ends goes on without a connection that is worth it.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Lean {
    endpoint: Endpoint,
    template: Template,
    place: Place,
}

impl Lean {
    /// Calls of a unary method; `None` if only a channel finds the target.
    ///
    /// # Errors
    /// A target that is none, files that cannot be read.
    pub(crate) fn new(options: &Bench, spec: &Spec) -> Result<Option<Lean>, String> {
        let Some(endpoint) = Endpoint::new(options)? else { return Ok(None) };
        let template = Template::new(spec, &endpoint);
        Ok(Some(Lean { endpoint, template, place: options.place() }))
    }
}

impl Load for Lean {
    fn run(&self, lanes: Vec<Lane>) -> Result<Vec<Recorder>, Box<dyn Error>> {
        let make = |_: &Lane| Parts { endpoint: self.endpoint.clone(), template: self.template.clone() };
        self.place.run(lanes, make)
    }
}

/// What a worker is sent.
struct Parts {
    endpoint: Endpoint,
    template: Template,
}

/// The connections of a worker; a place is empty while its connection is made anew.
struct Connections {
    ledger: Rc<Ledger>,
    endpoint: Endpoint,
    streams: u32,
    links: RefCell<Vec<Option<Link<LeanSession>>>>,
    /// Whose turn it is.
    turn: Cell<usize>,
    /// Why there is no connection, if there is none.
    trouble: RefCell<String>,
    /// When the last connection went that was worth it.
    worthless_from_ns: Cell<u64>,
}

impl Transport for Parts {
    type Connected = (Rc<Connections>, Vec<Rc<Standing>>);

    async fn connect(self, lane: &Lane) -> Result<Self::Connected, String> {
        let connections = Rc::new(Connections {
            ledger: Rc::new(Ledger::new(self.template)),
            endpoint: self.endpoint,
            streams: lane.streams(),
            links: RefCell::default(),
            turn: Cell::new(0),
            trouble: RefCell::default(),
            worthless_from_ns: Cell::new(0),
        });
        let mut standings = Vec::new();
        for _ in 0..lane.connections() {
            let (link, standing) = connections.connect().await?;
            connections.links.borrow_mut().push(Some(link));
            standings.push(standing);
        }
        Ok((connections, standings))
    }

    async fn drive((connections, standings): Self::Connected, lane: Lane) -> Recorder {
        let (ledger, pace) = (&connections.ledger, lane.pace());
        ledger.begin(lane, now_ns());
        connections.worthless_from_ns.set(now_ns());
        for (place, standing) in standings.into_iter().enumerate() {
            spawn_local(connections.clone().keep(place, standing));
        }
        connections.send_due();
        while !ledger.is_over(now_ns()) {
            match pace {
                // The events that end calls send others.
                Pace::Closed => time::sleep(LOOK).await,
                Pace::Open { .. } => connections.keep_pace().await,
            }
        }
        ledger.finish(now_ns())
    }
}

impl Connections {
    /// Makes a connection; it takes calls when this is done.
    async fn connect(&self) -> Result<(Link<LeanSession>, Rc<Standing>), String> {
        let standing = Standing::new();
        let attempt = async {
            let session = LeanSession::new(self.ledger.clone(), standing.clone(), self.streams);
            let link = self.endpoint.connect(session).await?;
            match poll_fn(|cx| standing.poll_beyond(Phase::Greeting, cx)).await {
                Phase::Ready => Ok(link),
                _ => Err(standing.reason()),
            }
        };
        let made = within(CONNECT_TIMEOUT, attempt).await;
        match made.unwrap_or_else(|| Err(format!("no answer within {CONNECT_TIMEOUT:?}"))) {
            Ok(link) => {
                self.note_limit(&link);
                Ok((link, standing))
            }
            Err(reason) => Err(format!("cannot connect to {}: {reason}", self.endpoint.authority)),
        }
    }

    /// Says when the server allows fewer calls at once than were asked for.
    fn note_limit(&self, link: &Link<LeanSession>) {
        let wanted = usize::try_from(self.streams).expect("a u32 fits where Linux runs");
        if let Some(allowed) = link.wire(Connection::open_capacity).filter(|allowed| *allowed < wanted) {
            self.ledger.note(format!(
                "the server allows {allowed} streams on a connection: no more calls are in flight on one, though --streams is {wanted}"
            ));
        }
    }

    /// Makes a connection anew whenever it is lost, for as long as the run goes on.
    async fn keep(self: Rc<Self>, place: usize, mut standing: Rc<Standing>) {
        let (mut pauses, mut ready_ns) = (Pauses::default(), now_ns());
        loop {
            poll_fn(|cx| standing.poll_beyond(Phase::Ready, cx)).await;
            self.set_link(place, None);
            let now_ns = now_ns();
            if standing.has_answered() || Pauses::are_outlived_by(now_ns - ready_ns) {
                pauses = Pauses::default();
                self.worthless_from_ns.set(now_ns);
            }
            *self.trouble.borrow_mut() = standing.reason();
            let Some((link, new)) = self.connect_again(&mut pauses).await else { return };
            // What came due meanwhile is not sent late.
            self.fail_due(0);
            self.set_link(place, Some(link));
            (standing, ready_ns) = (new, self::now_ns());
            self.send_due();
        }
    }

    /// Tries until there is a connection; `None` if the run is over before.
    async fn connect_again(&self, pauses: &mut Pauses) -> Option<(Link<LeanSession>, Rc<Standing>)> {
        loop {
            time::sleep(pauses.next()).await;
            if self.ledger.is_over(now_ns()) {
                return None;
            }
            match self.connect().await {
                Ok(made) => return Some(made),
                Err(reason) => *self.trouble.borrow_mut() = reason,
            }
            self.fail_due(self.streams);
            let worthless = Duration::from_nanos(now_ns().saturating_sub(self.worthless_from_ns.get()));
            if worthless >= PATIENCE && !self.is_up() && self.ledger.give_up() {
                let trouble = self.trouble.borrow();
                self.ledger.note(format!("given up after {PATIENCE:?} without a connection: {trouble}"));
            }
        }
    }

    fn is_up(&self) -> bool {
        self.links.borrow().iter().any(Option::is_some)
    }

    /// Fails what is due if there is no connection that could take it: in an open loop all of it, and in a closed one, where calls are
    /// always due, `of_closed` calls.
    fn fail_due(&self, of_closed: u32) {
        if !self.is_up() {
            let trouble = self.trouble.borrow();
            let failure = Failure { code: Code::Unavailable, text: &trouble };
            self.ledger.fail_due(of_closed, now_ns(), failure);
        }
    }

    fn set_link(&self, place: usize, link: Option<Link<LeanSession>>) {
        // What was there is dropped when the borrow has ended: it leads to the session, and that back to here.
        let before = self.links.borrow_mut().get_mut(place).map(|there| std::mem::replace(there, link));
        drop(before);
    }

    /// Sends what is due, one call on each connection in turn, for as long as any of them has room; says how many.
    fn send_due(&self) -> usize {
        let links = self.links.borrow();
        let now_ns = now_ns();
        let (mut refused, mut sent) = (0, 0);
        while refused < links.len() && !self.ledger.is_early(now_ns) {
            let place = self.turn.get() % links.len();
            self.turn.set(place + 1);
            // One that has no room is not touched: it would look for something to write.
            let link = links.get(place).and_then(Option::as_ref).filter(|link| has_room(link));
            let of_this = link.and_then(|link| link.with(|session, io| session.send_due(io, now_ns, 1)));
            match of_this.unwrap_or(0) {
                0 => refused += 1,
                _ => (refused, sent) = (0, sent + 1),
            }
        }
        sent
    }

    /// Waits for the next call of an open loop, and sends it.
    async fn keep_pace(&self) {
        // Only answers are waited for.
        let Some(due_ns) = self.ledger.due_ns(now_ns()) else { return time::sleep(LOOK).await };
        let left = Duration::from_nanos(due_ns.saturating_sub(now_ns()));
        let early = left.saturating_sub(TIMER_LATE);
        if !early.is_zero() {
            time::sleep(early.min(LOOK)).await;
        } else if !left.is_zero() {
            time::yield_now().await;
        } else if !self.is_up() {
            self.fail_due(0);
        } else if self.send_due() == 0 {
            // Every slot is busy. Whichever becomes free takes this call, and the next one's time may be near then.
            within(LOOK, self.ledger.an_end()).await;
        }
    }
}

/// Whether a connection may take another call.
fn has_room(link: &Link<LeanSession>) -> bool {
    link.session(|session| session.has_room()) && link.wire(Connection::open_capacity).unwrap_or(0) > 0
}

/// What `future` comes to within `limit`.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut alarm) = (pin!(future), pin!(time::sleep(limit)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}
