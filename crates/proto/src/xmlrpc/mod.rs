//! XML-RPC: requests and answers as bytes, values as events.
//!
//! [`decode`] reads a document and tells a [`Build`] what it holds, value by value, without a tree in between.
//! [`Encoder`] writes one, byte for byte as CPython's `xmlrpc.client.dumps` does. [`Value`], [`Call`] and
//! [`Response`] stand on both, for programs without Python.
//!
//! The decoder takes what CPython's `xmlrpc.client.Unmarshaller` takes, including the types of Apache's extensions
//! (`ex:nil`, `ex:i8` and so on), and is as tolerant of bogus XML-RPC as that one. Of XML it takes what XML-RPC
//! needs, strictly: every DOCTYPE is refused, so there are no entities but the five of XML itself, and depth, number
//! of elements and sizes are bounded ([`Limits`]).
//!
//! Sources: <http://xmlrpc.com/spec.md>, <https://ws.apache.org/xmlrpc/types.html>, XML 1.0 (fifth edition).

pub mod base64;
mod charset;
mod decode;
mod encode;
mod error;
mod limits;
mod number;
mod scan;
mod value;

pub use charset::{ByteTable, to_utf8};
pub use decode::{Build, Kind, Outcome, decode};
pub use encode::{Encoder, Header, is_xml};
pub use error::{DecodeError, Problem};
pub use limits::Limits;
pub use value::{Call, Fault, Response, Value};

#[cfg(test)]
mod tests;
