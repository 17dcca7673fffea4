//! What becomes of a request, decided before anything of the answer is written.

use std::borrow::Cow;

use stdserve_proto::basic_auth;
use stdserve_proto::clean_path::CleanPath;
use stdserve_proto::conditional::{Outcome, Validators};
use stdserve_proto::ranges::{Ranges, Span, select};

use super::Files;
use super::ask::Ask;
use super::find::{Found, Target, Trouble};
use super::listing::Page;
use super::upload::{Form, Put};
use crate::exchange::Exchange;

/// An answer to be.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) what: What,
    pub(super) cors: Cors,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum What {
    /// A status, and a line that says more.
    Text(u16, Cow<'static, str>),
    /// The user's own page for what is not there.
    NotFound(Found),
    Found(Found, Part),
    NotModified(Found),
    /// 416.
    Unsatisfiable(Found),
    /// A permanent one.
    Redirect(Vec<u8>),
    Listing(Page),
    /// What may be asked, in general (OPTIONS) or by other sites (a preflight).
    Options {
        preflight: bool,
    },
    NotAllowed,
    Unauthorized,
    Put(Put),
    Form(Form),
    /// A file was brought.
    Created {
        location: Vec<u8>,
        etag: String,
    },
    /// A file was brought, in place of another.
    Replaced {
        etag: String,
    },
    /// What was brought is to be seen there.
    SeeOther(Vec<u8>),
}

/// How much of a file is sent.
#[derive(Debug)]
pub(super) enum Part {
    Whole,
    One(Span),
    Several(Vec<Span>),
}

/// Whom a browser may show the answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cors {
    /// Pages of this site.
    Nobody,
    /// Pages of every site.
    Everybody,
    /// Pages of one site of the list, by its place there.
    Site(usize),
    /// Not the site that asked; others perhaps.
    Others,
}

impl What {
    fn text(status: u16, detail: &'static str) -> Self {
        Self::Text(status, Cow::Borrowed(detail))
    }
}

impl From<Trouble> for What {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing => Self::text(404, "Nothing is here."),
            Trouble::Forbidden(_) => Self::text(403, "The server is not allowed to read this."),
            Trouble::Busy(_) => Self::text(503, "The server has no room for this at the moment."),
            Trouble::Failed(_) => Self::text(500, "The server could not read this."),
        }
    }
}

impl Files {
    pub(super) fn decide(&self, exchange: &Exchange) -> Decision {
        let head = exchange.head();
        let ask = Ask::of(head);
        let cors = self.cors(&ask);
        let what = self.what(exchange, &ask, cors).unwrap_or_else(|other| other);
        Decision { what, cors }
    }

    /// `Err` is an answer too: one that came up on the way.
    fn what(&self, exchange: &Exchange, ask: &Ask<'_>, cors: Cors) -> Result<What, What> {
        let (head, mount) = (exchange.head(), exchange.mount());
        let method = head.method();
        // Preflights carry no credentials (Fetch §3.2.2).
        if method == b"OPTIONS" && ask.preflight && matches!(cors, Cors::Everybody | Cors::Site(_)) {
            return Ok(What::Options { preflight: true });
        }
        if !self.may_come_in(ask) {
            return Err(What::Unauthorized);
        }
        let changes = match method {
            b"GET" | b"HEAD" => false,
            b"OPTIONS" => return Ok(What::Options { preflight: false }),
            b"PUT" | b"POST" if self.rules.upload => true,
            _ => return Err(What::NotAllowed),
        };
        let path = CleanPath::parse(exchange.path())
            .map_err(|error| What::Text(400, Cow::Owned(format!("In the request, {error}."))))?;
        if changes {
            return self.bring(head, mount, &path, ask);
        }
        if exchange.path().is_empty() && !mount.is_empty() {
            // The folder itself, without its slash: links in it would lead beside it.
            return Err(What::Redirect(redirect(&path, mount, head.query())));
        }
        match self.find(&path, ask) {
            Ok(Target::File(found)) => Ok(self.judge(found, ask, method == b"GET")),
            Ok(Target::Unslashed) => Err(What::Redirect(redirect(&path, mount, head.query()))),
            Ok(Target::Folder(folder)) if self.rules.listing => {
                Ok(What::Listing(self.list(&folder, &path, mount, head.query(), ask)?))
            }
            Ok(Target::Folder(_)) | Err(Trouble::Missing) => self.missing(&path, ask, method == b"GET"),
            Err(trouble) => Err(self.trouble(path.as_bytes(), trouble)),
        }
    }

