//! Order, ends, wakes, and credits step by step against a model.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use corelane_wire::grpc::Code;
use proptest::prelude::*;

use super::*;

/// Counts how often it was woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn poll_max(inbound: &Inbound, waker: &Waker, max: usize) -> Poll<Result<Option<Vec<u8>>, Status>> {
    let mut cx = Context::from_waker(waker);
    inbound
        .poll_message(&mut cx, Encoding::Identity, max, |payload| Ok(payload.to_vec()))
        .map(Option::transpose)
}

fn poll(inbound: &Inbound) -> Poll<Result<Option<Vec<u8>>, Status>> {
    poll_max(inbound, Waker::noop(), 1 << 20)
}

fn ready(polled: Poll<Result<Option<Vec<u8>>, Status>>) -> Result<Option<Vec<u8>>, Status> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing was ready"),
    }
}

fn code(polled: Poll<Result<Option<Vec<u8>>, Status>>) -> Code {
    ready(polled).unwrap_err().code()
}

#[test]
fn messages_come_in_order_and_then_the_end() {
    let inbound = Inbound::new();
    inbound.push(&[framed(b"one"), framed(b""), framed(b"three")].concat(), Waker::wake_by_ref);
    inbound.end(Waker::wake_by_ref);
    assert_eq!(ready(poll(&inbound)).unwrap().unwrap(), b"one");
    assert_eq!(ready(poll(&inbound)).unwrap().unwrap(), b"");
    assert_eq!(ready(poll(&inbound)).unwrap().unwrap(), b"three");
    assert_eq!(ready(poll(&inbound)).unwrap(), None);
    assert_eq!(ready(poll(&inbound)).unwrap(), None);
}

#[test]
fn complete_messages_are_credited_when_they_are_taken() {
    let inbound = Inbound::new();
    inbound.push(&[framed(b"one"), framed(b"two")].concat(), Waker::wake_by_ref);
    assert_eq!(inbound.take_credit(), 0);
    assert_eq!(inbound.buffered(), 16);
    ready(poll(&inbound)).unwrap();
    assert_eq!(inbound.take_credit(), 8);
    assert_eq!(inbound.take_credit(), 0);
    ready(poll(&inbound)).unwrap();
    assert_eq!(inbound.take_credit(), 8);
    assert_eq!(inbound.buffered(), 0);
}

#[test]
fn an_incomplete_message_is_credited_once_the_reader_waits_for_it() {
    let inbound = Inbound::new();
    let bytes = framed(b"0123456789");
    inbound.push(&bytes[..7], Waker::wake_by_ref);
    assert_eq!(inbound.take_credit(), 0, "nobody has asked");
    assert!(poll(&inbound).is_pending());
    assert_eq!(inbound.take_credit(), 7);
    assert!(poll(&inbound).is_pending());
    assert_eq!(inbound.take_credit(), 0, "not twice");
    inbound.push(&[&bytes[7..], &framed(b"next")].concat(), Waker::wake_by_ref);
    assert_eq!(ready(poll(&inbound)).unwrap().unwrap(), b"0123456789");
    assert_eq!(inbound.take_credit(), 8);
    ready(poll(&inbound)).unwrap();
    assert_eq!(inbound.take_credit(), 9);
}

#[test]
fn a_message_larger_than_the_window_arrives() {
    const WINDOW: usize = 64;
    let inbound = Inbound::new();
    let payload: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut left: VecDeque<u8> = framed(&payload).into();
    let mut window = WINDOW;
    let mut turns = 0;
    let message = loop {
        turns += 1;
        assert!(turns < 1_000, "no progress");
        let chunk: Vec<u8> = left.drain(..window.min(left.len())).collect();
        window -= chunk.len();
        inbound.push(&chunk, Waker::wake_by_ref);
        if let Poll::Ready(message) = poll(&inbound) {
            break message;
        }
        window += inbound.take_credit() as usize;
    };
    assert_eq!(message.unwrap().unwrap(), payload);
    window += inbound.take_credit() as usize;
    assert_eq!(window, WINDOW);
}

