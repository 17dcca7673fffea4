//! Autopsies of workers that cannot make their own: their interpreter's lock is held, and not let go. A signal has each
//! write the stacks of its threads to its slate of the scoreboard; the supervisor reads them there a moment later. It
//! waits for nobody.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stdserve_sys::process::Pid;
use stdserve_sys::scoreboard::{self, Scoreboard};

use crate::machine::WorkerId;

/// How long a worker may take to write. Its handler needs a millisecond; the machine may be busy.
const PATIENCE: Duration = Duration::from_millis(100);

/// So many requests are named.
const REQUESTS: usize = 20;

/// What was asked for.
#[derive(Debug)]
struct Asked {
    worker: WorkerId,
    pid: Pid,
    slot: usize,
    due: Instant,
}

/// Those that are being made.
#[derive(Debug, Default)]
pub(crate) struct Autopsies(Vec<Asked>);

impl Autopsies {
    /// Prepares one of a worker's process. True: the signal is to be sent now. False: that process has no slate, or one
    /// was asked for already.
    pub(crate) fn ask(&mut self, worker: WorkerId, pid: Pid, board: &Scoreboard, now: Instant) -> bool {
        if self.0.iter().any(|asked| asked.worker == worker) {
            return false;
        }
        let found = board.rows().iter().position(|row| row.pid.load(Ordering::Acquire) == pid.0);
        let Some((slot, slate)) = found.and_then(|slot| Some((slot, board.slate(slot)?))) else {
            return false;
        };
        if slate.wipe().is_err() {
            return false;
        }
        self.0.push(Asked { worker, pid, slot, due: now + PATIENCE });
        true
    }

    /// When the next one can be read.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|asked| asked.due).min()
    }

    /// Those that can be read, in words.
    pub(crate) fn take(&mut self, board: &Scoreboard, now: Instant) -> Vec<(WorkerId, Pid, String)> {
        let (due, rest) = std::mem::take(&mut self.0).into_iter().partition(|asked| asked.due <= now);
        self.0 = rest;
        due.into_iter().map(|asked: Asked| (asked.worker, asked.pid, describe(&asked, board))).collect()
    }
}

fn describe(asked: &Asked, board: &Scoreboard) -> String {
    let mut text = format!("stacks of worker {}, whose interpreter's lock cannot be had\n", asked.pid);
    let clock = scoreboard::now();
    let requests = board.row(asked.slot).map(scoreboard::Row::in_flight).unwrap_or_default();
    for request in requests.iter().take(REQUESTS) {
        let client = request.client.map_or_else(|| "a local process".to_owned(), |client| client.to_string());
        let _ = writeln!(
            text,
            "  {} from {client} (request {}): {:.1} s in the queue, {:.1} s in the application, thread {}",
            request.line,
            request.id,
            request.in_queue(clock).as_secs_f64(),
            request.in_application(clock).as_secs_f64(),
            request.thread,
        );
    }
    match board.slate(asked.slot).map(scoreboard::Slate::read) {
        Some(Ok(stacks)) if !stacks.trim().is_empty() => text.push_str(stacks.trim_end()),
        _ => text.push_str("  none came: it runs no Python, or has not begun to serve"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn what_a_worker_writes_is_read_when_its_time_is_over() {
        let board = Scoreboard::new(2).unwrap();
        board.row(1).unwrap().claim(1);
        let (worker, pid, now) = (WorkerId(7), Pid::this(), Instant::now());
        let mut autopsies = Autopsies::default();
        assert!(!autopsies.ask(worker, Pid(u32::MAX), &board, now), "nobody's process");
        assert!(autopsies.ask(worker, pid, &board, now));
        assert!(!autopsies.ask(worker, pid, &board, now), "it is being made");
        let mut slate = File::from(board.slate(1).unwrap().as_fd().try_clone_to_owned().unwrap());
        slate.write_all(b"Thread 1 (most recent call first):\n  File \"app.py\", line 3 in f\n").unwrap();
        assert_eq!(autopsies.deadline(), Some(now + PATIENCE));
        assert_eq!(autopsies.take(&board, now), []);
        let found = autopsies.take(&board, now + PATIENCE);
        assert_eq!(found.len(), 1);
        assert!(found[0].2.contains("line 3 in f"), "{}", found[0].2);
        assert_eq!(autopsies.deadline(), None);
        // The next one begins with an empty slate.
        assert!(autopsies.ask(worker, pid, &board, now));
        assert!(autopsies.take(&board, now + PATIENCE)[0].2.ends_with("begun to serve"));
    }
}
