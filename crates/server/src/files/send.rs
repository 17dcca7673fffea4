//! Sending what was decided.

use std::borrow::Cow;

use stdserve_proto::h1::{HeadError, phrase};
use stdserve_proto::ranges::{Multipart, Span, content_range, unsatisfied_range};

use stdserve_sys::net::is_at_hand;

use super::Files;
use super::ask::Ask;
use super::decide::{Cors, Decision, Part, What};
use super::find::Found;
use super::listing::PAGE_POLICY;
use crate::exchange::Exchange;
use crate::stream::{Gone, Stream};

/// What an application says of a file that it has sent in its stead (`X-Sendfile`, `X-Accel-Redirect`).
#[derive(Debug, Clone, Copy)]
pub struct Handover<'a> {
    /// The status. With 200, conditions and ranges of the request count.
    pub status: u16,
    /// The reason phrase. May be empty.
    pub reason: &'a [u8],
    /// The application's fields. Those that the file decides are left out: length, ranges, `ETag`, `Last-Modified`, and
    /// the field that named the file. Its `Content-Type` and `Cache-Control` win over those of the service.
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

impl Handover<'_> {
    fn has(&self, name: &[u8]) -> bool {
        self.fields.iter().any(|(found, _)| found.eq_ignore_ascii_case(name))
    }
}

/// Fields of an application that the file decides.
const DECIDED_HERE: [&[u8]; 7] = [
    b"content-length",
    b"content-range",
    b"accept-ranges",
    b"etag",
    b"last-modified",
    b"x-sendfile",
    b"x-accel-redirect",
];

/// What a preflight is told that pages of other sites may send.
const CORS_REQUEST_FIELDS: &[u8] =
    b"Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range";

/// What pages of other sites may read, beside what they always may.
const CORS_EXPOSED: &[u8] = b"Accept-Ranges, Content-Length, Content-Range, Date, ETag";

impl Files {
    /// Answers with the file at `path`, names joined by slashes beneath the root and not encoded, on behalf of an
    /// application. Links are followed as far as they stay beneath; names with dots may be named. Neither users nor
    /// variants are looked at. What cannot be read is answered 404, 403, 503 or 500.
    pub fn send(&self, exchange: Exchange, path: &[u8], handover: &Handover<'_>) {
        let from = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
        let head = exchange.head();
        let ask = Ask::of(head);
        let get = head.method() == b"GET";
        let what = match self.find_plain(&path[from..]) {
            Ok(found) if handover.status == 200 && (get || head.method() == b"HEAD") => {
                match self.judge(found, &ask, get) {
                    // Each part would have to say the application's type.
                    What::Found(found, Part::Several(_)) if handover.has(b"content-type") => {
                        What::Found(found, Part::Whole)
                    }
                    what => what,
                }
            }
            Ok(found) => What::Found(found, Part::Whole),
            Err(trouble) => self.trouble(&path[from..], trouble),
        };
        self.carry_out(exchange, Decision { what, cors: Cors::Nobody }, Some(handover));
    }

    pub(super) fn carry_out(
        &self,
        mut exchange: Exchange,
        decision: Decision,
        for_app: Option<&Handover<'_>>,
    ) {
        let Decision { what, cors } = decision;
        let what = match what {
            What::Put(put) => self.put(&mut exchange, &put),
            What::Form(form) => self.form(&mut exchange, &form),
            other => other,
        };
        let boundary = match &what {
            What::Found(_, Part::Several(_)) => format!("{:016x}", stdserve_sys::clock::random_seed()),
            _ => String::new(),
        };
        let mut head = Head { files: self, exchange: &mut exchange, cors, for_app };
        if head.write(&what, &boundary).is_err() {
            // Only an application's own fields can be unfit.
            if exchange.begin(500, phrase(500).as_bytes()).is_ok() {
                exchange.complete(b"");
            }
            return;
        }
        match what {
            What::Found(found, part) => send_found(exchange, found, part, &boundary),
            What::NotFound(found) => send_found(exchange, found, Part::Whole, ""),
            What::Listing(page) => exchange.complete(&page.body),
            other => match text_of(&other) {
                Some((status, detail)) => {
                    exchange.complete(format!("{status} {}\n{detail}\n", phrase(status)).as_bytes());
                }
                None => exchange.complete(b""),
            },
        }
    }

