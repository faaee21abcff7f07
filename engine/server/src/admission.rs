//! The right to run a call: asked for before a handler starts, given back when the call is over.
//!
//! Does not: queue. A call that is not admitted is refused at once, so that its client can go elsewhere while there is
//! still time. Invariant: permits in existence = calls running ≤ the limit.

use std::cell::Cell;
use std::rc::Rc;

use corelane_call::Status;

/// How many calls one worker runs at once.
pub(crate) struct Admission {
    running: Cell<u32>,
    max: u32,
}

impl Admission {
    /// At most `max` calls at once; `u32::MAX` leaves it to the limits of connections and streams.
    pub(crate) fn new(max: u32) -> Rc<Admission> {
        Rc::new(Admission { running: Cell::new(0), max })
    }

    /// Asks for the right to run one more call.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED at the limit.
    #[inline]
    pub(crate) fn admit(self: &Rc<Admission>) -> Result<Permit, Status> {
        let running = self.running.get();
        if running >= self.max {
            return Err(Status::resource_exhausted(format!(
                "the worker runs as many calls as it may: {}",
                self.max
            )));
        }
        self.running.set(running + 1);
        Ok(Permit { admission: self.clone() })
    }

    /// Calls that run now.
    #[cfg(test)]
    pub(crate) fn running(&self) -> u32 {
        self.running.get()
    }
}

/// The right to run one call. Dropping it gives it back.
pub(crate) struct Permit {
    admission: Rc<Admission>,
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.admission.running.set(self.admission.running.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_call::Code;

    #[test]
    fn a_permit_is_given_back_when_it_is_dropped() {
        let admission = Admission::new(2);
        let first = admission.admit().unwrap();
        let _second = admission.admit().unwrap();
        let refused = admission.admit().err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.message(), "the worker runs as many calls as it may: 2");
        drop(first);
        assert_eq!(admission.running(), 1);
        assert!(admission.admit().is_ok());
    }
}
