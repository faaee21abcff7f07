//! What several tests need.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// A folder of its own for one test, gone when the test is over.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes it. `name` is the test's own within its file.
    pub(crate) fn new(name: &str) -> Folder {
        let program = env::current_exe().unwrap();
        let program = program.file_stem().unwrap().to_str().unwrap();
        let path = env::temp_dir().join(format!("{program}-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    #[allow(dead_code, reason = "not every test that uses folders writes")]
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
