//! The protocol's state of a connection, awake or asleep.
//!
//! It is awake in every turn. A turn that finds an accepted connection quiet puts it to sleep at its end. A connection that we
//! dialed does not sleep, since its callers look at it between the turns.

use corelane_wire::connection::{Connection, Dormant};
use std::ops::{Deref, DerefMut};

/// See the module.
pub(super) struct Wire {
    awake: Option<Box<Connection>>,
    asleep: Option<Box<Dormant>>,
}

impl Wire {
    pub(super) fn new(connection: Connection) -> Wire {
        Wire { awake: Some(Box::new(connection)), asleep: None }
    }

    /// Wakes it, if it sleeps.
    #[inline]
    pub(super) fn wake(&mut self) {
        if let Some(asleep) = self.asleep.take() {
            self.awake = Some(asleep.wake());
        }
    }

    /// Puts it to sleep, unless something is under way.
    pub(super) fn sleep(&mut self) {
        if let Some(awake) = self.awake.take() {
            match awake.sleep() {
                Ok(asleep) => self.asleep = Some(asleep),
                Err(awake) => self.awake = Some(awake),
            }
        }
    }
}

impl Deref for Wire {
    type Target = Connection;

    #[inline]
    fn deref(&self) -> &Connection {
        self.awake.as_deref().expect("it is awake in a turn, and always if we dialed")
    }
}

impl DerefMut for Wire {
    #[inline]
    fn deref_mut(&mut self) -> &mut Connection {
        self.awake.as_deref_mut().expect("it is awake in a turn, and always if we dialed")
    }
}