    /// The answer to trouble with what stands at `path`, of which the log is told.
    pub(super) fn trouble(&self, path: &[u8], trouble: Trouble) -> What {
        self.hear(path, &trouble);
        trouble.into()
    }

    /// A page of the options, if it can be read.
    fn page(&self, path: &[u8], ask: &Ask<'_>) -> Option<Found> {
        self.find_file(path, ask).unwrap_or_else(|trouble| {
            self.hear(path, &trouble);
            None
        })
    }

    /// What is sent where nothing is.
    fn missing(&self, path: &CleanPath, ask: &Ask<'_>, get: bool) -> Result<What, What> {
        let is_page = !path.last().contains(&b'.') || ask.names(b"text/html");
        if let Some(fallback) = &self.rules.fallback
            && is_page
            && (self.rules.hidden || !path.is_hidden())
            && let Some(found) = self.page(fallback, ask)
        {
            return Ok(self.judge(found, ask, get));
        }
        if let Some(page) = &self.rules.not_found
            && let Some(found) = self.page(page, ask)
        {
            return Err(What::NotFound(found));
        }
        Err(Trouble::Missing.into())
    }

    /// Judges conditions and ranges (RFC 9110 §13.2.2).
    pub(super) fn judge(&self, found: Found, ask: &Ask<'_>, get: bool) -> What {
        let facts = &found.item.facts;
        let now = Validators { etag: facts.etag.as_bytes(), modified: facts.modified };
        match ask.conditions.judge(true, Some(now)) {
            Outcome::Failed => return What::text(412, "The file is not the one that was meant."),
            Outcome::NotModified => return What::NotModified(found),
            Outcome::Proceed => {}
        }
        if !get || facts.made_here {
            return What::Found(found, Part::Whole);
        }
        match ask.conditions.range(now).map(|range| select(range, facts.size, self.rules.ranges)) {
            None | Some(Ranges::Whole) => What::Found(found, Part::Whole),
            Some(Ranges::Unsatisfiable) => What::Unsatisfiable(found),
            Some(Ranges::One(span)) => What::Found(found, Part::One(span)),
            Some(Ranges::Several(spans)) => What::Found(found, Part::Several(spans)),
        }
    }

    fn may_come_in(&self, ask: &Ask<'_>) -> bool {
        if self.rules.credentials.is_empty() {
            return true;
        }
        let Some(sent) = ask.authorization.and_then(basic_auth::sent) else { return false };
        // All of them, so that the time does not tell which name it was.
        self.rules.credentials.iter().fold(false, |found, held| found | basic_auth::same(sent, held))
    }

    fn cors(&self, ask: &Ask<'_>) -> Cors {
        let allowed = &self.rules.cors;
        if allowed.is_empty() {
            return Cors::Nobody;
        }
        if allowed.iter().any(|origin| origin == "*") {
            return Cors::Everybody;
        }
        ask.origin
            .and_then(|origin| allowed.iter().position(|allowed| allowed.as_bytes() == origin))
            .map_or(Cors::Others, Cors::Site)
    }
}

/// Where a folder's slash is missing: the same with the slash, and with its query.
fn redirect(path: &CleanPath, mount: &[u8], query: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    path.encode_below(mount, true, &mut to);
    if !query.is_empty() {
        to.push(b'?');
        to.extend_from_slice(query);
    }
    to
}
