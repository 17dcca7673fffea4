//! What is answered to a request.

use stdserve_proto::h1::RequestHead;
use stdserve_sys::process::Pid;

use serde_json::{Value, json};

use super::guard::{self, Hosts};
use super::history::History;
use super::stacks::Stacks;
use super::view::View;
use super::{documents, page};
use crate::figures;
use crate::machine::{Action, Event, GroupReport, ScaleTo};

/// The most requests in one answer.
const REQUESTS: usize = 1000;

/// The levels of the log, by rank.
const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "critical"];

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
pub(crate) enum Order {
    /// Something for the machine to decide.
    Event(Event),
    /// Something that needs no decision.
    Act(Action),
    /// Log from this level on: the supervisor, and all workers, those to come too. By rank, as
    /// [`ToWorker::LogLevel`](crate::ToWorker::LogLevel).
    LogLevel(u8),
}

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

const TEXT: &str = "text/plain; charset=utf-8";
const CSP: &str = "Content-Security-Policy";

/// What every answer carries: it is not kept, shown in no frame, and runs nothing.
const FIELDS: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
];

impl Answer {
    fn new(status: u16, kind: &str, body: Body) -> Self {
        let mut fields: Vec<_> = FIELDS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        fields.push(("Content-Type", kind.to_owned()));
        Self { status, fields, body }
    }

    fn text(status: u16, text: &str) -> Self {
        Self::new(status, TEXT, Body::Text(format!("{text}\n")))
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", Body::Text(format!("{value}\n"))).with(CSP, page::NOTHING)
    }

