//! SETTINGS, ours and the peer's (RFC 9113 section 6.5).

use alloc::vec::Vec;

use super::Inbound;
use super::config::{Config, Role};
use super::error::{Cause, ConnectionError};
use super::outbound::Outbound;
use super::streams::Streams;
use crate::frame::{self, ErrorCode, PREFACE, SettingId, WINDOW_DEFAULT, WINDOW_MAX};

/// Before the peer's SETTINGS arrive, this many streams are tried (RFC 9113 section 6.5.2 recommends at least 100).
const PEER_STREAMS_INITIAL: u32 = 100;

/// What is agreed.
#[derive(Debug)]
pub(super) struct Settings {
    /// The peer has acknowledged ours.
    acknowledged: bool,
    /// The peer's SETTINGS_MAX_CONCURRENT_STREAMS.
    pub(super) peer_streams_max: u32,
}

/// Writes what opens a connection: the preface, if this is a client, and our SETTINGS.
pub(super) fn greet(role: Role, config: &Config, out: &mut Vec<u8>) {
    let mut entries = Vec::with_capacity(6);
    entries.push((SettingId::HEADER_TABLE_SIZE, config.header_table_size));
    match role {
        Role::Client => {
            out.extend_from_slice(PREFACE);
            entries.push((SettingId::ENABLE_PUSH, 0));
        }
        Role::Server => entries.push((SettingId::MAX_CONCURRENT_STREAMS, config.max_concurrent_streams)),
    }
    entries.push((SettingId::INITIAL_WINDOW_SIZE, config.stream_window));
    entries.push((SettingId::MAX_FRAME_SIZE, config.max_frame_size));
    let list_size = u32::try_from(config.header_list_size_max).unwrap_or(u32::MAX);
    entries.push((SettingId::MAX_HEADER_LIST_SIZE, list_size));
    frame::write_settings(out, &entries);
}

impl Settings {
    pub(super) const fn new() -> Settings {
        Settings { acknowledged: false, peer_streams_max: PEER_STREAMS_INITIAL }
    }

    /// What a new stream may send to us: until the peer has acknowledged a smaller window, it may use the default one.
    pub(super) fn recv_window(&self, config: &Config) -> u32 {
        if self.acknowledged { config.stream_window } else { config.stream_window.max(WINDOW_DEFAULT) }
    }

    /// The peer has acknowledged our settings: they hold for the streams that are open, too.
    pub(super) fn acknowledge(&mut self, config: &Config, inbound: &mut Inbound, streams: &mut Streams) {
        if self.acknowledged {
            return;
        }
        let delta = i64::from(config.stream_window) - i64::from(self.recv_window(config));
        self.acknowledged = true;
        inbound.settings_acknowledged(config);
        if delta != 0 {
            streams.iter_mut().for_each(|(_, slot)| slot.recv_window.shift(delta));
        }
    }

    /// Applies one setting of the peer's, whose value was checked when it was parsed.
    pub(super) fn apply(
        &mut self,
        role: Role,
        (id, value): (SettingId, u32),
        outbound: &mut Outbound,
        streams: &mut Streams,
    ) -> Result<(), ConnectionError> {
        match id {
            SettingId::HEADER_TABLE_SIZE => outbound.encoder.set_peer_table_size(value),
            SettingId::MAX_CONCURRENT_STREAMS => self.peer_streams_max = value.min(WINDOW_MAX),
            SettingId::MAX_FRAME_SIZE => outbound.set_peer_frame_max(value),
            SettingId::INITIAL_WINDOW_SIZE => change_send_windows(value, outbound, streams)?,
            SettingId::ENABLE_PUSH if role == Role::Client && value != 0 => {
                return Err(ConnectionError::protocol(Cause::Push));
            }
            // MAX_HEADER_LIST_SIZE is advice, and unknown settings are ignored (section 6.5.2).
            _ => {}
        }
        Ok(())
    }
}

/// SETTINGS_INITIAL_WINDOW_SIZE changes the window of every open stream by the difference (section 6.9.2).
fn change_send_windows(
    value: u32,
    outbound: &mut Outbound,
    streams: &mut Streams,
) -> Result<(), ConnectionError> {
    let fault = ConnectionError { code: ErrorCode::FLOW_CONTROL_ERROR, cause: Cause::Window };
    let delta = i64::from(value) - i64::from(outbound.initial_window);
    outbound.initial_window = value;
    let mut unblocked = Vec::new();
    for (key, slot) in streams.iter_mut() {
        slot.send_window.shift(delta).map_err(|_| fault)?;
        if delta > 0 && !slot.queue.is_empty() && slot.send_window.allowance() > 0 {
            unblocked.push(key);
        }
    }
    unblocked.into_iter().for_each(|key| streams.mark_ready(key));
    Ok(())
}
