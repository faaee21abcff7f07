//! Flow-control windows (RFC 9113 section 5.2 and 6.9): plain counters that cannot leave their range unnoticed.
//!
//! 32 bits with a sign hold every window: none is above 2^31-1, and none falls below that negated, since no more is taken from one
//! than it holds, and SETTINGS_INITIAL_WINDOW_SIZE lowers it by no more than 2^31-1 from there.
//!
//! Does not decide when a WINDOW_UPDATE is worth sending to whom, and reserves nothing ahead: what may be written is
//! computed at the moment of writing, so there is nothing to leak.

use crate::frame::WINDOW_MAX;

/// A window left its range: more than 2^31-1, or more received than was allowed (RFC 9113 section 6.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowError;

/// A window as it begins.
const fn size(initial: u32) -> i32 {
    assert!(initial <= WINDOW_MAX, "what the peer announces and the configuration says is checked");
    initial.cast_signed()
}

/// What the peer allows us to send. Negative after the peer lowered SETTINGS_INITIAL_WINDOW_SIZE (section 6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i32);

impl SendWindow {
    pub(super) const fn new(initial: u32) -> SendWindow {
        SendWindow(size(initial))
    }

    /// Bytes that may be written now.
    #[inline]
    pub(super) fn allowance(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.allowance(), "a frame larger than its window was about to be sent");
        self.0 -= bytes as i32;
    }

    pub(super) fn increase(&mut self, increment: u32) -> Result<(), WindowError> {
        self.shift(i64::from(increment))
    }

    /// Applies a changed SETTINGS_INITIAL_WINDOW_SIZE.
    pub(super) fn shift(&mut self, delta: i64) -> Result<(), WindowError> {
        self.0 = i32::try_from(i64::from(self.0) + delta).map_err(|_| WindowError)?;
        Ok(())
    }
}

/// What we allow the peer to send, and what of it has been consumed but not been announced again yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecvWindow {
    available: i32,
    unannounced: u32,
}

impl RecvWindow {
    pub(super) const fn new(initial: u32) -> RecvWindow {
        RecvWindow { available: size(initial), unannounced: 0 }
    }

    /// Takes a received frame's flow-controlled length off the window. One without payload fits any window, even one that a
    /// lowered SETTINGS_INITIAL_WINDOW_SIZE has made negative (section 6.9.1).
    #[inline]
    pub(super) fn receive(&mut self, bytes: u32) -> Result<(), WindowError> {
        match i32::try_from(bytes) {
            Ok(bytes) if bytes <= self.available.max(0) => self.available -= bytes,
            _ => return Err(WindowError),
        }
        Ok(())
    }

    /// Notes `bytes` as consumed: they may be announced to the peer again.
    #[inline]
    pub(super) fn credit(&mut self, bytes: u32) {
        self.unannounced = self.unannounced.saturating_add(bytes);
    }

    /// The increment to announce, once it is worth a frame: when at least half of `size` was consumed.
    #[inline]
    pub(super) fn take_announcement(&mut self, size: u32) -> Option<u32> {
        if self.unannounced == 0 || self.unannounced < size / 2 {
            return None;
        }
        // More may have been credited than was received: what is known to come.
        let increment = self.unannounced.min(self.room());
        self.unannounced -= increment;
        self.raise(increment);
        (increment > 0).then_some(increment)
    }

    /// Octets that have arrived and were not consumed, if the window is of this size; `None` where more was credited than had
    /// arrived.
    #[inline]
    pub(super) fn held(&self, size: u32) -> Option<u32> {
        u32::try_from(i64::from(size) - i64::from(self.available) - i64::from(self.unannounced)).ok()
    }

    /// Lets the peer send `bytes` more, from now on, or as many as a window has room for; says how many.
    pub(super) fn grow(&mut self, bytes: u32) -> u32 {
        let bytes = bytes.min(self.room());
        self.raise(bytes);
        bytes
    }

    /// Octets by which it can be raised at once: a negative one has room for more than a WINDOW_UPDATE can say.
    #[inline]
    fn room(&self) -> u32 {
        self.available.abs_diff(i32::MAX).min(WINDOW_MAX)
    }

    #[inline]
    fn raise(&mut self, bytes: u32) {
        self.available = self.available.saturating_add_unsigned(bytes);
    }

    /// Applies our own changed SETTINGS_INITIAL_WINDOW_SIZE, when the peer has acknowledged it.
    pub(super) fn shift(&mut self, delta: i64) {
        // One that has grown already may have no room for all of it.
        let next = (i64::from(self.available) + delta).min(i64::from(WINDOW_MAX));
        self.available = i32::try_from(next).expect("a window is lowered by its size at most");
    }

    /// Bytes the peer may still send.
    #[cfg(test)]
    pub(super) fn available(self) -> i32 {
        self.available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_be_negative_but_never_past_its_maximum() {
        let mut window = SendWindow::new(100);
        window.consume(60);
        window.shift(-50).expect("lowering is always legal");
        assert_eq!(window.allowance(), 0);
        window.increase(11).expect("in range");
        assert_eq!(window.allowance(), 1);
        assert_eq!(window.increase(WINDOW_MAX), Err(WindowError));
        assert_eq!(window.allowance(), 1);
    }

    #[test]
    fn the_lowest_and_the_highest_window_are_held() {
        let mut window = SendWindow::new(WINDOW_MAX);
        window.consume(WINDOW_MAX as usize);
        window.shift(-i64::from(WINDOW_MAX)).expect("lowering is always legal");
        assert_eq!(window.allowance(), 0);
        window.increase(WINDOW_MAX).expect("back to nothing");
        window.increase(WINDOW_MAX).expect("the largest");
        assert_eq!(window.increase(1), Err(WindowError));
        assert_eq!(window.allowance(), WINDOW_MAX as usize);
        let mut window = RecvWindow::new(WINDOW_MAX);
        assert_eq!(window.grow(1), 0);
        assert_eq!(window.receive(WINDOW_MAX + 1), Err(WindowError));
        window.receive(WINDOW_MAX).expect("all of it");
        window.shift(-i64::from(WINDOW_MAX));
        assert_eq!(window.receive(1), Err(WindowError));
        assert_eq!(window.receive(0), Ok(()));
    }

    #[test]
    fn a_receive_window_is_announced_by_halves() {
        let mut window = RecvWindow::new(100);
        window.receive(70).expect("within the window");
        assert_eq!(window.receive(31), Err(WindowError));
        window.credit(49);
        assert_eq!(window.take_announcement(100), None);
        window.credit(1);
        assert_eq!(window.take_announcement(100), Some(50));
        assert_eq!(window.available(), 80);
        assert_eq!(window.take_announcement(100), None);
    }
    #[test]
    fn a_negative_window_is_raised_by_what_a_frame_can_say() {
        let mut window = RecvWindow::new(100);
        window.shift(-200);
        window.credit(u32::MAX);
        assert_eq!(window.take_announcement(100), Some(WINDOW_MAX));
        assert_eq!(window.available(), i32::MAX - 100);
        assert_eq!(window.take_announcement(100), Some(100));
        assert_eq!(window.take_announcement(100), None);
    }
}
