//! gRPC over HTTP/2: what travels inside the frames.
