//! The error log: written directly by processes that have one thread, through a thread of its own in workers.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdserve_config::{ColorChoice, LogLevel, LogTarget, Logging};
use stdserve_supervisor::Level;
use stdserve_sys::log_writer::{LogFile, LogWriter};

/// How much may wait to be written, in bytes.
const QUEUE: usize = 1 << 20;

/// The error log, as the options want it: where to, from which level on, in colour or not.
pub struct ErrorLog {
    sink: Sink,
    /// The rank of the least level that is written; an operator may change it.
    least: AtomicU8,
    color: bool,
}

enum Sink {
    Off,
    Direct(Mutex<LogFile>),
    Queued(LogWriter),
}

impl ErrorLog {
    /// Opens what the options name.
    pub fn open(options: &Logging) -> io::Result<Self> {
        let sink = match file(&options.error, LogFile::stderr)? {
            Some(file) => Sink::Direct(Mutex::new(file)),
            None => Sink::Off,
        };
        let color = options.error == LogTarget::Standard && wants_color(options.color);
        Ok(Self { sink, least: AtomicU8::new(options.level as u8), color })
    }

    /// Lines are written by a thread of their own from now on. For workers: it starts the thread.
    pub fn queued(self) -> io::Result<Self> {
        let sink = match self.sink {
            Sink::Direct(file) => {
                let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
                Sink::Queued(LogWriter::start(file, QUEUE)?)
            }
            other => other,
        };
        Ok(Self { sink, ..self })
    }

    /// Opens the file again by its path: it was moved away. Where that fails the old one goes on, which it tells.
    pub fn reopen(&self) {
        match &self.sink {
            Sink::Off => {}
            Sink::Direct(file) => {
                let reopened = file.lock().unwrap_or_else(PoisonError::into_inner).reopen();
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
        if self.says(level) {
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
            self.write(&format!("{time} [{pid}] {start}{word}{end}: {message}\n"));
        }
    }

    /// Writes text as it is.
    pub(crate) fn write(&self, text: &str) {
        match &self.sink {
            Sink::Off => {}
            // A log that cannot be written is no reason to stop serving.
            Sink::Direct(file) => {
                let _ = file.lock().unwrap_or_else(PoisonError::into_inner).append(text.as_bytes());
            }
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
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant, "chrono-compatible low-level date algorithms": days since 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
