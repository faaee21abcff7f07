//! A bounded queue between tasks of one thread.
//!
//! Does not: cross threads; `runtime`'s mailboxes do. Invariant: no more than `capacity` items wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

/// A queue of at most `capacity` items. The receiver is a stream, as a handler returns it; it ends when every sender is
/// dropped. When the receiver is dropped (the call was cancelled, say) senders are told.
///
/// ```
/// use corelane_call::stream::channel;
/// use corelane_call::{Response, Status};
///
/// let (sender, receiver) = channel::<Result<u32, Status>>(4);
/// sender.try_send(Ok(1)).unwrap();
/// let response = Response::new(receiver);
/// ```
///
/// # Panics
/// If `capacity` is zero.
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for one item at least");
    let shared = Rc::new(RefCell::new(Shared {
        items: VecDeque::new(),
        capacity,
        senders: 1,
        receiver: Side::Open,
        reader: None,
        writers: Vec::new(),
    }));
    (Sender { shared: shared.clone() }, Receiver { shared })
}

struct Shared<T> {
    items: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receiver: Side,
    /// The task that waits for an item.
    reader: Option<Waker>,
    /// The tasks that wait for room, each once. All are woken for one place: which of them still wants it only they know.
    writers: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    Closed,
}

impl<T> Shared<T> {
    /// Puts `item` in, if there is room and someone to read it; returns the reader to wake.
    fn push(&mut self, item: T) -> Result<Option<Waker>, TrySendError<T>> {
        if self.receiver == Side::Closed {
            return Err(TrySendError::Closed(item));
        }
        if self.items.len() >= self.capacity {
            return Err(TrySendError::Full(item));
        }
        self.items.push_back(item);
        Ok(self.reader.take())
    }

    fn wait_for_room(&mut self, waker: &Waker) {
        if !self.writers.iter().any(|known| known.will_wake(waker)) {
            self.writers.push(waker.clone());
        }
    }
}

/// Wakes outside of any borrow: a waker is foreign code.
fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// Puts items into a [`channel`]. Clones feed the same one.
pub struct Sender<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

impl<T> Sender<T> {
    /// Puts `item` in, waiting for room.
    ///
    /// # Errors
    /// [`SendError`] with the item where the receiver is gone.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        let mut item = Some(item);
        poll_fn(|cx| {
            let Some(value) = item.take() else { return Poll::Ready(Ok(())) };
            match self.try_send(value) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TrySendError::Closed(value)) => Poll::Ready(Err(SendError(value))),
                Err(TrySendError::Full(value)) => {
                    item = Some(value);
                    self.shared.borrow_mut().wait_for_room(cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Puts `item` in now.
    ///
    /// # Errors
    /// [`TrySendError`] with the item where there is no room or the receiver is gone.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let reader = self.shared.borrow_mut().push(item)?;
        wake_all(reader);
        Ok(())
    }

    /// Returns when the receiver is gone: the moment to stop producing.
    pub async fn closed(&self) {
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            if shared.receiver == Side::Closed {
                return Poll::Ready(());
            }
            shared.wait_for_room(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.borrow().receiver == Side::Closed
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.borrow_mut().senders += 1;
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let reader = {
            let mut shared = self.shared.borrow_mut();
            shared.senders -= 1;
            if shared.senders == 0 { shared.reader.take() } else { None }
        };
        wake_all(reader);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The stream of what [`Sender`]s put in.
pub struct Receiver<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

impl<T> Receiver<T> {
    /// The next item; `None` once every sender is gone and nothing is left. Can be dropped and called again.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let (item, writers) = {
            let mut shared = self.shared.borrow_mut();
            match shared.items.pop_front() {
                Some(item) => (item, std::mem::take(&mut shared.writers)),
                None if shared.senders == 0 => return Poll::Ready(None),
                None => {
                    shared.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        };
        wake_all(writers);
        Poll::Ready(Some(item))
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (items, writers) = {
            let mut shared = self.shared.borrow_mut();
            shared.receiver = Side::Closed;
            (std::mem::take(&mut shared.items), std::mem::take(&mut shared.writers))
        };
        // Outside of the borrow: an item may hold a sender.
        drop(items);
        wake_all(writers);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared.borrow();
        f.debug_struct("Receiver")
            .field("len", &shared.items.len())
            .field("capacity", &shared.capacity)
            .finish()
    }
}

/// The receiver is gone; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver of the channel is gone")
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError")
    }
}

impl<T> std::error::Error for SendError<T> {}

/// There is no room, or no receiver; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// As many items wait as the channel holds.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Closed(_) => "the receiver of the channel is gone",
        })
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full",
            TrySendError::Closed(_) => "Closed",
        })
    }
}

