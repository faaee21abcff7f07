//! A connection's sending side: one write at a time, continued until all of it has left.
//!
//! What the protocol produces while a write is under way collects in its output and becomes the next write. The buffers
//! come from the worker's spares and go back there, so a connection that has nothing to say holds none.

use crate::backend::Outgoing;
use crate::buffers::Buffers;
use crate::tls::Machine;
use corelane_memory::Pieces;
use corelane_wire::connection::Connection;
use std::io;

/// See the module.
#[derive(Default)]
pub(super) struct Output {
    /// A write that was cut short: what is left of it.
    rest: Option<Outgoing>,
    /// A write is in flight.
    writing: bool,
}

impl Output {
    pub(super) fn is_writing(&self) -> bool {
        self.writing
    }

    /// Whether nothing is left to write, in here or in the protocol.
    pub(super) fn is_done(&self, wire: &Connection) -> bool {
        self.rest.is_none() && !self.writing && wire.output_len() == 0
    }

    /// Before the protocol produces anything: makes sure it does so into a buffer that was used before.
    #[inline]
    pub(super) fn prepare(wire: &mut Connection, buffers: &Buffers) {
        if wire.output_len() == 0 {
            let output = wire.output();
            if output.capacity() == 0 {
                *output = buffers.take_spare();
            }
        }
    }

    /// After the protocol has produced: takes the buffer back if it is still empty.
    #[inline]
    pub(super) fn release(wire: &mut Connection, buffers: &Buffers) {
        if wire.output_len() == 0 {
            let output = wire.output();
            if output.capacity() != 0 {
                buffers.give_spare(std::mem::take(output));
            }
        }
    }

    /// The next write.
    pub(super) fn next(
        &mut self,
        wire: &mut Connection,
        tls: Option<&mut Machine>,
        buffers: &Buffers,
    ) -> Option<Outgoing> {
        if self.writing {
            return None;
        }
        let next = match self.rest.take() {
            Some(rest) => rest,
            None if let Some(tls) = tls => Outgoing::new(Output::sealed(wire, tls, buffers)?, Pieces::new()),
            None if wire.output_len() == 0 => return None,
            None => {
                let (heads, pieces) = wire.gathered_output();
                Outgoing::new(std::mem::take(heads), std::mem::take(pieces))
            }
        };
        self.writing = true;
        Some(next)
    }

    /// What the protocol has produced, and what TLS has to say itself, as one ciphertext.
    fn sealed(wire: &mut Connection, tls: &mut Machine, buffers: &Buffers) -> Option<Vec<u8>> {
        if !tls.has_output(wire.output_len()) {
            return None;
        }
        let mut sealed = buffers.take_spare();
        tls.seal(wire.output(), &mut sealed);
        Some(sealed)
    }

    /// A write has completed; says how many bytes it took.
    ///
    /// # Errors
    /// The socket failed, or takes nothing any more.
    pub(super) fn written(
        &mut self,
        result: io::Result<usize>,
        mut outgoing: Outgoing,
        buffers: &Buffers,
    ) -> io::Result<usize> {
        debug_assert!(self.writing);
        self.writing = false;
        let bytes = match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        outgoing.advance(bytes);
        if outgoing.is_done() {
            buffers.give_spare(outgoing.into_heads());
        } else {
            self.rest = Some(outgoing);
        }
        Ok(bytes)
    }

    /// Drops what has not left.
    pub(super) fn abandon(&mut self, wire: &mut Connection) {
        self.rest = None;
        let (heads, pieces) = wire.gathered_output();
        heads.clear();
        pieces.clear();
    }
}
