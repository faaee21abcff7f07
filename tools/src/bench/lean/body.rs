//! The body of one response, counted as it passes: how many messages it has, how long they are, whether it ends between two.
//!
//! Does not: keep what passes. That makes it a small part of what a deframer costs, and it needs no limit.

use corelane_wire::grpc::PREFIX_LEN;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) messages: u64,
    /// Of the messages, without their prefixes.
    pub(super) bytes: u64,
    /// Octets of the message that have not come.
    missing: u64,
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
}

impl Body {
    /// A piece of the body.
    #[inline]
    pub(super) fn push(&mut self, payload: &[u8]) {
        // Nearly always a message comes in one piece, and this is all there is to do.
        if self.missing == 0
            && self.prefix_len == 0
            && let Some((prefix, rest)) = payload.split_first_chunk::<PREFIX_LEN>()
            && length_of(prefix) == u64::try_from(rest.len()).unwrap_or(u64::MAX)
        {
            self.messages += 1;
            self.bytes += length_of(prefix);
            return;
        }
        self.push_pieces(payload);
    }

    fn push_pieces(&mut self, mut payload: &[u8]) {
        while let Some(octet) = payload.first() {
            if self.missing > 0 {
                let taken = payload.len().min(usize::try_from(self.missing).unwrap_or(usize::MAX));
                self.missing -= u64::try_from(taken).unwrap_or(u64::MAX);
                payload = &payload[taken..];
                continue;
            }
            self.prefix[self.prefix_len] = *octet;
            self.prefix_len += 1;
            payload = &payload[1..];
            if self.prefix_len == PREFIX_LEN {
                self.prefix_len = 0;
                self.missing = length_of(&self.prefix);
                self.messages += 1;
                self.bytes += self.missing;
            }
        }
    }

    /// Whether no message is cut off where the body ends now.
    #[inline]
    pub(super) const fn is_whole(&self) -> bool {
        self.missing == 0 && self.prefix_len == 0
    }
}

/// The length in a message's prefix, behind the octet that says whether it is compressed.
#[inline]
fn length_of(prefix: &[u8; PREFIX_LEN]) -> u64 {
    let [_, length @ ..] = prefix;
    u32::from_be_bytes(*length).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages, of three octets and of none.
    const TWO: [u8; 13] = [0, 0, 0, 0, 3, 7, 8, 9, 1, 0, 0, 0, 0];

    fn counted(pieces: &[&[u8]]) -> (u64, u64, bool) {
        let mut body = Body::default();
        pieces.iter().for_each(|piece| body.push(piece));
        (body.messages, body.bytes, body.is_whole())
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        assert_eq!(counted(&[]), (0, 0, true));
        assert_eq!(counted(&[&TWO[..8]]), (1, 3, true));
        for first in 0..=TWO.len() {
            for second in first..=TWO.len() {
                let pieces = [&TWO[..first], &TWO[first..second], &TWO[second..]];
                assert_eq!(counted(&pieces), (2, 3, true), "{first} {second}");
            }
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_noticed() {
        for end in (1..8).chain(9..13) {
            assert!(!counted(&[&TWO[..end]]).2, "{end}");
        }
    }
}
