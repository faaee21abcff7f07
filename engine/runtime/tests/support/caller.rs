//! A client's session over a dialed connection, and calls over it as callers of the same worker make them.

use super::{PATIENCE, Reply};
use corelane_runtime::{
    Address, Backend, CloseReason, DialOptions, Handle, Io, Link, Session, Spawner, dial, spawn_local,
    start_clients,
};
use corelane_wire::FieldList;
use corelane_wire::connection::{Config as WireConfig, Event, StreamKey};
use corelane_wire::frame::EndStream;
use std::future::{Future, poll_fn};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// What the sessions of a test's dialed connections tell it.
#[derive(Default)]
pub struct Calls {
    pub closed: Mutex<Vec<String>>,
    pub drained: Mutex<usize>,
    pub woken: Mutex<Vec<u32>>,
}

struct Slot {
    key: StreamKey,
    reply: Reply,
    /// Bytes of the request that are still to be sent.
    owed: usize,
    waiting: Option<Waker>,
}

pub struct Caller {
    log: Arc<Calls>,
    slots: Vec<Slot>,
    over: bool,
}

impl Caller {
    pub fn new(log: &Arc<Calls>) -> Caller {
        Caller { log: log.clone(), slots: Vec::new(), over: false }
    }

    /// Begins a call with a body of so many bytes; gives its slot.
    pub fn open(&mut self, io: &mut Io<'_>, path: &str, owed: usize) -> u32 {
        let mut fields = FieldList::new();
        for (name, value) in
            [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
        {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let end = if owed == 0 { EndStream::Yes } else { EndStream::No };
        let key = io.wire.open(&fields, end).unwrap();
        let slot = u32::try_from(self.slots.len()).unwrap();
        self.slots.push(Slot { key, reply: Reply::default(), owed, waiting: None });
        io.wire.stream(key).unwrap().set_tag(slot);
        self.produce(io, slot);
        slot
    }

    fn produce(&mut self, io: &mut Io<'_>, slot: u32) {
        let slot = &mut self.slots[slot as usize];
        while slot.owed > 0
            && let Some(mut stream) = io.wire.stream(slot.key)
        {
            let bytes = stream.send_room().min(slot.owed);
            if bytes == 0 {
                return;
            }
            slot.owed -= bytes;
            let end = if slot.owed == 0 { EndStream::Yes } else { EndStream::No };
            stream.send_data(&vec![b'q'; bytes], end).unwrap();
        }
    }

    fn reply(&mut self, tag: u32) -> &mut Reply {
        &mut self.slots[tag as usize].reply
    }

    fn finish(&mut self, io: &mut Io<'_>, tag: u32) {
        self.reply(tag).ended = true;
        if let Some(waker) = self.slots[tag as usize].waiting.take() {
            io.wake_after(waker);
        }
    }
}

impl Session for Caller {
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>) {
        match *event {
            Event::Data { key, tag, payload, end_stream } => {
                if let Some(mut stream) = io.wire.stream(key) {
                    stream.credit(u32::try_from(payload.len()).unwrap());
                }
                self.reply(tag).body.extend_from_slice(payload);
                if end_stream {
                    self.finish(io, tag);
                }
            }
            Event::Headers { tag, end_stream: true, .. } | Event::Trailers { tag, .. } => {
                self.finish(io, tag);
            }
            Event::Reset { tag, code, .. } => {
                self.reply(tag).reset = Some(code);
                self.finish(io, tag);
            }
            _ => {}
        }
    }

    fn wake(&mut self, _io: &mut Io<'_>, slot: u32) {
        self.log.woken.lock().unwrap().push(slot);
    }

    fn timer(&mut self, _io: &mut Io<'_>, _slot: u32) {}

    fn writable(&mut self, io: &mut Io<'_>, tag: u32) {
        self.produce(io, tag);
    }

    fn drain(&mut self, _io: &mut Io<'_>) {
        *self.log.drained.lock().unwrap() += 1;
    }

    fn closed(&mut self, reason: &CloseReason, woken: &mut Vec<Waker>) {
        self.over = true;
        self.log.closed.lock().unwrap().push(reason.to_string());
        woken.extend(self.slots.iter_mut().filter_map(|slot| slot.waiting.take()));
    }
}

/// Windows in which large replies move without a round trip for each frame.
pub fn wire() -> WireConfig {
    WireConfig { stream_window: 1 << 20, connection_window: 1 << 24, ..WireConfig::default() }
}

/// Workers of a client's.
pub fn clients(backend: Backend) -> Handle {
    start_clients(super::config(backend)).unwrap()
}

/// A plain connection to `address`.
pub async fn connect(address: &Address, log: &Arc<Calls>) -> Link<Caller> {
    let dialed = dial(address, &DialOptions::default()).await.unwrap();
    dialed.start(&wire(), Caller::new(log)).unwrap()
}

/// The reply of a call that was begun; `None` if the connection ends before.
pub async fn reply(link: &Link<Caller>, slot: u32) -> Option<Reply> {
    poll_fn(|cx| {
        link.session(|session| {
            let over = session.over;
            let call = &mut session.slots[slot as usize];
            if call.reply.ended {
                return Poll::Ready(Some(std::mem::take(&mut call.reply)));
            }
            if over {
                return Poll::Ready(None);
            }
            call.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
    })
    .await
}

/// One call with a body of so many bytes.
pub async fn call(link: &Link<Caller>, path: &str, body: usize) -> Option<Reply> {
    let slot = link.with(|session, io| session.open(io, path, body))?;
    reply(link, slot).await
}

/// Runs what `work` makes as a task of the first worker, and waits for its result.
pub fn on_worker<T, F>(engine: &Handle, work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    begin(&engine.spawner(), work).recv_timeout(PATIENCE).expect("the task has a result in time")
}

/// Runs what `work` makes as a task of the first worker; its result will come.
pub fn begin<T, F>(
    spawner: &Spawner,
    work: impl FnOnce() -> F + Send + 'static,
) -> std::sync::mpsc::Receiver<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, receiver) = channel();
    let job = move || {
        spawn_local(async move {
            // Nobody may want it any more.
            let _ = sender.send(work().await);
        });
    };
    spawner.submit(0, job).unwrap();
    receiver
}
