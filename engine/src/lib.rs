//! An embeddable gRPC engine: one pinned thread per core, io_uring underneath, its own HTTP/2 on top.
