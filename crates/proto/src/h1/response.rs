//! Responses: status and fields in, bytes out, and the decision how the body is delimited (RFC 9112 §6).

use std::error::Error;
use std::fmt;

use super::bytes::{is_token, is_value, trim};
use super::fields::decimal;
use super::head::Version;
use super::status::phrase;

/// The interim response that asks for the body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The end of a chunked body, without trailers (RFC 9112 §7.1).
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What of a request decides about the form of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseContext {
    /// The request's version. HTTP/1.0 knows no chunks.
    pub version: Version,
    /// Whether the request was HEAD, whose response has no body.
    pub head_only: bool,
    /// Whether both sides want to use the connection again.
    pub keep_alive: bool,
}

/// How much body there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySize {
    /// So many bytes.
    Known(u64),
    /// As many as come.
    Unknown,
}

/// How the end of a response's body is told (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyFraming {
    /// There is none, and nothing may be sent: HEAD, 204, 304.
    #[default]
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// In chunks: see [`encode_chunk`] and [`LAST_CHUNK`].
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl BodyFraming {
    /// Whether a body may be sent at all.
    pub fn is_some(self) -> bool {
        self != Self::None
    }
}

/// What the end of a head has settled. The default closes the connection after a response without body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Framing {
    /// How the body is delimited.
    pub body: BodyFraming,
    /// Whether the connection is used again afterwards.
    pub keep_alive: bool,
}

/// Why a part of a response head is not sent. What was appended before stays; the head is not usable any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeadError {
    /// Not a status of three digits.
    Status,
    /// An interim status (1xx), which is no final response.
    Interim,
    /// The reason has a control byte.
    Reason,
    /// The field name is not a token (RFC 9110 §5.1).
    Name,
    /// The field value has a control byte (RFC 9110 §5.5).
    Value,
    /// The field is about the connection, which is the server's (PEP 3333, RFC 9110 §7.6.1).
    HopByHop,
    /// Content-Length is not a decimal number.
    ContentLength,
    /// Content-Length is given twice.
    ContentLengthRepeated,
    /// A field is given before the status.
    NotBegun,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "the status is not a number from 200 to 999",
            Self::Interim => "a status from 100 to 199 is not a final response",
            Self::Reason => "the reason phrase has a control character",
            Self::Name => "the header name is not a token",
            Self::Value => "the header value has a control character",
            Self::HopByHop => "hop-by-hop headers are the server's to send",
            Self::ContentLength => "Content-Length is not a decimal number",
            Self::ContentLengthRepeated => "Content-Length is given twice",
            Self::NotBegun => "the header is given before the status",
        })
    }
}

impl Error for HeadError {}

/// Writes a response head to a buffer, piece by piece, each checked before it is written.
///
/// The buffer is passed to every call and not held, so that an encoder can be stored beside it. Pass the same one.
#[derive(Debug, Clone)]
pub struct ResponseEncoder {
    context: ResponseContext,
    status: u16,
    has_date: bool,
    has_server: bool,
    content_length: Option<u64>,
}

impl ResponseEncoder {
    /// Appends the status line. `reason` may be empty.
    pub fn begin(
        out: &mut Vec<u8>,
        context: ResponseContext,
        status: u16,
        reason: &[u8],
    ) -> Result<Self, HeadError> {
        match status {
            100..=199 => return Err(HeadError::Interim),
            200..=999 => {}
            _ => return Err(HeadError::Status),
        }
        if !is_value(reason) {
            return Err(HeadError::Reason);
        }
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        out.reserve(256);
        // A server answers in its own version, whatever minor version was asked in (RFC 9110 §6.2).
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(&digits);
        out.push(b' ');
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        Ok(Self { context, status, has_date: false, has_server: false, content_length: None })
    }

