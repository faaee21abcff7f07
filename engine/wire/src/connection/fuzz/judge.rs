//! Reads what a connection writes as a strict peer would, and holds every frame against what the peer has allowed.
//!
//! Settings of the peer's hold from their acknowledgement on, in the order of the output: until then what was written before it is on
//! its way. Credit holds once the connection has read it. What the connection has read, the judge has too, header blocks included.
//!
//! Does not know what the connection's owner did; that is for [`super::run`].

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::connection::{Config, Role};
use crate::field::FieldList;
use crate::frame::{
    self, Continuation, Data, ErrorCode, Frame, GoAway, HEADER_LEN, Header, Headers, Kind,
    MAX_FRAME_SIZE_MIN, PREFACE, RstStream, SettingId, StreamId, WINDOW_DEFAULT, WINDOW_MAX, WindowUpdate,
};
use crate::hpack::{Decoder, ListLimits, Outcome};

/// How far a stream has come in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    Head,
    End,
    Reset,
}

#[derive(Debug)]
struct Stream {
    written: Written,
    /// END_STREAM was written, perhaps with RST_STREAM behind it.
    ended: bool,
    /// What we were given beyond the initial window, less what was sent.
    send: i64,
    /// What the peer was given beyond the initial window, less what it has sent.
    recv: i64,
    /// Octets of DATA that were sent.
    data: u64,
}

pub(super) struct Judge {
    role: Role,
    stream_window: u32,
    send_frame_max: u32,
    /// The preface that is still expected of a client.
    preface: &'static [u8],
    greeted: bool,
    decoder: Decoder,
    /// Of the peer's header blocks.
    reader: Decoder,
    limits: ListLimits,
    table_size: u32,
    /// The block that was read last, or what has come of it.
    read_block: Vec<u8>,
    /// What it says.
    pub(super) fields: FieldList,
    /// The header block that goes on in the next frame.
    block: Option<(StreamId, Vec<u8>)>,
    streams: BTreeMap<u32, Stream>,
    /// The highest stream that the peer has named in a header block.
    named: u32,
    send: i64,
    recv: i64,
    initial: i64,
    frame_max: u32,
    /// SETTINGS that were read and not acknowledged.
    settings: VecDeque<Vec<(SettingId, u32)>>,
    /// PING frames that were read and not answered.
    pings: VecDeque<[u8; 8]>,
    /// Streams that the peer lets us open.
    pub(super) streams_max: u32,
    /// The last GOAWAY.
    pub(super) goaway: Option<(StreamId, ErrorCode)>,
    /// Whether the last frame was that GOAWAY.
    pub(super) ends_with_goaway: bool,
    /// The peer has acknowledged our settings.
    pub(super) acknowledged: bool,
    /// Octets of DATA that were taken since somebody asked.
    pub(super) data_taken: u64,
}

impl Judge {
    pub(super) fn new(role: Role, config: &Config) -> Judge {
        Judge {
            role,
            stream_window: config.stream_window,
            send_frame_max: config.send_frame_max,
            preface: if role == Role::Client { PREFACE } else { &[] },
            greeted: false,
            decoder: Decoder::new(4096),
            reader: Decoder::new(config.header_table_size.max(4096)),
            limits: ListLimits {
                size_max: config.header_list_size_max,
                fields_max: config.header_fields_max,
            },
            table_size: config.header_table_size,
            read_block: Vec::new(),
            fields: FieldList::new(),
            block: None,
            streams: BTreeMap::new(),
            named: 0,
            send: i64::from(WINDOW_DEFAULT),
            recv: i64::from(WINDOW_DEFAULT),
            initial: i64::from(WINDOW_DEFAULT),
            frame_max: MAX_FRAME_SIZE_MIN,
            settings: VecDeque::new(),
            pings: VecDeque::new(),
            // RFC 9113, section 6.5.2: at least a hundred are to be expected.
            streams_max: 100,
            goaway: None,
            ends_with_goaway: false,
            acknowledged: false,
            data_taken: 0,
        }
    }

