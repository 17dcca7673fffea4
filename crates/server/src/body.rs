//! Bodies of requests: complete, in memory or in a temporary file, or on their way in.

use std::fs::File;

use crate::incoming::Incoming;

/// A request body.
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
    /// On its way in, for a service that asked for [streamed bodies](crate::Bodies::Streamed).
    Stream(Incoming),
}

impl Body {
    /// The number of bytes; of a body on its way in, what is declared, or 0 where nothing is.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
            Self::Stream(incoming) => incoming.length().unwrap_or(0),
        }
    }

    /// Whether there are none, and none will come.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Stream(incoming) => incoming.length() == Some(0),
            other => other.len() == 0,
        }
    }
}
