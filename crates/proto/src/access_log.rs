//! The access log: gunicorn's format atoms, or one JSON object a line.
//!
//! A format is compiled once; a line is then appended to a buffer without allocating. All that comes from the
//! wire is escaped, so that a request can neither forge a line nor break out of quotes, JSON or a terminal.

mod escape;
mod format;
mod json;
mod render;
mod time;

use std::net::IpAddr;
use std::time::Duration;

pub use format::{BadFormat, Format};
pub use time::Time;

/// gunicorn's default format: Apache's "combined".
pub const DEFAULT_FORMAT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

/// What is known of an exchange when its line is written. Empty texts are shown as `-`.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// When the request came.
    pub time: Time,
    /// The client's address, forwarded ones applied; none: a Unix socket.
    pub remote: Option<IpAddr>,
    /// The method; empty where the request was refused before it was known.
    pub method: &'a [u8],
    /// The target as it was sent.
    pub target: &'a [u8],
    /// The path, as it was sent.
    pub path: &'a [u8],
    /// The query, without its `?`.
    pub query: &'a [u8],
    /// `HTTP/1.1`; empty where it is not known.
    pub protocol: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The status; 0: the connection ended without one.
    pub status: u16,
    /// Bytes of the response's body that were sent.
    pub sent: u64,
    /// From the request's arrival to the end of its response.
    pub duration: Duration,
    /// The worker's process id.
    pub pid: u32,
    /// Appends the request's id: letters, digits and what need not be escaped anywhere.
    pub id: &'a dyn Fn(&mut Vec<u8>),
    /// The connection was cut before the answer was whole.
    pub aborted: bool,
    /// Finds a header field of the request by its name in lower case.
    pub request: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// Finds a header field of the response by its name in lower case.
    pub response: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

#[cfg(test)]
mod tests;
