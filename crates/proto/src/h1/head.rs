//! A request head: its bytes, and where in them its parts stand.

use super::bytes::trim;
use super::fields::Noted;
use super::refusal::Refusal;
use super::target::{self, Path};

/// The version of a request, as far as it makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and every higher minor version: a server treats those as the highest one that it knows (RFC 9110
    /// §2.5).
    #[default]
    Http11,
}

impl Version {
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum BodyLength {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    #[default]
    None,
    /// Content-Length, in bytes. May be 0.
    Length(u64),
    /// Transfer-Encoding, whose last coding is `chunked`.
    Chunked,
}

/// From and to, within the head's bytes.
type Span = (u32, u32);

#[derive(Debug, Clone, Copy)]
struct FieldSpan {
    name: Span,
    value: Span,
}

/// The head of a request. Made to be used again: [`clear`](RequestHead::clear) and every new head keep the memory.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    bytes: Vec<u8>,
    fields: Vec<FieldSpan>,
    method: Span,
    target: Span,
    path: Path,
    /// Within the target.
    query: Span,
    host: Option<Span>,
    version: Version,
    body: BodyLength,
    keep_alive: bool,
    expects_continue: bool,
}

/// A head as the parser beneath has taken it apart: slices of the head's bytes.
pub(crate) struct Parts<'a, 'h> {
    pub(crate) bytes: &'a [u8],
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) version: Version,
    pub(crate) fields: &'h [httparse::Header<'a>],
}

impl RequestHead {
    /// The method, a token without lower-case letters.
    pub fn method(&self) -> &[u8] {
        self.slice(self.method)
    }

    /// The request target as it was sent.
    pub fn target(&self) -> &[u8] {
        self.slice(self.target)
    }

    /// The path, still percent-encoded: begins with `/`, or is `*` for `OPTIONS *`, or empty for CONNECT. Of an
    /// absolute target only its path.
    pub fn path(&self) -> &[u8] {
        match self.path {
            Path::At(from, to) => &self.target()[from..to],
            Path::Root => b"/",
            Path::Asterisk => b"*",
            Path::None => b"",
        }
    }

    /// What follows the question mark, without a fragment; empty where there is none.
    pub fn query(&self) -> &[u8] {
        &self.target()[self.query.0 as usize..self.query.1 as usize]
    }

    /// The version that the request is treated as.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Name as sent and trimmed value of each field, in the order of their coming. Fields with `_` in the name
    /// and `Proxy` are dropped, since CGI's environment cannot tell them from others.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (self.slice(field.name), self.slice(field.value)))
    }

    /// Value of the first field of that name, in any case of letters.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Takes out the fields for whose name `drop` says so.
    pub fn remove_fields(&mut self, mut drop: impl FnMut(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.fields.retain(|field| !drop(&bytes[field.name.0 as usize..field.name.1 as usize]));
    }

    /// Host and port that the request is for: what the absolute or authority form of the target says, otherwise the
    /// Host field (RFC 9112 §3.2.2). `None` is possible in HTTP/1.0 only.
    pub fn host(&self) -> Option<&[u8]> {
        self.host.map(|span| self.slice(span))
    }

    /// How the end of the body is found.
    pub fn body_length(&self) -> BodyLength {
        self.body
    }

    /// Whether the client wants to use the connection again (RFC 9112 §9.3). Never after CONNECT: a client that
    /// takes the answer for a tunnel would send something else than requests.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1). False where there is
    /// no body, and in HTTP/1.0.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The codings that were applied before `chunked`, in that order: gzip, deflate, compress, identity, in any case
    /// of letters. They are not undone here.
    pub fn transfer_codings(&self) -> impl Iterator<Item = &[u8]> {
        let coded = self.body == BodyLength::Chunked;
        self.fields()
            .filter(move |(name, _)| coded && name.eq_ignore_ascii_case(b"transfer-encoding"))
            .flat_map(|(_, value)| value.split(|&byte| byte == b',').map(trim))
            .filter(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
    }

    /// The head's bytes as they came, from the request line to the empty line.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the request and keeps the memory, unless an unusual request has made it large.
    pub fn clear(&mut self) {
        const KEPT: usize = 16 << 10;
        let (mut bytes, mut fields) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.fields));
        bytes.clear();
        fields.clear();
        bytes.shrink_to(KEPT);
        fields.shrink_to(KEPT / size_of::<FieldSpan>());
        *self = Self { bytes, fields, ..Self::default() };
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.0 as usize..span.1 as usize]
    }

    /// Takes over a head and judges what it means. After a refusal the head holds nothing.
    #[inline]
    pub(crate) fn load(&mut self, parts: &Parts<'_, '_>) -> Result<(), Refusal> {
        self.bytes.clear();
        self.fields.clear();
        self.try_load(parts).inspect_err(|_| self.clear())
    }

    fn try_load(&mut self, parts: &Parts<'_, '_>) -> Result<(), Refusal> {
        let target = target::parse(parts.method, parts.target)?;
        let mut noted = Noted::default();
        for field in parts.fields {
            // The parser has trimmed the value.
            let (name, value) = (field.name.as_bytes(), field.value);
            if noted.note(name, value) {
                self.fields
                    .push(FieldSpan { name: span(parts.bytes, name), value: span(parts.bytes, value) });
            }
        }
        let settled = noted.settle(parts.version)?;
        self.bytes.extend_from_slice(parts.bytes);
        self.method = span(parts.bytes, parts.method);
        self.target = span(parts.bytes, parts.target);
        self.path = target.path;
        self.query = (target.query.0 as u32, target.query.1 as u32);
        self.host = match target.authority {
            Some((from, to)) => Some(span(parts.bytes, &parts.target[from..to])),
            None => noted.host().map(|host| span(parts.bytes, host)),
        };
        self.version = parts.version;
        self.body = settled.body;
        self.keep_alive = settled.keep_alive && self.path != Path::None;
        self.expects_continue = settled.expects_continue;
        Ok(())
    }
}

/// Where `part`, a slice of `whole`, stands in it. Heads are shorter than 4 GiB (the reader sees to that).
#[inline]
fn span(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    debug_assert!(start + part.len() <= whole.len(), "a part of another head");
    (start as u32, (start + part.len()) as u32)
}
