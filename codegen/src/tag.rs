//! Numbers of fields in `descriptor.proto`, of which the paths of source locations are made.

pub(crate) const FILE_MESSAGE: i32 = 4;
pub(crate) const FILE_ENUM: i32 = 5;
pub(crate) const FILE_SERVICE: i32 = 6;
pub(crate) const MESSAGE_FIELD: i32 = 2;
pub(crate) const MESSAGE_NESTED: i32 = 3;
pub(crate) const MESSAGE_ENUM: i32 = 4;
pub(crate) const ENUM_VALUE: i32 = 2;
pub(crate) const SERVICE_METHOD: i32 = 2;

/// The path of the declaration at `index` of the list `tag` of what is at `path`.
pub(crate) fn step(path: &[i32], tag: i32, index: usize) -> Vec<i32> {
    path.iter().copied().chain([tag, number(index)]).collect()
}

/// An index as a step of a path. They all fit: a file is no longer than `i32::MAX` bytes.
pub(crate) fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}