#[test]
fn a_waiting_reader_is_woken_once_for_each_wait() {
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(counter.clone());
    let inbound = Inbound::new();
    let woken = || counter.0.load(Ordering::Relaxed);
    inbound.push(&framed(b"early"), Waker::wake_by_ref);
    assert_eq!(woken(), 0);
    assert!(poll_max(&inbound, &waker, 99).is_ready());
    assert!(poll_max(&inbound, &waker, 99).is_pending());
    let clones = Arc::strong_count(&counter);
    inbound.push(b"\0", Waker::wake_by_ref);
    inbound.push(b"\0\0\0", Waker::wake_by_ref);
    assert_eq!(woken(), 1);
    assert!(poll_max(&inbound, &waker, 99).is_pending());
    assert_eq!(Arc::strong_count(&counter), clones, "the waker is kept, not cloned again");
    inbound.end(Waker::wake_by_ref);
    assert_eq!(woken(), 2);
    inbound.end(Waker::wake_by_ref);
    assert_eq!(woken(), 2);
    assert_eq!(code(poll_max(&inbound, &waker, 99)), Code::Internal);
}

#[test]
fn whoever_feeds_it_may_wake_the_reader_later_and_once_for_each_wait() {
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(counter.clone());
    let inbound = Inbound::new();
    let mut later = Vec::new();
    for status in [None, Some(Status::aborted("gone"))] {
        assert!(poll_max(&inbound, &waker, 99).is_pending());
        for _ in 0..2 {
            match &status {
                None => inbound.push(b"\0", |waker| later.push(waker.clone())),
                Some(status) => inbound.fail(status.clone(), |waker| later.push(waker.clone())),
            }
        }
        assert_eq!((later.len(), counter.0.load(Ordering::Relaxed)), (1, 0));
        assert!(later.remove(0).will_wake(&waker));
    }
    assert_eq!(code(poll_max(&inbound, &waker, 99)), Code::Aborted);
}

#[test]
fn a_second_task_takes_the_first_ones_place() {
    let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let inbound = Inbound::new();
    assert!(poll_max(&inbound, &Waker::from(first.clone()), 99).is_pending());
    assert!(poll_max(&inbound, &Waker::from(second.clone()), 99).is_pending());
    inbound.end(Waker::wake_by_ref);
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_failure_comes_after_the_whole_messages() {
    let inbound = Inbound::new();
    inbound.push(&framed(b"one"), Waker::wake_by_ref);
    inbound.push(b"\0\0", Waker::wake_by_ref);
    inbound.fail(Status::aborted("gone"), Waker::wake_by_ref);
    inbound.end(Waker::wake_by_ref);
    assert_eq!(ready(poll(&inbound)).unwrap().unwrap(), b"one");
    assert_eq!(code(poll(&inbound)), Code::Aborted);
    assert_eq!(ready(poll(&inbound)).unwrap(), None, "an error is said once");
    assert_eq!(inbound.take_credit(), 10);
}

#[test]
fn the_end_inside_a_message_is_internal() {
    let inbound = Inbound::new();
    inbound.push(&framed(b"message")[..11], Waker::wake_by_ref);
    inbound.end(Waker::wake_by_ref);
    let status = ready(poll(&inbound)).unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "the stream ended inside a message"));
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_prefix() {
    let inbound = Inbound::new();
    inbound.push(&[0, 0, 1, 0, 0, 9, 9], Waker::wake_by_ref);
    let status = ready(poll_max(&inbound, Waker::noop(), 65_535)).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "message too large: 65536 bytes, the limit is 65535");
    assert_eq!(inbound.take_credit(), 7);
    inbound.push(&[0; 100], Waker::wake_by_ref);
    assert_eq!((inbound.take_credit(), inbound.buffered()), (100, 0), "the rest is thrown away");
    assert_eq!(ready(poll(&inbound)).unwrap(), None);
}

#[test]
fn a_bad_flag_is_internal() {
    let inbound = Inbound::new();
    inbound.push(&[2, 0, 0, 0, 0], Waker::wake_by_ref);
    assert_eq!(code(poll(&inbound)), Code::Internal);
}

