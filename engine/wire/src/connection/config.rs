//! What one connection is allowed, ours and the peer's: numbers with their reasons.

use core::time::Duration;

use crate::frame::{MAX_FRAME_SIZE_MAX, MAX_FRAME_SIZE_MIN, WINDOW_DEFAULT, WINDOW_MAX};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts streams.
    Server,
    /// Opens streams.
    Client,
}

/// The settings and limits of one connection. The defaults are the engine's.
///
/// ```
/// use corelane_wire::connection::Config;
///
/// let config = Config { max_concurrent_streams: 1_000, ..Config::default() };
/// assert_eq!(config.header_list_size_max, 16 * 1024);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// SETTINGS_HEADER_TABLE_SIZE that we announce, in octets.
    pub header_table_size: u32,
    /// Streams the peer may have open at once (announced by a server; more are refused with REFUSED_STREAM).
    pub max_concurrent_streams: u32,
    /// SETTINGS_INITIAL_WINDOW_SIZE: octets a stream may send before we consumed any.
    pub stream_window: u32,
    /// Octets by which the windows of streams whose data is consumed as it comes may grow, all of a connection together: what one
    /// connection may leave unread is at most this and [`stream_window`](Config::stream_window) for each of its streams.
    pub stream_window_growth: u32,
    /// The connection's window in octets; at least 65,535, since it can only be raised.
    pub connection_window: u32,
    /// SETTINGS_MAX_FRAME_SIZE that we announce: the largest payload we accept.
    pub max_frame_size: u32,
    /// The largest payload that we send, whatever the peer would accept: smaller frames interleave streams more fairly.
    pub send_frame_max: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE: octets of a header list, 32 more for each field (RFC 7541 section 4.1).
    pub header_list_size_max: usize,
    /// Fields in a header list.
    pub header_fields_max: usize,
    /// Octets queued on one stream after which its producer is told to stop.
    pub send_queue_max: usize,
    /// Octets of output that wait for the socket after which DATA stays on its streams.
    pub output_max: usize,
    /// Control frames that wait for the socket after which reading stops.
    pub control_frames_max: u32,
    /// Time for the peer's preface and first SETTINGS.
    pub handshake_timeout: Duration,
    /// Time from the first to the last frame of a header block.
    pub header_block_timeout: Duration,
    /// Time from the first to the last octet of a frame, for each 16,384 octets of it: half a frame holds a buffer.
    pub frame_timeout: Duration,
    /// Time a draining connection waits for the PING that follows its first GOAWAY, before it sends the second.
    pub drain_ping_timeout: Duration,
    /// Randomness: spreads the stream table, so that a peer cannot choose collisions.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            header_table_size: 4096,
            max_concurrent_streams: 100,
            stream_window: 65_535,
            stream_window_growth: 1 << 20,
            connection_window: 1 << 20,
            max_frame_size: MAX_FRAME_SIZE_MIN,
            send_frame_max: MAX_FRAME_SIZE_MIN,
            header_list_size_max: 16 * 1024,
            header_fields_max: 100,
            send_queue_max: 64 * 1024,
            output_max: 64 * 1024,
            control_frames_max: 256,
            handshake_timeout: Duration::from_secs(10),
            header_block_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(10),
            drain_ping_timeout: Duration::from_secs(1),
            seed: 0,
        }
    }
}

/// A [`Config`] that RFC 9113 does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `max_frame_size` or `send_frame_max` is outside 16,384 to 16,777,215.
    FrameSize,
    /// A window is above 2^31-1, or the connection's is below 65,535.
    Window,
    /// `max_concurrent_streams` is zero.
    Streams,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ConfigError::FrameSize => "the frame size must be between 16,384 and 16,777,215 octets",
            ConfigError::Window => {
                "windows must be at most 2,147,483,647 octets, and a connection's at least 65,535"
            }
            ConfigError::Streams => "at least one concurrent stream must be allowed",
        })
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Checks the numbers against RFC 9113.
    ///
    /// # Errors
    /// Which number is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let frames = MAX_FRAME_SIZE_MIN..=MAX_FRAME_SIZE_MAX;
        if !frames.contains(&self.max_frame_size) || !frames.contains(&self.send_frame_max) {
            return Err(ConfigError::FrameSize);
        }
        let connection_in_range = (WINDOW_DEFAULT..=WINDOW_MAX).contains(&self.connection_window);
        if self.stream_window > WINDOW_MAX || !connection_in_range {
            return Err(ConfigError::Window);
        }
        if self.max_concurrent_streams == 0 {
            return Err(ConfigError::Streams);
        }
        Ok(())
    }
}
