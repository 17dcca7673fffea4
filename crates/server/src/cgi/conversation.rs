//! Bytes both ways at once between the server and a script, until its answer or its time is at its end.
//!
//! One thread waits on all of it (poll(2)): a script that writes before it has read, reads nothing at all, or fills its
//! error stream stands in nobody's way.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use stdserve_sys::pipes::{self, For};
use stdserve_sys::process::{Child, Exit};
use stdserve_sys::signals::SIGTERM;

use super::error_lines::ErrorLines;
use super::input::Input;
use super::launch::Started;
use super::places::{Noted, Places};

/// How often a script that says nothing is looked after: whether its client is still there.
const TICK: Duration = Duration::from_millis(250);

/// How long output is awaited of what a script has left behind when it ended: processes that hold its standard output.
const AFTER_ITS_END: Duration = Duration::from_secs(1);

/// How much is read at once where much comes: what a pipe holds.
pub(super) const PIECE: usize = 64 << 10;

/// How much is read at once at first: most answers are short, and a large buffer costs more than they do.
const SMALL: usize = 4 << 10;

/// A script that runs.
pub(super) struct Conversation<'a> {
    script: Noted<'a>,
    output: Option<File>,
    errors: Option<(File, ErrorLines<'a>)>,
    input: Input,
    /// The request's body broke off, for this reason.
    unfinished: Option<io::ErrorKind>,
    /// When its end was seen.
    ended: Option<Instant>,
    buffer: Vec<u8>,
    looked: Instant,
}

/// What came of listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Output, appended.
    Output,
    /// There will be no more.
    End,
    /// Nothing in time.
    Nothing,
    /// The client has gone.
    Gone,
    /// The request's body broke off: the client was too slow, or sent too much.
    Unfinished(io::ErrorKind),
}

impl<'a> Conversation<'a> {
    pub(super) fn new(started: Started, places: &'a Places, lines: ErrorLines<'a>) -> Self {
        Self {
            script: places.note(started.child),
            output: Some(started.output),
            errors: started.errors.map(|errors| (errors, lines)),
            input: started.input,
            unfinished: None,
            ended: None,
            buffer: vec![0; SMALL],
            looked: Instant::now(),
        }
    }

    /// Waits for output until `until`, and appends it to `into`. Asks now and then whether the client `is_gone`.
    pub(super) fn listen(
        &mut self,
        into: &mut Vec<u8>,
        until: Option<Instant>,
        is_gone: &dyn Fn() -> bool,
    ) -> io::Result<Heard> {
        loop {
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(Heard::Nothing);
            }
            if self.output.is_none() {
                return Ok(Heard::End);
            }
            match self.unfinished.take() {
                None => {}
                Some(io::ErrorKind::ConnectionAborted) => return Ok(Heard::Gone),
                Some(why) => return Ok(Heard::Unfinished(why)),
            }
            if now >= self.looked + TICK {
                self.looked = now;
                if is_gone() {
                    return Ok(Heard::Gone);
                }
            }
            if self.turn(until, now)? {
                match read_some(self.output.as_mut(), &mut self.buffer)? {
                    Some(0) => self.output = None,
                    Some(count) => {
                        into.extend_from_slice(&self.buffer[..count]);
                        if count == self.buffer.len() && count < PIECE {
                            self.buffer.resize(PIECE, 0);
                        }
                        return Ok(Heard::Output);
                    }
                    None => {}
                }
            } else if self.ended.is_some_and(|ended| ended.elapsed() >= AFTER_ITS_END) {
                return Ok(Heard::End);
            }
        }
    }

    /// Waits once, does what is to be done but reading the output, and says whether there is some.
    fn turn(&mut self, until: Option<Instant>, now: Instant) -> io::Result<bool> {
        let limit = until.map_or(TICK, |until| until.saturating_duration_since(now).min(TICK));
        let output = self.output.as_ref().map(|output| (output.as_fd(), For::Reading));
        let errors = self.errors.as_ref().map(|(errors, _)| (errors.as_fd(), For::Reading));
        let pidfd = self.script.child().and_then(Child::descriptor);
        let end = pidfd.filter(|_| self.ended.is_none()).map(|pidfd| (pidfd, For::Reading));
        let polls_end = end.is_some();
        let [output, errors, input, end] = pipes::wait([output, errors, self.input.wants(), end], limit)?;
        if errors {
            self.read_errors();
        }
        if input && let Err(error) = self.input.feed() {
            self.unfinished = Some(error.kind());
        }
        // Kernels without such descriptors are asked at every turn.
        if self.ended.is_none() && (end || !polls_end && self.has_ended()) {
            self.ended = Some(Instant::now());
        }
        Ok(output)
    }

    fn has_ended(&self) -> bool {
        self.script.child().is_none_or(Child::has_ended)
    }

    /// One piece of what it has written to its error stream, so that a flood does not keep the answer waiting.
    fn read_errors(&mut self) -> bool {
        let Some((pipe, lines)) = &mut self.errors else { return false };
        match read_some(Some(pipe), &mut self.buffer) {
            Ok(Some(0)) | Err(_) => self.errors = None,
            Ok(Some(count)) => {
                lines.take(&self.buffer[..count]);
                return true;
            }
            Ok(None) => {}
        }
        false
    }

    /// Waits until the script has ended, whatever it still writes. False: it has not until `until`.
    pub(super) fn wait_for_end(&mut self, until: Option<Instant>) -> bool {
        loop {
            let now = Instant::now();
            if self.ended.is_some() {
                return true;
            }
            if until.is_some_and(|until| until <= now) {
                return false;
            }
            match self.turn(until, now) {
                // Thrown away, so that it does not wait for ever for a reader.
                Ok(true) => {
                    if !matches!(read_some(self.output.as_mut(), &mut self.buffer), Ok(None | Some(1..))) {
                        self.output = None;
                    }
                }
                Ok(false) => {}
                Err(_) => return false,
            }
        }
    }

    /// What signal has ended the script, in words, if one has: its answer may not be whole.
    pub(super) fn was_cut_short(&self) -> Option<String> {
        let how = self.script.child()?.how_it_ended()?;
        matches!(how, Exit::Signal(_)).then(|| format!("it {how}"))
    }

    /// How a script that has ended did so; what is left of its group is ended too.
    pub(super) fn end(mut self) -> Option<Exit> {
        // What it said last. Bounded: another process may hold the stream and go on.
        for _ in 0..16 {
            if !self.read_errors() {
                break;
            }
        }
        let ended = self.ended.is_some();
        self.script.end().filter(|_| ended)
    }

    /// Tells the script and what it has started to end: [`stop`](Self::stop) is to follow.
    pub(super) fn tell_to_end(&self) {
        if let Some(child) = self.script.child() {
            child.signal_group(SIGTERM);
        }
    }

    /// Ends the script and what it has started: with SIGKILL what is still there after `grace`.
    pub(super) fn stop(mut self, grace: Duration) {
        self.tell_to_end();
        self.input = Input::Done;
        self.wait_for_end(Some(Instant::now() + grace));
        self.end();
    }
}

/// What can be read now: `None`, nothing; 0, it is at its end.
fn read_some(file: Option<&mut File>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let Some(file) = file else { return Ok(None) };
    match file.read(buffer) {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
