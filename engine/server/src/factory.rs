//! What is made once on each worker: its services, their methods, and then a session for each of its connections.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use corelane_call::Peer;
use corelane_runtime::{Address, PeerInfo, SessionFactory};

use crate::methods::Methods;
use crate::session::ServerSession;
use crate::worker::{CallLimits, Worker};

/// Makes the sessions of one worker.
pub(crate) struct Sessions {
    worker: OnceCell<Rc<Worker>>,
    /// What the worker's part is made of, with the first connection: only then the worker runs for sure.
    parts: RefCell<Option<(Methods, CallLimits)>>,
}

impl Sessions {
    pub(crate) fn new(methods: Methods, limits: CallLimits) -> Sessions {
        Sessions { worker: OnceCell::new(), parts: RefCell::new(Some((methods, limits))) }
    }

    fn worker(&self) -> &Rc<Worker> {
        self.worker.get_or_init(|| {
            let (methods, limits) = self.parts.take().expect("taken here, once");
            Rc::new(Worker::new(methods, limits, corelane_runtime::counters()))
        })
    }
}

impl SessionFactory for Sessions {
    type Session = ServerSession;

    fn session(&self, peer: &Rc<PeerInfo>) -> ServerSession {
        let peer = Peer::new(end(&peer.remote), end(&peer.local));
        ServerSession::new(self.worker().clone(), Rc::new(peer))
    }
}

/// One end of a connection, as calls see it.
fn end(address: &Address) -> corelane_call::Address {
    match address {
        Address::Tcp(address) => corelane_call::Address::Inet(*address),
        Address::Unix(path) if path.as_os_str().is_empty() => corelane_call::Address::Unix(None),
        Address::Unix(path) => corelane_call::Address::Unix(Some(path.clone())),
    }
}