    /// Appends a field of the application. Content-Length is kept back until [`finish`](Self::finish).
    #[inline]
    pub fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::Name);
        }
        if !is_value(value) {
            return Err(HeadError::Value);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            6 if name.eq_ignore_ascii_case(b"server") => self.has_server = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(trim(value)).ok_or(HeadError::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(HeadError::ContentLengthRepeated);
                }
                return Ok(());
            }
            _ if is_hop_by_hop(name) => return Err(HeadError::HopByHop),
            _ => {}
        }
        append(out, name, value);
        Ok(())
    }

    /// The Content-Length that the application gave.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Ends the head: adds what the server says, and settles how the body is delimited.
    ///
    /// `date` is an IMF-fixdate (RFC 9110 §5.6.7). Date and Server are left out where the application gave them. A
    /// Content-Length of the application wins over `size`; to see that both agree is the caller's part.
    #[inline]
    pub fn finish(self, out: &mut Vec<u8>, size: BodySize, date: &[u8], server: Option<&[u8]>) -> Framing {
        if let (Some(server), false) = (server, self.has_server) {
            append(out, b"Server", server);
        }
        if !self.has_date {
            append(out, b"Date", date);
        }
        let context = self.context;
        let (length, body) = self.delimit(size);
        if let Some(length) = length {
            append(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        if body == BodyFraming::Chunked {
            append(out, b"Transfer-Encoding", b"chunked");
        }
        let keep_alive = context.keep_alive && body != BodyFraming::UntilClose;
        match (keep_alive, context.version) {
            (false, _) => append(out, b"Connection", b"close"),
            (true, Version::Http10) => append(out, b"Connection", b"keep-alive"),
            (true, Version::Http11) => {}
        }
        out.extend_from_slice(b"\r\n");
        Framing { body, keep_alive }
    }

    /// The Content-Length to send, if any, and how the body is delimited.
    fn delimit(&self, size: BodySize) -> (Option<u64>, BodyFraming) {
        let known = match size {
            BodySize::Known(size) => Some(size),
            BodySize::Unknown => None,
        };
        match self.status {
            // RFC 9110 §8.6: no Content-Length in a 204.
            204 => (None, BodyFraming::None),
            // What a 200 would have had, which only the application knows.
            304 => (self.content_length, BodyFraming::None),
            // An application that answers HEAD with nothing does not say that GET has an empty body.
            _ if self.context.head_only => {
                (self.content_length.or(known.filter(|&size| size > 0)), BodyFraming::None)
            }
            _ => match self.content_length.or(known) {
                Some(length) => (Some(length), BodyFraming::Length(length)),
                None if self.context.version == Version::Http11 => (None, BodyFraming::Chunked),
                None => (None, BodyFraming::UntilClose),
            },
        }
    }
}

#[inline]
fn append(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields about the connection rather than the message: those of `wsgiref.util.is_hop_by_hop`, with Trailer and
/// Proxy-Connection, which it lacks.
#[inline]
fn is_hop_by_hop(name: &[u8]) -> bool {
    let same: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        7 => &[b"upgrade", b"trailer"],
        8 => &[b"trailers"],
        10 => &[b"connection", b"keep-alive"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"proxy-authorization"],
        _ => return false,
    };
    same.iter().any(|same| name.eq_ignore_ascii_case(same))
}

/// Appends the line that begins a chunk of `len` bytes; the data and CRLF are to follow. `len` of 0 would end the
/// body: nothing is appended.
pub fn encode_chunk_size(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    out.extend((0..digits).rev().map(|at| b"0123456789abcdef"[len >> (at * 4) & 15]));
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole chunk; nothing for empty data.
pub fn encode_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    encode_chunk_size(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole response of the server's own: a refusal, a time-out, an overload. The body is `text` in one line
/// under the status, as plain text. A `status` that is no final one becomes 500. `retry_after`: in how many seconds the
/// client may try again (RFC 9110 §10.2.3).
pub fn encode_error(
    out: &mut Vec<u8>,
    context: ResponseContext,
    status: u16,
    (text, retry_after): (&str, Option<u32>),
    date: &[u8],
    server: Option<&[u8]>,
) -> Framing {
    let status = if (200..=999).contains(&status) { status } else { 500 };
    let phrase = phrase(status);
    let Ok(mut encoder) = ResponseEncoder::begin(out, context, status, phrase.as_bytes()) else {
        return Framing::default();
    };
    append(out, b"Content-Type", b"text/plain; charset=utf-8");
    if let Some(seconds) = retry_after {
        append(out, b"Retry-After", itoa::Buffer::new().format(seconds).as_bytes());
    }
    // Three digits, a space, the phrase, a line end, the text, a line end.
    let size = 3 + 1 + phrase.len() + 1 + text.len() + 1;
    encoder.content_length = Some(size as u64);
    let framing = encoder.finish(out, BodySize::Known(size as u64), date, server);
    if framing.body.is_some() {
        out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        for part in [" ", phrase, "\n", text, "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    framing
}
