//! What the plane answers, for people. All texts that come from clients or applications are cleaned: a terminal must
//! not obey them.

use std::fmt::Write as _;

use serde_json::Value;

use super::{groups, workers_of};

/// `stdserve ctl status`.
pub(super) fn status(status: &Value) -> String {
    let mut text = summary(status);
    text.push('\n');
    for group in groups(status) {
        text.push_str(&group_line(group));
    }
    text.push('\n');
    text.push_str(&workers(status));
    text
}

/// The first line: what runs, and whether all is well.
pub(super) fn summary(status: &Value) -> String {
    let state = match (status["draining"] == true, status["ready"] == true) {
        (true, _) => "ending",
        (_, true) => "ready",
        _ => "not ready",
    };
    format!(
        "stdserve {}  process {}  up {}  {state}\n",
        plain(&status["version"]),
        plain(&status["pid"]),
        age(status["uptime"].as_f64())
    )
}

fn group_line(group: &Value) -> String {
    let mut text = format!(
        "{}: {} {} wanted, load {}",
        plain(&group["name"]),
        plain(&group["wanted"]),
        if group["wanted"] == 1 { "worker" } else { "workers" },
        plain(&group["generation"])
    );
    if !group["loading"].is_null() {
        let _ = write!(text, ", load {} is tried", plain(&group["loading"]));
    }
    let restarts = group["restarts"].as_object().into_iter().flatten();
    let restarts: Vec<_> = restarts.map(|(cause, count)| format!("{} {count}", cleaned(cause))).collect();
    if !restarts.is_empty() {
        let _ = write!(text, ", ended: {}", restarts.join(", "));
    }
    text.push('\n');
    text
}

/// The workers, as a table.
pub(super) fn workers(status: &Value) -> String {
    let several = groups(status).len() > 1;
    let mut head =
        vec!["PID", "STATE", "AGE", "LOAD", "RUN", "QUEUE", "CONN", "REQUESTS", "RSS", "CPU", "NOTE"];
    if several {
        head.insert(1, "GROUP");
    }
    let rows = workers_of(status).iter().map(|worker| {
        let mut row = vec![
            plain(&worker["pid"]),
            plain(&worker["state"]),
            age(worker["age"].as_f64()),
            plain(&worker["generation"]),
            plain(&worker["running"]),
            plain(&worker["queued"]),
            plain(&worker["connections"]),
            plain(&worker["requests"]),
            worker["rss"].as_u64().map_or("-".to_owned(), |bytes| format!("{}M", bytes >> 20)),
            age(worker["cpu"].as_f64()),
            note(worker),
        ];
        if several {
            row.insert(1, plain(&worker["group"]));
        }
        row
    });
    table(&head, &rows.collect::<Vec<_>>())
}

/// What is unusual of a worker.
fn note(worker: &Value) -> String {
    let mut notes = Vec::new();
    if let Some(cause) = worker["leaves"].as_str() {
        notes.push(format!("leaves: {}", cleaned(cause)));
    }
    // For so long Python could run nothing there.
    let stuck = worker["gil_age"].as_f64().filter(|age| *age > 3.0 && worker["state"] == "ready");
    if let Some(seconds) = stuck {
        notes.push(format!("stuck {}", age(Some(seconds))));
    }
    notes.join(", ")
}

/// `stdserve ctl requests`.
pub(super) fn requests(answer: &Value) -> String {
    let list = answer["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return "no request is in flight\n".to_owned();
    }
    let rows = list.iter().map(|request| {
        vec![
            age(request["age"].as_f64()),
            plain(&request["phase"]),
            plain(&request["pid"]),
            plain(&request["client"]),
            plain(&request["line"]),
        ]
    });
    let mut text = table(&["AGE", "PHASE", "WORKER", "CLIENT", "REQUEST"], &rows.collect::<Vec<_>>());
    let left = answer["total"].as_u64().unwrap_or(0).saturating_sub(list.len() as u64);
    if left > 0 {
        let _ = writeln!(text, "and {left} more");
    }
    text
}

