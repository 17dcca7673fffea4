//! One client of the plane: what it has sent, what it is still to be sent, and when patience ends.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use stdserve_proto::h1::{
    self, BodyFraming, BodySize, Event, Framing, HeadLimits, RequestHead, RequestReader, ResponseContext,
    ResponseEncoder, Version,
};
use stdserve_sys::net;
use stdserve_sys::poller::Readiness;

use super::documents;
use super::guard::Hosts;
use super::history::History;
use super::routes::{self, Answer, Body, Order, Request};
use super::stacks::Stacks;
use super::view::View;

/// How long a request may take to arrive whole.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next request.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what it asked for.
const WRITE: Duration = Duration::from_secs(10);
/// How long what a refused client still sends is thrown away, so that the answer reaches it.
const LINGER: Duration = Duration::from_secs(1);
/// The most of a request's body that is read, and thrown away: all that an order says stands in its target.
const BODY: usize = 64 << 10;
/// The most requests that are answered before others have their turn.
const AT_A_TURN: usize = 8;

/// What there is to answer with.
pub(super) struct Turn<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) hosts: &'a Hosts,
    pub(super) history: &'a History,
    /// A second has passed: followers are told.
    pub(super) due: bool,
    pub(super) now: Instant,
}

#[derive(Debug)]
enum State {
    /// A request is awaited, or part of it is there.
    Request,
    /// Its body is thrown away; the answer follows.
    Body(usize),
    /// Workers were asked for their stacks.
    Stacks(Stacks),
    /// It is sent events, in chunks or not; the number of the last entry of the
    /// journal that it knows.
    Follows { chunked: bool, seen: u64 },
    /// Nothing more is read as a request; closed when all is sent.
    Ends,
    /// All is sent; what it still sends is thrown away.
    Lingers,
}

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    /// TCP or Unix: receiving is the same for both, and all else is asked of the descriptor.
    socket: UnixStream,
    local: bool,
    reader: RequestReader,
    head: RequestHead,
    input: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    state: State,
    /// There may be something to read: the poller says so once only.
    readable: bool,
    /// When the present state is given up.
    until: Instant,
    /// Since when it has had its turn and nothing came.
    since: Instant,
    /// It has had its turn, and there was more.
    again: bool,
}

impl Connection {
    /// `local`: it comes from this machine.
    pub(super) fn new(socket: OwnedFd, local: bool, now: Instant) -> Self {
        Self {
            socket: socket.into(),
            local,
            reader: RequestReader::new(),
            head: RequestHead::default(),
            input: Vec::new(),
            out: Vec::new(),
            sent: 0,
            state: State::Request,
            readable: true,
            until: now + HEAD,
            since: now,
            again: false,
        }
    }

    /// The poller has seen something.
    pub(super) fn woken(&mut self, readiness: &Readiness) {
        self.readable |= readiness.readable || readiness.read_closed || readiness.gone;
    }

    /// Whether it is sent events.
    pub(super) fn follows(&self) -> bool {
        matches!(self.state, State::Follows { .. })
    }

