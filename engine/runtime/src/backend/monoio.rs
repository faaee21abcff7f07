//! The only file that names monoio: its io_uring driver and its epoll driver behind one set of operations.
//!
//! What monoio 0.2.4 would do to us, and how it is avoided here or above:
//! - Its futures borrow the half that they read from. Ours own a reference-counted half instead, so an operation is
//!   `'static`, sits beside its driver without pointing into it, and needs no box.
//! - Its owned write half shuts the stream down when dropped; [`Tough`] bears that.
//! - A dropped receive loses the bytes that it had already taken. The driver never drops one: [`Socket::shutdown`]
//!   and [`Canceller`] make it end, and both give the buffer back.
//! - `accept` sets no CLOEXEC under io_uring, allocates, and leaks the socket when dropped. We wait for readiness,
//!   which may be dropped at any time, and accept by the standard library, which sets the flag atomically.
//! - Its timers stand still while any task is runnable, add a programmed hardware timer to each wait, and panic in
//!   a runtime that was built without them. [`Alarm`] is a timer descriptor that is polled like a socket.
//! - A task that wakes itself is put in front of all others. [`Bell`] is what a fair yield waits for instead.
//! - A descriptor must be blocking under io_uring (`O_NONBLOCK` turns "wait" into EAGAIN) and non-blocking under epoll;
//!   `from_std` sets neither.
//! - DEFER_TASKRUN starves: its submit-only path does not enter the kernel with GETEVENTS. Never set it.
//!
//! The epoll driver reports readiness by edges and remembers it: an operation that would not block completes at its
//! first poll, without a visit to the kernel's wait. Loops over operations must therefore have a budget.

