//! Autopsies: what is found out of a request that takes too long, while it does.
//!
//! The loop hands over cases, and waits for nobody; the warden looks into them, who can have the interpreter's lock.
//! What comes of it goes to the error log and to the supervisor.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stdserve_server::{Case, Coroner, Late, Peer, Told};
use stdserve_supervisor::{Level, WorkerSeat};
use stdserve_sys::process::{self, Pid};
use stdserve_sys::signals::WakePipe;

use crate::interpreter::{Hook, Interpreter, Stack};
use crate::log::ErrorLog;

/// The note that there is a case; signals have lower numbers.
const CASE: u8 = 126;

/// How long nothing more is said of slow requests that are at the same place in the code.
const SAME_PLACE: Duration = Duration::from_secs(60);

/// So many places are remembered; with more, the oldest are said again sooner.
const PLACES: usize = 1024;

/// The longest autopsy, in bytes: what a message to the supervisor holds.
const LONGEST: usize = 15 << 10;

/// The longest request line that is shown, in bytes.
const LINE: usize = 200;

/// Cases that wait for the warden.
pub(crate) struct Inbox {
    pipe: &'static WakePipe,
    cases: Mutex<Vec<Case>>,
    /// The supervisor wants to see all threads.
    stacks: AtomicBool,
}

impl Inbox {
    /// Cases wake whoever sleeps on `pipe`.
    pub(crate) fn new(pipe: &'static WakePipe) -> Arc<Self> {
        Arc::new(Self { pipe, cases: Mutex::default(), stacks: AtomicBool::new(false) })
    }

    /// An operator wants to see what all threads do.
    pub(crate) fn ask_for_stacks(&self) {
        self.stacks.store(true, Ordering::Release);
        self.pipe.note(CASE);
    }

