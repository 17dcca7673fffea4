//! What is answered to a request.

use std::time::Instant;

use serde_json::{Value, json};
use stdserve_proto::h1::RequestHead;

use super::documents;
use super::guard::{self, Hosts};
use super::view::View;

/// A request, as far as the answer depends on it.
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead,
    /// It comes from this machine.
    pub(super) local: bool,
    /// There is room for one more who is sent events.
    pub(super) room: bool,
}

/// What a client orders, once it is known to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// What follows an answer's head.
#[derive(Debug)]
pub(super) enum Body {
    Text(String),
    /// Events, for as long as the client stays.
    Events,
    /// An answer that is made later, head and all.
    Stacks(Stacks),
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What every answer carries: it is not kept, shown in no frame, and runs nothing.
const FIELDS: [(&str, &str); 4] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
];

impl Answer {
    fn new(status: u16, kind: &str, body: Body) -> Self {
        let mut fields: Vec<_> = FIELDS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        fields.push(("Content-Type", kind.to_owned()));
        Self { status, fields, body }
    }

    fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, TEXT, Body::Text(text.into() + "\n"))
    }

    fn json(status: u16, value: &Value) -> Self {
        Self::new(status, JSON, Body::Text(value.to_string() + "\n"))
    }

    /// What is wrong, in the form in which orders are answered too.
    fn refusal(status: u16, why: &str) -> Self {
        Self::json(status, &json!({ "error": why }))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

const CSP: (&str, &str) = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");

/// Answers a request.
pub(super) fn answer(
    request: &Request<'_>,
    hosts: &Hosts,
    view: &View<'_>,
    now: Instant,
    orders: &mut Vec<Order>,
) -> Answer {
    let head = request.head;
    let answer = match guard::objection(head, head.host(), hosts) {
        Some((status, why)) => Answer::refusal(status, why),
        None => match head.method() {
            b"GET" | b"HEAD" => read(request, view),
            _ => Answer::refusal(405, "This is no such method's place.").with("Allow", "GET, HEAD"),
        },
    };
    let _ = (now, orders);
    if answer.fields.iter().any(|(name, _)| *name == CSP.0) { answer } else { answer.with(CSP.0, CSP.1) }
}

/// What is only looked at.
fn read(request: &Request<'_>, view: &View<'_>) -> Answer {
    match request.head.path() {
        b"/live" => Answer::text(200, "live"),
        b"/ready" if view.ready => Answer::text(200, "ready"),
        b"/ready" => Answer::text(503, "not ready"),
        b"/status" => Answer::json(200, &documents::status(view)),
        b"/events" if !request.room => Answer::refusal(503, "There are too many who follow already."),
        b"/events" => Answer::new(200, "text/event-stream", Body::Events),
        _ => Answer::refusal(404, "There is no such page."),
    }
}

/// Workers were asked for their stacks.
#[derive(Debug)]
pub(super) struct Stacks {
    due: Instant,
}

impl Stacks {
    /// When to look again at the latest.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The answer, once it can be made.
    pub(super) fn answer(
        &mut self,
        view: &View<'_>,
        now: Instant,
        orders: &mut Vec<Order>,
    ) -> Option<Answer> {
        let _ = (view, now, orders);
        Some(Answer::text(200, ""))
    }
}
