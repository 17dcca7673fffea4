//! Static files: a folder as a service.

mod options;

pub use options::{CacheRule, Options, User};
