//! The server: builder, router, the four shapes of a call, interceptors, admission, drain.