use super::BackendKind;
use super::outgoing::Outgoing;
use super::plain::{Accepted, StdListener};
use ::monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut, SliceMut};
use ::monoio::io::{
    AsyncReadRent, AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, OwnedReadHalf, OwnedWriteHalf,
};
use ::monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use ::monoio::time::TimeDriver;
use ::monoio::{BufResult, IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use corelane_memory::Pieces;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use socket2::SockRef;
use std::cell::UnsafeCell;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net as unix;
use std::panic::resume_unwind;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Submission entries to ask for, first wish first; a kernel that is short of memory gets the next one.
///
/// monoio gives up ("unimplemented") when a full queue cannot be flushed, so the first wish is generous.
const ENTRIES: [u32; 3] = [4096, 1024, 256];
/// Completion entries for each submission entry: bursts beyond it cost the kernel an allocation each.
const COMPLETIONS_PER_ENTRY: u32 = 4;
/// Bytes that a bell takes at once; the number of rings says nothing, so they are read away in a few gulps.
const BELL_READ_BYTES: usize = 64;

const EINPROGRESS: i32 = 115;
const EINVAL: i32 = 22;
const ENOMEM: i32 = 12;
const ECANCELED: i32 = 125;
/// The same value on every Linux; the standard library does not export it.
const MSG_NOSIGNAL: i32 = 0x4000;

/// Asks the kernel for a small ring and for the operations that a worker needs.
///
/// A thread of its own asks: when a ring is closed, the kernel later runs some work on the thread that made it, and a
/// blocking call which that thread is in then ends with EINTR. The caller's must not.
///
/// # Errors
/// What the kernel answers where io_uring is compiled out, forbidden, or too old.
pub(crate) fn probe() -> io::Result<()> {
    std::thread::Builder::new().spawn(probe_here)?.join().unwrap_or_else(|panic| resume_unwind(panic))
}

fn probe_here() -> io::Result<()> {
    use io_uring::opcode::{AsyncCancel, Close, PollAdd, Recv, Send};
    let ring = io_uring::IoUring::new(8)?;
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [AsyncCancel::CODE, Close::CODE, PollAdd::CODE, Recv::CODE, Send::CODE];
    if needed.into_iter().all(|code| probe.is_supported(code)) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's io_uring lacks socket operations"))
}

/// Runs `future` and all that it spawns on this thread until it ends.
///
/// # Errors
/// When the kernel refuses the ring or the epoll descriptor.
pub(crate) fn run<F: Future>(kind: BackendKind, future: F) -> io::Result<F::Output> {
    match kind {
        BackendKind::Uring => Ok(ring()?.block_on(future)),
        BackendKind::Epoll => {
            Ok(RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(future))
        }
    }
}

/// A runtime on io_uring: our flags if the kernel knows them, as many entries as it grants.
fn ring() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut last = io::Error::from_raw_os_error(ENOMEM);
    for entries in ENTRIES {
        let mut flagged = io_uring::IoUring::builder();
        // 10.9 us of CPU a call without COOP_TASKRUN, 6.2 us with it (design.md, part 1).
        flagged.setup_single_issuer().setup_coop_taskrun().setup_cqsize(entries * COMPLETIONS_PER_ENTRY);
        for builder in [flagged, io_uring::IoUring::builder()] {
            let built = RuntimeBuilder::<IoUringDriver>::new()
                .uring_builder(builder)
                .with_entries(entries)
                .enable_timer()
                .build();
            match built {
                Ok(runtime) => return Ok(runtime),
                // An old kernel: try without flags.
                Err(error) if error.raw_os_error() == Some(EINVAL) => last = error,
                // Short of memory: try with fewer entries.
                Err(error) if error.raw_os_error() == Some(ENOMEM) => {
                    last = error;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(last)
}

/// The driver of the runtime around the caller, which an embedding program may have built.
///
/// # Panics
/// Outside of a runtime.
pub(crate) fn running() -> BackendKind {
    if ::monoio::utils::is_legacy() { BackendKind::Epoll } else { BackendKind::Uring }
}

/// Starts a task on this thread's runtime. It must end by itself: a runtime that is dropped before its tasks have
/// ended leaks them, since each task, by its operation, keeps the driver that keeps the task.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    drop(::monoio::spawn(future));
}

/// A listening socket on its worker.
pub(crate) struct Listener {
    accepting: StdListener,
    polled: PolledListener,
}

enum PolledListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds `listener` to this thread's runtime.
    pub(crate) fn new(listener: StdListener) -> io::Result<Listener> {
        let accepting = listener.try_clone()?;
        // One description, so this counts for both descriptors. Waiting for readiness does not mind under io_uring.
        let polled = match listener {
            StdListener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                PolledListener::Tcp(TcpListener::from_std(listener)?)
            }
            StdListener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                PolledListener::Unix(UnixListener::from_std(listener)?)
            }
        };
        Ok(Listener { accepting, polled })
    }

    /// Waits until a connection can be accepted. May be dropped while waiting; may be wrong.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.polled {
            PolledListener::Tcp(listener) => listener.readable(false).await,
            PolledListener::Unix(listener) => listener.readable(false).await,
        }
    }

    /// Ends listening; see [`StdListener::silence`].
    pub(crate) fn close(self) {
        self.accepting.silence();
    }

    /// As [`StdListener::accept`].
    pub(crate) fn accept(&self) -> io::Result<Option<Accepted>> {
        self.accepting.accept()
    }
}

/// A connected socket: at most one [`recv`](Self::recv) and one [`send`](Self::send) at a time.
///
/// It stays open until this and the operations in flight are gone.
pub(crate) struct Socket {
    stream: Stream,
    fd: RawFd,
}

#[derive(Clone)]
enum Stream {
    Tcp(Rc<UnsafeCell<Tough<TcpStream>>>),
    Unix(Rc<UnsafeCell<Tough<UnixStream>>>),
}

/// A stream that survives its write halves. monoio's shuts the stream down when it is dropped, and here one is made and
/// dropped with each operation.
///
/// Reading and writing halves each make a `&mut` of it for the moment in which an operation begins; so these methods begin
/// it at once and keep no reference, as an `async fn` would.
struct Tough<T>(T);

impl<T: AsyncReadRent> AsyncReadRent for Tough<T> {
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = BufResult<usize, B>> {
        self.0.read(buffer)
    }

    fn readv<B: IoVecBufMut>(&mut self, buffers: B) -> impl Future<Output = BufResult<usize, B>> {
        self.0.readv(buffers)
    }
}

