//! Why a request is refused: one variant a cause, each with the rule it comes from.

use std::error::Error;
use std::fmt;

/// A request that is not served. Nothing that follows it on the connection can be trusted to be a request: answer
/// with [`status`](Refusal::status) and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// More than one empty line before the request line (RFC 9112 §2.2 allows for at least one).
    EmptyLines,
    /// The request line is not `method SP target SP version` (RFC 9112 §3). HTTP/0.9 is refused as this.
    RequestLine,
    /// The request line is longer than the limit (RFC 9112 §3, RFC 9110 §15.5.15). 414.
    RequestLineTooLong,
    /// The method is not a token (RFC 9110 §9.1).
    Method,
    /// The method has lower-case letters. Methods are case-sensitive and registered ones upper-case (RFC 9110 §9.1);
    /// `get` is no GET, and software on the way may take it for one.
    MethodCase,
    /// The target has a byte that no URI has (RFC 9112 §3.2, RFC 3986 §2).
    Target,
    /// The target is in none of the forms that the method allows (RFC 9112 §3.2).
    TargetForm,
    /// The version is not `HTTP/` digit `.` digit (RFC 9112 §2.3).
    Version,
    /// A major version other than 1 (RFC 9110 §15.6.6). 505.
    VersionUnsupported,
    /// A line feed without carriage return before it (RFC 9112 §2.2 allows a recipient to take it for a line end;
    /// that two recipients differ here is how requests are smuggled).
    BareLf,
    /// A carriage return without line feed after it (RFC 9112 §2.2).
    BareCr,
    /// NUL or another control byte (RFC 9110 §5.5).
    ControlByte,
    /// A field name that is not a token, or a field line without colon (RFC 9112 §5, RFC 9110 §5.1).
    FieldName,
    /// Whitespace in a field name or before the colon (RFC 9112 §5.1).
    SpaceBeforeColon,
    /// Whitespace at the start of a field line: obsolete line folding (RFC 9112 §5.2), or before the first field
    /// (RFC 9112 §2.2).
    ObsFold,
    /// A field line is longer than the limit (RFC 6585 §5). 431.
    FieldTooLarge,
    /// More field lines than the limit (RFC 6585 §5). 431.
    TooManyFields,
    /// The head is longer than the limit (RFC 6585 §5). 431.
    HeadTooLarge,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    HostMissing,
    /// More than one Host (RFC 9112 §3.2).
    HostRepeated,
    /// Host is not `host [":" port]`, or is empty (RFC 9112 §3.2, RFC 9110 §4.2.1).
    HostInvalid,
    /// Content-Length is not all digits, or does not fit 64 bits (RFC 9110 §8.6, RFC 9112 §6.3).
    ContentLengthInvalid,
    /// Content-Length lines that differ (RFC 9112 §6.3).
    ContentLengthRepeated,
    /// More than one Content-Type, which is no list (RFC 9110 §5.3, §8.3).
    ContentTypeRepeated,
    /// Transfer-Encoding together with Content-Length (RFC 9112 §6.1, §6.3).
    LengthAndEncoding,
    /// Transfer-Encoding on HTTP/1.0, which does not know it (RFC 9112 §6.1).
    EncodingOnHttp10,
    /// Transfer-Encoding is no list of codings in which `chunked` stands last and once (RFC 9112 §6.1, §6.3).
    EncodingInvalid,
    /// A transfer coding other than chunked, gzip, deflate, compress and identity (RFC 9112 §6.1). 501.
    EncodingUnknown,
    /// Expect with anything but `100-continue` (RFC 9110 §10.1.1). 417.
    Expectation,
    /// A chunk size that is not hexadecimal digits (RFC 9112 §7.1).
    ChunkSize,
    /// A chunk size that does not fit 64 bits (RFC 9112 §7.1).
    ChunkSizeOverflow,
    /// A chunk extension that is not `;name[=value]` (RFC 9112 §7.1.1).
    ChunkExtension,
    /// More chunk extensions than make sense (RFC 9112 §7.1.1 asks for a limit).
    ChunkExtensionsTooLong,
    /// Chunk data that CRLF does not follow (RFC 9112 §7.1).
    ChunkEnd,
    /// Content-Length, Transfer-Encoding or Host in the trailers (RFC 9110 §6.5.1).
    TrailerForbidden,
    /// Trailers over the limits of the head (RFC 6585 §5). 431.
    TrailersTooLarge,
    /// Refused by the parser beneath, and by no rule of ours: a sign of a mistake in this crate.
    Malformed,
}

impl Refusal {
    /// The status to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::FieldTooLarge | Self::TooManyFields | Self::HeadTooLarge | Self::TrailersTooLarge => 431,
            Self::EncodingUnknown => 501,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// One sentence for the log and the response's body.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::EmptyLines => "More than one empty line stands before the request line.",
            Self::RequestLine => "The request line is not a method, a target and a version.",
            Self::RequestLineTooLong => "The request line is too long.",
            Self::Method => "The method is not a token.",
            Self::MethodCase => "The method has lower-case letters.",
            Self::Target => "The request target has a byte that no URI has.",
            Self::TargetForm => "The request target has no form that the method allows.",
            Self::Version => "The protocol version is malformed.",
            Self::VersionUnsupported => "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
            Self::BareLf => "A line feed has no carriage return before it.",
            Self::BareCr => "A carriage return has no line feed after it.",
            Self::ControlByte => "The request has a control byte.",
            Self::FieldName => "A field name is not a token.",
            Self::SpaceBeforeColon => "A field name has whitespace in it or after it.",
            Self::ObsFold => "A field line begins with whitespace.",
            Self::FieldTooLarge => "A header field is too long.",
            Self::TooManyFields => "The request has too many header fields.",
            Self::HeadTooLarge => "The request head is too long.",
            Self::HostMissing => "The Host field is missing.",
            Self::HostRepeated => "The Host field stands more than once.",
            Self::HostInvalid => "The Host field is not a host with an optional port.",
            Self::ContentLengthInvalid => "Content-Length is not a decimal number.",
            Self::ContentLengthRepeated => "Content-Length stands twice with different values.",
            Self::ContentTypeRepeated => "Content-Type stands more than once.",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding stand together.",
            Self::EncodingOnHttp10 => "Transfer-Encoding stands in an HTTP/1.0 request.",
            Self::EncodingInvalid => "Transfer-Encoding does not end in one 'chunked'.",
            Self::EncodingUnknown => "The transfer coding is not known.",
            Self::Expectation => "The expectation cannot be met.",
            Self::ChunkSize => "A chunk size is not a hexadecimal number.",
            Self::ChunkSizeOverflow => "A chunk size is too large.",
            Self::ChunkExtension => "A chunk extension is malformed.",
            Self::ChunkExtensionsTooLong => "The chunk extensions are too long.",
            Self::ChunkEnd => "A chunk does not end where its size says.",
            Self::TrailerForbidden => "A trailer field may not stand there.",
            Self::TrailersTooLarge => "The trailers are too long.",
            Self::Malformed => "The request is malformed.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl Error for Refusal {}
