//! When a connection is asked whether it is still there (gRFC A8), as a value: time in, what to do out.
//!
//! Does not: send, or own a timer. Invariant: a PING is sent only after `time` without a byte from the server, and not while
//! there are no streams, unless that was permitted. A stream of the channel's own counts, as it does with grpc-go and C-core:
//! servers permit PINGs then, and the watch of an endpoint's health must notice when nobody answers it any more.

use std::time::Duration;

use corelane_wire::Instant;

/// The payload of our PINGs.
pub(crate) const PAYLOAD: [u8; 8] = *b"keepaliv";

/// PINGs are not sent more often than this, as gRFC A8 says: servers count them.
pub(crate) const TIME_MIN: Duration = Duration::from_secs(10);

/// How a channel's connections are kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepaliveConfig {
    /// After how long without a byte from the server it is asked; at least 10 s.
    pub time: Duration,
    /// How long it has to answer: 20 s unless it is set.
    pub timeout: Duration,
    /// Whether it is asked while there are no calls. Most servers forbid that. The watch of an endpoint's health, and load reports
    /// out of band, are calls here.
    pub while_idle: WhileIdle,
}

impl KeepaliveConfig {
    /// Asks after `time`, while there are calls.
    #[must_use]
    pub const fn new(time: Duration) -> KeepaliveConfig {
        KeepaliveConfig { time, timeout: Duration::from_secs(20), while_idle: WhileIdle::Rest }
    }
}

/// What keepalive does while there are no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileIdle {
    /// Nothing.
    Rest,
    /// The same as while there are calls.
    Ping,
}

/// What to do when the timer went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until a call begins.
    Rest,
    /// Come back then.
    Wait(Instant),
    /// Send a PING, and come back then.
    Ping(Instant),
    /// The server had this long.
    Dead(Duration),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keepalive {
    config: KeepaliveConfig,
    heard: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No timer is set.
    Resting,
    /// The timer is set.
    Listening,
    /// A PING is out since then.
    Asked(Instant),
}

impl Keepalive {
    pub(crate) fn new(config: KeepaliveConfig) -> Keepalive {
        Keepalive { config, heard: Instant::default(), state: State::Resting }
    }

    /// The connection is ready: when the timer is to go off, if at all.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Instant> {
        self.heard = now;
        (self.config.while_idle == WhileIdle::Ping).then(|| self.listen(now))
    }

    /// Something came from the server.
    #[inline]
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The server has answered a PING: when the timer is to go off then, if one was out. Without this the next PING would wait for
    /// the end of this one's time.
    pub(crate) fn answered(&mut self) -> Option<Instant> {
        matches!(self.state, State::Asked(_)).then(|| self.listen(self.heard))
    }

    /// A call began: when the timer is to go off, if it is not set.
    #[inline]
    pub(crate) fn call_began(&mut self, now: Instant) -> Option<Instant> {
        (self.state == State::Resting).then(|| self.listen(now))
    }

    fn listen(&mut self, now: Instant) -> Instant {
        self.state = State::Listening;
        self.heard.max(now) + self.config.time
    }

    /// The timer went off.
    pub(crate) fn due(&mut self, now: Instant, streams: u32) -> Next {
        if let State::Asked(since) = self.state
            && self.heard < since
        {
            let over = since + self.config.timeout;
            return if now >= over { Next::Dead(self.config.timeout) } else { Next::Wait(over) };
        }
        self.state = State::Listening;
        let due = self.heard + self.config.time;
        if now < due {
            return Next::Wait(due);
        }
        if streams == 0 && self.config.while_idle == WhileIdle::Rest {
            self.state = State::Resting;
            return Next::Rest;
        }
        self.state = State::Asked(now);
        Next::Ping(now + self.config.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn keepalive(while_idle: WhileIdle) -> Keepalive {
        let mut config = KeepaliveConfig::new(Duration::from_secs(10));
        config.while_idle = while_idle;
        Keepalive::new(config)
    }

    #[test]
    fn a_silent_server_is_asked_and_then_given_up() {
        let mut keepalive = keepalive(WhileIdle::Rest);
        assert_eq!(keepalive.start(at(0)), None);
        assert_eq!(keepalive.call_began(at(1)), Some(at(11)));
        assert_eq!(keepalive.call_began(at(2)), None, "the timer is set");
        assert_eq!(keepalive.due(at(11), 1), Next::Ping(at(31)));
        assert_eq!(keepalive.due(at(31), 1), Next::Dead(Duration::from_secs(20)));
    }

    #[test]
    fn whatever_the_server_sends_is_an_answer() {
        let mut keepalive = keepalive(WhileIdle::Rest);
        keepalive.start(at(0));
        keepalive.call_began(at(0));
        keepalive.heard(at(9));
        assert_eq!(keepalive.due(at(10), 1), Next::Wait(at(19)));
        assert_eq!(keepalive.due(at(19), 1), Next::Ping(at(39)));
        keepalive.heard(at(20));
        assert_eq!(keepalive.due(at(39), 1), Next::Ping(at(59)), "19 s have passed since");
    }

    #[test]
    fn an_answer_begins_the_wait_for_the_next_question() {
        let mut keepalive = keepalive(WhileIdle::Rest);
        keepalive.start(at(0));
        keepalive.call_began(at(0));
        assert_eq!(keepalive.answered(), None, "nothing was asked");
        assert_eq!(keepalive.due(at(10), 1), Next::Ping(at(30)));
        keepalive.heard(at(11));
        assert_eq!(keepalive.answered(), Some(at(21)));
        assert_eq!(keepalive.due(at(21), 1), Next::Ping(at(41)));
        assert_eq!(keepalive.due(at(41), 1), Next::Dead(Duration::from_secs(20)));
    }

    #[test]
    fn without_calls_it_rests_unless_it_may_not() {
        let mut resting = keepalive(WhileIdle::Rest);
        resting.start(at(0));
        resting.call_began(at(0));
        assert_eq!(resting.due(at(10), 0), Next::Rest);
        assert_eq!(resting.call_began(at(50)), Some(at(60)));
        let mut pinging = keepalive(WhileIdle::Ping);
        assert_eq!(pinging.start(at(0)), Some(at(10)));
        assert_eq!(pinging.due(at(10), 0), Next::Ping(at(30)));
    }
}
