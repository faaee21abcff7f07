//! HPACK (RFC 7541), both ways: a block of octets to the fields of a [`FieldList`](crate::FieldList), and back.
//!
//! A [`Decoder`] and an [`Encoder`] each own one dynamic table, whose entries are those of a field list: what was learned
//! about a field when it came as a literal (its well-known name, the verdict of the character rules) is copied with it
//! whenever it is indexed again.
//!
//! Does not: assemble a block from HEADERS and CONTINUATION frames, or read SETTINGS; the connection does both, and it
//! ends with COMPRESSION_ERROR when a block is refused.
//!
//! ```
//! use corelane_wire::{FieldList, Name};
//! use corelane_wire::hpack::{Decoder, Encoder, ListLimits, Outcome};
//!
//! let mut fields = FieldList::new();
//! fields.push_known(Name::Status, b"200");
//! fields.push_known(Name::ContentType, b"application/grpc");
//!
//! let (mut encoder, mut first, mut second) = (Encoder::new(4096), Vec::new(), Vec::new());
//! encoder.encode(&fields, &mut first);
//! encoder.encode(&fields, &mut second);
//! assert_eq!(first, b"\x88\x5f\x10application/grpc");
//! assert_eq!(second, b"\x88\xbe", "two indices, as the first block taught the peer");
//!
//! let (mut decoder, mut got) = (Decoder::new(4096), FieldList::new());
//! let limits = ListLimits { size_max: 16_384, fields_max: 100 };
//! for block in [first, second] {
//!     got.clear();
//!     assert_eq!(decoder.decode(&block, limits, &mut got), Ok(Outcome::Complete));
//!     assert_eq!(got, fields);
//! }
//! ```

mod blocks;
mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod integer;
mod memo;
mod prefixes;
mod shape;
mod static_table;
mod templates;

#[cfg(any(fuzzing, test))]
pub mod fuzz;

pub use blocks::{BlockMap, KnownBlock};
pub(crate) use decoder::DormantDecoder;
pub use decoder::{DecodeError, Decoder, ListLimits, Outcome};
pub(crate) use encoder::DormantEncoder;
pub use encoder::{Encoder, Indexing};
pub use templates::Template;

/// The size of a table before any SETTINGS (RFC 9113, section 6.5.2), and the most that an encoder of ours keeps,
/// whatever its peer allows.
const TABLE_SIZE_DEFAULT: u32 = 4096;

/// The first index of the dynamic table (RFC 7541, section 2.3.3).
const DYNAMIC_FIRST: usize = static_table::LEN + 1;
