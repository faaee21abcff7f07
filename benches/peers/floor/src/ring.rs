//! The runtime both programs stand on: one thread, one ring.

use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

const ENTRIES: u32 = 4096;

/// With COOP_TASKRUN: without it the kernel interrupts the thread for each completion, which costs a call nearly twice as much on one
/// core.
pub(crate) fn runtime() -> std::io::Result<Runtime<IoUringDriver>> {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(ENTRIES).build()
}
