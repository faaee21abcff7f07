//! The hot paths, each as a step that can be repeated: criterion times them (`benches/`), callgrind counts them (`bin/count.rs`).
//!
//! A step does its operation so many times that what is around it does not show, and the same number of times whenever it is taken:
//! seeds are fixed, time is handed in or does not matter, and there is one thread. Where a peer is needed whose cost is not meant,
//! it is a [`script`]. [`measured`] marks what is counted.
//!
//! Does not: measure. Invariant: what [`Path::prepare`] does is not what is measured.

pub mod balance;
pub mod codec;
pub mod exchange;
pub mod frames;
pub mod hpack;
pub mod memory;
pub mod messages;
pub mod script;
pub mod served;

use std::hint::black_box;

use corelane_policy::config::BalancerConfig;

use exchange::{ClientSide, Exchange, Extras, ServerSide, Size};
use served::{Served, Shape};

/// A hot path.
pub trait Path {
    /// How many operations a step is.
    fn operations(&self) -> u64;

    /// What has to be there before a step, and is not measured.
    fn prepare(&mut self) {}

    /// The operations.
    fn step(&mut self);
}

/// A path as the gate knows it.
pub struct Counted {
    /// What the baseline calls it.
    pub name: &'static str,
    /// Takes so many steps, and says how many operations those were.
    pub run: fn(u64) -> u64,
}

/// All that the gate counts.
pub const PATHS: &[Counted] = &[
    Counted { name: "hpack/decode warm", run: |steps| run(hpack::Decode::warm(), steps) },
    Counted { name: "hpack/decode changing timeout", run: |steps| run(hpack::Decode::timeouts(), steps) },
    Counted {
        name: "hpack/decode changing metadata, Huffman",
        run: |steps| run(hpack::Decode::huffman(), steps),
    },
    Counted { name: "hpack/decode cold", run: |steps| run(hpack::Decode::cold(), steps) },
    Counted { name: "hpack/encode warm", run: |steps| run(hpack::Encode::warm(), steps) },
    Counted { name: "hpack/encode template", run: |steps| run(hpack::Encode::template(), steps) },
    Counted { name: "hpack/encode changing timeout", run: |steps| run(hpack::Encode::timeouts(), steps) },
    Counted { name: "frames/parse", run: |steps| run(frames::Parse::new(&frames::Kind::ALL), steps) },
    Counted { name: "frames/write", run: |steps| run(frames::Write::new(&frames::Kind::ALL), steps) },
    Counted {
        name: "wire/unary, server",
        run: |steps| run(ServerSide::new(Size::SMALL, Extras::None), steps),
    },
    Counted {
        name: "wire/unary, client",
        run: |steps| run(ClientSide::new(Size::SMALL, Extras::None), steps),
    },
    Counted {
        name: "wire/unary with deadline and metadata, server",
        run: |steps| run(ServerSide::new(Size::SMALL, Extras::DeadlineAndMetadata), steps),
    },
    Counted {
        name: "wire/unary with deadline and metadata, client",
        run: |steps| run(ClientSide::new(Size::SMALL, Extras::DeadlineAndMetadata), steps),
    },
    Counted {
        name: "wire/unary of 64 KiB",
        run: |steps| run(Exchange::new(Size::LARGE, Extras::None), steps),
    },
    Counted { name: "messages/receive", run: |steps| run(messages::Receive::new(16), steps) },
    Counted { name: "messages/send", run: |steps| run(messages::Send::new(16), steps) },
    Counted { name: "codec/encode", run: |steps| run(codec::Encode::new(16), steps) },
    Counted { name: "codec/decode", run: |steps| run(codec::Decode::new(16), steps) },
    Counted {
        name: "balance/round_robin",
        run: |steps| run(balance::Calls::new(BalancerConfig::RoundRobin), steps),
    },
    Counted {
        name: "balance/least_request",
        run: |steps| run(balance::Calls::new(BalancerConfig::LeastRequest { choice_count: 2 }), steps),
    },
    Counted { name: "limit/rate", run: |steps| run(balance::Limited::new(), steps) },
    Counted { name: "timers/insert and cancel", run: |steps| run(memory::Cancelled::new(), steps) },
    Counted { name: "timers/insert and expire", run: |steps| run(memory::Expired::new(), steps) },
    Counted { name: "mailbox/push and drain", run: |steps| run(memory::Posted::new(), steps) },
    Counted { name: "slab/insert, find, remove", run: |steps| run(memory::Stored::new(), steps) },
    Counted { name: "served/unary", run: |steps| run(Served::new(Shape::Unary, Extras::None), steps) },
    Counted {
        name: "served/unary with deadline and metadata",
        run: |steps| run(Served::new(Shape::Unary, Extras::DeadlineAndMetadata), steps),
    },
    Counted { name: "served/download", run: |steps| run(Served::new(Shape::Download, Extras::None), steps) },
    Counted { name: "served/upload", run: |steps| run(Served::new(Shape::Upload, Extras::None), steps) },
    Counted {
        name: "end to end/unary, one at a time",
        run: |steps| run(served::EndToEnd::new(1, 16), steps),
    },
    Counted {
        name: "end to end/unary, 100 at once",
        run: |steps| run(served::EndToEnd::new(100, 16), steps),
    },
];

/// Takes `steps` steps under [`measured`].
fn run(mut path: impl Path, steps: u64) -> u64 {
    for _ in 0..steps {
        path.prepare();
        measured(&mut || path.step());
    }
    steps * path.operations()
}

/// What is done below this function is what is counted: callgrind knows it by its name.
#[inline(never)]
pub fn measured(work: &mut dyn FnMut()) {
    work();
    // So that the call above is one, and not a jump.
    black_box(());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_takes_its_steps_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for path in PATHS {
            let (once, thrice) = ((path.run)(1), (path.run)(3));
            assert_eq!(thrice, 3 * once, "{}", path.name);
            assert!(!names.contains(&path.name), "{} is there twice", path.name);
            names.push(path.name);
        }
    }
}
