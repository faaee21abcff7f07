//! One pinned thread, one world: workers, listeners, connection drivers, backends.