    fn allowed(&self) -> &'static [u8] {
        if self.rules.upload { b"GET, HEAD, OPTIONS, POST, PUT" } else { b"GET, HEAD, OPTIONS" }
    }
}

/// The status and the line of answers that are short texts.
fn text_of(what: &What) -> Option<(u16, Cow<'_, str>)> {
    let (status, detail) = match what {
        What::Text(status, detail) => return Some((*status, Cow::Borrowed(detail))),
        What::Unsatisfiable(_) => (416, "The file has no such part."),
        What::Redirect(_) => (301, "This is a folder: its address ends with a slash."),
        What::NotAllowed => (405, "Files cannot be asked for this way."),
        What::Unauthorized => (401, "A name and a password are needed."),
        What::Created { .. } => (201, "It is there."),
        What::SeeOther(_) => (303, "It is there."),
        _ => return None,
    };
    Some((status, Cow::Borrowed(detail)))
}

/// The head of an answer, being written.
struct Head<'a> {
    files: &'a Files,
    exchange: &'a mut Exchange,
    cors: Cors,
    for_app: Option<&'a Handover<'a>>,
}

impl Head<'_> {
    fn write(&mut self, what: &What, boundary: &str) -> Result<(), HeadError> {
        match what {
            What::Found(found, part) => self.found(found, part, boundary),
            What::NotFound(found) => {
                self.begin(404, &[("Accept-Encoding", found.varies)])?;
                self.field("Content-Type", found.item.facts.content_type.as_bytes())?;
                self.coding(found)?;
                self.length_for_head(found.item.facts.size)
            }
            What::NotModified(found) => {
                self.begin(304, &[("Accept-Encoding", found.varies)])?;
                self.validators(found)?;
                self.cache_control(found)
            }
            What::Unsatisfiable(found) => {
                self.begin(416, &[])?;
                let mut range = Vec::new();
                unsatisfied_range(found.item.facts.size, &mut range);
                self.field("Content-Range", &range)?;
                self.text_type()
            }
            What::Redirect(to) | What::SeeOther(to) => {
                self.begin(if matches!(what, What::SeeOther(_)) { 303 } else { 301 }, &[])?;
                self.field("Location", to)?;
                self.text_type()
            }
            What::Listing(page) => {
                self.begin(200, &[("Accept", true)])?;
                self.field("Content-Type", page.content_type.as_bytes())?;
                self.field("Cache-Control", b"no-cache")?;
                self.field("Content-Security-Policy", PAGE_POLICY.as_bytes())?;
                self.field("X-Content-Type-Options", b"nosniff")
            }
            What::Options { preflight } => {
                self.begin(204, &[])?;
                let allowed = self.files.allowed();
                self.field("Allow", allowed)?;
                if *preflight {
                    self.field("Access-Control-Allow-Methods", allowed)?;
                    self.field("Access-Control-Allow-Headers", CORS_REQUEST_FIELDS)?;
                    self.field("Access-Control-Max-Age", b"86400")?;
                }
                Ok(())
            }
            What::NotAllowed => {
                self.begin(405, &[])?;
                self.field("Allow", self.files.allowed())?;
                self.text_type()
            }
            What::Unauthorized => {
                self.begin(401, &[])?;
                self.field("WWW-Authenticate", self.files.rules.challenge.as_bytes())?;
                self.text_type()
            }
            What::Created { location, etag } => {
                self.begin(201, &[])?;
                self.field("Location", location)?;
                self.field("ETag", etag.as_bytes())?;
                self.text_type()
            }
            What::Replaced { etag } => {
                self.begin(204, &[])?;
                self.field("ETag", etag.as_bytes())
            }
            What::Text(status, _) => {
                self.begin(*status, &[])?;
                if *status == 503 {
                    self.field("Retry-After", b"1")?;
                }
                self.text_type()
            }
            // Carried out before: each has become one of the others.
            What::Put(_) | What::Form(_) => self.begin(500, &[]),
        }
    }

    fn field(&mut self, name: &str, value: &[u8]) -> Result<(), HeadError> {
        self.exchange.field(name.as_bytes(), value)
    }

    /// The status, and what every answer has. `varies`: what other answers at the same address depend on.
    fn begin(&mut self, status: u16, varies: &[(&str, bool)]) -> Result<(), HeadError> {
        let has_content = matches!(status, 200 | 206);
        match self.for_app {
            Some(app) if status == 200 => self.exchange.begin(app.status, app.reason)?,
            _ => self.exchange.begin(status, phrase(status).as_bytes())?,
        }
        if let Some(app) = self.for_app {
            let whose = |name: &[u8]| {
                let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
                // The type is said with the content; the coding means nothing without.
                DECIDED_HERE.iter().any(|decided| is(decided))
                    || is(b"content-type")
                    || is(b"content-encoding") && !has_content
            };
            for (name, value) in app.fields.iter().filter(|(name, _)| !whose(name)) {
                self.exchange.field(name, value)?;
            }
        }
        for (name, value) in &self.files.rules.headers {
            self.exchange.field(name, value)?;
        }
        let origin_counts = match self.cors {
            Cors::Nobody => false,
            Cors::Everybody => {
                self.field("Access-Control-Allow-Origin", b"*")?;
                false
            }
            Cors::Site(at) => {
                let origin = self.files.rules.cors.get(at).map_or(&b""[..], |origin| origin.as_bytes());
                self.field("Access-Control-Allow-Origin", origin)?;
                true
            }
            Cors::Others => true,
        };
        if matches!(self.cors, Cors::Everybody | Cors::Site(_)) {
            self.field("Access-Control-Expose-Headers", CORS_EXPOSED)?;
        }
        let mut names: Vec<&str> =
            varies.iter().filter(|(_, varies)| *varies).map(|(name, _)| *name).collect();
        if origin_counts {
            names.push("Origin");
        }
        match names[..] {
            [] => Ok(()),
            [one] => self.field("Vary", one.as_bytes()),
            _ => self.field("Vary", names.join(", ").as_bytes()),
        }
    }

    fn text_type(&mut self) -> Result<(), HeadError> {
        self.field("Content-Type", b"text/plain; charset=utf-8")
    }

    fn found(&mut self, found: &Found, part: &Part, boundary: &str) -> Result<(), HeadError> {
        let facts = &found.item.facts;
        let status = if matches!(part, Part::Whole) { 200 } else { 206 };
        self.begin(status, &[("Accept-Encoding", found.varies)])?;
        let own = self
            .for_app
            .and_then(|app| app.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"content-type")));
        let content_type = own.map_or(facts.content_type.as_bytes(), |(_, value)| value);
        let mut scratch = Vec::new();
        let size = match part {
            Part::Whole => {
                self.field("Content-Type", content_type)?;
                facts.size
            }
            Part::One(span) => {
                self.field("Content-Type", content_type)?;
                content_range(*span, facts.size, &mut scratch);
                self.field("Content-Range", &scratch)?;
                span.len()
            }
            Part::Several(spans) => {
                let frame = frame(found, boundary);
                frame.content_type(&mut scratch);
                self.field("Content-Type", &scratch)?;
                frame.size(spans)
            }
        };
        self.coding(found)?;
        self.validators(found)?;
        if !facts.made_here {
            self.field("Accept-Ranges", b"bytes")?;
        }
        self.cache_control(found)?;
        self.length_for_head(size)
    }

    fn coding(&mut self, found: &Found) -> Result<(), HeadError> {
        match found.item.facts.coding {
            Some(coding) => self.field("Content-Encoding", coding.name().as_bytes()),
            None => Ok(()),
        }
    }

    fn validators(&mut self, found: &Found) -> Result<(), HeadError> {
        self.field("Last-Modified", found.item.facts.last_modified.as_bytes())?;
        self.field("ETag", found.item.facts.etag.as_bytes())
    }

    fn cache_control(&mut self, found: &Found) -> Result<(), HeadError> {
        let rule = found.item.facts.cache_rule.and_then(|at| self.files.rules.cache_control.get(at));
        match rule {
            Some((_, value)) if !self.for_app.is_some_and(|app| app.has(b"cache-control")) => {
                self.field("Cache-Control", value.as_bytes())
            }
            _ => Ok(()),
        }
    }

    /// Says the length of what is not sent.
    fn length_for_head(&mut self, size: u64) -> Result<(), HeadError> {
        if self.exchange.head().method() == b"HEAD" {
            return self.field("Content-Length", size.to_string().as_bytes());
        }
        Ok(())
    }
}

