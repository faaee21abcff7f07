//! What a call and the pump of its requests share: where they go, and what is kept of them.
//!
//! A call has one target for each attempt under way: one at a time where it is retried, several where it is hedged. Each gets all
//! messages at its own pace. Until the call is committed to one of them all messages are kept, up to a limit, for those that are
//! behind and those to come; after that only what the one does not have yet.
//!
//! Does not: poll the requests (the pump does), or end the attempts it sends nothing to any more (the call does).
//!
//! Invariant: every target gets all messages, in order, from the first. Nothing here is borrowed while a connection or a waker
//! is used.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corelane_memory::{Gather, Key};
use corelane_policy::resilience::Committed;
use corelane_wire::frame::EndStream;

use crate::end::Lost;
use crate::session::{ClientLink, Room};

/// The stream of one attempt.
pub(super) struct Target {
    /// The attempt's.
    number: u32,
    pub(super) link: ClientLink,
    pub(super) key: Key,
    /// Messages of `kept` that it has.
    position: Cell<usize>,
    /// It has the end of the requests, too.
    closed: Cell<bool>,
}

impl Target {
    /// Ready when it can take a message, or never will again.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Room> {
        let room = self.link.with(|session, io| session.poll_room(io, self.key, cx));
        room.unwrap_or(Poll::Ready(Room::Over))
    }
}

/// See the module.
pub(crate) struct Feed {
    /// Those that are over go when the pump comes by. Attempts are few, and so are these.
    targets: RefCell<Vec<Rc<Target>>>,
    kept: RefCell<VecDeque<Rc<Vec<u8>>>>,
    /// How much was ever kept.
    kept_bytes: Cell<usize>,
    kept_bytes_max: usize,
    committed: Cell<bool>,
    /// The attempt that goes on, where there may have been others.
    chosen: Cell<Option<u32>>,
    /// The requests have ended.
    drained: Cell<bool>,
    /// There were targets, and all of them have ended.
    over: Cell<bool>,
    ended: Cell<bool>,
    /// The pump.
    waker: RefCell<Option<Waker>>,
    /// The call, if it must hear that it is committed.
    watcher: RefCell<Option<Waker>>,
}

/// The call's side.
impl Feed {
    pub(super) fn new(kept_bytes_max: usize) -> Feed {
        Feed {
            targets: RefCell::default(),
            kept: RefCell::default(),
            kept_bytes: Cell::new(0),
            kept_bytes_max,
            committed: Cell::new(kept_bytes_max == 0),
            chosen: Cell::new(None),
            drained: Cell::new(false),
            over: Cell::new(false),
            ended: Cell::new(false),
            waker: RefCell::default(),
            watcher: RefCell::default(),
        }
    }

    /// Has everything sent there, from the first message on: to an attempt with this number.
    pub(super) fn aim(&self, number: u32, link: ClientLink, key: Key) {
        let target = Target { number, link, key, position: Cell::new(0), closed: Cell::new(false) };
        self.targets.borrow_mut().push(Rc::new(target));
        self.over.set(false);
        self.wake();
    }

    /// Whether another attempt is possible.
    pub(super) fn committed(&self) -> Committed {
        if self.committed.get() { Committed::Yes } else { Committed::No }
    }

    /// Ready once no other attempt is possible: with the number of the one that goes on, or nothing if it is all the same.
    pub(super) fn poll_committed(&self, cx: &Context<'_>) -> Poll<Option<u32>> {
        if self.committed.get() {
            return Poll::Ready(self.chosen.get());
        }
        let mut watcher = self.watcher.borrow_mut();
        if !watcher.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *watcher = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// No further attempt will be made, and of those under way only this one goes on: its response has begun, or what it was sent
    /// cannot be kept.
    pub(super) fn commit(&self, number: u32) {
        self.committed.set(true);
        self.chosen.set(Some(number));
        self.keep_targets(|target| target.number == number);
        match self.target(0) {
            Some(chosen) => self.let_go(&chosen),
            None => {
                self.over.set(true);
                self.wake();
            }
        }
        self.tell();
    }

    /// Nothing more is to be sent.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.forget_targets();
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The pump's side.
impl Feed {
    /// The pump is to come again when something changes here.
    pub(super) fn wait(&self, cx: &Context<'_>) -> Poll<()> {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nobody will want a request any more: the server has ended the call, and no further attempt will be made. Whoever produces
    /// them must hear of it though nobody has read the end of the answers yet.
    pub(super) fn is_done(&self) -> bool {
        self.ended.get() || self.over.get() && self.committed.get()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.get()
    }

    /// There are no more requests.
    pub(super) fn drain(&self) {
        self.drained.set(true);
    }

    pub(super) fn target(&self, index: usize) -> Option<Rc<Target>> {
        self.targets.borrow().get(index).cloned()
    }

    /// A target takes nothing any more.
    pub(super) fn leave(&self, gone: &Rc<Target>) {
        self.keep_targets(|target| !Rc::ptr_eq(target, gone));
        self.over.set(self.targets.borrow().is_empty());
    }

    /// Sends a target, which has room, the next of the messages that are kept, or the end behind the last: whether there was any.
    pub(super) fn forward(&self, target: &Target) -> bool {
        let position = target.position.get();
        let next = self.kept.borrow().get(position).cloned();
        if let Some(message) = next {
            let copy = |out: &mut Gather<'_>| {
                out.heads().extend_from_slice(&message);
                Ok(())
            };
            target.link.with(|session, io| session.send(io, target.key, EndStream::No, copy));
            target.position.set(position + 1);
            self.let_go(target);
            return true;
        }
        if !self.drained.get() || target.closed.replace(true) {
            return false;
        }
        target.link.with(|session, io| session.send_end(io, target.key));
        true
    }

    /// Whether nobody but this target will need what it does not have yet.
    pub(super) fn is_alone(&self, target: &Target) -> bool {
        self.committed.get() && self.chosen.get().is_none_or(|chosen| chosen == target.number)
    }

    /// Keeps a message for all attempts. If that is too much, the call is committed to `first`, which has all before it.
    pub(super) fn keep(&self, message: Vec<u8>, first: &Target) {
        let bytes = self.kept_bytes.get() + message.len();
        self.kept_bytes.set(bytes);
        self.kept.borrow_mut().push_back(Rc::new(message));
        if bytes > self.kept_bytes_max && !self.committed.get() {
            self.commit(first.number);
        }
    }

    /// There will be no more requests though they have not ended: all attempts fail, and no other would fare better.
    pub(super) fn fail(&self, lost: &Lost) {
        self.ended.set(true);
        self.committed.set(true);
        let targets = self.targets.take();
        for target in targets {
            target.link.with(|session, io| session.abort(io, target.key, lost.clone()));
        }
        self.tell();
    }

    /// Nothing is sent anywhere any more.
    pub(super) fn forget_targets(&self) {
        let targets = self.targets.take();
        drop(targets);
    }

    /// What nobody but `target` will need, and it has, is let go.
    fn let_go(&self, target: &Target) {
        if self.committed.get() {
            self.kept.borrow_mut().drain(..target.position.take());
        }
    }

    fn keep_targets(&self, stays: impl Fn(&Rc<Target>) -> bool) {
        let all = self.targets.take();
        *self.targets.borrow_mut() = all.into_iter().filter(stays).collect();
    }

    /// Tells the call that it is committed.
    fn tell(&self) {
        let watcher = self.watcher.take();
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }
}