    /// The connection has taken `frame` without an error of its own.
    pub(super) fn consumed(&mut self, header: Header, payload: &[u8]) {
        if header.kind == Kind::HEADERS {
            self.named = self.named.max(header.stream.get());
        }
        match frame::parse(header, payload) {
            Ok(Frame::Data(data)) => {
                self.recv -= i64::from(data.flow_len);
                self.data_taken += u64::from(data.flow_len);
                if let Some(stream) = self.streams.get_mut(&data.stream.get()) {
                    stream.recv -= i64::from(data.flow_len);
                }
            }
            Ok(Frame::WindowUpdate(update)) if update.stream.is_zero() => {
                self.send += i64::from(update.increment);
            }
            Ok(Frame::WindowUpdate(update)) => {
                if let Some(stream) = self.streams.get_mut(&update.stream.get()) {
                    stream.send += i64::from(update.increment);
                }
            }
            Ok(Frame::Headers(headers)) => {
                self.read_block.clear();
                self.read_fragment(headers.fragment, headers.end_headers);
            }
            Ok(Frame::Continuation(part)) => self.read_fragment(part.fragment, part.end_headers),
            Ok(Frame::Settings(settings)) if settings.ack => {
                if !self.acknowledged {
                    self.reader.set_table_size_max(self.table_size);
                }
                self.acknowledged = true;
            }
            Ok(Frame::Settings(settings)) => {
                for (id, value) in settings.entries() {
                    if id == SettingId::MAX_CONCURRENT_STREAMS {
                        self.streams_max = value;
                    }
                }
                self.settings.push_back(settings.entries().collect());
            }
            Ok(Frame::Ping(ping)) if !ping.ack => self.pings.push_back(ping.payload),
            _ => {}
        }
    }

    /// A header block is put together, and decoded when it is whole.
    fn read_fragment(&mut self, fragment: &[u8], whole: bool) {
        self.read_block.extend_from_slice(fragment);
        if whole {
            self.fields.clear();
            // If it cannot be, the connection is about to say so.
            let _ = self.reader.decode(&self.read_block, self.limits, &mut self.fields);
        }
    }

    /// Stream `id` is open.
    pub(super) fn opened(&mut self, id: u32) {
        let stream = Stream { written: Written::Nothing, ended: false, send: 0, recv: 0, data: 0 };
        assert!(self.streams.insert(id, stream).is_none(), "stream {id} was opened twice");
    }

    /// Octets that may be sent on stream `id`, if all that was written has been read.
    pub(super) fn allowance(&self, id: u32) -> i64 {
        let stream = &self.streams[&id];
        self.send.min(self.initial + stream.send)
    }

    /// Whether END_STREAM was written on stream `id`.
    pub(super) fn has_ended(&self, id: u32) -> bool {
        self.streams[&id].ended
    }

    /// Octets of DATA that were written on stream `id`.
    pub(super) fn data_of(&self, id: u32) -> u64 {
        self.streams[&id].data
    }

    /// Nothing is owed: every SETTINGS and PING was answered.
    pub(super) fn assert_answered(&self) {
        assert!(self.settings.is_empty(), "SETTINGS were not acknowledged: {:?}", self.settings);
        assert!(self.pings.is_empty(), "PING frames were not answered: {:?}", self.pings);
    }

    /// Reads output, which ends with a whole frame.
    pub(super) fn read(&mut self, mut output: &[u8]) {
        if !output.is_empty() {
            output = output.strip_prefix(self.preface).expect("a client begins with the preface");
            self.preface = &[];
        }
        while !output.is_empty() {
            let (header, rest) = output.split_first_chunk::<HEADER_LEN>().expect("whole frames are written");
            let header = Header::parse(header);
            assert!(header.len <= self.frame_max, "a frame of {} octets was written", header.len);
            let (payload, rest) = rest.split_at_checked(header.payload_len()).expect("whole frames");
            output = rest;
            self.frame(frame::parse(header, payload).expect("what is written is legal"));
        }
    }

    fn frame(&mut self, frame: Frame<'_>) {
        let settings = matches!(frame, Frame::Settings(settings) if !settings.ack);
        assert_ne!(self.greeted, settings, "SETTINGS are written once, and first");
        self.greeted = true;
        self.ends_with_goaway = matches!(frame, Frame::GoAway(_));
        assert_eq!(
            self.block.is_some(),
            matches!(frame, Frame::Continuation(_)),
            "a header block is written in one go"
        );
        match frame {
            Frame::Settings(settings) if settings.ack => self.acknowledge(),
            Frame::Settings(_) => {}
            Frame::Headers(headers) => self.headers(&headers),
            Frame::Continuation(part) => self.continuation(part),
            Frame::Data(data) => self.data(data),
            Frame::RstStream(reset) => self.reset(reset),
            Frame::WindowUpdate(update) => self.credit(update),
            Frame::Ping(ping) if ping.ack => {
                assert_eq!(self.pings.pop_front(), Some(ping.payload), "answers come in order");
            }
            Frame::Ping(_) => {}
            Frame::GoAway(goaway) => self.goaway(&goaway),
            other => panic!("nothing to be written by us: {other:?}"),
        }
    }