fn frame<'a>(found: &'a Found, boundary: &'a str) -> Multipart<'a> {
    let facts = &found.item.facts;
    Multipart { boundary, content_type: &facts.content_type, length: facts.size }
}

/// Sends a file, or parts of it, behind the head that was written.
fn send_found(exchange: Exchange, found: Found, part: Part, boundary: &str) {
    let size = found.item.facts.size;
    if exchange.head().method() == b"HEAD" {
        return exchange.complete(b"");
    }
    if let Some(content) = &found.item.content {
        let of = |span: Span| content.get(span.start as usize..span.end as usize).unwrap_or_default();
        return match part {
            Part::Whole => exchange.complete(content),
            Part::One(span) => exchange.complete(of(span)),
            Part::Several(spans) => {
                let frame = frame(&found, boundary);
                let mut body = Vec::new();
                for span in spans {
                    frame.part_head(span, &mut body);
                    body.extend_from_slice(of(span));
                }
                frame.end(&mut body);
                exchange.complete(&body);
            }
        };
    }
    // A client that has gone needs no answer, and whoever drops a stream cuts the connection.
    let _ = match part {
        Part::Whole => send_span(exchange, found, Span { start: 0, end: size }),
        Part::One(span) => send_span(exchange, found, span),
        Part::Several(spans) => send_spans(exchange, &found, &spans, boundary),
    };
}

