//! What the plane tells, as JSON.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};
use stdserve_sys::scoreboard::{InFlight, Phase, Row, State};

use super::history::{COLUMNS, History};
use super::view::{Setting, View};
use crate::journal::{Autopsy, Line};
use crate::machine::{GroupReport, Level, WorkerReport};

/// The most requests that followers are told of each second.
const TOLD: usize = 100;

/// `/status`: the server, its groups and workers.
pub(super) fn status(view: &View<'_>, history: &History) -> Value {
    let groups = &view.report.groups;
    let workers = groups.iter().flat_map(|group| group.workers.iter().map(|one| worker(view, group, one)));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime": rounded((view.now - view.began).as_secs_f64()),
        "ready": view.report.ready,
        "draining": view.report.draining,
        "groups": groups.iter().map(group).collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
        "now": history.newest().map(now),
        "last_entry": view.journal.last(),
    })
}

/// A sample with the names of its figures.
fn now(sample: &super::history::Sample) -> Value {
    let figures = COLUMNS.iter().zip(sample).map(|(name, figure)| ((*name).to_owned(), json!(figure)));
    Value::Object(figures.collect::<Map<_, _>>())
}

fn group(group: &GroupReport) -> Value {
    let restarts = group.restarts.iter().map(|(cause, count)| (cause.word().into_owned(), json!(count)));
    json!({
        "name": group.name,
        "generation": group.generation,
        "loading": group.loading,
        "wanted": group.wanted,
        "template": group.template.map(|pid| pid.0),
        "template_ready": group.template_ready,
        "restarts": Value::Object(restarts.collect::<Map<_, _>>()),
    })
}

fn worker(view: &View<'_>, group: &GroupReport, worker: &WorkerReport) -> Value {
    let mut value = json!({
        "pid": worker.pid.map(|pid| pid.0),
        "group": group.name,
        "slot": worker.slot,
        "state": worker.state.word(),
        "leaves": worker.leaves.as_ref().map(ToString::to_string),
        "generation": worker.generation,
        "age": rounded(view.now.saturating_duration_since(worker.since).as_secs_f64()),
    });
    // While it is being forked the row is nobody's, or another's.
    let row = view.board.row(worker.slot).filter(|row| worker.pid.is_some_and(|pid| is_of(row, pid.0)));
    if let (Some(row), Some(object)) = (row, value.as_object_mut()) {
        let figures = [
            ("connections", &row.connections),
            ("running", &row.running),
            ("queued", &row.queued),
            ("threads", &row.threads),
            ("requests", &row.requests),
        ];
        for (name, figure) in figures {
            object.insert(name.to_owned(), json!(figure.load(Relaxed)));
        }
        let process = worker.pid.and_then(|pid| view.figures.process(worker.slot, pid));
        object.insert("rss".to_owned(), json!(process.map(|sample| sample.rss)));
        object.insert("cpu".to_owned(), json!(process.map(|sample| rounded(sample.cpu.as_secs_f64()))));
        // For how long Python has not been able to run anything there.
        object.insert("gil_age".to_owned(), json!(since(view, row.gil_beat.load(Relaxed))));
    }
    value
}

fn is_of(row: &Row, pid: u32) -> bool {
    row.state() != State::Free && row.pid.load(Relaxed) == pid
}

fn since(view: &View<'_>, beat: u64) -> f64 {
    view.clock.saturating_sub(beat) as f64 / 1000.0
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// `/requests`: what is in flight, the oldest first.
pub(super) fn requests(view: &View<'_>, most: usize) -> Value {
    let mut all: Vec<(u32, InFlight)> = Vec::new();
    for row in view.board.rows().iter().filter(|row| row.state() != State::Free) {
        let pid = row.pid.load(Relaxed);
        all.extend(row.in_flight().into_iter().map(|request| (pid, request)));
    }
    all.sort_by_key(|(_, request)| request.arrived);
    let total = all.len();
    let list: Vec<_> = all.iter().take(most).map(|(pid, one)| request(view, *pid, one)).collect();
    json!({ "total": total, "requests": list })
}

fn request(view: &View<'_>, pid: u32, request: &InFlight) -> Value {
    let phase = match request.phase {
        Phase::Queued => "queued",
        Phase::Running => "running",
    };
    json!({
        "id": request.id,
        "pid": pid,
        "thread": request.thread,
        "phase": phase,
        "age": rounded(request.age(view.clock).as_secs_f64()),
        "queued": rounded(request.in_queue(view.clock).as_secs_f64()),
        "running": rounded(request.in_application(view.clock).as_secs_f64()),
        "client": request.client.map(|client| client.to_string()),
        "line": request.line,
    })
}

/// `/autopsies`: those after a number, the oldest first.
pub(super) fn autopsies(view: &View<'_>, after: u64) -> Value {
    json!({ "autopsies": view.journal.autopsies(after).map(autopsy).collect::<Vec<_>>() })
}

pub(super) fn autopsy(autopsy: &Autopsy) -> Value {
    json!({
        "number": autopsy.number,
        "time": rounded(autopsy.time),
        "pid": autopsy.pid.map(|pid| pid.0),
        "text": autopsy.text,
    })
}

/// `/log`: the supervisor's own lines after a number, the oldest first.
pub(super) fn log(view: &View<'_>, after: u64) -> Value {
    json!({ "lines": view.journal.lines(after).map(line).collect::<Vec<_>>() })
}

fn line(line: &Line) -> Value {
    let level = match line.level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    json!({ "number": line.number, "time": rounded(line.time), "level": level, "text": line.text })
}

/// `/config`: the options that count.
pub(super) fn config(view: &View<'_>) -> Value {
    let setting = |setting: Setting| {
        json!({
            "service": setting.service,
            "name": setting.name,
            "value": setting.value,
            "unset": setting.unset,
            "source": setting.source,
        })
    };
    json!({ "options": (view.options)().into_iter().map(setting).collect::<Vec<_>>() })
}

/// What a follower is told first: the last ten minutes. `seen`: the last entry of the journal that it knows.
pub(super) fn first(view: &View<'_>, history: &History, seen: &mut u64) -> String {
    let samples: Vec<_> = history.samples().collect();
    let mut text = event("history", &json!({ "columns": COLUMNS, "samples": samples }));
    text.push_str(&tick(view, history, seen));
    text
}

/// What followers are told each second.
pub(super) fn tick(view: &View<'_>, history: &History, seen: &mut u64) -> String {
    let mut status = status(view, history);
    if let Some(object) = status.as_object_mut() {
        object.insert("sample".to_owned(), json!(history.newest()));
        object.insert("in_flight".to_owned(), requests(view, TOLD));
    }
    let mut text = event("tick", &status);
    if view.journal.last() > *seen {
        for one in view.journal.autopsies(*seen) {
            text.push_str(&event("autopsy", &autopsy(one)));
        }
        for one in view.journal.lines(*seen) {
            text.push_str(&event("log", &line(one)));
        }
        *seen = view.journal.last();
    }
    text
}

/// A server-sent event (WHATWG HTML §9.2). JSON has no line ends of its own.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
