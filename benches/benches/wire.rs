//! What the protocol costs without sockets and handlers: header blocks, frames, whole exchanges, streams of messages, the codec.
//!
//! `cargo bench -p corelane-benches --bench wire`. Elements are blocks, frames, calls or messages. What the instruction gate counts
//! is the same code (`benches/src/paths`).
#![allow(missing_docs)] // criterion's macros make undocumented items.

mod support;

use corelane_benches::paths::exchange::{ClientSide, Exchange, Extras, ServerSide, Size};
use corelane_benches::paths::frames::{self, Kind};
use corelane_benches::paths::{codec, hpack, messages};
use criterion::{Criterion, criterion_group, criterion_main};
use support::{path, sized};

/// Octets of payload, with a name for the report.
const PAYLOADS: [(usize, &str); 3] = [(16, "16 B"), (1024, "1 KiB"), (64 * 1024, "64 KiB")];

fn header_blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack");
    path(&mut group, "decode a request that came before", hpack::Decode::warm);
    path(&mut group, "decode a response that came before", hpack::Decode::response);
    path(&mut group, "decode requests with changing timeouts", hpack::Decode::timeouts);
    path(&mut group, "decode requests with changing metadata in Huffman's code", hpack::Decode::huffman);
    path(&mut group, "decode a connection's first request", hpack::Decode::cold);
    path(&mut group, "encode a request that went before", hpack::Encode::warm);
    path(&mut group, "encode a response that went before", hpack::Encode::response);
    path(&mut group, "encode a request's template", hpack::Encode::template);
    path(&mut group, "encode a request's template and changing timeouts", hpack::Encode::timeouts);
    path(&mut group, "encode a connection's first request", hpack::Encode::cold);
}

fn all_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    for kind in Kind::ALL {
        path(&mut group, &format!("parse {kind:?}"), || frames::Parse::new(&[kind]));
        path(&mut group, &format!("write {kind:?}"), || frames::Write::new(&[kind]));
    }
}

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    for (size, (octets, name)) in [Size::SMALL, Size::MEDIUM, Size::LARGE].into_iter().zip(PAYLOADS) {
        // Each way.
        let octets = 2 * octets as u64;
        sized(&mut group, &format!("unary {name}, both sides"), octets, || Exchange::new(size, Extras::None));
    }
    for (extras, name) in [(Extras::None, ""), (Extras::DeadlineAndMetadata, " with deadline and metadata")] {
        path(&mut group, &format!("unary 16 B{name}, server"), || ServerSide::new(Size::SMALL, extras));
        path(&mut group, &format!("unary 16 B{name}, client"), || ClientSide::new(Size::SMALL, extras));
    }
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("messages");
    for (octets, name) in [PAYLOADS[0], PAYLOADS[1]] {
        sized(&mut group, &format!("receive {name}"), octets as u64, || messages::Receive::new(octets));
        sized(&mut group, &format!("send {name}"), octets as u64, || messages::Send::new(octets));
    }
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (octets, name) in PAYLOADS {
        sized(&mut group, &format!("encode {name}"), octets as u64, || codec::Encode::new(octets));
        sized(&mut group, &format!("decode {name}"), octets as u64, || codec::Decode::new(octets));
    }
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = header_blocks, all_frames, exchanges, streams, codecs
}
criterion_main!(benches);
