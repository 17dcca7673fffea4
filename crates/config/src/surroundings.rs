//! What the parser may see of the world, passed in so that a test can make one up.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Environment variables, the current folder and a reader of files.
pub struct Surroundings<'a> {
    /// All environment variables.
    pub env: Vec<(OsString, OsString)>,
    /// Where configuration files are looked for.
    pub cwd: PathBuf,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Surroundings<'static> {
    /// Those of the process.
    pub fn of_process() -> Self {
        Self {
            env: std::env::vars_os().collect(),
            // Without a current folder (it was removed) relative names fail with their own errors.
            cwd: std::env::current_dir().unwrap_or_default(),
            read: &|path| std::fs::read_to_string(path),
        }
    }
}