#[test]
fn a_reader_that_is_gone_costs_no_window() {
    let inbound = Inbound::new();
    inbound.push(&framed(b"one"), Waker::wake_by_ref);
    inbound.push(b"\0\0\0", Waker::wake_by_ref);
    ready(poll(&inbound)).unwrap();
    assert!(poll(&inbound).is_pending());
    inbound.abandon();
    assert_eq!(inbound.take_credit(), 11);
    inbound.push(&[0; 20], Waker::wake_by_ref);
    assert_eq!((inbound.take_credit(), inbound.buffered()), (20, 0));
}

#[test]
fn the_compressed_flag_can_be_asked_for() {
    let inbound = Rc::new(Inbound::new());
    inbound.push(&[1, 0, 0, 0, 0], Waker::wake_by_ref);
    inbound.push(&framed(b""), Waker::wake_by_ref);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(!inbound.last_was_compressed());
    assert!(inbound.poll_message(&mut cx, Encoding::Gzip, 9, |_| Ok(())).is_ready());
    assert!(inbound.last_was_compressed());
    assert!(inbound.poll_message(&mut cx, Encoding::Gzip, 9, |_| Ok(())).is_ready());
    assert!(!inbound.last_was_compressed());
}

#[test]
fn an_idle_stream_holds_no_buffer() {
    let inbound = Inbound::new();
    inbound.push(&framed(b"one"), Waker::wake_by_ref);
    ready(poll(&inbound)).unwrap();
    assert!(poll(&inbound).is_pending());
    assert!(inbound.state.borrow().deframer.is_none());
}

/// What the model knows: which bytes are buffered, and which of them were credited.
#[derive(Default)]
struct Model {
    /// Lengths of the messages, prefix included, not yet taken.
    messages: VecDeque<usize>,
    buffered: usize,
    prepaid: usize,
    credit: usize,
}

impl Model {
    fn push(&mut self, len: usize) {
        self.buffered += len;
    }

    /// Whether a message was complete.
    fn poll(&mut self) -> bool {
        match self.messages.front() {
            Some(&len) if len <= self.buffered => {
                self.messages.pop_front();
                self.credit += len - self.prepaid;
                self.buffered -= len;
                self.prepaid = 0;
                true
            }
            _ => {
                self.credit += self.buffered - self.prepaid;
                self.prepaid = self.buffered;
                false
            }
        }
    }
}

proptest! {
    /// Any messages, cut anywhere, read at any time: credits follow the model step by step and add up to the bytes.
    #[test]
    fn credits_follow_the_model(
        lens in prop::collection::vec(0_usize..200, 0..20),
        steps in prop::collection::vec((0_usize..100, 0_usize..3), 0..60),
    ) {
        let inbound = Inbound::new();
        let mut model = Model { messages: lens.iter().map(|len| len + PREFIX_LEN).collect(), ..Model::default() };
        let bytes: Vec<u8> = lens.iter().flat_map(|&len| framed(&vec![7; len])).collect();
        let (mut rest, mut credited, mut taken) = (bytes.as_slice(), 0, 0);
        for (len, polls) in steps.into_iter().chain([(usize::MAX, 0)]) {
            let (chunk, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            inbound.push(chunk, Waker::wake_by_ref);
            model.push(chunk.len());
            for _ in 0..polls {
                let complete = model.poll();
                prop_assert_eq!(poll(&inbound).is_ready(), complete);
                taken += usize::from(complete);
            }
            prop_assert_eq!(inbound.buffered(), model.buffered);
            prop_assert_eq!(inbound.take_credit() as usize, model.credit);
            credited += std::mem::take(&mut model.credit);
        }
        inbound.end(Waker::wake_by_ref);
        for len in &lens[taken..] {
            prop_assert_eq!(ready(poll(&inbound)).unwrap().unwrap().len(), *len);
        }
        prop_assert!(ready(poll(&inbound)).unwrap().is_none());
        prop_assert_eq!(credited + inbound.take_credit() as usize, bytes.len());
    }
}
