//! The figures in Prometheus' text format, version 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. What concerns a whole group is summed over its
//! workers; what is told of each worker has a name of its own (`stdserve_worker_…`), so that nobody adds up both.
//! Workers are named by their place, not by their process, so that a restart makes no new series.

use std::fmt::{self, Display, Write};

use stdserve_sys::scoreboard::{BOUNDS, Durations};

use super::summary::Live;
use super::{GroupFigures, Picture, WorkerFigures, summary};
use crate::machine::Doing;

/// What [`prometheus`] makes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

/// What of a request's end is told, by the place in a row's `status`.
const STATUS: [&str; 6] = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"];

const STATES: [Doing; 5] = [Doing::Asked, Doing::Booting, Doing::Ready, Doing::Draining, Doing::Killed];

/// All figures.
pub(crate) fn prometheus(picture: &Picture<'_>) -> String {
    let groups = summary(picture);
    let mut text = Text { out: String::with_capacity(16 << 10) };
    server(&mut text, picture);
    processes(&mut text, &groups);
    requests(&mut text, &groups);
    load(&mut text, &groups);
    workers(&mut text, &groups);
    text.out
}

fn server(text: &mut Text, picture: &Picture<'_>) {
    let (report, figures) = (picture.report, picture.figures);
    let version: Labels<'_> = &[("version", env!("CARGO_PKG_VERSION"))];
    text.family("stdserve_info", GAUGE, "The server's version.").sample(version, 1);
    text.family("stdserve_start_time_seconds", GAUGE, "When the supervisor began, since the epoch.")
        .sample(&[], figures.began.0);
    text.family("stdserve_ready", GAUGE, "1 if all wanted workers are ready and the server is not ending.")
        .sample(&[], u8::from(report.ready));
    text.family("stdserve_draining", GAUGE, "1 if the server is ending.")
        .sample(&[], u8::from(report.draining));
    text.family("stdserve_supervisor_resident_memory_bytes", GAUGE, "Resident memory of the supervisor.")
        .sample(&[], figures.own.rss);
    text.family("stdserve_supervisor_cpu_seconds_total", COUNTER, "Processor time of the supervisor.")
        .sample(&[], figures.own.cpu.as_secs_f64());
}

