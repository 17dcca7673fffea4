//! What the plane tells, as JSON.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use stdserve_sys::scoreboard::{Row, State};

use super::history::History;
use super::view::View;

/// `/status`.
pub(super) fn status(view: &View<'_>) -> Value {
    let rows = view.board.rows().iter().filter(|row| row.state() != State::Free);
    json!({ "ready": view.ready, "workers": rows.map(worker).collect::<Vec<_>>() })
}

fn worker(row: &Row) -> Value {
    json!({
        "pid": row.pid.load(Relaxed),
        "generation": row.generation.load(Relaxed),
        "connections": row.connections.load(Relaxed),
        "requests": row.requests.load(Relaxed),
    })
}

/// What a follower is told first.
pub(super) fn first(view: &View<'_>, history: &History, autopsy: &mut u64) -> String {
    tick(view, history, autopsy)
}

/// What followers are told each second.
pub(super) fn tick(view: &View<'_>, _: &History, _: &mut u64) -> String {
    format!("event: tick\ndata: {}\n\n", status(view))
}