impl<T> std::error::Error for TrySendError<T> {}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>, counter: &Arc<Counter>) -> Poll<T> {
        future.poll(&mut Context::from_waker(&Waker::from(counter.clone())))
    }

    #[test]
    fn items_come_in_order_and_end_with_the_last_sender() {
        let counter = Arc::new(Counter::default());
        let (sender, mut receiver) = channel(2);
        let second = sender.clone();
        sender.try_send(1).unwrap();
        second.try_send(2).unwrap();
        assert!(sender.try_send(3) == Err(TrySendError::Full(3)));
        assert_eq!(poll(pin!(receiver.recv()), &counter), Poll::Ready(Some(1)));
        drop(sender);
        assert_eq!(poll(pin!(receiver.recv()), &counter), Poll::Ready(Some(2)));
        assert_eq!(poll(pin!(receiver.recv()), &counter), Poll::Pending);
        drop(second);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1, "the end wakes the reader");
        assert_eq!(poll(pin!(receiver.recv()), &counter), Poll::Ready(None));
    }

    #[test]
    fn senders_wait_for_room() {
        let (reading, writing) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let (sender, mut receiver) = channel(1);
        let mut first = pin!(sender.send(1));
        let mut second = pin!(sender.send(2));
        assert_eq!(poll(first.as_mut(), &writing), Poll::Ready(Ok(())));
        assert_eq!(poll(second.as_mut(), &writing), Poll::Pending);
        assert_eq!(poll(second.as_mut(), &writing), Poll::Pending);
        assert_eq!(poll(pin!(receiver.recv()), &reading), Poll::Ready(Some(1)));
        assert_eq!(writing.0.load(Ordering::Relaxed), 1, "one task, one wake");
        assert_eq!(poll(second.as_mut(), &writing), Poll::Ready(Ok(())));
        assert_eq!(poll(pin!(receiver.recv()), &reading), Poll::Ready(Some(2)));
    }

    #[test]
    fn a_writer_that_gave_up_does_not_keep_the_place() {
        let (quitter, other) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let (sender, mut receiver) = channel(1);
        sender.try_send(0).unwrap();
        let mut patient = pin!(sender.send(2));
        {
            let mut gives_up = pin!(sender.send(1));
            assert_eq!(poll(gives_up.as_mut(), &quitter), Poll::Pending);
        }
        assert_eq!(poll(patient.as_mut(), &other), Poll::Pending);
        assert_eq!(poll(pin!(receiver.recv()), &other), Poll::Ready(Some(0)));
        assert_eq!(other.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(patient.as_mut(), &other), Poll::Ready(Ok(())));
    }

    #[test]
    fn senders_learn_that_the_receiver_is_gone() {
        let counter = Arc::new(Counter::default());
        let (sender, receiver) = channel(1);
        sender.try_send(1).unwrap();
        let mut waiting = pin!(sender.send(2));
        let mut closed = pin!(sender.closed());
        assert_eq!(poll(waiting.as_mut(), &counter), Poll::Pending);
        assert_eq!(poll(closed.as_mut(), &counter), Poll::Pending);
        assert!(!sender.is_closed());
        drop(receiver);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(waiting.as_mut(), &counter), Poll::Ready(Err(SendError(2))));
        assert_eq!(poll(closed.as_mut(), &counter), Poll::Ready(()));
        assert!(sender.try_send(3) == Err(TrySendError::Closed(3)));
    }

    #[test]
    #[should_panic(expected = "room for one item")]
    fn a_channel_without_room_is_refused() {
        let _ = channel::<()>(0);
    }
}