    fn take_all(&self) -> Vec<Case> {
        std::mem::take(&mut *self.cases.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Coroner for Inbox {
    fn take(&self, case: Case) {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner).push(case);
        self.pipe.note(CASE);
    }
}

/// Looks into cases: the warden's part.
pub(crate) struct Examiner {
    inbox: Arc<Inbox>,
    seat: Arc<WorkerSeat>,
    log: Arc<ErrorLog>,
    /// Every autopsy shows all threads.
    all: bool,
    places: Places,
    /// It was asked that this worker be replaced.
    retired: bool,
}

impl Examiner {
    pub(crate) fn new(inbox: Arc<Inbox>, seat: Arc<WorkerSeat>, log: Arc<ErrorLog>, all: bool) -> Self {
        Self { inbox, seat, log, all, places: Places::default(), retired: false }
    }

    /// Does what there is to do. The interpreter's lock is held.
    pub(crate) fn work(&mut self, interpreter: &dyn Interpreter) {
        for case in self.inbox.take_all() {
            match case {
                Case::Slow(late) => self.slow(interpreter, &late),
                Case::TimedOut(late, told) => self.timed_out(interpreter, &late, told),
                Case::AllStuck(late) => self.all_stuck(interpreter, &late),
            }
        }
        if self.inbox.stacks.swap(false, Ordering::AcqRel) {
            let mut text = format!("stacks of all threads; {}\n", memory_used());
            show(&mut text, &interpreter.stacks(None), &[]);
            self.publish(Level::Info, text);
        }
    }

    fn slow(&mut self, interpreter: &dyn Interpreter, late: &Late) {
        let stacks = self.stacks(interpreter, late.request.id);
        // It may have ended meanwhile: then it is not worth a word.
        let Some(own) = stacks.iter().find(|stack| stack.request == Some(late.request.id)) else { return };
        if !self.places.is_due(&own.place, Instant::now()) {
            return;
        }
        let mut text = format!("slow request: {}\n", describe(late, "it goes on"));
        show(&mut text, &stacks, std::slice::from_ref(late));
        self.publish(Level::Warning, text);
    }

    fn timed_out(&mut self, interpreter: &dyn Interpreter, late: &Late, told: Told) {
        let outcome = match told {
            Told::Refused => "its client was answered 504",
            Told::Cut => "its answer had begun and was cut",
            Told::Answered => "its answer was complete",
            Told::Nobody => "its client had gone, or had its answer",
        };
        let stacks = self.stacks(interpreter, late.request.id);
        let is_in = stacks.iter().any(|stack| stack.request == Some(late.request.id));
        let raised = interpreter.end_request(late.request.id);
        let mut text = format!("request timed out: {}\n", describe(late, outcome));
        if !is_in {
            text.push_str("  its thread had come out of the application before it could be looked at\n");
        }
        show(&mut text, &stacks, std::slice::from_ref(late));
        self.publish(Level::Error, text);
        if raised && let Err(why) = interpreter.hook(Hook::Aborted) {
            self.log.say(Level::Error, &why);
        }
        if raised && !self.retired {
            self.retired = true;
            let why = format!(
                "timeout: RequestTimeout was raised in {}, and a lock may have stayed taken",
                line(late)
            );
            // A supervisor that is gone shows as the end of the lifeline.
            let _ = self.seat.retire(&why);
        }
    }

    fn all_stuck(&mut self, interpreter: &dyn Interpreter, late: &[Late]) {
        let since = late.iter().map(|late| late.running).min().unwrap_or_default();
        let mut text = format!(
            "all {} threads have been in the application for {}: a deadlock, or next to it; {}\n",
            late.len(),
            seconds(since),
            memory_used()
        );
        for late in late {
            let _ = writeln!(text, "  {} for {}", who(late), seconds(late.running));
        }
        show(&mut text, &interpreter.stacks(None), late);
        self.publish(Level::Error, text);
    }

    fn stacks(&self, interpreter: &dyn Interpreter, request: u64) -> Vec<Stack> {
        let mut stacks = interpreter.stacks((!self.all).then_some(request));
        // Its own first.
        stacks.sort_by_key(|stack| stack.request != Some(request));
        stacks
    }

    fn publish(&self, level: Level, mut text: String) {
        text.truncate(text.trim_end().len());
        if text.len() > LONGEST {
            let cut = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
            text.push_str("\n  …");
        }
        self.log.say(level, &text);
        // A supervisor that does not read has more to do.
        let _ = self.seat.autopsy(&text);
    }
}

/// Where slow requests were seen, and when that was said.
#[derive(Debug, Default)]
struct Places(HashMap<String, Instant>);

impl Places {
    /// Whether something is to be said of this place now; if so, it counts as said.
    fn is_due(&mut self, place: &str, now: Instant) -> bool {
        let recent = |said: &Instant| now.saturating_duration_since(*said) < SAME_PLACE;
        if self.0.get(place).is_some_and(recent) {
            return false;
        }
        if self.0.len() >= PLACES {
            self.0.retain(|_, said| recent(said));
            if self.0.len() >= PLACES {
                self.0.clear();
            }
        }
        self.0.insert(place.to_owned(), now);
        true
    }
}

/// One line that says everything but where it is.
fn describe(late: &Late, outcome: &str) -> String {
    format!(
        "{} waited {} for a thread and has been in the application for {}; {outcome}; {}",
        who(late),
        seconds(late.waited),
        seconds(late.running),
        memory_used()
    )
}

/// A request: line, client and number.
fn who(late: &Late) -> String {
    let peer = match late.request.peer {
        Peer::Ip(address) => address.to_string(),
        Peer::Unix => "a local process".to_owned(),
    };
    match late.request.origin.address {
        Some(client) => {
            format!("{} from {client} by way of {peer} (request {})", line(late), late.request_id)
        }
        None => format!("{} from {peer} (request {})", line(late), late.request_id),
    }
}

/// Method and target. No control characters: a request that has any in its target is refused.
fn line(late: &Late) -> String {
    let head = &late.request.head;
    if head.method().is_empty() {
        return "a handler".to_owned();
    }
    let mut text =
        format!("{} {}", String::from_utf8_lossy(head.method()), String::from_utf8_lossy(head.target()));
    if text.len() > LINE {
        let cut = (0..=LINE).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn memory_used() -> String {
    process::sample(Pid::this())
        .map_or_else(|_| "memory unknown".to_owned(), |sample| format!("{} MiB resident", sample.rss >> 20))
}

/// Adds stacks to a text. `known`: requests whose ids are known; others are told by their numbers.
fn show(text: &mut String, stacks: &[Stack], known: &[Late]) {
    for stack in stacks {
        let id =
            |number| known.iter().find(|late| late.request.id == number).map(|late| late.request_id.clone());
        let request = stack.request.map_or_else(String::new, |number| {
            format!(", in request {}", id(number).unwrap_or_else(|| format!("number {number}")))
        });
        let _ = write!(text, "  thread {}{request}, most recent call last:\n{}", stack.thread, stack.calls);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_said_once_a_minute() {
        let now = Instant::now();
        let mut places = Places::default();
        assert!(places.is_due("app.py:3", now));
        assert!(!places.is_due("app.py:3", now + Duration::from_secs(59)));
        assert!(places.is_due("app.py:4", now));
        assert!(places.is_due("app.py:3", now + Duration::from_secs(60)));
        assert!(!places.is_due("app.py:3", now + Duration::from_secs(61)));
    }

    #[test]
    fn what_is_remembered_of_places_is_bounded() {
        let now = Instant::now();
        let mut places = Places::default();
        for number in 0..3 * PLACES {
            assert!(places.is_due(&number.to_string(), now));
            assert!(places.0.len() <= PLACES);
        }
    }
}
