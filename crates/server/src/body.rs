//! Bodies of requests: complete, in memory or in a temporary file.

use std::fs::File;

/// A complete request body.
#[derive(Debug, Default)]
pub enum Body {
    /// There is none, or it was taken.
    #[default]
    Empty,
    /// In memory.
    Memory(Vec<u8>),
    /// In an unlinked temporary file; read from offset 0.
    File {
        /// The file. Its position is undefined.
        file: File,
        /// Its length in bytes.
        len: u64,
    },
}

impl Body {
    /// The number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