/// `stdserve ctl stacks`.
pub(super) fn stacks(answer: &Value) -> String {
    let mut text = String::new();
    for stack in answer["stacks"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "worker {}:", plain(&stack["pid"]));
        for line in stack["text"].as_str().unwrap_or_default().lines() {
            let _ = writeln!(text, "{}", cleaned(line));
        }
        text.push('\n');
    }
    for pid in answer["missing"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "worker {pid} has not answered");
    }
    text
}

/// `stdserve ctl config`, in the form of `--print-config`.
pub(super) fn config(answer: &Value) -> String {
    let mut text = String::new();
    let mut service = None;
    for option in answer["options"].as_array().into_iter().flatten() {
        if option["service"].as_str() != service {
            service = option["service"].as_str();
            let _ = writeln!(text, "\n[services.{}]", cleaned(service.unwrap_or_default()));
        }
        let name = plain(&option["name"]);
        let value = match option["value"].as_str() {
            Some(value) => format!("{name} = {}", cleaned(value)),
            None => format!("# {name}: {}", plain(&option["unset"])),
        };
        let _ = writeln!(text, "{value:40}  # {}", plain(&option["source"]));
    }
    text
}

/// What was taken on.
pub(super) fn taken(answer: &Value) -> String {
    format!("{}\n", plain(&answer["taken"]))
}

/// A value without quotes; `-` where there is none.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => cleaned(text),
        other => other.to_string(),
    }
}

/// A text that no terminal obeys.
pub(super) fn cleaned(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The same for several lines, which stay apart.
pub(super) fn cleaned_lines(text: &str) -> String {
    text.lines().map(cleaned).collect::<Vec<_>>().join("\n")
}

/// Seconds, as short as they are telling: `12ms`, `3.4s`, `5m 10s`, `2h 5m`, `3d 4h`.
pub(super) fn age(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let whole = seconds as u64;
    match whole {
        0 => format!("{:.0}ms", seconds * 1000.0),
        1..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m {}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d {}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// Columns, as wide as what stands in them; the last one is as long as it is.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<_> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages_are_short() {
        for (seconds, shown) in [
            (0.0, "0ms"),
            (0.0125, "12ms"),
            (3.44, "3.4s"),
            (310.0, "5m 10s"),
            (7500.0, "2h 5m"),
            (273_600.0, "3d 4h"),
        ] {
            assert_eq!(age(Some(seconds)), shown);
        }
        assert_eq!(age(None), "-");
    }

    #[test]
    fn a_table_is_aligned_and_ends_without_blanks() {
        let rows = [
            vec!["1".to_owned(), "ready".to_owned(), String::new()],
            vec!["100".to_owned(), "x".to_owned(), "y".to_owned()],
        ];
        assert_eq!(table(&["PID", "STATE", "NOTE"], &rows), "PID  STATE  NOTE\n1    ready\n100  x      y\n");
    }

    #[test]
    fn nothing_that_comes_from_a_client_reaches_the_terminal_as_it_is() {
        let answer = json!({ "total": 3, "requests": [
            { "age": 1.5, "phase": "running", "pid": 7, "client": null, "line": "GET /\u{1b}[2J\u{9b}x HTTP/1.1" },
        ]});
        let text = requests(&answer);
        assert!(text.contains("GET /\u{fffd}[2J\u{fffd}x HTTP/1.1"), "{text}");
        assert!(text.ends_with("and 2 more\n"), "{text}");
        assert!(!text.replace('\n', "").chars().any(char::is_control), "{text}");
    }

    #[test]
    fn a_worker_whose_interpreter_stands_still_is_pointed_at() {
        let worker = |state: &str, age: f64| json!({ "state": state, "gil_age": age, "leaves": null });
        assert_eq!(note(&worker("ready", 0.5)), "");
        assert_eq!(note(&worker("booting", 9.0)), "");
        assert_eq!(note(&worker("ready", 9.0)), "stuck 9.0s");
    }
}
