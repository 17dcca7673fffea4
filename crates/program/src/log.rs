//! The error log: written directly by processes that have one thread, through a thread of its own in workers.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdserve_config::{ColorChoice, LogFormat, LogLevel, LogTarget, Logging};
use stdserve_proto::access_log::Time;
use stdserve_server::with_id;
use stdserve_supervisor::Level;
use stdserve_sys::log_writer::{LogFile, LogWriter, Notice, text_notice};

/// How much may wait to be written, in bytes.
const QUEUE: usize = 1 << 20;

/// The error log, as the options want it: where to, from which level on, in colour or not.
pub struct ErrorLog {
    sink: Sink,
    /// The rank of the least level that is written; an operator may change it.
    least: AtomicU8,
    format: LogFormat,
    color: bool,
}

enum Sink {
    Off,
    Direct(Direct),
    Queued(LogWriter),
}

/// A file that is written by whoever has something to say.
struct Direct {
    file: Mutex<LogFile>,
    /// Messages that were not written, and of which that has not been said.
    dropped: AtomicU64,
    notice: Notice,
}

impl Direct {
    fn write(&self, text: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.dropped.load(Ordering::Relaxed);
        let notice = if dropped > 0 { (self.notice)(dropped) } else { String::new() };
        if dropped > 0 && file.append_at_once(notice.as_bytes()).1.is_ok() {
            self.dropped.fetch_sub(dropped, Ordering::Relaxed);
        }
        // A log that cannot be written is no reason to stop serving.
        if file.append_at_once(text.as_bytes()).1.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ErrorLog {
    /// Opens what the options name.
    pub fn open(options: &Logging) -> io::Result<Self> {
        let sink = match file(&options.error, LogFile::stderr)? {
            Some(file) => Sink::Direct(Direct {
                file: Mutex::new(file),
                dropped: AtomicU64::new(0),
                notice: notice(options.format),
            }),
            None => Sink::Off,
        };
        let text = options.format == LogFormat::Text;
        let color = text && options.error == LogTarget::Standard && wants_color(options.color);
        Ok(Self { sink, least: AtomicU8::new(options.level as u8), format: options.format, color })
    }

    /// Lines are written by a thread of their own from now on. For workers: it starts the thread.
    pub fn queued(self) -> io::Result<Self> {
        let sink = match self.sink {
            Sink::Direct(Direct { file, notice, .. }) => {
                let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
                Sink::Queued(LogWriter::start(file, QUEUE, notice)?)
            }
            other => other,
        };
        Ok(Self { sink, ..self })
    }

    /// Opens the file again by its path: it was moved away. Where that fails the old one goes on, which it tells.
    pub fn reopen(&self) {
        match &self.sink {
            Sink::Off => {}
            Sink::Direct(direct) => {
                let reopened = direct.file.lock().unwrap_or_else(PoisonError::into_inner).reopen();
                if let Err(error) = reopened {
                    self.say(Level::Error, &format!("the error log could not be opened again: {error}"));
                }
            }
            Sink::Queued(writer) => writer.reopen(),
        }
    }

    /// Whether lines may be coloured.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Whether messages of this level are wanted.
    pub(crate) fn says(&self, level: Level) -> bool {
        rank(level) as u8 >= self.least.load(Ordering::Relaxed)
    }

    /// From now on messages of this level and the graver ones are written, by rank: 0 debug to 4 critical.
    pub(crate) fn set_level(&self, rank: u8) {
        self.least.store(rank, Ordering::Relaxed);
    }

    /// Writes one message, which may have several lines.
    pub fn say(&self, level: Level, message: &str) {
        self.record(level, message, None);
    }

    /// Writes what an operator sees at the start: as it is for people, in one record for programs.
    pub(crate) fn announce(&self, text: &str) {
        match self.format {
            LogFormat::Text if self.says(Level::Info) => self.write(text),
            LogFormat::Text => {}
            LogFormat::Json => self.say(Level::Info, text.trim_end()),
        }
    }

    fn record(&self, level: Level, message: &str, request_id: Option<&str>) {
        if !self.says(level) {
            return;
        }
        match (self.format, request_id) {
            (LogFormat::Json, _) => self.write(&json(level, message, request_id)),
            (LogFormat::Text, Some(id)) => self.write(&self.text(level, &with_id(message, id))),
            (LogFormat::Text, None) => self.write(&self.text(level, message)),
        }
    }

    fn text(&self, level: Level, message: &str) -> String {
        let word = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let time = timestamp(SystemTime::now());
        let pid = std::process::id();
        let (start, end) = match level {
            Level::Error if self.color => ("\x1b[31m", "\x1b[0m"),
            Level::Warning if self.color => ("\x1b[33m", "\x1b[0m"),
            _ => ("", ""),
        };
        format!("{time} [{pid}] {start}{word}{end}: {message}\n")
    }

    /// Writes text as it is.
    fn write(&self, text: &str) {
        match &self.sink {
            Sink::Off => {}
            Sink::Direct(direct) => direct.write(text),
            Sink::Queued(writer) => writer.line(text.as_bytes()),
        }
    }

    /// Messages that could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        match &self.sink {
            Sink::Queued(writer) => writer.dropped(),
            Sink::Off | Sink::Direct(_) => 0,
        }
    }