impl<T: CancelableAsyncReadRent> CancelableAsyncReadRent for Tough<T> {
    fn cancelable_read<B: IoBufMut>(
        &mut self,
        buffer: B,
        handle: CancelHandle,
    ) -> impl Future<Output = BufResult<usize, B>> {
        self.0.cancelable_read(buffer, handle)
    }

    fn cancelable_readv<B: IoVecBufMut>(
        &mut self,
        buffers: B,
        handle: CancelHandle,
    ) -> impl Future<Output = BufResult<usize, B>> {
        self.0.cancelable_readv(buffers, handle)
    }
}

impl<T: AsyncWriteRent> AsyncWriteRent for Tough<T> {
    fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = BufResult<usize, B>> {
        self.0.write(buffer)
    }

    fn writev<B: IoVecBuf>(&mut self, buffers: B) -> impl Future<Output = BufResult<usize, B>> {
        self.0.writev(buffers)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Called when a half is dropped, and by nobody else: see [`Socket::shutdown`].
    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that is on its way to its peer.
enum Dialing {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Dialing {
    /// Waits until the kernel has an answer. May be dropped while waiting, which gives the attempt up.
    async fn answered(&self) -> io::Result<()> {
        match self {
            Dialing::Tcp(stream) => stream.writable(false).await,
            Dialing::Unix(stream) => stream.writable(false).await,
        }
    }

    fn fd(&self) -> RawFd {
        match self {
            Dialing::Tcp(stream) => stream.as_raw_fd(),
            Dialing::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl Socket {
    /// Connects `socket`, a fresh one, to `address`. May be dropped while waiting, which gives the attempt up: readiness
    /// is waited for, not a connect, whose descriptor monoio would lose.
    ///
    /// # Errors
    /// As connect(2).
    pub(crate) async fn connect(socket: socket2::Socket, address: &socket2::SockAddr) -> io::Result<Socket> {
        // A connect that blocked would stop the worker.
        socket.set_nonblocking(true)?;
        let begun = socket.connect(address);
        let is_unix = address.is_unix();
        let dialing = if is_unix {
            Dialing::Unix(UnixStream::from_std(socket.into())?)
        } else {
            Dialing::Tcp(TcpStream::from_std(socket.into())?)
        };
        match begun {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => dialing.answered().await?,
            Err(error) => return Err(error),
        }
        let fd = dialing.fd();
        // SAFETY: `fd` is the descriptor of `dialing`, which owns it and outlives the borrow.
        #[allow(unsafe_code)]
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let socket = SockRef::from(&borrowed);
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        socket.set_nonblocking(running() == BackendKind::Epoll)?;
        let stream = match dialing {
            Dialing::Tcp(stream) => Stream::Tcp(Rc::new(UnsafeCell::new(Tough(stream)))),
            Dialing::Unix(stream) => Stream::Unix(Rc::new(UnsafeCell::new(Tough(stream)))),
        };
        Ok(Socket { stream, fd })
    }

    /// Our end's address.
    pub(crate) fn local_addr(&self) -> io::Result<socket2::SockAddr> {
        // SAFETY: as in `shutdown`.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        SockRef::from(&fd).local_addr()
    }

    /// Binds an accepted connection to this thread's runtime.
    pub(crate) fn new(accepted: Accepted) -> io::Result<Socket> {
        let nonblocking = running() == BackendKind::Epoll;
        Ok(match accepted {
            Accepted::Tcp(stream, _) => {
                stream.set_nonblocking(nonblocking)?;
                let fd = stream.as_raw_fd();
                let stream = Rc::new(UnsafeCell::new(Tough(TcpStream::from_std(stream)?)));
                Socket { stream: Stream::Tcp(stream), fd }
            }
            Accepted::Unix(stream, _) => {
                stream.set_nonblocking(nonblocking)?;
                let fd = stream.as_raw_fd();
                let stream = Rc::new(UnsafeCell::new(Tough(UnixStream::from_std(stream)?)));
                Socket { stream: Stream::Unix(stream), fd }
            }
        })
    }

    /// Receives into the room behind what `buffer` holds. With a canceller the operation can be ended early, at the
    /// cost of two look-ups in a hash set.
    pub(crate) fn recv(
        &self,
        buffer: Vec<u8>,
        canceller: Option<&Canceller>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> + use<> {
        let stream = self.stream.clone();
        let handle = canceller.map(|canceller| canceller.inner.handle());
        async move {
            let (filled, room) = (buffer.len(), buffer.capacity());
            let behind = SliceMut::new(buffer, filled, room);
            let (result, behind) = match (stream, handle) {
                (Stream::Tcp(stream), None) => OwnedReadHalf(stream).read(behind).await,
                (Stream::Unix(stream), None) => OwnedReadHalf(stream).read(behind).await,
                (Stream::Tcp(stream), Some(handle)) => {
                    OwnedReadHalf(stream).cancelable_read(behind, handle).await
                }
                (Stream::Unix(stream), Some(handle)) => {
                    OwnedReadHalf(stream).cancelable_read(behind, handle).await
                }
            };
            (result, behind.into_inner())
        }
    }

    /// Waits until something can be received, or the peer has ended. May be dropped while waiting; may be wrong.
    pub(crate) fn readable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let stream = self.stream.clone();
        async move {
            match &stream {
                Stream::Tcp(stream) => {
                    // SAFETY: `stream`, which this future owns, keeps the cell alive. A `&mut` of what is in it is made only for
                    // the moment in which an operation begins, and the driver begins none before it has dropped this future.
                    #[allow(unsafe_code)]
                    let stream = unsafe { &*stream.get() };
                    stream.0.readable(false).await
                }
                Stream::Unix(stream) => {
                    // SAFETY: as above.
                    #[allow(unsafe_code)]
                    let stream = unsafe { &*stream.get() };
                    stream.0.readable(false).await
                }
            }
        }
    }

    /// Sends from the front of `outgoing`; may send less.
    ///
    /// What refers to payload goes by one sendmsg(2) as far as the socket takes it now, on either backend: a ring has no
    /// operation for that in monoio, whose writev raises SIGPIPE besides. Where the socket takes nothing, its first part is
    /// sent as other writes are, which waits.
    pub(crate) fn send(
        &self,
        outgoing: Outgoing,
    ) -> impl Future<Output = (io::Result<usize>, Outgoing)> + use<> {
        let (stream, fd) = (self.stream.clone(), self.fd);
        async move {
            if outgoing.is_gathered() {
                // SAFETY: `fd` is the descriptor of `stream`, which closes it only when its last holder is dropped; it is borrowed
                // for as long as this call.
                #[allow(unsafe_code)]
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                match outgoing.send_now(fd) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return (result, outgoing),
                }
            }
            match stream {
                Stream::Tcp(stream) => OwnedWriteHalf(stream).write(outgoing).await,
                Stream::Unix(stream) => OwnedWriteHalf(stream).write(outgoing).await,
            }
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// The socket failed, or takes nothing any more.
    pub(crate) async fn send_all(&self, bytes: Vec<u8>) -> io::Result<()> {
        let mut outgoing = Outgoing::new(bytes, Pieces::new());
        while !outgoing.is_done() {
            let (sent, back) = self.send(outgoing).await;
            outgoing = back;
            match sent? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => outgoing.advance(sent),
            }
        }
        Ok(())
    }

    /// A way to end it from outside, which does not keep it open.
    pub(crate) fn cord(&self) -> Cord {
        let stream = match &self.stream {
            Stream::Tcp(stream) => WeakStream::Tcp(Rc::downgrade(stream)),
            Stream::Unix(stream) => WeakStream::Unix(Rc::downgrade(stream)),
        };
        Cord { stream, fd: self.fd }
    }

    /// shutdown(2). With [`Shutdown::Both`], operations in flight end soon; a socket that is already gone is fine.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        // SAFETY: `fd` is the descriptor of `self.stream`, which owns it and closes it only when its last holder is
        // dropped; `self` is such a holder and outlives the borrow, which ends with this statement.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        // ENOTCONN: the peer was faster.
        let _ = SockRef::from(&fd).shutdown(how);
    }
}

// SAFETY: `first` is a part of a vector or of `Bytes`, whose octets stay where they are while the whole is moved, and nobody
// changes them while the operation has it.
#[allow(unsafe_code)]
unsafe impl IoBuf for Outgoing {
    fn read_ptr(&self) -> *const u8 {
        self.first().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.first().len()
    }
}

/// What ends a socket whose task cannot.
pub(crate) struct Cord {
    stream: WeakStream,
    fd: RawFd,
}

enum WeakStream {
    Tcp(Weak<UnsafeCell<Tough<TcpStream>>>),
    Unix(Weak<UnsafeCell<Tough<UnixStream>>>),
}

impl Cord {
    /// Shuts the socket down, both ways, if it is still open.
    pub(crate) fn pull(&self) {
        let stream = match &self.stream {
            WeakStream::Tcp(stream) => stream.upgrade().map(Stream::Tcp),
            WeakStream::Unix(stream) => stream.upgrade().map(Stream::Unix),
        };
        if let Some(stream) = stream {
            Socket { stream, fd: self.fd }.shutdown(Shutdown::Both);
        }
    }
}

/// Ends a receive in flight, which then gives its buffer back.
#[derive(Default)]
pub(crate) struct Canceller {
    inner: ::monoio::io::Canceller,
}

impl Canceller {
    /// Asks the receives that were given this canceller to end. One that had already received says so instead.
    pub(crate) fn cancel(&mut self) {
        self.inner = std::mem::take(&mut self.inner).cancel();
    }

    /// Whether `error` is what a cancelled operation ends with.
    pub(crate) fn is_cancelled(error: &io::Error) -> bool {
        error.raw_os_error() == Some(ECANCELED)
    }
}

/// The end of a bell that is heard, on a worker.
pub(crate) struct Bell {
    reader: UnixStream,
    buffer: Vec<u8>,
}

/// The end of a bell that any thread may pull.
pub(crate) struct BellRope {
    rope: unix::UnixStream,
}

impl BellRope {
    /// A rope, and the descriptor from which its worker makes the bell.
    pub(crate) fn pair() -> io::Result<(BellRope, unix::UnixStream)> {
        let (rope, bell) = unix::UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        Ok((BellRope { rope }, bell))
    }

    /// Rings: one byte into the socket. A full socket is rung enough, and a bell that is gone hears nothing.
    pub(crate) fn pull(&self) {
        let _ = SockRef::from(&self.rope).send_with_flags(&[1], MSG_NOSIGNAL);
    }
}

impl Bell {
    /// Binds the other end of a rope to this thread's runtime.
    pub(crate) fn new(end: unix::UnixStream) -> io::Result<Bell> {
        end.set_nonblocking(running() == BackendKind::Epoll)?;
        let reader = UnixStream::from_std(end)?;
        Ok(Bell { reader, buffer: Vec::with_capacity(BELL_READ_BYTES) })
    }

    /// Waits for a ring, through the kernel. May be dropped while waiting only by whoever needs no further ring.
    pub(crate) async fn rung(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let (result, buffer) = self.reader.read(buffer).await;
        self.buffer = buffer;
        match result? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A timer of the kernel that is waited for like a socket. Setting it is one system call, waiting for it adds nothing
/// to other waits.
pub(crate) struct Alarm {
    timer: OwnedFd,
    polled: UnixStream,
}

impl Alarm {
    /// An alarm that is not set, on this thread's runtime.
    pub(crate) fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // The runtime polls any descriptor; that it calls this one a socket only matters to reads, which we do ourselves.
        let polled = UnixStream::from_std(unix::UnixStream::from(timer.try_clone()?))?;
        Ok(Alarm { timer, polled })
    }

    /// Goes off `after` from now, instead of whenever it would have.
    pub(crate) fn set(&self, after: Duration) -> io::Result<()> {
        // A zero would switch the timer off.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(after.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Waits until the alarm goes off, and silences it. May be dropped while waiting.
    pub(crate) async fn gone_off(&self) -> io::Result<()> {
        self.polled.readable(false).await?;
        let mut expirations = [0; 8];
        match rustix::io::read(&self.timer, &mut expirations) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
