//! What the supervisor keeps to tell operators: the last autopsies, and its own last log lines.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use stdserve_sys::process::Pid;

use crate::machine::{Level, WorkerId};

/// So many autopsies are kept.
const AUTOPSIES: usize = 50;
/// So many log lines are kept.
const LINES: usize = 100;
/// The longest text that is kept, in bytes; of a longer one the start.
const LONGEST: usize = 32 << 10;

/// The last autopsies and log lines.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    autopsies: VecDeque<Autopsy>,
    lines: VecDeque<Line>,
    written: u64,
}

/// What a worker's threads did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Autopsy {
    /// Rises from entry to entry, autopsies and lines alike; the first is 1.
    pub(crate) number: u64,
    /// When it came, in seconds since 1970.
    pub(crate) time: f64,
    /// Whose it is.
    pub(crate) worker: WorkerId,
    /// Its process, where that is known.
    pub(crate) pid: Option<Pid>,
    /// What it says.
    pub(crate) text: String,
}

/// A line of the supervisor's log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// As that of an [`Autopsy`].
    pub(crate) number: u64,
    /// When it was written, in seconds since 1970.
    pub(crate) time: f64,
    /// How much it matters.
    pub(crate) level: Level,
    /// What it says.
    pub(crate) text: String,
}

impl Journal {
    /// The number of the last entry; 0: there is none.
    pub(crate) fn last(&self) -> u64 {
        self.written
    }

    /// Keeps an autopsy.
    pub(crate) fn autopsy(&mut self, worker: WorkerId, pid: Option<Pid>, text: &str, time: SystemTime) {
        self.written += 1;
        let (number, time, text) = (self.written, seconds(time), cut(text));
        push(&mut self.autopsies, Autopsy { number, time, worker, pid, text }, AUTOPSIES);
    }

    /// Keeps a log line.
    pub(crate) fn line(&mut self, level: Level, text: &str, time: SystemTime) {
        self.written += 1;
        let (number, time, text) = (self.written, seconds(time), cut(text));
        push(&mut self.lines, Line { number, time, level, text }, LINES);
    }

    /// The autopsies after a number, the oldest first.
    pub(crate) fn autopsies(&self, after: u64) -> impl Iterator<Item = &Autopsy> {
        self.autopsies.iter().filter(move |autopsy| autopsy.number > after)
    }

    /// The log lines after a number, the oldest first.
    pub(crate) fn lines(&self, after: u64) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.number > after)
    }
}

fn push<T>(list: &mut VecDeque<T>, entry: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(entry);
}

fn cut(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_are_kept_under_rising_numbers() {
        let mut journal = Journal::default();
        assert_eq!(journal.last(), 0);
        for count in 0..2 * LINES {
            journal.line(Level::Info, &count.to_string(), UNIX_EPOCH);
            journal.autopsy(WorkerId(1), None, &"ä".repeat(LONGEST), UNIX_EPOCH);
        }
        let lines: Vec<_> = journal.lines(0).collect();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.last().map(|line| line.text.as_str()), Some("199"));
        assert!(lines.is_sorted_by_key(|line| line.number));
        assert_eq!(journal.autopsies(0).count(), AUTOPSIES);
        assert_eq!(journal.autopsies(journal.last()).count(), 0);
        assert_eq!(journal.autopsies(journal.last() - 1).map(|one| one.text.len()).sum::<usize>(), LONGEST);
    }
}
