//! SETTINGS (RFC 9113 6.5).
//!
//! Invariant: a parsed [`Settings`] holds whole entries with legal values only; identifiers nobody knows are kept, and
//! the connection ignores them (6.5.2).

use alloc::vec::Vec;
use core::fmt;

use super::header::len_u24;
use super::{
    Ack, ErrorCode, Flags, FrameError, Header, Kind, MAX_FRAME_SIZE_MAX, MAX_FRAME_SIZE_MIN, Reason,
    StreamId, WINDOW_MAX,
};

const ENTRY_LEN: usize = 6;

/// Which parameter a setting sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SettingId(pub u16);

impl SettingId {
    /// SETTINGS_HEADER_TABLE_SIZE: bytes of dynamic table that the sender's decoder keeps.
    pub const HEADER_TABLE_SIZE: SettingId = SettingId(0x1);
    /// SETTINGS_ENABLE_PUSH: 0 forbids PUSH_PROMISE.
    pub const ENABLE_PUSH: SettingId = SettingId(0x2);
    /// SETTINGS_MAX_CONCURRENT_STREAMS: how many streams the receiver may have open.
    pub const MAX_CONCURRENT_STREAMS: SettingId = SettingId(0x3);
    /// SETTINGS_INITIAL_WINDOW_SIZE: the window of each new stream.
    pub const INITIAL_WINDOW_SIZE: SettingId = SettingId(0x4);
    /// SETTINGS_MAX_FRAME_SIZE: the largest payload that the sender takes.
    pub const MAX_FRAME_SIZE: SettingId = SettingId(0x5);
    /// SETTINGS_MAX_HEADER_LIST_SIZE: advice about the largest field list that the sender takes.
    pub const MAX_HEADER_LIST_SIZE: SettingId = SettingId(0x6);
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3).
    pub const ENABLE_CONNECT_PROTOCOL: SettingId = SettingId(0x8);
    /// SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 2.1).
    pub const NO_RFC7540_PRIORITIES: SettingId = SettingId(0x9);

    /// The RFC's word for it without `SETTINGS_`, if it has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            SettingId::HEADER_TABLE_SIZE => "HEADER_TABLE_SIZE",
            SettingId::ENABLE_PUSH => "ENABLE_PUSH",
            SettingId::MAX_CONCURRENT_STREAMS => "MAX_CONCURRENT_STREAMS",
            SettingId::INITIAL_WINDOW_SIZE => "INITIAL_WINDOW_SIZE",
            SettingId::MAX_FRAME_SIZE => "MAX_FRAME_SIZE",
            SettingId::MAX_HEADER_LIST_SIZE => "MAX_HEADER_LIST_SIZE",
            SettingId::ENABLE_CONNECT_PROTOCOL => "ENABLE_CONNECT_PROTOCOL",
            SettingId::NO_RFC7540_PRIORITIES => "NO_RFC7540_PRIORITIES",
            _ => return None,
        })
    }

    /// Whether `value` is one that this setting can have.
    const fn check(self, value: u32) -> Result<(), FrameError> {
        match self {
            SettingId::ENABLE_PUSH if value > 1 => Err(FrameError::protocol(Reason::EnablePush)),
            SettingId::INITIAL_WINDOW_SIZE if value > WINDOW_MAX => {
                Err(FrameError::Connection(ErrorCode::FLOW_CONTROL_ERROR, Reason::InitialWindowSize))
            }
            SettingId::MAX_FRAME_SIZE if value < MAX_FRAME_SIZE_MIN || value > MAX_FRAME_SIZE_MAX => {
                Err(FrameError::protocol(Reason::MaxFrameSize))
            }
            SettingId::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                Err(FrameError::protocol(Reason::EnableConnectProtocol))
            }
            SettingId::NO_RFC7540_PRIORITIES if value > 1 => {
                Err(FrameError::protocol(Reason::NoRfc7540Priorities))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for SettingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "UNKNOWN({:#x})", self.0),
        }
    }
}

impl fmt::Debug for SettingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The peer's parameters, or its word that it applied ours.
///
/// ```
/// use corelane_wire::frame::{self, Frame, Header, SettingId};
///
/// let mut out = Vec::new();
/// frame::write_settings(&mut out, &[(SettingId::ENABLE_PUSH, 0), (SettingId::MAX_CONCURRENT_STREAMS, 100)]);
/// let (header, payload) = out.split_first_chunk().unwrap();
/// let Ok(Frame::Settings(settings)) = frame::parse(Header::parse(header), payload) else { panic!() };
/// assert!(!settings.ack);
/// assert_eq!(settings.entries().nth(1), Some((SettingId::MAX_CONCURRENT_STREAMS, 100)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Settings<'a> {
    /// Whether it acknowledges ours; then it has no entries.
    pub ack: bool,
    entries: &'a [[u8; ENTRY_LEN]],
}

impl<'a> Settings<'a> {
    pub(super) fn parse(header: Header, payload: &'a [u8]) -> Result<Settings<'a>, FrameError> {
        header.expect_connection()?;
        let ack = header.flags.contains(Flags::ACK);
        if ack && !payload.is_empty() {
            let reason = Reason::SettingsAckNotEmpty;
            return Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, reason));
        }
        let (entries, []) = payload.as_chunks() else { return Err(FrameError::size()) };
        let settings = Settings { ack, entries };
        settings.entries().try_for_each(|(id, value)| id.check(value))?;
        Ok(settings)
    }

    /// The settings in their order, in which they must be applied (6.5.3). One may come twice: the last one counts.
    #[inline]
    #[must_use]
    pub fn entries(self) -> SettingsIter<'a> {
        SettingsIter(self.entries.iter())
    }

    /// How many entries there are.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ack {
            return f.write_str("Settings(ACK)");
        }
        f.write_str("Settings ")?;
        f.debug_map().entries(self.entries()).finish()
    }
}

