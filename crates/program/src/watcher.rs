//! Who watches a worker's loop: the access log, and the worker's row of the scoreboard.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stdserve_config::{AccessFormat, LogFormat, Settings};
use stdserve_proto::access_log::{self, Entry, Format, Time};
use stdserve_proto::forwarded::Scheme;
use stdserve_server::{InHand, Load, Observer, Record, Traffic};
use stdserve_sys::log_writer::{LogFile, LogWriter};
use stdserve_sys::scoreboard::{self, Row, Scoreboard, State};

use crate::log::{self, ErrorLog};

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
        let notice = match &options.logging.access_format {
            AccessFormat::Json => LogFormat::Json,
            AccessFormat::Text(_) => LogFormat::Text,
        };
        Ok(Some(Self { format, writer: LogWriter::start(file, QUEUE, log::notice(notice))? }))
    }
}

/// A worker's row of the scoreboard, and those of its group.
pub(crate) struct Seats {
    pub(crate) board: Arc<Scoreboard>,
    /// Where the worker's own messages go, for how many were lost.
    pub(crate) log: Arc<ErrorLog>,
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
    clock: Clock,
    /// This process; asking is a system call.
    pid: u32,
}

/// Puts the times of this process into the scoreboard's clock, without asking for either.
struct Clock {
    instant: Instant,
    /// The same moment, in milliseconds of the scoreboard's clock.
    millis: u64,
}

impl Clock {
    fn new() -> Self {
        Self { instant: Instant::now(), millis: scoreboard::now() }
    }

    fn millis(&self, time: Instant) -> u64 {
        self.millis + time.saturating_duration_since(self.instant).as_millis() as u64
    }
}

/// What is in hand, as it is written into the scoreboard.
fn entry<'a>(in_hand: &InHand<'a>, clock: &Clock) -> scoreboard::Entry<'a> {
    let InHand { request, taken } = *in_hand;
    let head = &request.head;
    let line: [&[u8]; 5] = if head.method().is_empty() {
        [b""; 5]
    } else {
        [head.method(), b" ", head.target(), b" ", head.version().as_str().as_bytes()]
    };
    scoreboard::Entry {
        id: request.id,
        arrived: clock.millis(request.queued),
        began: taken.map(|(began, _)| clock.millis(began)),
        thread: taken.map_or(0, |(_, thread)| thread),
        client: request.client(),
        line,
    }
}

/// A worker that has not turned its loop for so long does not count when connections are shared out.
const STALE: Duration = Duration::from_secs(3);

impl Watcher {
    /// For a server in a process of somebody else's: opens the access log, where the options want one.
    pub fn alone(options: &Settings) -> io::Result<Self> {
        Ok(Self {
            access: AccessLog::open(options)?,
            seats: None,
            open: AtomicUsize::new(0),
            clock: Clock::new(),
            pid: std::process::id(),
        })
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

    /// Log lines that were lost.
    fn dropped(&self) -> u64 {
        let access = self.access.as_ref().map_or(0, |access| access.writer.dropped());
        access + self.seats.as_ref().map_or(0, |seats| seats.log.dropped())
    }
}

impl Observer for Watcher {
    fn took(&self, waited: Duration) {
        if let Some(row) = self.row() {
            row.queue_time.observe(waited);
        }
    }

    fn left(&self, inside: Duration) {
        if let Some(row) = self.row() {
            row.app_time.observe(inside);
        }
    }

    fn load(&self, load: &Load) {
        if let Some(row) = self.row() {
            row.threads.store(load.threads as u64, Ordering::Relaxed);
            row.running.store(load.busy as u64, Ordering::Relaxed);
            row.queued.store(load.queued as u64, Ordering::Relaxed);
        }
    }

    fn in_hand(&self, requests: &mut dyn Iterator<Item = InHand<'_>>) {
        if let Some(row) = self.row() {
            row.in_hand.tell(requests.map(|in_hand| entry(&in_hand, &self.clock)));
        }
    }

    fn ended(&self, records: &mut dyn Iterator<Item = Record<'_>>) {
        let row = self.row();
        let mut access = self.access.as_ref().map(|access| (access, access.writer.lines(), Moment::now()));
        for record in records {
            if let Some(row) = row {
                row.requests.fetch_add(1, Ordering::Relaxed);
                row.count_status(if record.aborted { 0 } else { record.status });
            }
            if let Some((access, lines, now)) = &mut access {
                lines.add(|line| render(&access.format, &record, now, self.pid, line));
            }
        }
    }

    fn connections(&self, open: usize) {
        self.open.store(open, Ordering::Relaxed);
        if let Some(row) = self.row() {
            row.connections.store(open as u64, Ordering::Relaxed);
        }
    }

    fn turned(&self, traffic: &Traffic) {
        const SECOND: u64 = 1000;
        let Some(row) = self.row() else { return };
        let before = row.updated.load(Ordering::Relaxed) / SECOND;
        row.beat(self.open.load(Ordering::Relaxed) as u64);
        row.count(traffic.accepted, traffic.arrived, traffic.received, traffic.sent);
        if row.updated.load(Ordering::Relaxed) / SECOND != before {
            row.log_dropped.store(self.dropped(), Ordering::Relaxed);
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

/// One moment, by both clocks.
struct Moment {
    instant: Instant,
    /// Since 1970.
    unix: Duration,
}

impl Moment {
    fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix }
    }
}

/// The line of an exchange in the access log.
fn render(format: &Format, record: &Record<'_>, now: &Moment, pid: u32, line: &mut Vec<u8>) {
    let request = record.request;
    let duration = now.instant.saturating_duration_since(request.queued);
    let came = now.unix.saturating_sub(duration);
    let head = &request.head;
    let known = !head.method().is_empty();
    let entry = Entry {
        time: Time { seconds: came.as_secs() as i64, micros: came.subsec_micros(), offset: 0 },
        remote: request.client(),
        method: head.method(),
        target: head.target(),
        path: head.path(),
        query: head.query(),
        protocol: if known { head.version().as_str() } else { "" },
        scheme: request.origin.scheme.map_or("http", Scheme::as_str),
        status: record.status,
        sent: record.sent,
        duration,
        pid,
        id: &|out| out.extend_from_slice(record.request_id().as_str().as_bytes()),
        aborted: record.aborted,
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
