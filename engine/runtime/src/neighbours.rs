//! Sharing out connections: a worker that has too many of them hands a fresh one to the worker that has the fewest.
//!
//! The kernel deals connections out by a hash of their addresses, and HTTP/2's live for hours: of a few dozen one worker may well
//! get two thirds, and keeps them. A connection moves before its first byte is read, as a bare socket in a letter; later it has buffers,
//! timers and handlers that belong to their thread.
//!
//! Does not: balance calls, or move what is open. What closes unevenly is made up for by what comes next.
//!
//! Invariant: a connection that was accepted is served by somebody: whoever cannot take it leaves it with whoever accepted it.

use crate::backend::Accepted;
use crate::home::Home;
use crate::limits::HAND_OVER_MARGIN;
use std::sync::Arc;

/// The workers of an engine, as one of them sees them.
pub(crate) struct Neighbours {
    homes: Arc<[Arc<Home>]>,
    own: usize,
}

impl Neighbours {
    /// All workers, and the number of the one that looks.
    pub(crate) fn new(homes: Arc<[Arc<Home>]>, own: usize) -> Neighbours {
        assert!(own < homes.len(), "a worker is one of its engine's");
        Neighbours { homes, own }
    }

    /// Hands a fresh connection over, or gives it back when it is better off here.
    pub(crate) fn hand_over(&self, accepted: Accepted) -> Result<(), Accepted> {
        let own = self.homes[self.own].connections();
        // Nobody has so many fewer than that, and most servers have no need to look.
        if own < HAND_OVER_MARGIN {
            return Err(accepted);
        }
        let others = self.homes.iter().filter(|home| home.is_open());
        let fewest = others.map(|home| (home.connections(), home)).min_by_key(|(count, _)| *count);
        match fewest {
            Some((count, home)) if count + HAND_OVER_MARGIN <= own => home.take_in(accepted),
            _ => Err(accepted),
        }
    }
}