    /// Since when it could be closed without loss of an answer that is being made.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let waits = matches!(self.state, State::Request | State::Body(_) | State::Lingers);
        (waits && self.is_flushed()).then_some(self.since)
    }

    /// When it is to be driven at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.again {
            return Some(self.since);
        }
        if self.is_flushed() {
            match &self.state {
                State::Follows { .. } => return None,
                State::Stacks(stacks) => return Some(stacks.due()),
                _ => {}
            }
        }
        Some(self.until)
    }

    /// Reads, answers and sends as far as nothing has to be waited for. Whether it goes on. `room`: whether it may
    /// become a follower.
    pub(super) fn drive(&mut self, turn: &Turn<'_>, room: bool, orders: &mut Vec<Order>) -> bool {
        self.again = false;
        self.tell(turn);
        for _ in 0..AT_A_TURN {
            match self.flush(turn.now) {
                Ok(true) => {}
                Ok(false) => return turn.now < self.until && self.watch_for_end(),
                Err(_) => return false,
            }
            let step = match self.state {
                State::Request => self.read_request(turn, room, orders),
                State::Body(left) => self.skip_body(left, turn, room, orders),
                State::Stacks(ref mut stacks) => match stacks.answer(turn.view, orders) {
                    Some(answer) => {
                        self.answer(answer, turn);
                        Step::On
                    }
                    None if self.watch_for_end() => Step::Wait,
                    None => Step::Close,
                },
                State::Follows { .. } => return self.watch_for_end(),
                State::Ends => {
                    let _ = self.socket.shutdown(Shutdown::Write);
                    (self.state, self.until) = (State::Lingers, turn.now + LINGER);
                    Step::On
                }
                State::Lingers => {
                    if self.watch_for_end() {
                        Step::Wait
                    } else {
                        Step::Close
                    }
                }
            };
            match step {
                Step::On => {}
                Step::Wait => return matches!(self.state, State::Stacks(_)) || turn.now < self.until,
                Step::Close => return false,
            }
        }
        // Others have their turn; this one goes on right after them.
        self.again = true;
        self.flush(turn.now).is_ok()
    }

    /// The next event for a follower; one that has not taken the last yet is spared this one, so that what waits is
    /// bounded.
    fn tell(&mut self, turn: &Turn<'_>) {
        let spared = !self.is_flushed();
        if let State::Follows { chunked, seen } = &mut self.state
            && turn.due
            && !spared
        {
            let (chunked, frames) = (*chunked, documents::tick(turn.view, turn.history, seen));
            self.push(chunked, frames.as_bytes());
        }
    }

    fn push(&mut self, chunked: bool, bytes: &[u8]) {
        if chunked {
            h1::encode_chunk(&mut self.out, bytes);
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    fn is_flushed(&self) -> bool {
        self.sent == self.out.len()
    }

    /// Sends what there is. Whether all of it is gone.
    fn flush(&mut self, now: Instant) -> io::Result<bool> {
        while !self.is_flushed() {
            match net::send_pieces(self.socket.as_fd(), &[IoSlice::new(&self.out[self.sent..])]) {
                Ok(sent) => {
                    self.sent += sent;
                    self.until = now + WRITE;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(64 << 10);
        self.sent = 0;
        Ok(true)
    }

    /// Throws away what comes where nothing is expected. Whether the client is still there.
    fn watch_for_end(&mut self) -> bool {
        let mut waste = [0; 4096];
        // A client that never stops has had its share after a few.
        for _ in 0..16 {
            if !self.readable {
                return true;
            }
            match self.receive(&mut waste) {
                Ok(Some(0)) | Err(_) => return matches!(self.state, State::Request | State::Ends),
                Ok(_) => {}
            }
        }
        true
    }

    /// `None`: nothing is there.
    fn receive(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match (&self.socket).read(into) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// More bytes into the input.
    fn more(&mut self, now: Instant) -> Step {
        let mut piece = [0; 8192];
        if !self.readable {
            return Step::Wait;
        }
        match self.receive(&mut piece) {
            Ok(None) => Step::Wait,
            Ok(Some(0)) | Err(_) => Step::Close,
            Ok(Some(count)) => {
                if self.reader.is_idle() && self.input.is_empty() {
                    (self.since, self.until) = (now, now + HEAD);
                }
                self.input.extend_from_slice(&piece[..count]);
                Step::On
            }
        }
    }

    fn read_request(&mut self, turn: &Turn<'_>, room: bool, orders: &mut Vec<Order>) -> Step {
        loop {
            let read = self.reader.read(&self.input, &HeadLimits::default(), &mut self.head);
            match read {
                Ok((consumed, Event::Head)) => {
                    self.input.drain(..consumed);
                    if self.head.expects_continue() {
                        self.out.extend_from_slice(h1::CONTINUE);
                    }
                    self.state = State::Body(BODY);
                    return self.skip_body(BODY, turn, room, orders);
                }
                Ok((consumed, _)) => {
                    self.input.drain(..consumed);
                    match self.more(turn.now) {
                        Step::On => {}
                        step => return step,
                    }
                }
                Err(refusal) => {
                    self.refuse(refusal.status(), refusal.reason());
                    return Step::On;
                }
            }
        }
    }

    fn skip_body(&mut self, mut left: usize, turn: &Turn<'_>, room: bool, orders: &mut Vec<Order>) -> Step {
        loop {
            match self.reader.read(&self.input, &HeadLimits::default(), &mut self.head) {
                Ok((consumed, Event::End)) => {
                    self.input.drain(..consumed);
                    self.reader.next_request();
                    let asked = Request { head: &self.head, local: self.local, room };
                    let answer = routes::answer(&asked, turn.hosts, turn.view, turn.history, orders);
                    self.answer(answer, turn);
                    return Step::On;
                }
                Ok((consumed, event)) => {
                    self.input.drain(..consumed);
                    if let Event::Body { len, .. } = event {
                        let Some(less) = left.checked_sub(len) else {
                            self.refuse(413, "The plane takes no such bodies.");
                            return Step::On;
                        };
                        left = less;
                        self.state = State::Body(left);
                        continue;
                    }
                    match self.more(turn.now) {
                        Step::On => {}
                        step => return step,
                    }
                }
                Err(refusal) => {
                    self.refuse(refusal.status(), refusal.reason());
                    return Step::On;
                }
            }
        }
    }

    fn refuse(&mut self, status: u16, text: &str) {
        let context = ResponseContext { version: Version::Http11, head_only: false, keep_alive: false };
        h1::encode_error(&mut self.out, context, status, (text, None), date().as_bytes(), None);
        self.state = State::Ends;
    }

    /// Puts an answer to the output, and goes on to what follows it.
    fn answer(&mut self, answer: Answer, turn: &Turn<'_>) {
        let follows = matches!(answer.body, Body::Events);
        let context = ResponseContext {
            version: self.head.version(),
            head_only: self.head.method() == b"HEAD",
            keep_alive: self.head.keep_alive() && !follows,
        };
        let text = match answer.body {
            Body::Text(text) => text,
            Body::Events => String::new(),
            Body::Stacks(stacks) => {
                self.state = State::Stacks(stacks);
                return;
            }
        };
        let size = if follows { BodySize::Unknown } else { BodySize::Known(text.len() as u64) };
        let framing = self.encode_head(answer.status, &answer.fields, context, size);
        if framing.body.is_some() {
            self.out.extend_from_slice(text.as_bytes());
        }
        (self.since, self.until) = (turn.now, turn.now + KEEP_ALIVE);
        self.state = if follows && framing.body.is_some() {
            let chunked = framing.body == BodyFraming::Chunked;
            let mut seen = 0;
            let first = documents::first(turn.view, turn.history, &mut seen);
            self.push(chunked, first.as_bytes());
            State::Follows { chunked, seen }
        } else if framing.keep_alive {
            State::Request
        } else {
            State::Ends
        };
    }

    fn encode_head(
        &mut self,
        status: u16,
        fields: &[(&str, String)],
        context: ResponseContext,
        size: BodySize,
    ) -> Framing {
        let date = date();
        let start = self.out.len();
        let made = ResponseEncoder::begin(&mut self.out, context, status, h1::phrase(status).as_bytes())
            .and_then(|mut encoder| {
                for (name, value) in fields {
                    encoder.field(&mut self.out, name.as_bytes(), value.as_bytes())?;
                }
                Ok(encoder)
            });
        match made {
            Ok(encoder) => encoder.finish(&mut self.out, size, date.as_bytes(), None),
            Err(error) => {
                // All that stands in these heads is the plane's own: a mistake here, and no matter of the client's.
                self.out.truncate(start);
                let context = ResponseContext { keep_alive: false, head_only: true, ..context };
                h1::encode_error(
                    &mut self.out,
                    context,
                    500,
                    (&error.to_string(), None),
                    date.as_bytes(),
                    None,
                )
            }
        }
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What is left to do after a step.
enum Step {
    /// Perhaps more.
    On,
    /// Nothing until the poller, or a deadline, says so.
    Wait,
    /// To close it.
    Close,
}

fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
