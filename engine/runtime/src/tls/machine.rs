//! rustls as a driver uses it: ciphertext in, plaintext out in pieces that hold whole frames, and back.
//!
//! Plaintext is shown where rustls has put it. Only a frame that goes on in the next record is copied, so that it lies in
//! one piece. At most one read's worth of records is decrypted ahead, and the rest stays ciphertext in the receive buffer,
//! which stops the reading.
//!
//! Invariant: while something is carried, it comes before everything that rustls holds. After an error nothing is decrypted
//! or encrypted any more; only the alert leaves.

use super::{ALPN, ClientTls, ServerTls, TlsError};
use crate::buffers::Buffers;
use corelane_wire::Instant;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use std::io::{BufRead, Write};

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The handshake is under way, for so long at most.
    Handshake { until: Instant },
    /// Data is exchanged.
    Open,
    /// We have said that nothing more comes, or that an error ended it.
    Over,
}

/// See the module.
pub(crate) struct Machine {
    rustls: Connection,
    stage: Stage,
    /// The beginning of a frame that its record did not hold whole.
    carry: Vec<u8>,
    /// What of it was consumed.
    consumed: usize,
    /// Of the piece that was shown last where rustls has put it, so much was not consumed.
    left: usize,
    /// A byte has come.
    begun: bool,
    records: Records,
    /// When the rest of a record must be here that has begun.
    rest_until: Option<Instant>,
    /// The peer's close_notify has come.
    ended: bool,
}

/// Whether bytes begin as a TLS record does (RFC 8446 section 5.1): neither HTTP/1 nor a frame that begins an HTTP/2
/// connection does so.
pub(crate) fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23] | [20..=23, 3, ..])
}

/// Where records end in what was received: rustls keeps half a record, and does not say so.
#[derive(Clone, Copy, Debug, Default)]
struct Records {
    head: [u8; RECORD_HEAD],
    head_len: usize,
    /// Octets of the record that are still to come, once its head is here.
    left: usize,
}

const RECORD_HEAD: usize = 5;

impl Records {
    /// Goes on by these octets; says how many records have ended in them.
    fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.head_len < RECORD_HEAD {
                let len = bytes.len().min(RECORD_HEAD - self.head_len);
                self.head[self.head_len..self.head_len + len].copy_from_slice(&bytes[..len]);
                self.head_len += len;
                bytes = &bytes[len..];
                // RFC 8446 section 5.1: a type, a version, a length.
                self.left = usize::from(u16::from_be_bytes([self.head[3], self.head[4]]));
            } else {
                let len = bytes.len().min(self.left);
                self.left -= len;
                bytes = &bytes[len..];
            }
            if self.head_len == RECORD_HEAD && self.left == 0 {
                self.head_len = 0;
                ended += 1;
            }
        }
        ended
    }

    fn is_inside(&self) -> bool {
        self.head_len > 0
    }
}

