//! From the options to the engine: its settings, and who watches it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdserve_config::{AccessFormat, Settings, TrustedPeer};
use stdserve_proto::access_log::{self, Entry, Format, Time};
use stdserve_proto::forwarded::{Scheme, Trust};
use stdserve_proto::h1::HeadLimits;
use stdserve_server::{Observer, Peer, Record};
use stdserve_sys::log_writer::LogWriter;
use stdserve_sys::scoreboard::{Row, Scoreboard, State};

/// What the engine is told. Takes no notice of what concerns processes and listeners.
pub(crate) fn settings(options: &Settings) -> stdserve_server::Settings {
    let (limits, times) = (&options.limits, &options.timeouts);
    let mut settings = stdserve_server::Settings {
        head: HeadLimits {
            request_line: limits.request_line,
            fields: limits.request_fields,
            field_size: limits.request_field_size,
            head_total: limits.request_head,
        },
        max_body: limits.max_body,
        body_buffer: limits.body_buffer,
        buffer_total: limits.buffer_total,
        response_buffer: limits.response_buffer,
        timeouts: stdserve_server::Timeouts {
            head: times.header,
            keep_alive: times.keep_alive,
            body_period: times.body_period,
            body_rate: limits.body_rate,
            write: times.write,
            linger: times.linger,
            queue: times.queue,
            drain_idle: times.drain_idle,
        },
        threads: options.workers.threads,
        connections: limits.worker_connections,
        concurrency: limits.concurrency,
        half_close_is_gone: !options.http.half_close,
        trust: trust(&options.proxy.trusted),
        server_name: options.http.server_header.then(|| "stdserve".to_owned()),
        record_answer: matches!(&options.logging.access_format, AccessFormat::Text(text) if text.contains("}o")),
        ..stdserve_server::Settings::default()
    };
    if let Some(folder) = &options.process.temp_dir {
        settings.temporary.clone_from(folder);
    }
    settings.cohort.requests = options.workers.cohort;
    settings
}

fn trust(trusted: &[TrustedPeer]) -> Trust {
    let list = trusted.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    // The options were checked when they were read; nobody is trusted where the two should ever differ.
    Trust::parse(&list).unwrap_or_else(|_| Trust::nobody())
}

/// Where the access log goes, and how its lines look.
pub(crate) struct AccessLog {
    pub(crate) format: Format,
    pub(crate) writer: LogWriter,
}

/// The format that the options name. An error says what is wrong with it.
pub(crate) fn access_format(options: &Settings) -> Result<Format, access_log::BadFormat> {
    match &options.logging.access_format {
        AccessFormat::Json => Ok(Format::json()),
        AccessFormat::Text(text) => Format::text(text),
    }
}

/// Watches a worker's loop: fills its row of the scoreboard, and writes the access log.
pub(crate) struct Watcher {
    access: Option<AccessLog>,
    board: Option<(Arc<Scoreboard>, usize)>,
    open: AtomicUsize,
}

/// A worker that has not turned its loop for so long does not count when connections are shared out.
const STALE: Duration = Duration::from_secs(3);

impl Watcher {
    /// `board`: the scoreboard and this worker's slot in it.
    pub(crate) fn new(access: Option<AccessLog>, board: Option<(Arc<Scoreboard>, usize)>) -> Self {
        Self { access, board, open: AtomicUsize::new(0) }
    }

    /// Writes out what is left of the access log, within `limit`.
    pub(crate) fn close(&self, limit: Duration) {
        if let Some(access) = &self.access {
            access.writer.close(limit);
        }
    }

    fn row(&self) -> Option<&Row> {
        let (board, slot) = self.board.as_ref()?;
        board.row(*slot)
    }
}

impl Observer for Watcher {
    fn ended(&self, record: &Record<'_>) {
        if let Some(row) = self.row() {
            row.requests.fetch_add(1, Ordering::Relaxed);
            row.bytes_out.fetch_add(record.sent, Ordering::Relaxed);
            row.count_status(if record.aborted { 0 } else { record.status });
        }
        if let Some(access) = &self.access {
            let mut line = Vec::with_capacity(256);
            render(&access.format, record, &mut line);
            access.writer.line(&line);
        }
    }

    fn connections(&self, open: usize) {
        self.open.store(open, Ordering::Relaxed);
        if let Some(row) = self.row() {
            row.connections.store(open as u64, Ordering::Relaxed);
        }
    }

    fn turned(&self) {
        if let Some(row) = self.row() {
            row.beat(self.open.load(Ordering::Relaxed) as u64);
        }
    }

    fn fewest_elsewhere(&self) -> Option<usize> {
        let (board, slot) = self.board.as_ref()?;
        board.fewest_connections(*slot, STALE).map(|fewest| fewest as usize)
    }

    fn draining(&self) {
        if let Some(row) = self.row() {
            row.set_state(State::Draining);
        }
    }
}

/// The line of an exchange in the access log.
fn render(format: &Format, record: &Record<'_>, line: &mut Vec<u8>) {
    // `record.ended` is when the turn began: a request that came and went within one would have taken no time.
    let duration = record.queued.elapsed();
    let came = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(duration);
    let peer: Option<IpAddr> = match record.peer {
        Peer::Ip(address) => Some(address.ip()),
        Peer::Unix => None,
    };
    let head = record.head;
    let known = !head.method().is_empty();
    let entry = Entry {
        time: Time { seconds: came.as_secs() as i64, micros: came.subsec_micros(), offset: 0 },
        remote: record.origin.address.or(peer),
        method: head.method(),
        target: head.target(),
        path: head.path(),
        query: head.query(),
        protocol: if known { head.version().as_str() } else { "" },
        scheme: record.origin.scheme.map_or("http", Scheme::as_str),
        status: record.status,
        sent: record.sent,
        duration,
        pid: std::process::id(),
        id: record.id,
        request: &|name| head.field(name),
        response: &|name| answer_field(record.answer, name),
    };
    format.render(&entry, line);
}

/// The value of a field of an answer's head, as the engine has written it.
fn answer_field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (found, value) = line.split_at(colon);
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
    })
}