/// So much of a file the engine sends at once.
const FIRST_STRETCH: u64 = 1 << 20;

fn send_span(exchange: Exchange, found: Found, span: Span) -> Result<(), Gone> {
    let file = found.file.ok_or(Gone)?;
    // What goes first is looked at; by the time of the rest the kernel has read ahead.
    let last = span.end.min(span.start + FIRST_STRETCH) - 1;
    if is_at_hand(&file, span.start) && is_at_hand(&file, last) {
        exchange.complete_file(file, span.start, span.len());
        return Ok(());
    }
    let mut stream = exchange.start(Some(span.len()));
    stream.send_file(file, span.start, span.len())?;
    stream.end();
    Ok(())
}

fn send_spans(exchange: Exchange, found: &Found, spans: &[Span], boundary: &str) -> Result<(), Gone> {
    let frame = frame(found, boundary);
    let file = found.file.as_ref().ok_or(Gone)?;
    let mut stream = exchange.start(Some(frame.size(spans)));
    let mut between = Vec::new();
    for span in spans {
        frame.part_head(*span, &mut between);
        send_all(&mut stream, &between)?;
        between.clear();
        stream.send_file(file.try_clone().map_err(|_| Gone)?, span.start, span.len())?;
    }
    frame.end(&mut between);
    send_all(&mut stream, &between)?;
    stream.end();
    Ok(())
}

fn send_all(stream: &mut Stream, mut data: &[u8]) -> Result<(), Gone> {
    loop {
        let taken = stream.send(data)?;
        data = &data[taken..];
        if data.is_empty() {
            return Ok(());
        }
        stream.wait()?;
    }
}
