//! Files that flags name. That one cannot be read or written is told with its path.

use std::fs::{self, File};
use std::path::Path;

/// A file to read from.
///
/// # Errors
/// In words for the user.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// All that is in a file.
///
/// # Errors
/// As [`open`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
