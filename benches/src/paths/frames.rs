//! Frames, without what they mean.

use std::hint::black_box;

use corelane_wire::frame::settings::SettingId;
use corelane_wire::frame::{self, EndStream, HEADER_LEN, Header, StreamId};

use super::Path;

/// Frames in a step.
const FRAMES: usize = 300;

/// What is parsed or written.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// HEADERS with a block of 20 octets.
    Headers,
    /// DATA with 25 octets.
    Data,
    /// SETTINGS with four entries.
    Settings,
}

impl Kind {
    /// One of each.
    pub const ALL: [Kind; 3] = [Kind::Headers, Kind::Data, Kind::Settings];

    fn write(self, out: &mut Vec<u8>) {
        let stream = StreamId::new(black_box(1));
        match self {
            Kind::Headers => {
                let at = frame::reserve_header(out);
                out.extend_from_slice(&[0x82; 20]);
                frame::finish_headers(out, at, stream, EndStream::No, frame::MAX_FRAME_SIZE_MIN);
            }
            Kind::Data => frame::write_data(out, stream, EndStream::Yes, &[7; 25]),
            Kind::Settings => frame::write_settings(
                out,
                &[
                    (SettingId::HEADER_TABLE_SIZE, 4096),
                    (SettingId::MAX_CONCURRENT_STREAMS, 100),
                    (SettingId::INITIAL_WINDOW_SIZE, 65_535),
                    (SettingId::MAX_FRAME_SIZE, 16_384),
                ],
            ),
        }
    }
}

/// Parses frames.
pub struct Parse {
    bytes: Vec<u8>,
}

impl Parse {
    /// These kinds in turn.
    #[must_use]
    pub fn new(kinds: &[Kind]) -> Parse {
        let mut bytes = Vec::new();
        kinds.iter().cycle().take(FRAMES).for_each(|kind| kind.write(&mut bytes));
        Parse { bytes }
    }

    /// Octets of a step.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Path for Parse {
    fn operations(&self) -> u64 {
        FRAMES as u64
    }

    fn step(&mut self) {
        let mut rest = black_box(&self.bytes[..]);
        while let Some((header, behind)) = rest.split_first_chunk::<HEADER_LEN>() {
            let header = Header::parse(header);
            let (payload, next) = behind.split_at(header.len as usize);
            black_box(frame::parse(header, payload)).expect("we write legal frames only");
            rest = next;
        }
    }
}

/// Writes frames.
pub struct Write {
    kinds: Vec<Kind>,
    out: Vec<u8>,
}

impl Write {
    /// These kinds in turn.
    #[must_use]
    pub fn new(kinds: &[Kind]) -> Write {
        Write { kinds: kinds.iter().copied().cycle().take(FRAMES).collect(), out: Vec::new() }
    }
}

impl Path for Write {
    fn operations(&self) -> u64 {
        FRAMES as u64
    }

    fn step(&mut self) {
        self.out.clear();
        for kind in &self.kinds {
            kind.write(&mut self.out);
        }
        black_box(&self.out);
    }
}
