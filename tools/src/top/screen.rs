//! The terminal while views follow one another, and the signals that end them.
//!
//! Does not: read keys, or ask the terminal for its size. Invariant: however it ends, the terminal is as it was.

use std::io::{self, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The alternate screen, no cursor, no wrapped lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the upper left.
const HOME: &str = "\x1b[H";
/// Clears what is left of a line, and what is below.
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// A terminal that shows views, until this is dropped.
pub(crate) struct Screen<W: Write>(W);

impl<W: Write> Screen<W> {
    pub(crate) fn enter(mut terminal: W) -> io::Result<Screen<W>> {
        terminal.write_all(ENTER.as_bytes())?;
        terminal.flush()?;
        Ok(Screen(terminal))
    }

    /// Draws over what was there, in one write, so that nothing flickers.
    pub(crate) fn show(&mut self, text: &str) -> io::Result<()> {
        let mut frame = String::from(HOME);
        for line in text.lines() {
            frame.push_str(line);
            frame.push_str(REST_OF_LINE);
            frame.push_str("\r\n");
        }
        frame.push_str(REST_OF_SCREEN);
        self.0.write_all(frame.as_bytes())?;
        self.0.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        // A terminal that is gone needs no repair.
        let _ = self.0.write_all(LEAVE.as_bytes());
        let _ = self.0.flush();
    }
}

/// SIGINT and SIGTERM, which can be waited for.
pub(crate) struct Signals(UnixStream);

impl Signals {
    pub(crate) fn new() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Signals(read))
    }

    /// Waits for so long; says whether a signal came.
    pub(crate) fn wait(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.0.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match self.0.read(&mut [0]) {
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_is_as_it_was_when_the_screen_is_gone() {
        let mut written = Vec::new();
        let mut screen = Screen::enter(&mut written).unwrap();
        screen.show("a\nb\n").unwrap();
        drop(screen);
        let written = String::from_utf8(written).unwrap();
        let drawn = written.strip_prefix(ENTER).and_then(|rest| rest.strip_suffix(LEAVE)).unwrap();
        assert_eq!(drawn, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
    }
}