    fn acknowledge(&mut self) {
        for (id, value) in self.settings.pop_front().expect("there were SETTINGS to acknowledge") {
            match id {
                SettingId::INITIAL_WINDOW_SIZE => self.initial = i64::from(value),
                SettingId::MAX_FRAME_SIZE => self.frame_max = value,
                SettingId::HEADER_TABLE_SIZE => self.decoder.set_table_size_max(value),
                _ => {}
            }
        }
    }

    /// A stream on which something other than its end is written.
    fn live(&mut self, id: StreamId) -> &mut Stream {
        let stream = self.streams.get_mut(&id.get()).expect("only streams that were opened are written to");
        assert!(
            matches!(stream.written, Written::Nothing | Written::Head),
            "stream {id} has ended: {stream:?}"
        );
        stream
    }

    fn headers(&mut self, headers: &Headers<'_>) {
        let stream = self.live(headers.stream);
        stream.written = if headers.end_stream { Written::End } else { Written::Head };
        stream.ended = headers.end_stream;
        self.block(headers.stream, headers.fragment.to_vec(), headers.end_headers);
    }

    fn continuation(&mut self, part: Continuation<'_>) {
        let (stream, mut block) = self.block.take().expect("checked before");
        assert_eq!(stream, part.stream, "a header block is of one stream");
        block.extend_from_slice(part.fragment);
        self.block(stream, block, part.end_headers);
    }

    fn block(&mut self, stream: StreamId, block: Vec<u8>, whole: bool) {
        if !whole {
            self.block = Some((stream, block));
            return;
        }
        let limits = ListLimits { size_max: usize::MAX, fields_max: usize::MAX };
        let decoded = self.decoder.decode(&block, limits, &mut FieldList::new());
        assert_eq!(decoded, Ok(Outcome::Complete), "what is written can be decoded");
    }

    fn data(&mut self, data: Data<'_>) {
        let (len, send, initial) = (i64::from(data.flow_len), self.send, self.initial);
        assert!(data.flow_len <= self.send_frame_max, "a frame is larger than the configuration says");
        let stream = self.live(data.stream);
        assert_eq!(stream.written, Written::Head, "the head comes first");
        let allowed = send.min(initial + stream.send);
        assert!(
            len == 0 || len <= allowed,
            "{len} octets were written where {allowed} are allowed: {stream:?}"
        );
        stream.send -= len;
        stream.data += data.payload.len() as u64;
        stream.written = if data.end_stream { Written::End } else { Written::Head };
        stream.ended = data.end_stream;
        self.send -= len;
    }

    fn reset(&mut self, reset: RstStream) {
        let id = reset.stream.get();
        match self.streams.get_mut(&id) {
            Some(stream) => stream.written = Written::Reset,
            None => {
                // Above the last one streams are passed over, so that it is not known which of them are idle.
                let passed = self.goaway.is_some_and(|(last, _)| id > last.get());
                let known = self.role == Role::Server && id % 2 == 1 && (id <= self.named || passed);
                assert!(known, "stream {id} is idle and cannot be reset");
            }
        }
    }

    fn credit(&mut self, update: WindowUpdate) {
        let increment = i64::from(update.increment);
        let id = update.stream;
        let window = if id.is_zero() {
            self.recv += increment;
            self.recv
        } else {
            let stream = self.streams.get_mut(&id.get()).expect("only streams that were opened have credit");
            assert_ne!(stream.written, Written::Reset, "a stream that was reset is given no credit");
            stream.recv += increment;
            stream.recv + i64::from(self.stream_window)
        };
        assert!(window <= i64::from(WINDOW_MAX), "stream {id}: credit goes beyond 2^31-1: {window}");
    }

    fn goaway(&mut self, goaway: &GoAway<'_>) {
        if let Some((last, _)) = self.goaway {
            assert!(goaway.last_stream <= last, "a last stream does not rise");
        }
        self.goaway = Some((goaway.last_stream, goaway.code));
    }
}