impl<'a> IntoIterator for Settings<'a> {
    type Item = (SettingId, u32);
    type IntoIter = SettingsIter<'a>;

    fn into_iter(self) -> SettingsIter<'a> {
        self.entries()
    }
}

/// The entries of a SETTINGS frame.
#[derive(Clone, Debug)]
pub struct SettingsIter<'a>(core::slice::Iter<'a, [u8; ENTRY_LEN]>);

impl Iterator for SettingsIter<'_> {
    type Item = (SettingId, u32);

    #[inline]
    fn next(&mut self) -> Option<(SettingId, u32)> {
        let [id0, id1, value @ ..] = *self.0.next()?;
        Some((SettingId(u16::from_be_bytes([id0, id1])), u32::from_be_bytes(value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for SettingsIter<'_> {}

/// Appends a SETTINGS frame.
///
/// # Panics
///
/// If a value is one that its setting cannot have, which only we can cause.
pub fn write_settings(out: &mut Vec<u8>, entries: &[(SettingId, u32)]) {
    write_header(out, Ack::No, entries.len() * ENTRY_LEN);
    for &(id, value) in entries {
        assert!(id.check(value).is_ok(), "we send legal settings only");
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of the peer's SETTINGS.
pub fn write_settings_ack(out: &mut Vec<u8>) {
    write_header(out, Ack::Yes, 0);
}

fn write_header(out: &mut Vec<u8>, ack: Ack, len: usize) {
    let flags = match ack {
        Ack::Yes => Flags::ACK,
        Ack::No => Flags::NONE,
    };
    Header { len: len_u24(len), kind: Kind::SETTINGS, flags, stream: StreamId::ZERO }.write(out);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;
    use crate::frame::testing::{parse_one, parse_with};

    fn parse_setting(id: SettingId, value: u32) -> Result<(), FrameError> {
        let payload = [&id.0.to_be_bytes()[..], &value.to_be_bytes()].concat();
        parse_with(Kind::SETTINGS, Flags::NONE, StreamId::ZERO, &payload).map(|_| ())
    }

    #[test]
    fn a_stream_has_no_settings() {
        assert_eq!(
            parse_with(Kind::SETTINGS, Flags::NONE, StreamId::new(1), b""),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamNotZero))
        );
    }

    #[test]
    fn entries_are_whole() {
        for len in [1, 3, 5, 7, 11, 13] {
            assert_eq!(
                parse_with(Kind::SETTINGS, Flags::NONE, StreamId::ZERO, &vec![0; len]),
                Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
            );
        }
    }

    #[test]
    fn an_acknowledgement_is_empty() {
        assert_eq!(
            parse_with(Kind::SETTINGS, Flags::ACK, StreamId::ZERO, &[0; 6]),
            Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::SettingsAckNotEmpty))
        );
        let mut out = vec![];
        write_settings_ack(&mut out);
        assert_eq!(parse_one(&out), Ok(Frame::Settings(Settings { ack: true, entries: &[] })));
    }

    #[test]
    fn values_are_held_against_their_ranges() {
        type Case = (SettingId, &'static [u32], &'static [u32], ErrorCode, Reason);
        let cases: [Case; 5] = [
            (SettingId::ENABLE_PUSH, &[0, 1], &[2, u32::MAX], ErrorCode::PROTOCOL_ERROR, Reason::EnablePush),
            (
                SettingId::INITIAL_WINDOW_SIZE,
                &[0, 0x7fff_ffff],
                &[0x8000_0000, u32::MAX],
                ErrorCode::FLOW_CONTROL_ERROR,
                Reason::InitialWindowSize,
            ),
            (
                SettingId::MAX_FRAME_SIZE,
                &[16_384, 16_777_215],
                &[0, 16_383, 16_777_216],
                ErrorCode::PROTOCOL_ERROR,
                Reason::MaxFrameSize,
            ),
            (
                SettingId::ENABLE_CONNECT_PROTOCOL,
                &[0, 1],
                &[2],
                ErrorCode::PROTOCOL_ERROR,
                Reason::EnableConnectProtocol,
            ),
            (
                SettingId::NO_RFC7540_PRIORITIES,
                &[0, 1],
                &[2],
                ErrorCode::PROTOCOL_ERROR,
                Reason::NoRfc7540Priorities,
            ),
        ];
        for (id, legal, illegal, code, reason) in cases {
            for &value in legal {
                assert_eq!(parse_setting(id, value), Ok(()), "{id} = {value}");
            }
            for &value in illegal {
                let expected = Err(FrameError::Connection(code, reason));
                assert_eq!(parse_setting(id, value), expected, "{id} = {value}");
            }
        }
    }

    #[test]
    fn an_illegal_value_is_found_behind_legal_ones() {
        let payload = [0, 3, 0, 0, 0, 1, 0, 2, 0, 0, 0, 2];
        assert_eq!(
            parse_with(Kind::SETTINGS, Flags::NONE, StreamId::ZERO, &payload),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::EnablePush))
        );
    }

    proptest! {
        #[test]
        fn round_trip(entries: Vec<(u16, u32)>) {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(id, value)| (SettingId(id), value))
                .filter(|(id, value)| id.check(*value).is_ok())
                .collect();
            let mut out = vec![];
            write_settings(&mut out, &entries);
            let Ok(Frame::Settings(settings)) = parse_one(&out) else { panic!("not SETTINGS") };
            prop_assert!(!settings.ack);
            prop_assert_eq!(settings.entries().collect::<Vec<_>>(), entries);
        }
    }
}
