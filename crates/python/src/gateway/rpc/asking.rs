//! Whether an HTTP request holds calls, in which language, and its document.

use std::os::unix::fs::FileExt as _;

use stdserve_config::RpcOptions;
use stdserve_proto::accept_encoding::{Accepted, Coding};
use stdserve_proto::gzip::{GunzipError, gunzip};
use stdserve_proto::xmlrpc::Limits;
use stdserve_server::{Body, Exchange};

use super::refuse;

/// What a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Xml,
    Json,
}

impl Language {
    pub(super) fn content_type(self) -> &'static [u8] {
        match self {
            Self::Xml => b"text/xml",
            Self::Json => b"application/json",
        }
    }

    /// By the media type of the request. Browsers cannot be made to send these to another site unasked, as they can
    /// forms and plain text: so other types, and none, are refused.
    fn of(media_type: &[u8]) -> Option<Self> {
        let name = media_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("text/xml") || is("application/xml") {
            return Some(Self::Xml);
        }
        let json = ["application/json", "application/json-rpc", "application/jsonrequest"];
        json.into_iter().any(is).then_some(Self::Json)
    }
}

/// What a request is for.
pub(super) enum Asked {
    /// The page that documents the methods.
    Page,
    Calls {
        language: Language,
        document: Vec<u8>,
    },
}

/// A request that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    field: Option<(&'static [u8], &'static [u8])>,
}

impl Refusal {
    const fn new(status: u16) -> Self {
        Self { status, field: None }
    }

    pub(super) fn answer(self, exchange: Exchange) {
        refuse(exchange, self.status, self.field.as_slice());
    }
}

/// Looks at a request, and takes its document.
pub(super) fn ask(exchange: &mut Exchange, options: &RpcOptions, limits: &Limits) -> Result<Asked, Refusal> {
    let head = exchange.head();
    if !is_taken(exchange.path(), &options.paths) {
        return Err(Refusal::new(404));
    }
    match head.method() {
        b"POST" => {}
        b"GET" | b"HEAD" if options.introspection => return Ok(Asked::Page),
        _ => {
            let allow: &[u8] = if options.introspection { b"GET, HEAD, POST" } else { b"POST" };
            return Err(Refusal { status: 405, field: Some((b"Allow", allow)) });
        }
    }
    let language = head.field("content-type").and_then(Language::of);
    let language = language.filter(|&language| language == Language::Xml || options.json_rpc);
    let Some(language) = language else {
        let accepted: &[u8] = if options.json_rpc { b"text/xml, application/json" } else { b"text/xml" };
        return Err(Refusal { status: 415, field: Some((b"Accept-Post", accepted)) });
    };
    let compressed = match head.field("content-encoding").map(<[u8]>::trim_ascii) {
        None | Some(b"") => false,
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => false,
        Some(coding) if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => {
            true
        }
        Some(_) => return Err(Refusal { status: 415, field: Some((b"Accept-Encoding", b"gzip")) }),
    };
    let mut document = read(exchange.take_body(), limits.body)?;
    if compressed {
        document = gunzip(&document, limits.body, limits.ratio).map_err(|error| match error {
            GunzipError::Invalid => Refusal::new(400),
            GunzipError::TooLarge | GunzipError::Ratio => Refusal::new(413),
        })?;
    }
    Ok(Asked::Calls { language, document })
}

/// Whether calls are taken at `path`, behind the mount.
fn is_taken(path: &[u8], paths: &[String]) -> bool {
    let path = if path.is_empty() { b"/" } else { path };
    paths.is_empty() || paths.iter().any(|taken| taken.as_bytes() == path)
}

fn read(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    if body.len() > most as u64 {
        return Err(Refusal::new(413));
    }
    match body {
        // Bodies were asked for whole.
        Body::Empty | Body::Stream(_) => Ok(Vec::new()),
        Body::Memory(bytes) => Ok(bytes),
        Body::File { file, len } => {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, 0).map_err(|_| Refusal::new(500))?;
            Ok(bytes)
        }
    }
}

pub(super) fn takes_gzip(exchange: &Exchange) -> bool {
    exchange.head().field("accept-encoding").is_some_and(|value| Accepted::parse(value).takes(Coding::Gzip))
}
