//! Protocol code without I/O and without a clock: bytes in, events out; parts of a response in, bytes out.
//!
//! [`h1`] is HTTP/1.0 and 1.1 as a connection machine, strict where leniency has been used to smuggle requests.
//! [`percent`] turns the path of a request into bytes, [`forwarded`] reads what proxies say of the client,
//! [`access_log`] writes lines, [`cgi`] turns requests into variables and reads what scripts answer. For files:
//! [`clean_path`], [`conditional`], [`ranges`], [`accept_encoding`], [`media_type`], [`form_data`], [`basic_auth`]
//! and [`glob`]. For remote calls: [`xmlrpc`], [`jsonrpc`] and [`gzip`]. [`lines`] finds lines in logs. Nothing here
//! can block, panic on what it is given, or allocate beyond the limits that it is given.
#![forbid(unsafe_code)]

pub mod accept_encoding;
pub mod access_log;
pub mod basic_auth;
pub mod cgi;
pub mod clean_path;
pub mod conditional;
pub mod form_data;
pub mod forwarded;
pub mod glob;
pub mod gzip;
pub mod h1;
pub mod jsonrpc;
pub mod lines;
pub mod media_type;
pub mod percent;
pub mod ranges;
pub mod xmlrpc;