    /// What is wrong, and what to do.
    fn refusal(status: u16, why: &str) -> Self {
        Self::json(status, &json!({ "error": why }))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

/// Answers a request. What it orders is added to `orders`.
pub(super) fn answer(
    request: &Request<'_>,
    hosts: &Hosts,
    view: &View<'_>,
    history: &History,
    orders: &mut Vec<Order>,
) -> Answer {
    let head = request.head;
    if let Some((status, why)) = guard::objection(head, head.host(), hosts) {
        return Answer::refusal(status, why);
    }
    let reads = matches!(head.method(), b"GET" | b"HEAD");
    let Some(methods) = methods(head.path()) else {
        return Answer::refusal(404, "There is no such page.");
    };
    if reads && methods.contains("GET") {
        return read(request, view, history);
    }
    if head.method() != b"POST" || !methods.contains("POST") {
        return Answer::refusal(405, &format!("This takes {methods}.")).with("Allow", methods);
    }
    if let Some((status, why)) = guard::objection_to_order(head, request.local) {
        return Answer::refusal(status, why);
    }
    order(request, view, orders).unwrap_or_else(|(status, why)| Answer::refusal(status, &why))
}

/// What a path takes; none: there is no such path.
fn methods(path: &[u8]) -> Option<&'static str> {
    match path {
        b"/" | b"/live" | b"/ready" | b"/metrics" | b"/status" | b"/requests" | b"/autopsies" | b"/log"
        | b"/config" | b"/events" => Some("GET, HEAD"),
        b"/reload" | b"/upgrade" | b"/scale" | b"/drain" | b"/log-level" | b"/stacks" => Some("POST"),
        _ => None,
    }
}

/// What is only looked at.
fn read(request: &Request<'_>, view: &View<'_>, history: &History) -> Answer {
    let after = || parameter(request.head, "after").and_then(|text| text.parse().ok()).unwrap_or(0);
    let ok = |value: &Value| Answer::json(200, value);
    match request.head.path() {
        b"/" => {
            let (html, policy) = page::page();
            Answer::new(200, "text/html; charset=utf-8", Body::Text(html)).with(CSP, policy)
        }
        b"/live" => Answer::text(200, "live"),
        b"/ready" if view.report.ready && !view.report.draining => Answer::text(200, "ready"),
        b"/ready" => Answer::text(503, if view.report.draining { "draining" } else { "not ready" }),
        b"/metrics" => {
            let text = figures::prometheus(&view.picture());
            Answer::new(200, figures::CONTENT_TYPE, Body::Text(text))
        }
        b"/status" => ok(&documents::status(view, history)),
        b"/requests" => ok(&documents::requests(view, REQUESTS)),
        b"/autopsies" => ok(&documents::autopsies(view, after())),
        b"/log" => ok(&documents::log(view, after())),
        b"/config" => ok(&documents::config(view)),
        _ if !request.room => Answer::refusal(503, "There are too many who follow already."),
        _ => Answer::new(200, "text/event-stream", Body::Events),
    }
}

const NONE_LEFT: &str = "At least one worker stays. To end the server send it TERM.";

type Refusal = (u16, String);

/// What changes something, or asks workers.
fn order(request: &Request<'_>, view: &View<'_>, orders: &mut Vec<Order>) -> Result<Answer, Refusal> {
    let head = request.head;
    let taken = |what: String| Ok(Answer::json(202, &json!({ "taken": what, "after": view.journal.last() })));
    if view.report.draining {
        return Err((409, "The server is ending.".to_owned()));
    }
    match head.path() {
        b"/reload" => {
            orders.push(Order::Event(Event::Reconfigure));
            taken("The configuration is read again, and the application loaded anew.".to_owned())
        }
        b"/upgrade" => {
            orders.push(Order::Event(Event::Upgrade { replace: true }));
            taken("A new supervisor is started; this one leaves when that one is ready.".to_owned())
        }
        b"/scale" => {
            let (index, group) = group(head, view)?;
            let workers = scale_to(parameter(head, "workers").as_deref())?;
            let room = group.slots.len().saturating_sub(1).max(1);
            let wanted = match workers {
                ScaleTo::To(count) => count,
                ScaleTo::By(more) => group.wanted.saturating_add_signed(more as isize),
            };
            if wanted == 0 {
                return Err((400, NONE_LEFT.to_owned()));
            }
            if wanted > room {
                let why = format!("There is room for {room} workers: a restart with --workers makes more.");
                return Err((409, why));
            }
            orders.push(Order::Event(Event::Scale { group: index, workers: ScaleTo::To(wanted) }));
            let what = format!("{} is to have {wanted} workers.", group.name);
            let (name, after) = (&group.name, view.journal.last());
            let told = json!({ "taken": what, "after": after, "group": name, "wanted": wanted });
            Ok(Answer::json(202, &told))
        }
        b"/drain" => {
            let pid = parameter(head, "pid").ok_or((400, "Say which worker: ?pid=N.".to_owned()))?;
            let pid = worker(view, &pid)?;
            orders.push(Order::Event(Event::Drain(pid)));
            taken(format!("Worker {pid} finishes what runs, and is replaced."))
        }
        b"/log-level" => {
            let level = parameter(head, "level").unwrap_or_default().to_ascii_lowercase();
            let level = if level == "warn" { "warning" } else { level.as_str() };
            let rank = LEVELS.iter().position(|known| *known == level);
            let rank = rank
                .ok_or_else(|| (400, format!("There is no such level. These are: {}.", LEVELS.join(", "))))?;
            orders.push(Order::LogLevel(rank as u8));
            taken(format!("Messages from {level} on are logged."))
        }
        _ => {
            let of = parameter(head, "pid").map(|pid| worker(view, &pid)).transpose()?;
            let stacks = Stacks::ask(view, of, orders);
            Ok(Answer::new(200, "application/json", Body::Stacks(stacks)))
        }
    }
}

/// The worker with this process.
fn worker(view: &View<'_>, pid: &str) -> Result<Pid, Refusal> {
    let known = || view.report.groups.iter().flat_map(|group| &group.workers).filter_map(|worker| worker.pid);
    known().find(|known| pid.parse() == Ok(known.0)).ok_or_else(|| {
        let list = known().map(|pid| pid.to_string()).collect::<Vec<_>>().join(", ");
        (404, format!("There is no worker {}. These are: {list}.", shown(pid)))
    })
}

/// The group that is meant; it need not be named where there is one only.
fn group<'a>(head: &RequestHead, view: &'a View<'_>) -> Result<(usize, &'a GroupReport), Refusal> {
    let mut groups = view.report.groups.iter().enumerate();
    let names = || view.report.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
    match parameter(head, "group") {
        Some(name) => groups
            .find(|(_, group)| group.name == name)
            .ok_or_else(|| (404, format!("There is no group {}. These are: {}.", shown(&name), names()))),
        None if view.report.groups.len() > 1 => {
            Err((400, format!("Say which group: ?group=NAME, with one of {}.", names())))
        }
        None => groups.next().ok_or((409, "There is no group.".to_owned())),
    }
}

/// `4`, `+1` or `-1`.
fn scale_to(text: Option<&str>) -> Result<ScaleTo, Refusal> {
    let text = text.unwrap_or_default();
    let wrong = || (400, "Say how many: ?workers=N, +N or -N.".to_owned());
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    if digits.len() < text.len() {
        return text.parse().map(ScaleTo::By).map_err(|_| wrong());
    }
    match text.parse() {
        Ok(0) => Err((400, NONE_LEFT.to_owned())),
        Ok(count) => Ok(ScaleTo::To(count)),
        Err(_) => Err(wrong()),
    }
}

/// A parameter of the query, with its percent-escapes undone.
fn parameter(head: &RequestHead, name: &str) -> Option<String> {
    let mut pairs = head.query().split(|byte| *byte == b'&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    let mut decoded = Vec::new();
    stdserve_proto::percent::decode_path(value, &mut decoded);
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

/// A client's text in a sentence.
fn shown(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
