//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) as pure machines, for a server.
//!
//! [`RequestReader`] is fed what a connection has received and says what stands at its front: a request head in a
//! [`RequestHead`], pieces of a body, the end of a message, or a [`Refusal`]. [`ResponseEncoder`] is fed status and
//! fields and appends bytes to a buffer.
//!
//! ```
//! use stdserve_proto::h1::{Event, HeadLimits, RequestHead, RequestReader};
//!
//! let limits = HeadLimits::default();
//! let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
//! let mut input = &b"POST /form HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\na=b"[..];
//! let mut body = Vec::new();
//! loop {
//!     let (consumed, event) = reader.read(input, &limits, &mut head)?;
//!     match event {
//!         Event::Incomplete => panic!("more bytes would be read from the socket here"),
//!         Event::Head => assert_eq!(head.path(), b"/form"),
//!         Event::Body { start, len } => body.extend_from_slice(&input[start..start + len]),
//!         Event::End => break,
//!     }
//!     input = &input[consumed..];
//! }
//! assert_eq!(body, b"a=b");
//! # Ok::<(), stdserve_proto::h1::Refusal>(())
//! ```
//!
//! # How requests are not smuggled
//!
//! Where recipients of HTTP/1 have differed about where a message ends, requests were smuggled through. What is
//! ambiguous is therefore refused and not interpreted, and after a refusal the connection has no next request.
//!
//! | seen in the field | excluded by |
//! |---|---|
//! | Content-Length beside Transfer-Encoding (CL.TE, TE.CL) | [`Refusal::LengthAndEncoding`] |
//! | two lengths, lists, signs, `0x`, `1_0`, overflow | [`Refusal::ContentLengthRepeated`], [`Refusal::ContentLengthInvalid`] |
//! | `xchunked`, `chunked, identity`, `chunked` twice, `\x0bchunked` | [`Refusal::EncodingUnknown`], [`Refusal::EncodingInvalid`], [`Refusal::ControlByte`] |
//! | Transfer-Encoding in HTTP/1.0 | [`Refusal::EncodingOnHttp10`] |
//! | bare LF or CR as a line end, in heads, chunk lines and trailers | [`Refusal::BareLf`], [`Refusal::BareCr`] |
//! | `Content-Length : 3`, continuation lines | [`Refusal::SpaceBeforeColon`], [`Refusal::ObsFold`] |
//! | `Content_Length`, `Proxy` (httpoxy) | such fields are dropped |
//! | chunk sizes with sign, underscore, space or overflow; newlines hidden in extensions | [`Refusal::ChunkSize`], [`Refusal::ChunkSizeOverflow`], [`Refusal::ChunkExtension`] |
//! | trailers that pose as fields | never merged; [`Refusal::TrailerForbidden`] |
//! | Host that differs from the absolute target | [`RequestHead::host`] says what won |

mod bytes;
mod chunked;
mod fields;
mod head;
mod host;
mod limits;
mod reader;
mod refusal;
mod response;
mod scan;
mod status;
mod target;

pub(crate) use host::is_authority;

/// What other code here reads by the same rules.
pub(crate) mod syntax {
    pub(crate) use super::bytes::{is_token, is_value, trim};
    pub(crate) use super::chunked::Chunked;
    pub(crate) use super::fields::decimal;
}

pub use head::{BodyLength, RequestHead, Version};
pub use limits::HeadLimits;
pub use reader::{Event, Phase, RequestReader};
pub use refusal::Refusal;
pub use response::{
    BodyFraming, BodySize, CONTINUE, Framing, HeadError, LAST_CHUNK, ResponseContext, ResponseEncoder,
    encode_chunk, encode_chunk_size, encode_error,
};
pub use status::phrase;
