//! CGI: scripts that answer requests (RFC 3875).

mod options;

pub use options::{ExecutableRule, Options, ResourceLimits, Stderr};
