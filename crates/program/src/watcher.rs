//! Who watches a worker's loop: the access log, and the worker's row of the scoreboard.

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdserve_config::{AccessFormat, Settings};
use stdserve_proto::access_log::{self, Entry, Format, Time};
use stdserve_proto::forwarded::Scheme;
use stdserve_server::{Observer, Peer, Record};
use stdserve_sys::log_writer::{LogFile, LogWriter};
use stdserve_sys::scoreboard::{Row, Scoreboard, State};

use crate::log;

/// How much of the access log may wait to be written, in bytes.
const QUEUE: usize = 4 << 20;

/// Where the access log goes, and how its lines look.
struct AccessLog {
    format: Format,
    writer: LogWriter,
}

impl AccessLog {
    /// Opens what the options name, and starts the thread that writes it.
    fn open(options: &Settings) -> io::Result<Option<Self>> {
        let Some(file) = log::file(&options.logging.access, LogFile::stdout)? else { return Ok(None) };
        let format = access_format(options)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        Ok(Some(Self { format, writer: LogWriter::start(file, QUEUE)? }))
    }
}

/// A worker's row of the scoreboard, and those of its group.
pub(crate) struct Seats {
    pub(crate) board: Arc<Scoreboard>,
    /// This worker's row.
    pub(crate) slot: usize,
    /// All workers of its group, which share its listeners.
    pub(crate) group: Range<usize>,
}

/// The format that the options name. An error says what is wrong with it.
pub(crate) fn access_format(options: &Settings) -> Result<Format, access_log::BadFormat> {
    match &options.logging.access_format {
        AccessFormat::Json => Ok(Format::json()),
        AccessFormat::Text(text) => Format::text(text),
    }
}

/// Watches a worker's loop: fills its row of the scoreboard, and writes the access log.
pub struct Watcher {
    access: Option<AccessLog>,
    seats: Option<Seats>,
    open: AtomicUsize,
}

/// A worker that has not turned its loop for so long does not count when connections are shared out.
const STALE: Duration = Duration::from_secs(3);

impl Watcher {
    /// For a server in a process of somebody else's: opens the access log, where the options want one.
    pub fn alone(options: &Settings) -> io::Result<Self> {
        Ok(Self { access: AccessLog::open(options)?, seats: None, open: AtomicUsize::new(0) })
    }

    /// For a worker.
    pub(crate) fn of_worker(options: &Settings, seats: Seats) -> io::Result<Self> {
        Ok(Self { seats: Some(seats), ..Self::alone(options)? })
    }

    /// Writes out what is left of the access log, within `limit`.
    pub fn close(&self, limit: Duration) {
        if let Some(access) = &self.access {
            access.writer.close(limit);
        }
    }

    /// Opens the access log again by its path: it was moved away.
    pub(crate) fn reopen(&self) {
        if let Some(access) = &self.access {
            access.writer.reopen();
        }
    }

    fn row(&self) -> Option<&Row> {
        let seats = self.seats.as_ref()?;
        seats.board.row(seats.slot)
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
        let seats = self.seats.as_ref()?;
        let fewest = seats.board.fewest_connections(seats.group.clone(), seats.slot, STALE)?;
        Some(fewest as usize)
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