impl Machine {
    /// A client's end. `until` is when the handshake must be over.
    ///
    /// # Errors
    /// [`TlsError::InvalidServerName`].
    pub(crate) fn client(tls: &ClientTls, server_name: &str, until: Instant) -> Result<Machine, TlsError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::InvalidServerName { name: server_name.to_owned() })?;
        let client = ClientConnection::new(tls.config.clone(), name).map_err(|error| TlsError::of(&error))?;
        Ok(Machine::new(client.into(), until))
    }

    /// A server's end.
    pub(crate) fn server(tls: &ServerTls, until: Instant) -> Machine {
        let server = ServerConnection::new(tls.config.clone());
        // The one reason is a fragment size that is out of range, and ours is rustls's own.
        Machine::new(server.expect("a configuration that was built can be used").into(), until)
    }

    fn new(rustls: Connection, until: Instant) -> Machine {
        let stage = Stage::Handshake { until };
        let (carry, records) = (Vec::new(), Records::default());
        Machine {
            rustls,
            stage,
            carry,
            consumed: 0,
            left: 0,
            begun: false,
            records,
            rest_until: None,
            ended: false,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Handshake { .. })
    }

    /// When the handshake must be over, while it is not, or the rest of a record must be here.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Handshake { until } => Some(until),
            Stage::Open => self.rest_until,
            Stage::Over => None,
        }
    }

    /// At the end of a turn: whether the peer can go on, and by when it has to if it has begun a record, unless a turn before
    /// has said so of the same one.
    pub(crate) fn await_rest(&mut self, until: Option<Instant>) {
        self.rest_until = match until {
            Some(until) if self.records.is_inside() => Some(self.rest_until.unwrap_or(until)),
            _ => None,
        };
    }

    /// Whether what the protocol has produced can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether the peer has said that nothing more comes.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Decrypts from the front of `input` until something came of it; says how much was taken. With plaintext pending, it
    /// adds to that.
    ///
    /// # Errors
    /// The connection is over; an alert may have to leave.
    pub(crate) fn take(&mut self, input: &[u8]) -> Result<usize, TlsError> {
        if !self.begun && !input.is_empty() {
            self.begun = true;
            if !is_record(input) {
                // rustls is shown it all the same, for its alert: the peer may know one when it sees it.
                if self.rustls.read_tls(&mut &*input).is_ok() {
                    let _ = self.rustls.process_new_packets();
                }
                return Err(self.broken(TlsError::PlaintextPeer));
            }
        }
        let mut taken = 0;
        while taken < input.len() && !self.ended {
            let read =
                self.rustls.read_tls(&mut &input[taken..]).map_err(|error| self.broken(error.into()))?;
            if self.records.pass(&input[taken..taken + read]) > 0 {
                self.rest_until = None;
            }
            taken += read;
            let processed = self.rustls.process_new_packets();
            let state = processed.map_err(|error| self.broken(TlsError::of(&error)))?;
            self.ended = state.peer_has_closed();
            if self.is_handshaking() && !self.rustls.is_handshaking() {
                self.stage = Stage::Open;
                if self.rustls.alpn_protocol() != Some(ALPN) {
                    self.end();
                    return Err(TlsError::NoAlpn);
                }
            }
            if state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(taken)
    }

    fn broken(&mut self, error: TlsError) -> TlsError {
        self.stage = Stage::Over;
        error
    }

    /// What was decrypted and not consumed, as far as it lies in one piece.
    #[inline]
    pub(crate) fn unread(&mut self) -> &[u8] {
        if self.carry.is_empty() { self.chunk() } else { &self.carry[self.consumed..] }
    }

    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        if self.carry.is_empty() {
            self.left = self.chunk().len() - bytes;
            self.rustls.reader().consume(bytes);
            return;
        }
        self.consumed += bytes;
        if self.consumed == self.carry.len() {
            self.carry.clear();
            self.consumed = 0;
        }
    }

    /// Shows more than [`unread`](Self::unread) did, of which at most the beginning of a frame is left: decrypts from the front of
    /// `input` for it. Says how much of that was taken, and whether there is more to see now.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn more(&mut self, input: &[u8], buffers: &Buffers) -> Result<(usize, bool), TlsError> {
        if self.left > 0 {
            self.carry_on(buffers);
        } else if self.carry.is_empty() && !self.chunk().is_empty() {
            // Nothing is left, and the next record came with the last one: it has not been shown yet.
            return Ok((0, true));
        }
        let taken = if self.chunk().is_empty() { self.take(input)? } else { 0 };
        let is_more = !self.chunk().is_empty();
        if is_more && !self.carry.is_empty() {
            self.carry_on(buffers);
        }
        Ok((taken, is_more))
    }

    /// The first piece of what rustls has decrypted. It reports an empty store as an error; [`Self::ended`] is how we know
    /// an end.
    fn chunk(&mut self) -> &[u8] {
        self.rustls.reader().into_first_chunk().unwrap_or_default()
    }

    /// Moves the first piece behind what is carried.
    fn carry_on(&mut self, buffers: &Buffers) {
        self.carry.drain(..self.consumed);
        (self.consumed, self.left) = (0, 0);
        let chunk = self.rustls.reader().into_first_chunk().unwrap_or_default();
        if chunk.is_empty() {
            return;
        }
        if self.carry.capacity() == 0 {
            self.carry = buffers.take_spare();
        }
        self.carry.extend_from_slice(chunk);
        let moved = chunk.len();
        self.rustls.reader().consume(moved);
    }

    /// At the end of a turn: gives storage back that is not in use.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.carry.is_empty() && self.carry.capacity() != 0 {
            buffers.give_spare(std::mem::take(&mut self.carry));
        }
    }

    /// Whether [`seal`](Self::seal) would produce anything, with so many bytes to encrypt.
    pub(crate) fn has_output(&self, plain_bytes: usize) -> bool {
        self.rustls.wants_write() || (self.is_open() && plain_bytes > 0)
    }

    /// Encrypts all of `plain`, once the handshake is over, and moves everything that is to be sent to `output`.
    pub(crate) fn seal(&mut self, plain: &mut Vec<u8>, output: &mut Vec<u8>) {
        self.flush(output);
        if !self.is_open() {
            return;
        }
        let mut from = 0;
        while from < plain.len() {
            // It takes as much as its own buffer has room for, which `flush` has emptied.
            let taken = self.rustls.writer().write(&plain[from..]).expect("the store of rustls never fails");
            assert!(taken > 0, "the store of rustls is empty, so it has room");
            from += taken;
            self.flush(output);
        }
        plain.clear();
    }

    fn flush(&mut self, output: &mut Vec<u8>) {
        while self.rustls.wants_write() {
            self.rustls.write_tls(output).expect("a vector takes everything");
        }
    }

    /// Tells the peer that nothing more comes (close_notify), unless it was told already.
    pub(crate) fn end(&mut self) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.rustls.send_close_notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TLS_READ_BYTES;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    /// A client and a server whose handshake is over.
    fn pair() -> (Machine, Machine) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["a.test".into()]).unwrap();
        let until = Instant::from_nanos(1);
        let client = ClientTls::builder().ca_pem(cert.pem()).build().unwrap();
        let server = ServerTls::builder().identity_pem(cert.pem(), signing_key.serialize_pem());
        let mut client = Machine::client(&client, "a.test", until).unwrap();
        let mut server = Machine::server(&server.build().unwrap(), until);
        while client.is_handshaking() || server.is_handshaking() {
            pass(&mut client, &mut server);
            pass(&mut server, &mut client);
        }
        (client, server)
    }

    fn pass(from: &mut Machine, to: &mut Machine) {
        let mut bytes = Vec::new();
        from.seal(&mut Vec::new(), &mut bytes);
        assert_eq!(to.take(&bytes).unwrap(), bytes.len());
    }

    #[test]
    fn no_more_is_decrypted_ahead_than_was_asked_for() {
        let (mut client, mut server) = pair();
        let buffers = Buffers::new(64, 2);
        let mut cipher = Vec::new();
        client.seal(&mut vec![7; 1 << 20], &mut cipher);
        assert!(cipher.len() > 1 << 20);
        let taken = server.take(&cipher).unwrap();
        // A record and what its last read brought.
        assert!((16_384..=16_384 + 2 * TLS_READ_BYTES).contains(&taken), "{taken}");
        assert_eq!(server.unread(), [7; 16_384]);
        // An incomplete frame is carried, and only the next record put behind it.
        server.consume(16_380);
        let (more, is_more) = server.more(&cipher[taken..], &buffers).unwrap();
        assert!(is_more && more <= 16_384 + 2 * TLS_READ_BYTES, "{more}");
        assert_eq!(server.unread(), [7; 4 + 16_384]);
        // Nothing is left behind.
        let (mut at, mut seen) = (taken + more, 16_380);
        loop {
            let shown = server.unread().len();
            seen += shown;
            server.consume(shown);
            let (more, is_more) = server.more(&cipher[at..], &buffers).unwrap();
            at += more;
            if !is_more {
                break;
            }
        }
        assert_eq!((at, seen), (cipher.len(), 1 << 20));
        server.release(&buffers);
        assert_eq!(server.carry.capacity(), 0, "an idle connection holds no storage for frames");
    }

    #[test]
    fn records_that_come_together_are_shown_one_after_the_other() {
        let (mut client, mut server) = pair();
        let buffers = Buffers::new(64, 2);
        let mut cipher = Vec::new();
        for text in [b"one", b"two", b"six"] {
            client.seal(&mut text.to_vec(), &mut cipher);
        }
        assert_eq!(server.take(&cipher).unwrap(), cipher.len());
        for text in [b"one", b"two", b"six"] {
            assert_eq!(server.unread(), text);
            server.consume(text.len());
            let (taken, is_more) = server.more(&[], &buffers).unwrap();
            assert_eq!((taken, is_more), (0, text != b"six"));
        }
    }

    #[test]
    fn half_a_record_is_noticed_wherever_it_is_cut() {
        let records = [&[23, 3, 3, 0, 2, 8, 8][..], &[23, 3, 3, 0, 0], &[21, 3, 3, 1, 0], &[9; 256]].concat();
        let ends = [0, 7, 12, 12 + 5 + 256];
        for at in 0..=records.len() {
            let mut seen = Records::default();
            let before = seen.pass(&records[..at]);
            assert_eq!(before, ends.iter().filter(|end| (1..=at).contains(*end)).count(), "{at}");
            assert_eq!(seen.is_inside(), !ends.contains(&at), "{at}");
            assert_eq!(before + seen.pass(&records[at..]), 3, "{at}");
            assert!(!seen.is_inside());
        }
    }

    #[test]
    fn the_rest_of_a_record_has_one_deadline() {
        let (mut client, mut server) = pair();
        let [first, later] = [5, 7].map(Instant::from_nanos);
        let mut cipher = Vec::new();
        client.seal(&mut b"frames".to_vec(), &mut cipher);
        server.await_rest(Some(first));
        assert_eq!(server.deadline(), None, "nothing has begun");
        server.take(&cipher[..9]).unwrap();
        server.await_rest(Some(first));
        server.take(&cipher[9..12]).unwrap();
        server.await_rest(Some(later));
        assert_eq!(server.deadline(), Some(first), "a few more octets buy no time");
        server.await_rest(None);
        assert_eq!(server.deadline(), None, "we do not read, so it cannot come");
        server.await_rest(Some(later));
        assert_eq!(server.deadline(), Some(later));
        let next = [&cipher[12..], &[23, 3, 3]].concat();
        server.take(&next).unwrap();
        assert_eq!(server.deadline(), None, "a whole one does, though the next has begun");
    }

    #[test]
    fn nothing_is_encrypted_before_the_handshake_or_after_the_end() {
        let (mut client, _) = pair();
        let mut plain = b"kept".to_vec();
        client.end();
        let mut bytes = Vec::new();
        client.seal(&mut plain, &mut bytes);
        assert!(!bytes.is_empty() && !client.has_output(plain.len()), "close_notify alone");
        assert_eq!(plain, b"kept");
        let tls = ClientTls::builder().danger_accept_any_certificate().build().unwrap();
        let mut young = Machine::client(&tls, "a.test", Instant::from_nanos(1)).unwrap();
        young.seal(&mut plain, &mut Vec::new());
        assert_eq!(plain, b"kept");
        assert!(!young.has_output(plain.len()));
    }
}