fn processes(text: &mut Text, groups: &[GroupFigures<'_>]) {
    text.of_groups("stdserve_workers_wanted", GAUGE, "How many workers there should be.", groups, |group| {
        group.report.wanted
    });
    let mut states = text.family("stdserve_workers", GAUGE, "Workers by what they do.");
    for group in groups {
        for state in STATES {
            let count = group.report.workers.iter().filter(|worker| worker.state == state).count();
            states.sample(&[("group", &group.report.name), ("state", state.word())], count);
        }
    }
    text.of_groups("stdserve_generation", GAUGE, "Which load of the application serves.", groups, |group| {
        group.report.generation
    });
    let mut restarts = text.family(
        "stdserve_restarts_total",
        COUNTER,
        "Workers that have ended, by cause; not those of the end.",
    );
    for group in groups {
        for (cause, count) in &group.report.restarts {
            restarts.sample(&[("group", &group.report.name), ("cause", &cause.word())], count);
        }
    }
    text.of_groups(
        "stdserve_requests_unfinished_total",
        COUNTER,
        "Requests that were in the application when their worker ended.",
        groups,
        |group| group.counted.unfinished,
    );
}

fn requests(text: &mut Text, groups: &[GroupFigures<'_>]) {
    let mut ended = text.family(
        "stdserve_requests_total",
        COUNTER,
        "Requests that have ended, by class of the answer's status.",
    );
    for group in groups {
        for (class, count) in STATUS.iter().zip(group.counted.counters.status) {
            ended.sample(&[("group", &group.report.name), ("status", class)], count);
        }
    }
    let help = "How long requests waited for a thread that took them.";
    let mut histogram = text.family("stdserve_request_queue_seconds", HISTOGRAM, help);
    for group in groups {
        histogram.durations(&group.report.name, &group.counted.counters.queue_time);
    }
    let help = "How long threads were in the application with a request.";
    let mut histogram = text.family("stdserve_request_application_seconds", HISTOGRAM, help);
    for group in groups {
        histogram.durations(&group.report.name, &group.counted.counters.app_time);
    }
}

fn load(text: &mut Text, groups: &[GroupFigures<'_>]) {
    let mut threads =
        text.family("stdserve_threads", GAUGE, "Threads, by whether they are in the application.");
    for group in groups {
        threads.threads(&[("group", &group.report.name)], group.now.busy, group.now.idle);
    }
    text.of_groups("stdserve_queue_length", GAUGE, "Requests that wait for a thread.", groups, |group| {
        group.now.queued
    });
    text.of_groups("stdserve_connections", GAUGE, "Connections that are open.", groups, |group| {
        group.now.connections
    });
    text.of_groups(
        "stdserve_connections_accepted_total",
        COUNTER,
        "Connections accepted.",
        groups,
        |group| group.counted.counters.accepted,
    );
    text.of_groups(
        "stdserve_received_bytes_total",
        COUNTER,
        "Bytes received from clients.",
        groups,
        |group| group.counted.counters.bytes_in,
    );
    text.of_groups("stdserve_sent_bytes_total", COUNTER, "Bytes sent to clients.", groups, |group| {
        group.counted.counters.bytes_out
    });
    text.of_groups(
        "stdserve_log_lines_dropped_total",
        COUNTER,
        "Log lines that could not be written.",
        groups,
        |group| group.counted.counters.log_dropped,
    );
}

fn workers(text: &mut Text, groups: &[GroupFigures<'_>]) {
    let mut counter = |name: &str, help: &str, value: fn(&WorkerFigures) -> f64| {
        text.of_workers(name, COUNTER, help, groups, |worker| Some(value(worker)));
    };
    counter("stdserve_worker_requests_total", "Requests that have ended.", |worker| {
        worker.counted.counters.requests as f64
    });
    counter("stdserve_worker_cpu_seconds_total", "Processor time, as seen once a second.", |worker| {
        worker.counted.cpu.as_secs_f64()
    });
    let mut gauge = |name: &str, help: &str, value: fn(&Live) -> Option<f64>| {
        text.of_workers(name, GAUGE, help, groups, |worker| worker.live.as_ref().and_then(value));
    };
    gauge("stdserve_worker_start_time_seconds", "When the worker began, since the epoch.", |live| {
        Some(live.began)
    });
    gauge("stdserve_worker_resident_memory_bytes", "Resident memory, what is shared included.", |live| {
        live.process.map(|sample| sample.rss as f64)
    });
    gauge("stdserve_worker_connections", "Connections that are open.", |live| {
        Some(live.now.connections as f64)
    });
    gauge("stdserve_worker_queue_length", "Requests that wait for a thread.", |live| {
        Some(live.now.queued as f64)
    });
    gauge("stdserve_worker_threads_busy", "Threads in the application.", |live| Some(live.now.busy as f64));
    gauge("stdserve_worker_loop_silence_seconds", "How long ago the loop last turned.", |live| {
        Some(live.loop_silence.as_secs_f64())
    });
    gauge(
        "stdserve_worker_interpreter_silence_seconds",
        "How long ago the interpreter's lock was last had.",
        |live| Some(live.interpreter_silence.as_secs_f64()),
    );
    gauge(
        "stdserve_worker_oldest_request_seconds",
        "How long the oldest request in hand has been there.",
        |live| Some(live.oldest.as_secs_f64()),
    );
}

type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text, as far as it has come.
struct Text {
    out: String,
}

impl Text {
    /// Begins a metric. All its samples follow at once.
    fn family<'t>(&'t mut self, name: &'t str, kind: &str, help: &str) -> Family<'t> {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { out: &mut self.out, name }
    }

    fn of_groups<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        groups: &[GroupFigures<'_>],
        value: impl Fn(&GroupFigures<'_>) -> V,
    ) {
        let mut family = self.family(name, kind, help);
        for group in groups {
            family.sample(&[("group", &group.report.name)], value(group));
        }
    }

    fn of_workers(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        groups: &[GroupFigures<'_>],
        value: impl Fn(&WorkerFigures) -> Option<f64>,
    ) {
        let mut family = self.family(name, kind, help);
        for (group, worker) in
            groups.iter().flat_map(|group| group.workers.iter().map(move |one| (group, one)))
        {
            if let Some(value) = value(worker) {
                let place = worker.place.to_string();
                family.sample(&[("group", &group.report.name), ("worker", &place)], value);
            }
        }
    }
}

/// One metric.
struct Family<'t> {
    out: &'t mut String,
    name: &'t str,
}

impl Family<'_> {
    fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.part("", labels, value);
    }

    fn threads(&mut self, labels: Labels<'_>, busy: u64, idle: u64) {
        for (state, count) in [("busy", busy), ("idle", idle)] {
            let labels: Vec<_> = labels.iter().copied().chain([("state", state)]).collect();
            self.sample(&labels, count);
        }
    }

    /// A histogram. Its ranges are told as how many were at most so long.
    fn durations(&mut self, group: &str, durations: &Durations) {
        let mut at_most = 0;
        for (range, count) in durations.ranges.iter().enumerate() {
            at_most += count;
            let bound = BOUNDS.get(range).map(|nanos| (*nanos as f64 / 1e9).to_string());
            self.part("_bucket", &[("group", group), ("le", bound.as_deref().unwrap_or("+Inf"))], at_most);
        }
        self.part("_sum", &[("group", group)], durations.nanos as f64 / 1e9);
        self.part("_count", &[("group", group)], at_most);
    }

    fn part(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let separator = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{separator}{label}=\"{}\"", Escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{end} {value}");
    }
}

/// The value of a label.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
