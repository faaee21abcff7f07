//! Rooms: whoever is in one hears everybody in it, on whatever worker they are.
//!
//! A seat is a bounded queue and the waker of the one who listens. Whoever speaks puts the event into all seats and wakes
//! them: for a seat on another worker that is a wake from a foreign thread, which the engine passes on.
//!
//! Invariant: a seat that is full is closed; its listener is told so, and nobody waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use corelane::Status;

use super::clock::now;
use super::proto::ChatEvent;
use super::proto::chat_event::Event;

/// Events that wait for one listener at most.
const SEAT_EVENTS_MAX: usize = 1000;
/// Listeners of one room at most.
const ROOM_SEATS_MAX: usize = 1000;
/// Rooms at most.
const ROOMS_MAX: usize = 10_000;

/// All rooms that somebody is in.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<HashMap<String, Vec<Arc<Seat>>>>);

/// One listener's place in a room.
#[derive(Debug)]
struct Seat(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<ChatEvent>,
    waker: Option<Waker>,
    fate: Fate,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Open,
    /// Its listener reads too slowly.
    Overrun,
    /// Its listener has left.
    Left,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    fn put(&self, event: &ChatEvent) {
        let mut queue = lock(&self.0);
        if queue.fate == Fate::Open {
            if queue.events.len() < SEAT_EVENTS_MAX {
                queue.events.push_back(event.clone());
            } else {
                queue.fate = Fate::Overrun;
            }
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Rooms {
    fn tell(&self, room: &str, user_id: u64, event: Event) {
        let event = ChatEvent { at: Some(now()), user_id, event: Some(event) };
        if let Some(seats) = lock(&self.0).get(room) {
            seats.iter().for_each(|seat| seat.put(&event));
        }
    }

    fn enter(&self, room: &str) -> Result<Arc<Seat>, Status> {
        let mut rooms = lock(&self.0);
        if !rooms.contains_key(room) && rooms.len() >= ROOMS_MAX {
            return Err(Status::resource_exhausted(format!(
                "there are {ROOMS_MAX} rooms, which is the most"
            )));
        }
        let seats = rooms.entry(room.to_owned()).or_default();
        if seats.len() >= ROOM_SEATS_MAX {
            return Err(Status::resource_exhausted(format!("room {room:?} is full")));
        }
        let seat = Arc::new(Seat(Mutex::default()));
        seats.push(seat.clone());
        Ok(seat)
    }

    fn vacate(&self, room: &str, seat: &Arc<Seat>) {
        let mut rooms = lock(&self.0);
        if let Some(seats) = rooms.get_mut(room) {
            seats.retain(|other| !Arc::ptr_eq(other, seat));
            if seats.is_empty() {
                rooms.remove(room);
            }
        }
    }
}

/// Somebody in a room. Dropping it leaves the room, which the others hear.
#[derive(Debug)]
pub(super) struct Guest {
    store: Arc<super::Store>,
    room: String,
    user_id: u64,
    name: String,
    seat: Arc<Seat>,
}

impl Guest {
    /// Enters a room; everybody in it hears so.
    pub(super) fn enter(
        store: Arc<super::Store>,
        room: String,
        user_id: u64,
        name: String,
    ) -> Result<Guest, Status> {
        let seat = store.rooms.enter(&room)?;
        store.rooms.tell(&room, user_id, Event::Joined(name.clone()));
        Ok(Guest { store, room, user_id, name, seat })
    }

    /// Says something to everybody, also to oneself.
    pub(super) fn say(&self, text: String) {
        self.store.rooms.tell(&self.room, self.user_id, Event::Text(text));
    }

    /// Leaves; everybody hears so, also oneself. What was said before can still be heard.
    pub(super) fn leave(&self) {
        if lock(&self.seat.0).fate == Fate::Left {
            return;
        }
        self.store.rooms.tell(&self.room, self.user_id, Event::Left(self.name.clone()));
        self.store.rooms.vacate(&self.room, &self.seat);
        let mut queue = lock(&self.seat.0);
        if queue.fate == Fate::Open {
            queue.fate = Fate::Left;
        }
    }

    /// The next event; None when all is heard and the room was left.
    pub(super) fn poll_hear(&self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatEvent, Status>>> {
        let mut queue = lock(&self.seat.0);
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        match queue.fate {
            Fate::Open => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Fate::Overrun => Poll::Ready(Some(Err(Status::resource_exhausted("you have read too slowly")))),
            Fate::Left => Poll::Ready(None),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leave();
    }
}