    /// Writes out what is left, within `limit`.
    pub fn close(&self, limit: Duration) {
        if let Sink::Queued(writer) = &self.sink {
            writer.close(limit);
        }
    }
}

impl stdserve_server::Log for ErrorLog {
    fn error(&self, message: &str) {
        self.say(Level::Error, message);
    }

    fn debug(&self, message: &str) {
        self.say(Level::Debug, message);
    }

    fn request_error(&self, request_id: &str, message: &str) {
        self.record(Level::Error, message, Some(request_id));
    }
}

/// A record as one JSON object, with the names of OpenTelemetry's log data model; attributes stand beside them.
fn json(level: Level, message: &str, request_id: Option<&str>) -> String {
    // The numbers are the data model's (SeverityNumber).
    let (word, number) = match level {
        Level::Debug => ("DEBUG", 5),
        Level::Info => ("INFO", 9),
        Level::Warning => ("WARN", 13),
        Level::Error => ("ERROR", 17),
    };
    let mut text = format!(
        r#"{{"timestamp":"{}","severity_text":"{word}","severity_number":{number},"body":{}"#,
        precise(SystemTime::now()),
        quoted(message)
    );
    if let Some(id) = request_id {
        text.push_str(r#","stdserve.request_id":"#);
        text.push_str(&quoted(id));
    }
    text.push_str(r#","process.pid":"#);
    text.push_str(&std::process::id().to_string());
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    // A string can be written in any case.
    serde_json::to_string(text).unwrap_or_default()
}

/// How a log of this format says that lines are missing.
pub(crate) fn notice(format: LogFormat) -> Notice {
    match format {
        LogFormat::Text => text_notice,
        LogFormat::Json => {
            |dropped| json(Level::Warning, &format!("{dropped} log lines were not written"), None)
        }
    }
}

/// With microseconds (RFC 3339).
fn precise(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = Vec::new();
    Time { seconds: since.as_secs().cast_signed(), micros: since.subsec_micros(), offset: 0 }
        .rfc3339(&mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// The file of a log; `standard` opens the stream that `-` means.
pub(crate) fn file(target: &LogTarget, standard: fn() -> io::Result<LogFile>) -> io::Result<Option<LogFile>> {
    match target {
        LogTarget::Off => Ok(None),
        LogTarget::Standard => standard().map(Some),
        LogTarget::File(path) => LogFile::open(path)
            .map(Some)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn rank(level: Level) -> LogLevel {
    match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warning => LogLevel::Warning,
        Level::Error => LogLevel::Error,
    }
}

/// Colours are for terminals, unless the user does not want them (no-color.org).
fn wants_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
        }
    }
}

/// `2026-11-21T02:29:00Z` (RFC 3339).
fn timestamp(time: SystemTime) -> String {
    let text = precise(time);
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        let time = UNIX_EPOCH + Duration::from_micros(1_763_692_140_000_120);
        assert_eq!(timestamp(time), "2025-11-21T02:29:00Z");
        assert_eq!(precise(time), "2025-11-21T02:29:00.000120Z");
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let line = json(Level::Error, "a \"b\"\n\u{1b}[0m é", Some("x-1"));
        assert_eq!(line.matches('\n').count(), 1);
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["body"], "a \"b\"\n\u{1b}[0m é");
        assert_eq!(record["severity_text"], "ERROR");
        assert_eq!(record["stdserve.request_id"], "x-1");
        assert_eq!(record["process.pid"], std::process::id());
    }
}
