//! Frames that were sent once and are played again: a peer that costs next to nothing.
//!
//! With a frozen HPACK table the frames of one batch of calls differ from those of the next in their stream ids alone.
//!
//! Does not: hold frames of the whole connection, such as SETTINGS; those were exchanged before.

use corelane_wire::frame::{HEADER_LEN, Header, StreamId, write_window_update};

/// Where the stream id stands in a frame's header.
const STREAM_ID: std::ops::Range<usize> = 5..HEADER_LEN;

/// The frames of one batch of calls.
#[derive(Debug)]
pub struct Script {
    bytes: Vec<u8>,
    /// Where frames of streams begin.
    frames: Vec<usize>,
}

impl Script {
    /// The frames of streams in `sent`. If `answer` is not 0, a credit for so many octets on the whole connection follows them:
    /// the peer that is played takes what it gets.
    #[must_use]
    pub fn new(sent: &[u8], answer: u32) -> Script {
        let mut script = Script { bytes: Vec::new(), frames: Vec::new() };
        let mut rest = sent;
        while let Some(header) = rest.first_chunk() {
            let header = Header::parse(header);
            let (frame, next) = rest.split_at(HEADER_LEN + header.len as usize);
            if header.stream != StreamId::ZERO {
                script.frames.push(script.bytes.len());
                script.bytes.extend_from_slice(frame);
            }
            rest = next;
        }
        if answer > 0 {
            write_window_update(&mut script.bytes, StreamId::ZERO, answer);
        }
        script
    }

    /// Makes these the frames of the streams whose ids are larger by `by`.
    ///
    /// # Panics
    /// When the ids are used up.
    pub fn advance(&mut self, by: u32) {
        for at in &self.frames {
            let field = &mut self.bytes[*at..][STREAM_ID];
            let id = u32::from_be_bytes(field.try_into().expect("four octets"));
            let next = id.checked_add(by).filter(|id| *id <= u32::MAX >> 1).expect("fewer steps are taken");
            field.copy_from_slice(&next.to_be_bytes());
        }
    }

    /// What the peer sends.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
