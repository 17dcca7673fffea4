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
    /// Runs a configuration file in Python, and gives its settings as a TOML document: an array `[[setting]]` of tables
    /// with `name`, `line` and one of `value`, `function = true` and `other = TYPE`; or `error`, its traceback.
    pub python: &'a dyn Fn(&Path) -> Result<String, String>,
}

impl<'a> Surroundings<'a> {
    /// Those of the process. `python` runs configuration files in Python.
    pub fn of_process(python: &'a dyn Fn(&Path) -> Result<String, String>) -> Self {
        Self {
            env: std::env::vars_os().collect(),
            // Without a current folder (it was removed) relative names fail with their own errors.
            cwd: std::env::current_dir().unwrap_or_default(),
            read: &|path| std::fs::read_to_string(path),
            python,
        }
    }
}

impl Surroundings<'_> {
    /// The same, with another way to run configuration files in Python.
    pub fn with_python<'b>(&self, python: &'b dyn Fn(&Path) -> Result<String, String>) -> Surroundings<'b>
    where
        Self: 'b,
    {
        Surroundings { env: self.env.clone(), cwd: self.cwd.clone(), read: self.read, python }
    }
}

/// For programs that run no Python: refuses to run a configuration file.
pub fn without_python(_: &Path) -> Result<String, String> {
    Err("this program runs no Python".to_owned())
}
